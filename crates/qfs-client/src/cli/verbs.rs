//! The commands that write or compare, as they are said on the command line.

use std::path::PathBuf;

use clap::ArgAction;
use clap::builder::FalseyValueParser;
use qfs_core::model::ByteRange;

use super::sync_args::FilterArgs;

pub(super) const PUT_EXAMPLES: &str = "\
Examples:
  qfs-client put report.pdf                       as report.pdf
  qfs-client put photos results.csv --to incoming as incoming/photos/... and incoming/results.csv
  tar c data | qfs-client put - --as data.tar     from standard input
  qfs-client put --overwrite model.bin            replaces another content
  qfs-client put a b > sums && sha256sum -c sums";

pub(super) const RM_EXAMPLES: &str = "\
Examples:
  qfs-client rm incoming/old.csv
  qfs-client rm 'logs/2025-*.gz'
  qfs-client rm --recursive scratch               the directory and everything below it";

pub(super) const CAT_EXAMPLES: &str = "\
Examples:
  qfs-client cat data.tar | tar x
  qfs-client cat --range 0-99 data.csv            the first 100 bytes
  qfs-client cat --range -1000 app.log            the last 1000 bytes";

pub(super) const VERIFY_EXAMPLES: &str = "\
Examples:
  qfs-client verify client_env                    everything on the server with what is in client_env
  qfs-client verify photos mirror/photos          what lies below photos on the server
Prints `missing`, `differs` or `extra` and the name; exit code 0 when there is nothing to print, else 6.";

/// `put`
#[derive(Debug, clap::Args)]
pub(crate) struct PutArgs {
    /// Files and directories; - for standard input
    #[arg(value_name = "PATH", required = true)]
    pub(crate) paths: Vec<PathBuf>,

    /// The directory on the server that they are put into
    #[arg(long, value_name = "DIR", env = "QFS_TO", hide_env_values = true, conflicts_with = "name")]
    pub(crate) to: Option<String>,

    /// The name that the one file or directory gets
    #[arg(long = "as", value_name = "NAME", env = "QFS_AS", hide_env_values = true)]
    pub(crate) name: Option<String>,

    /// Replace an existing file only if it is still the version that was there when the command began
    #[arg(long, env = "QFS_IF_UNCHANGED", hide_env_values = true, value_parser = FalseyValueParser::new(),
        action = ArgAction::SetTrue)]
    pub(crate) if_unchanged: bool,
}

/// `rm`
#[derive(Debug, clap::Args)]
pub(crate) struct RmArgs {
    /// Names, or glob patterns (`*` and `?` stop at a slash, `**` does not)
    #[arg(value_name = "NAME", required = true)]
    pub(crate) names: Vec<String>,

    /// Directories too, with everything below them
    #[arg(short, long, env = "QFS_RECURSIVE", hide_env_values = true, value_parser = FalseyValueParser::new(),
        action = ArgAction::SetTrue)]
    pub(crate) recursive: bool,
}

/// `cat`
#[derive(Debug, clap::Args)]
pub(crate) struct CatArgs {
    /// The file
    #[arg(value_name = "NAME")]
    pub(crate) name: String,

    /// Only these bytes, counted from 0 and both included: A-B, A- to the end, -N the last N
    #[arg(long, value_name = "A-B", env = "QFS_RANGE", hide_env_values = true, allow_hyphen_values = true)]
    pub(crate) range: Option<Part>,
}

/// `verify`
#[derive(Debug, clap::Args)]
pub(crate) struct VerifyArgs {
    /// The directory on the server, if it is not all of it, and the directory here
    #[arg(value_name = "[PREFIX] DIR", num_args = 1..=2, required = true)]
    pub(crate) places: Vec<String>,

    #[command(flatten)]
    pub(crate) filter: FilterArgs,
}

/// A part of a file, as it is said: `A-B`, `A-` or `-N`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// From an offset, up to another if there is one.
    From(ByteRange),
    /// The last bytes.
    Last(u64),
}

impl std::str::FromStr for Part {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || "expected A-B, A- or -N, in bytes from 0".to_owned();
        let number = |text: &str| text.parse::<u64>().map_err(|_| wrong());
        let (first, last) = text.split_once('-').ok_or_else(wrong)?;
        match (first, last) {
            ("", last) => Ok(Self::Last(number(last)?)),
            (first, "") => Ok(Self::From(ByteRange { start: number(first)?, end: None })),
            (first, last) => {
                let (start, end) = (number(first)?, number(last)?.checked_add(1).ok_or_else(wrong)?);
                if start >= end { Err(wrong()) } else { Ok(Self::From(ByteRange { start, end: Some(end) })) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_as_people_write_them() {
        let part = |text: &str| text.parse::<Part>().ok();
        assert_eq!(part("0-99"), Some(Part::From(ByteRange { start: 0, end: Some(100) })));
        assert_eq!(part("5-"), Some(Part::From(ByteRange { start: 5, end: None })));
        assert_eq!(part("-7"), Some(Part::Last(7)));
        for text in ["", "-", "5", "9-3", "a-b", "1-2-3", "0-18446744073709551615"] {
            assert_eq!(part(text), None, "{text}");
        }
    }
}
