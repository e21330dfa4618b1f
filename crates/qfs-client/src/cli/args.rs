//! What can be said on the command line. Every flag has a variable `QFS_<FLAG>` and a key in the configuration file;
//! a flag beats its variable, and the variable the file.
//!
//! Owns the definitions alone; what they mean together is settled in [`super::settings`].

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{FalseyValueParser, PossibleValuesParser, TypedValueParser as _};
use clap::{ArgAction, Parser, Subcommand, ValueEnum};
use qfs_client::config::{DEFAULT_PARALLEL, MAX_CONNECTIONS, MAX_PARALLEL, ServerAddress, Transport};
use qfs_client::trust::known_servers::parse_address;
use qfs_core::model::{DEFAULT_PORT, Fingerprint, HashKind, Ticket};
use qfs_manual::Manual;
use qfs_transport::{Congestion, Way};

use super::choice::{Choice, ChoiceParser, Patient, PatientParser, PlaceParser};
use super::completion::Asking;
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

/// What all commands understand, before and after the command.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Common options")]
pub(crate) struct Options {
    /// Address or host name of the server
    #[arg(long, global = true, value_name = "ADDR", env = "QFS_IP", hide_env_values = true, default_value = "127.0.0.1",
        value_parser = parse_host)]
    pub(crate) ip: String,

    /// Port of the server, of UDP and of TCP
    #[arg(long, global = true, value_name = "N", env = "QFS_PORT", hide_env_values = true, default_value_t = DEFAULT_PORT,
        value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) port: u16,

    /// A ticket, qfs://HOST:PORT[,HOST:PORT...][#sha256:HEX], or the name of a server in the configuration file, instead of --ip and
    /// --port; repeated, or with several hosts, mirrors that `get` fetches from at once
    #[arg(long, global = true, value_name = "SERVER", env = "QFS_SERVER", hide_env_values = true,
        value_parser = ChoiceParser, action = ArgAction::Append)]
    pub(crate) server: Vec<Choice>,

    /// A file with a ticket, - for standard input; the way for one with a token, which must not stand on the command line
    #[arg(long, global = true, value_name = "FILE", env = "QFS_SERVER_FILE", hide_env_values = true)]
    pub(crate) server_file: Option<PathBuf>,

    /// A file with the token that lets you in; the token itself may be in QFS_TOKEN
    #[arg(long, global = true, value_name = "FILE", env = "QFS_TOKEN_FILE", hide_env_values = true)]
    pub(crate) token_file: Option<PathBuf>,

    /// A command, run by the shell, that prints the token
    #[arg(
        long,
        global = true,
        value_name = "COMMAND",
        env = "QFS_TOKEN_COMMAND",
        hide_env_values = true,
        conflicts_with = "token_file"
    )]
    pub(crate) token_command: Option<OsString>,

    /// Read options from this file instead of client.toml in the user's configuration directory
    #[arg(long, global = true, value_name = "FILE", env = "QFS_CONFIG", hide_env_values = true)]
    pub(crate) config: Option<PathBuf>,

    /// Print all options with their values and where each came from, and do nothing else
    #[arg(long, global = true, env = "QFS_PRINT_CONFIG", hide_env_values = true, value_parser = FalseyValueParser::new(),
        action = ArgAction::SetTrue)]
    pub(crate) print_config: bool,

    /// The key that the server must have
    #[arg(long, global = true, value_name = "sha256:HEX", env = "QFS_FINGERPRINT", hide_env_values = true)]
    pub(crate) fingerprint: Option<Fingerprint>,

    /// Trust a server that is not known yet, and record its key; a changed key is refused all the same
    #[arg(long, global = true, env = "QFS_ACCEPT_NEW", hide_env_values = true, value_parser = FalseyValueParser::new(),
        action = ArgAction::SetTrue)]
    pub(crate) accept_new: bool,

    /// What makes a server the right one: `pin`, its key; `system`, a certificate for its name that this machine's authorities vouch for
    #[arg(
        long,
        global = true,
        value_name = "HOW",
        env = "QFS_TLS",
        hide_env_values = true,
        default_value = "pin",
        hide_possible_values = true
    )]
    pub(crate) tls: Tls,

    /// Certificate to show to a server that asks for one, PEM
    #[arg(long, global = true, value_name = "FILE", env = "QFS_CLIENT_CERT", hide_env_values = true)]
    pub(crate) client_cert: Option<PathBuf>,

    /// Its key, PEM; nobody else may be able to read it
    #[arg(long, global = true, value_name = "FILE", env = "QFS_CLIENT_KEY", hide_env_values = true)]
    pub(crate) client_key: Option<PathBuf>,

    /// Where files are put; made if missing
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "QFS_SAVE_DIR",
        hide_env_values = true,
        default_value = "client_env"
    )]
    pub(crate) save_dir: PathBuf,

    /// Fetch N files at once, each on its own stream, instead of one after another [N when bare: 64]
    #[arg(long, global = true, value_name = "N", env = "QFS_PARALLEL", hide_env_values = true, num_args = 0..=1,
        require_equals = true, default_missing_value = BARE_PARALLEL, value_parser = parse_parallel)]
    pub(crate) parallel: Option<NonZeroUsize>,

    /// Use N connections, each further one on a thread of its own: files take turns, and large ones are fetched in stripes over
    /// all of them
    #[arg(long, global = true, value_name = "N", env = "QFS_CONNECTIONS", hide_env_values = true,
        value_parser = parse_connections)]
    pub(crate) connections: Option<NonZeroUsize>,

    /// Replace existing files whose content differs
    #[arg(long, global = true, env = "QFS_OVERWRITE", hide_env_values = true, value_parser = FalseyValueParser::new(),
        action = ArgAction::SetTrue)]
    pub(crate) overwrite: bool,

    /// Copy what files have in common with this file, or with the files below this directory, instead of fetching it (repeatable)
    #[arg(long = "seed", global = true, value_name = "PATH", env = "QFS_SEED", hide_env_values = true,
        action = ArgAction::Append)]
    pub(crate) seeds: Vec<PathBuf>,

    /// Fetch files whole; without it, a file over 1 MiB of which another version is here is put together from that and what changed
    #[arg(long, global = true, env = "QFS_WHOLE", hide_env_values = true, value_parser = FalseyValueParser::new(),
        action = ArgAction::SetTrue, conflicts_with = "seeds")]
    pub(crate) whole: bool,

    /// Compare existing files by digest even where size and modification time agree
    #[arg(long, global = true, env = "QFS_CHECKSUM", hide_env_values = true, value_parser = FalseyValueParser::new(),
        action = ArgAction::SetTrue)]
    pub(crate) checksum: bool,

    /// What digests are made with: `sha256`, or `blake3`, which is several times as fast; lines are those of sha256sum or b3sum
    #[arg(long, global = true, value_name = "KIND", env = "QFS_HASH", hide_env_values = true, default_value = "sha256",
        value_parser = hash_parser())]
    pub(crate) hash: HashKind,

    /// Do not carry over whether files may be executed
    #[arg(long, global = true, env = "QFS_NO_PERMS", hide_env_values = true, value_parser = FalseyValueParser::new(),
        action = ArgAction::SetTrue)]
    pub(crate) no_perms: bool,

    /// Fetch a file that is being appended to as long as it is when it is opened; without it such a file fails
    #[arg(long, global = true, env = "QFS_LIVE", hide_env_values = true, value_parser = FalseyValueParser::new(),
        action = ArgAction::SetTrue)]
    pub(crate) live: bool,

    /// When files count as done: `none`, safe against a killed process; `full`, on stable storage
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        env = "QFS_FSYNC",
        hide_env_values = true,
        default_value = "none",
        hide_possible_values = true
    )]
    pub(crate) fsync: Fsync,

    /// Fetch and store holes as the zeros that they read as; without it, runs of zeros of 64 KiB and more take no room
    #[arg(long, global = true, env = "QFS_NO_SPARSE", hide_env_values = true, value_parser = FalseyValueParser::new(),
        action = ArgAction::SetTrue)]
    pub(crate) no_sparse: bool,

    /// Machine output on stdout, nothing else there
    #[arg(long, global = true, env = "QFS_JSON", hide_env_values = true, value_parser = FalseyValueParser::new(),
        action = ArgAction::SetTrue)]
    pub(crate) json: bool,

    /// How long a lost connection is sought again without a byte of progress
    #[arg(long, global = true, value_name = "TIME", env = "QFS_RETRY_TIMEOUT", hide_env_values = true,
        default_value = "60s", value_parser = parse_duration)]
    pub(crate) retry_timeout: Duration,

    /// How long the first connection may take
    #[arg(long, global = true, value_name = "TIME", env = "QFS_CONNECT_TIMEOUT", hide_env_values = true,
        default_value = "4500ms", value_parser = parse_timeout)]
    pub(crate) connect_timeout: Duration,

    /// Which way to take: `udp`, QUIC; `tcp`, TLS over TCP on the port of the same number; `auto`, UDP, and TCP where that does not get
    /// through
    #[arg(long, global = true, value_name = "WAY", env = "QFS_TRANSPORT", hide_env_values = true, default_value = "auto",
        value_parser = transport_parser())]
    pub(crate) transport: Transport,

    /// Congestion controller for what the client sends over UDP
    #[arg(long, global = true, value_name = "NAME", env = "QFS_CONGESTION", hide_env_values = true,
        default_value = "auto", value_parser = congestion_parser())]
    pub(crate) congestion: Congestion,

    /// Neither keep nor show what servers know of the path, and start slowly each time
    #[arg(long, global = true, env = "QFS_NO_PATH_NOTES", hide_env_values = true, value_parser = FalseyValueParser::new(),
        action = ArgAction::SetTrue)]
    pub(crate) no_path_notes: bool,

    /// Largest UDP payload in bytes, in both directions, 1200 to 6500 [default: what the path carries]
    #[arg(long, global = true, value_name = "N", env = "QFS_MTU", hide_env_values = true,
        value_parser = clap::value_parser!(u16).range(1200..=6500))]
    pub(crate) mtu: Option<u16>,

    /// Say nothing but results and errors
    #[arg(short, long, global = true, env = "QFS_QUIET", hide_env_values = true, value_parser = FalseyValueParser::new(),
        action = ArgAction::SetTrue)]
    pub(crate) quiet: bool,

    /// Say more, on stderr (repeatable; RUST_LOG is honoured)
    #[arg(short, long, global = true, env = "QFS_VERBOSE", hide_env_values = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
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
Each line begins with `ok`, `warning` or `error`. Exit code 3: not reached; 4: not trusted; else 0. It takes some five seconds,
fetches part of the largest file to nowhere, and leaves nothing behind on either side.";

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

/// What makes a server the right one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Tls {
    /// Its key.
    Pin,
    /// A certificate for its name.
    System,
}

/// When a file counts as done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Fsync {
    /// When it stands under its name.
    None,
    /// When it is on stable storage too.
    Full,
}

/// [`DEFAULT_PARALLEL`] as clap wants it.
const BARE_PARALLEL: &str = "64";
const _: () = assert!(DEFAULT_PARALLEL.get() == 64);

fn parse_parallel(text: &str) -> Result<NonZeroUsize, String> {
    parse_count(text, MAX_PARALLEL)
}

fn parse_connections(text: &str) -> Result<NonZeroUsize, String> {
    parse_count(text, MAX_CONNECTIONS)
}

fn parse_count(text: &str, most: usize) -> Result<NonZeroUsize, String> {
    text.parse()
        .ok()
        .filter(|n: &NonZeroUsize| n.get() <= most)
        .ok_or_else(|| format!("expected a number from 1 to {most}"))
}

/// A host as a ticket has it; IPv6 with or without its brackets.
fn parse_host(text: &str) -> Result<String, String> {
    let bracketed = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let bare = bracketed.filter(|inner| inner.contains(':')).unwrap_or(text);
    let server = ServerAddress { host: bare.to_owned(), port: DEFAULT_PORT };
    parse_address(&server.to_string())
        .map(|address| address.host)
        .map_err(|_| "expected an IPv4 or IPv6 address or a host name; the port goes into --port".to_owned())
}

/// `60`, `60s`, `1m`, `1h` or `500ms`.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let milliseconds = match &text[digits.len()..] {
        "ms" => 1,
        "" | "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err("expected a time such as 60, 60s, 500ms, 1m or 1h".to_owned()),
    };
    digits
        .parse::<u32>()
        .ok()
        .filter(|_| digits.bytes().all(|b| b.is_ascii_digit()))
        .map(|n| Duration::from_millis(u64::from(n) * milliseconds))
        .ok_or_else(|| "expected a time such as 60, 60s, 500ms, 1m or 1h".to_owned())
}

/// A time that is not zero: zero never means unlimited, and is no time to connect in.
fn parse_timeout(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        Duration::ZERO => Err("the time must not be zero".to_owned()),
        duration => Ok(duration),
    }
}

fn transport_parser() -> impl clap::builder::TypedValueParser<Value = Transport> {
    let ways = [Way::Udp, Way::Tcp];
    let names = ["auto"].into_iter().chain(ways.map(Way::name));
    PossibleValuesParser::new(names)
        .map(move |name| ways.into_iter().find(|way| way.name() == name).map_or(Transport::Auto, Transport::Only))
}

fn hash_parser() -> impl clap::builder::TypedValueParser<Value = HashKind> {
    PossibleValuesParser::new(HashKind::ALL.map(HashKind::name)).try_map(|name| name.parse::<HashKind>())
}

fn congestion_parser() -> impl clap::builder::TypedValueParser<Value = Congestion> {
    PossibleValuesParser::new(Congestion::ALL.map(Congestion::name)).try_map(|name| name.parse::<Congestion>())
}

#[cfg(test)]
mod tests {
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
    fn times() {
        for (text, milliseconds) in
            [("60", 60_000), ("60s", 60_000), ("1m", 60_000), ("500ms", 500), ("1h", 3_600_000), ("0", 0)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "s", "-1", "+1", "1.5", "1d", "1 s", "é", "99999999999"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        assert!(parse_timeout("0s").is_err());
    }

    #[test]
    fn hosts() {
        for (text, host) in [("::1", "::1"), ("[::1]", "::1"), ("127.0.0.1", "127.0.0.1"), ("LocalHost", "localhost")] {
            assert_eq!(parse_host(text).as_deref(), Ok(host));
        }
        for text in ["", "h:1", "a b", "qfs://h", "[h]", "-h/", "fe80::1%eth0"] {
            assert!(parse_host(text).is_err(), "{text}");
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
