//! `pull` and `push`, as they are said on the command line.

use std::path::{Path, PathBuf};

use clap::ArgAction;
use clap::builder::FalseyValueParser;
use qfs_client::plan::sync::{FilterRules, Filters, MaxDelete};

use super::exit::Exit;
use super::report::Problem;

pub(super) const PULL_EXAMPLES: &str = "\
Examples:
  qfs-client pull mirror                          mirror becomes like all that the server has
  qfs-client pull photos album --delete           album becomes like photos, and has nothing else
  qfs-client pull photos album --delete --dry-run only says what would be done
  qfs-client pull data . --exclude '*.tmp' --exclude cache/
The same command again, after an interruption or at any time, does what is left to do.";

pub(super) const PUSH_EXAMPLES: &str = "\
Examples:
  qfs-client push site                            all that the server has becomes like site
  qfs-client push results incoming/run-7          what lies below incoming/run-7 on the server
  qfs-client push site www --delete --max-delete 20
  qfs-client push . backup --filter-from .gitignore --links
The same command again, after an interruption or at any time, does what is left to do.";

/// `pull`
#[derive(Debug, clap::Args)]
pub(crate) struct PullArgs {
    /// The directory on the server, if it is not all of it, and the directory here, made if missing
    #[arg(value_name = "[PREFIX] DIR", num_args = 1..=2, required = true)]
    pub(crate) places: Vec<String>,

    #[command(flatten)]
    pub(crate) sync: SyncArgs,
}

/// `push`
#[derive(Debug, clap::Args)]
pub(crate) struct PushArgs {
    /// The directory here, and the directory on the server, if it is not all of it
    #[arg(value_name = "DIR [PREFIX]", num_args = 1..=2, required = true)]
    pub(crate) places: Vec<String>,

    #[command(flatten)]
    pub(crate) sync: SyncArgs,
}

/// What both understand.
#[derive(Debug, clap::Args)]
pub(crate) struct SyncArgs {
    /// Remove what the source lacks, after everything else, and only if nothing failed or is in doubt
    #[arg(long, env = "QFS_DELETE", hide_env_values = true, value_parser = FalseyValueParser::new(), action = ArgAction::SetTrue)]
    pub(crate) delete: bool,

    /// Most that --delete may remove: so many names, or a percentage of the files that are there; beyond it exit code 8
    #[arg(long, value_name = "N|P%", env = "QFS_MAX_DELETE", hide_env_values = true, default_value = "50%")]
    pub(crate) max_delete: MaxDelete,

    /// Change nothing; print what would be done
    #[arg(short = 'n', long, env = "QFS_DRY_RUN", hide_env_values = true, value_parser = FalseyValueParser::new(),
        action = ArgAction::SetTrue)]
    pub(crate) dry_run: bool,

    #[command(flatten)]
    pub(crate) filter: FilterArgs,

    /// Compare files by their sizes alone
    #[arg(long, env = "QFS_SIZE_ONLY", hide_env_values = true, value_parser = FalseyValueParser::new(),
        action = ArgAction::SetTrue)]
    pub(crate) size_only: bool,

    /// Leave files alone that are newer on the target
    #[arg(short, long, env = "QFS_UPDATE", hide_env_values = true, value_parser = FalseyValueParser::new(),
        action = ArgAction::SetTrue)]
    pub(crate) update: bool,

    /// Carry symbolic links that end inside; without it they take no part
    #[arg(short, long, env = "QFS_LINKS", hide_env_values = true, value_parser = FalseyValueParser::new(),
        action = ArgAction::SetTrue)]
    pub(crate) links: bool,

    /// Take names that differ in case only for one name; where the target is known to do so, as on FAT, that is done anyway
    #[arg(long, env = "QFS_FOLD_CASE", hide_env_values = true, value_parser = FalseyValueParser::new(),
        action = ArgAction::SetTrue)]
    pub(crate) fold_case: bool,
}

/// Which names take part.
#[derive(Debug, clap::Args)]
pub(crate) struct FilterArgs {
    /// Names that take part whatever else is said, by gitignore's rules (repeatable); alone, nothing else does
    #[arg(long, value_name = "PATTERN", env = "QFS_INCLUDE", hide_env_values = true)]
    pub(crate) include: Vec<String>,

    /// Names that take no part, by gitignore's rules (repeatable)
    #[arg(long, value_name = "PATTERN", env = "QFS_EXCLUDE", hide_env_values = true)]
    pub(crate) exclude: Vec<String>,

    /// A file of such rules, as .gitignore (repeatable)
    #[arg(long, value_name = "FILE", env = "QFS_FILTER_FROM", hide_env_values = true)]
    pub(crate) filter_from: Vec<PathBuf>,
}

impl FilterArgs {
    /// The rules that were given.
    ///
    /// # Errors
    /// A usage error for a rule that cannot be understood, and exit code 7 for a file that cannot be read.
    pub(crate) fn filters(&self) -> Result<Filters, Problem> {
        let mut rules = FilterRules::default();
        for path in &self.filter_from {
            rules.file(&path.to_string_lossy(), &read(path)?);
        }
        for pattern in &self.exclude {
            rules.exclude(pattern);
        }
        for pattern in &self.include {
            rules.include(pattern);
        }
        rules.compile().map_err(|error| {
            Problem::new(Exit::Usage, error.to_string())
                .hint("the rules are those of .gitignore; a backslash before a sign takes its meaning away")
        })
    }
}

#[allow(clippy::disallowed_methods, reason = "a file of the user's own, named on the command line")]
fn read(path: &Path) -> Result<String, Problem> {
    std::fs::read_to_string(path).map_err(|error| {
        Problem::local(format!("cannot read {}", path.display()), error).hint("name a file of rules that is there")
    })
}
