//! The options that all commands have.

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::FalseyValueParser;
use clap::{ArgAction, ValueEnum};
use qfs_client::config::{DEFAULT_PARALLEL, Transport};
use qfs_core::model::{DEFAULT_PORT, Fingerprint, HashKind};
use qfs_transport::Congestion;

use super::choice::{Choice, ChoiceParser};
use super::parsers::{
    congestion_parser, hash_parser, parse_connections, parse_duration, parse_host, parse_parallel, parse_timeout,
    transport_parser,
};

/// [`DEFAULT_PARALLEL`] as clap wants it.
const BARE_PARALLEL: &str = "64";
const _: () = assert!(DEFAULT_PARALLEL.get() == 64);

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
