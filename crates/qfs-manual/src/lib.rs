//! Man pages and shell completions of a program, from the definition of its command line, so that they cannot say anything else; and
//! what is said of a command line that does not fit it.
//!
//! Owns the commands `completions` and `man` and what they make, and the wording of usage errors ([`Mistake`]). Knows nothing of qfs but
//! the names in its examples: every program flattens [`Manual`] into its commands and prints what [`Manual::text`] returns.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that panics has failed, which is its job"))]
#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests read the pages that they have written"))]

mod mistake;

use std::io;
use std::path::{Path, PathBuf};

use clap::{Command, Subcommand};
pub use clap_complete::Shell;
pub use mistake::Mistake;

const COMPLETIONS_EXAMPLES: &str = "\
Examples, which are alike for qfs-server and qfs-bench:
  source <(qfs-client completions bash)                 in this bash
  qfs-client completions zsh > ~/.zfunc/_qfs-client     for zsh, where ~/.zfunc is in fpath
  qfs-client completions fish | source                  in this fish";

const MAN_EXAMPLES: &str = "\
Examples, which are alike for qfs-server and qfs-bench:
  qfs-client man | man -l -               the page of the program
  qfs-client man --out ~/man/man1         a page for each command";

/// The commands that describe the program itself.
#[derive(Debug, Clone, Subcommand)]
pub enum Manual {
    /// Print the completions of a shell, to be read by it or put where it looks for them
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions {
        /// The shell
        #[arg(value_name = "SHELL")]
        shell: Shell,
    },
    /// Print the man page, or write those of all commands
    #[command(after_help = MAN_EXAMPLES)]
    Man {
        /// Write a page for the program and for each of its commands into this directory instead, which is made if missing
        #[arg(long, value_name = "DIR", env = "QFS_OUT", hide_env_values = true)]
        out: Option<PathBuf>,
    },
}

impl Manual {
    /// What goes to standard output: the completions or the page of `command`; nothing where pages are written into a directory.
    ///
    /// # Errors
    /// When the pages cannot be written.
    pub fn text(&self, command: Command) -> io::Result<String> {
        match self {
            Self::Completions { shell } => Ok(completions(command, *shell)),
            Self::Man { out: None } => page(command),
            Self::Man { out: Some(directory) } => write_pages(command, directory).map(|()| String::new()),
        }
    }
}

/// The script that completes `command` in `shell`.
#[must_use]
pub fn completions(mut command: Command, shell: Shell) -> String {
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, &name, &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    if shell != Shell::Bash {
        return script;
    }
    // clap_complete 4.6.11 writes the name of a program with a hyphen in two ways, so that nothing is found behind a command.
    script.replace(&name.replace('-', "__subcmd__"), &name.replace('-', "__"))
}

/// The man page of the program, in roff.
fn page(command: Command) -> io::Result<String> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page)?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}

/// Writes the page of the program, and one for each of its commands that people may know of.
#[expect(clippy::disallowed_methods, reason = "no published file: pages go where the caller says")]
fn write_pages(command: Command, directory: &Path) -> io::Result<()> {
    std::fs::create_dir_all(directory)?;
    clap_mangen::generate_to(command, directory)
}

#[cfg(test)]
mod tests {
    use clap::{Arg, CommandFactory as _, Parser};

    use super::*;

    #[derive(Parser)]
    #[command(name = "tool", version = "1.2", about = "Does things")]
    struct Tool {
        #[command(subcommand)]
        command: Option<Commands>,
    }

    #[derive(Subcommand)]
    enum Commands {
        /// Does one thing
        One { name: String },
        #[command(hide = true)]
        Secret,
        #[command(flatten)]
        Manual(Manual),
    }

    fn manual(args: &[&str]) -> io::Result<String> {
        match Tool::try_parse_from(["tool"].iter().chain(args)).unwrap().command {
            Some(Commands::Manual(manual)) => manual.text(Tool::command()),
            _ => panic!("another command"),
        }
    }

    #[test]
    fn every_shell_completes_all_commands() {
        for shell in ["bash", "zsh", "fish"] {
            let script = manual(&["completions", shell]).unwrap();
            assert!(script.contains("tool") && script.contains("one") && script.contains("completions"), "{script}");
        }
    }

    #[test]
    fn the_page_says_what_the_help_says() {
        let page = manual(&["man"]).unwrap();
        assert!(page.contains(".TH tool 1") && page.contains("Does one thing"), "{page}");
        assert!(!page.contains("secret"), "{page}");
    }

    #[test]
    fn pages_are_written_for_all_commands_and_come_out_alike() {
        let directory = tempfile::tempdir().unwrap();
        let read = |into: &str| {
            let out = directory.path().join(into);
            assert_eq!(manual(&["man", "--out", out.to_str().unwrap()]).unwrap(), "");
            let mut pages: Vec<_> = std::fs::read_dir(&out)
                .unwrap()
                .map(|page| page.unwrap())
                .map(|page| (page.file_name().into_string().unwrap(), std::fs::read_to_string(page.path()).unwrap()))
                .collect();
            pages.sort();
            pages
        };
        let pages = read("a/b");
        let names: Vec<_> = pages.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["tool-completions.1", "tool-man.1", "tool-one.1", "tool.1"]);
        assert_eq!(pages, read("again"));
        let nowhere = directory.path().join("a/b/tool.1");
        assert!(manual(&["man", "--out", nowhere.to_str().unwrap()]).is_err());
    }

    #[test]
    fn bash_finds_what_is_behind_a_command_of_a_program_with_a_hyphen() {
        let command = Command::new("my-tool").subcommand(Command::new("do").arg(Arg::new("it").long("it")));
        let script = completions(command, Shell::Bash);
        let set: Vec<_> =
            script.lines().filter_map(|line| line.trim().strip_prefix("cmd=\"")?.strip_suffix('"')).collect();
        assert!(set.len() > 1, "{script}");
        for label in set.iter().filter(|label| !label.is_empty()) {
            assert!(script.contains(&format!("        {label})\n")), "{label} leads nowhere: {script}");
        }
    }

    #[test]
    fn a_definition_that_was_not_built_is_complete_too() {
        let script = completions(Command::new("other").arg(Arg::new("flag").long("flag")), Shell::Bash);
        assert!(script.contains("--flag"), "{script}");
    }
}
