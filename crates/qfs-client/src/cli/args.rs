//! What can be said on the command line. Every flag has a variable `QFS_<FLAG>` and a key in the configuration file;
//! a flag beats its variable, and the variable the file.
//!
//! The options of all commands are in [`super::options`], the commands that write or compare in [`super::verbs`] and
//! [`super::sync_args`]. Owns the definitions alone; what they mean together is settled in [`super::settings`].

use std::time::Duration;

use clap::builder::FalseyValueParser;
use clap::{ArgAction, Parser, Subcommand};
use qfs_core::model::{Fingerprint, Ticket};
use qfs_manual::Manual;

use super::choice::{Patient, PatientParser, PlaceParser};
use super::completion::Asking;
use super::options::Options;
use super::parsers::parse_timeout;
use super::sync_args::{PULL_EXAMPLES, PUSH_EXAMPLES, PullArgs, PushArgs};
use super::verbs::{CAT_EXAMPLES, CatArgs, PUT_EXAMPLES, PutArgs, RM_EXAMPLES, RmArgs, VERIFY_EXAMPLES, VerifyArgs};

const EXAMPLES: &str = "\
Examples:
  qfs-client                                    the interactive menu
  qfs-client list                               what the server at 127.0.0.1:8000 has
  qfs-client get report.pdf 'photos/*.jpg'      fetch files to client_env
  qfs-client --server qfs://data.example.org:8000#sha256:HEX get --all --parallel
  qfs-client lab: list                          of the server that the configuration file calls lab

Exit codes:
    0  all done
    1  several files failed, for different reasons
    2  usage
    3  cannot connect, or the connection was lost and retries ran out
    4  the server's identity is not trusted
    5  the server refused: not found, denied
    6  integrity: digest mismatch, or the file changed while being read (one that only grows: get --live)
    7  local files: cannot write, disk full, exists
    8  refused to remove that much (pull and push --delete)
    9  a file vanished between listing and reading; all others are done
  130  interrupted

Every flag has a variable: QFS_PORT for --port, QFS_SAVE_DIR for --save-dir; a flag beats it. Both beat the configuration file,
client.toml in ~/.config/qfs (--config), whose keys are the flags' names. A server that it has as [servers.lab] is named by lab:
as the first word. --print-config shows what counts, and why.
A token is shown with --token-file, --token-command, QFS_TOKEN, or a ticket in --server-file or QFS_SERVER; no flag takes it itself.
A download that was cut off is continued by running the same command again.";

const LIST_EXAMPLES: &str = "\
Examples:
  qfs-client list
  qfs-client list photos '*.csv'          what lies below photos, and the tables at the top
  qfs-client list --json | jq 'keys[]'    one JSON object: name -> size, modified, sha256";

const GET_EXAMPLES: &str = "\
Examples:
  qfs-client get a.txt 'logs/**/*.gz'
  qfs-client get photos                   everything below photos
  qfs-client get --live server.log        as long as it is now, though it grows
  qfs-client get --overwrite disk.img     what changed since the last time
  qfs-client get v2.tar --seed v1.tar     what v1.tar does not have
  qfs-client get --all --parallel --save-dir mirror
  qfs-client get big.iso --server qfs://a:8000 --server qfs://b:8000    from both at once
  qfs-client get a b > sums && (cd client_env && sha256sum -c ../sums)";

const TRUST_EXAMPLES: &str = "\
Examples:
  qfs-client trust list
  qfs-client trust add data.example.org:8000 sha256:HEX
  qfs-client trust add qfs://data.example.org:8000#sha256:HEX
  qfs-client trust replace data.example.org:8000 sha256:HEX
  qfs-client trust remove data.example.org:8000";

/// Fetches files from a qfs server, each of them verified by its digest.
#[derive(Debug, Parser)]
#[command(name = "qfs-client", version, after_help = EXAMPLES, max_term_width = 120)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) options: Options,
    /// What to do; without it, the interactive menu
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the server's files: size in bytes, modification time (UTC), name
    #[command(after_help = LIST_EXAMPLES)]
    List(ListArgs),
    /// Fetch files; prints a line for each as sha256sum does (or b3sum, see --hash)
    #[command(after_help = GET_EXAMPLES)]
    Get(GetArgs),
    /// Upload files and directories; prints a line for each as sha256sum does (or b3sum, see --hash)
    #[command(after_help = PUT_EXAMPLES)]
    Put(PutArgs),
    /// Make a directory here like the server, or a directory of it
    #[command(after_help = PULL_EXAMPLES)]
    Pull(PullArgs),
    /// Make the server, or a directory of it, like a directory here
    #[command(after_help = PUSH_EXAMPLES)]
    Push(PushArgs),
    /// Remove files on the server
    #[command(after_help = RM_EXAMPLES)]
    Rm(RmArgs),
    /// Write a file to standard output; exit code 6 when its digest was wrong in the end
    #[command(after_help = CAT_EXAMPLES)]
    Cat(CatArgs),
    /// Compare a directory with the server without fetching anything
    #[command(after_help = VERIFY_EXAMPLES)]
    Verify(VerifyArgs),
    /// Show or change the store of known servers
    #[command(subcommand, after_help = TRUST_EXAMPLES, arg_required_else_help = false)]
    Trust(TrustCommand),
    /// Find out what stands between this machine and a server, and what to do about it
    #[command(after_help = DOCTOR_EXAMPLES)]
    Doctor(DoctorArgs),
    /// List the servers of the local network that announce themselves: name, address, ticket
    #[command(after_help = DISCOVER_EXAMPLES)]
    Discover(DiscoverArgs),
    #[command(flatten)]
    Manual(Manual),
    /// Names for the completions of a shell: no command that can be said here (see [`Asking`]).
    #[command(skip)]
    CompleteNames(Asking),
}

/// `list`
#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    /// Names, directories or glob patterns (`*` and `?` stop at a slash, `**` does not); without any, everything
    #[arg(value_name = "PATTERN")]
    pub(crate) patterns: Vec<String>,
}

/// `get`
#[derive(Debug, clap::Args)]
pub(crate) struct GetArgs {
    /// Names, directories (everything below them) or glob patterns (`*` and `?` stop at a slash, `**` does not)
    #[arg(value_name = "NAME", required_unless_present = "all")]
    pub(crate) names: Vec<String>,

    /// Every file that the server lists
    #[arg(long, env = "QFS_ALL", hide_env_values = true, value_parser = FalseyValueParser::new(), action = ArgAction::SetTrue)]
    pub(crate) all: bool,
}

/// `trust`
#[derive(Debug, Subcommand)]
pub(crate) enum TrustCommand {
    /// Print the known servers, one a line: HOST:PORT sha256:HEX, and next=sha256:HEX where the server has announced another key
    #[command(long_flag = "list", after_help = TRUST_EXAMPLES)]
    List,
    /// Make a server known
    #[command(long_flag = "add", after_help = TRUST_EXAMPLES)]
    Add(ServerKey),
    /// Give a known server another key
    #[command(long_flag = "replace", after_help = TRUST_EXAMPLES)]
    Replace(ServerKey),
    /// Forget a server
    #[command(long_flag = "remove", after_help = TRUST_EXAMPLES)]
    Remove {
        /// HOST:PORT or a ticket
        #[arg(id = "known_server", value_name = "SERVER", value_parser = PlaceParser)]
        server: Ticket,
    },
}

const DOCTOR_EXAMPLES: &str = "\
Examples:
  qfs-client doctor                                  the server that every command would use
  qfs-client doctor data.example.org:8000
  qfs-client doctor lab                              the server that the configuration file calls lab
  qfs-client doctor --json | jq '.findings[] | select(.level != \"ok\")'
Each line begins with `ok`, `warning` or `error`. Exit code 3: not reached; 4: not trusted; else 0. It takes some seven seconds,
fetches part of the largest file to nowhere, sends bytes that nobody keeps, and leaves nothing behind on either side.";

/// `doctor`
#[derive(Debug, clap::Args)]
pub(crate) struct DoctorArgs {
    /// HOST:PORT, a ticket or the name of a server in the configuration file, in place of --server, --ip and --port
    #[arg(id = "patient", value_name = "SERVER", value_parser = PatientParser)]
    pub(crate) patient: Option<Patient>,
}

const DISCOVER_EXAMPLES: &str = "\
Examples:
  qfs-client discover
  qfs-client discover --for 5s --json | jq -r '.servers[].ticket'
A server is found that was started with --announce. Anybody on the network can announce any name: compare the fingerprint.";

/// `discover`
#[derive(Debug, clap::Args)]
pub(crate) struct DiscoverArgs {
    /// How long is listened
    #[arg(long = "for", value_name = "TIME", env = "QFS_FOR", hide_env_values = true, default_value = "2s",
        value_parser = parse_timeout)]
    pub(crate) time: Duration,
}

/// A server with its key.
#[derive(Debug, clap::Args)]
pub(crate) struct ServerKey {
    /// HOST:PORT or a ticket
    #[arg(id = "known_server", value_name = "SERVER", value_parser = PlaceParser)]
    pub(crate) server: Ticket,

    /// Its key; without it, the server is asked, and on a terminal you are
    #[arg(value_name = "sha256:HEX")]
    pub(crate) key: Option<Fingerprint>,
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use clap::CommandFactory as _;

    use super::*;

    fn parse(args: &[&str]) -> Result<Args, clap::Error> {
        Args::try_parse_from(["qfs-client"].iter().chain(args))
    }

    #[test]
    fn the_definition_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn the_help_of_every_command_has_an_example() {
        fn check(command: &clap::Command) {
            let name = command.get_name();
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Example") || command.has_subcommands(), "{name}");
            command.get_subcommands().for_each(check);
        }
        check(&Args::command());
    }

    #[test]
    fn every_flag_has_its_variable() {
        fn check(command: &clap::Command) {
            for arg in command.get_arguments() {
                let Some(long) = arg.get_long().filter(|long| !["help", "version"].contains(long)) else { continue };
                let expected = format!("QFS_{}", long.to_uppercase().replace('-', "_"));
                assert_eq!(arg.get_env().and_then(|name| name.to_str()), Some(expected.as_str()));
            }
            command.get_subcommands().for_each(check);
        }
        check(&Args::command());
    }

    #[test]
    fn every_command_shows_an_example() {
        let mut command = Args::command();
        for name in ["list", "get", "pull", "push", "trust"] {
            let help = command.find_subcommand_mut(name).unwrap().render_long_help().to_string();
            assert!(help.contains(&format!("Examples:\n  qfs-client {name}")), "{help}");
        }
        assert!(command.render_long_help().to_string().contains("Examples:\n  qfs-client "));
    }

    #[test]
    fn options_stand_before_and_after_the_command() {
        for args in [["--port", "9", "list", "x"], ["list", "--port", "9", "x"], ["list", "x", "--port", "9"]] {
            let args = parse(&args).unwrap();
            assert_eq!(args.options.port, 9);
            assert!(matches!(args.command, Some(Command::List(list)) if list.patterns == ["x"]));
        }
    }

    #[test]
    fn parallel_takes_its_number_after_an_equals_sign_only() {
        let parallel = |args: &[&str]| parse(args).map(|args| args.options.parallel.map(NonZeroUsize::get));
        assert_eq!(parallel(&["get", "a"]).unwrap(), None);
        assert_eq!(parallel(&["get", "--parallel", "8"]).unwrap(), Some(64));
        assert_eq!(parallel(&["--parallel=8", "get", "a"]).unwrap(), Some(8));
        assert_eq!(parallel(&["get", "a", "--parallel=512"]).unwrap(), Some(512));
        for bad in ["--parallel=0", "--parallel=513", "--parallel=x", "--parallel="] {
            assert!(parallel(&["get", "a", bad]).is_err(), "{bad}");
        }
    }

    #[test]
    fn trust_takes_both_spellings() {
        let pin = Fingerprint::of_public_key(b"k").to_string();
        for args in [["trust", "replace", "h:1", &pin], ["trust", "--replace", "h:1", &pin]] {
            let Some(Command::Trust(TrustCommand::Replace(key))) = parse(&args).unwrap().command else { panic!() };
            assert_eq!((key.server.port, key.key.map(|k| k.to_string())), (1, Some(pin.clone())));
        }
        assert!(parse(&["trust"]).is_err());
        assert!(parse(&["trust", "--list"]).is_ok());
        assert!(parse(&["trust", "add", "qfs://h:1"]).is_ok());
        assert!(parse(&["trust", "add", "h:x"]).is_err());
    }
}
