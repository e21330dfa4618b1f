//! The flags.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{FalseyValueParser, PossibleValuesParser};
use clap::{ArgAction, Parser, Subcommand, ValueEnum};
use qfs_core::model::DEFAULT_PORT;
use qfs_manual::Manual;
use qfs_server::gate::rights::Rights;
use qfs_server::gate::tokens::TokenId;
use qfs_server::pace::Limit;
use qfs_store::local;
use qfs_transport::Congestion;
use qfs_transport::MAX_ENDPOINTS;

use super::expiry::Expiry;
use super::log_format::LogFormat;
#[cfg(feature = "bucket")]
use super::parsers::cache_disk;
#[cfg(feature = "metrics")]
use super::parsers::metrics_address;
use super::parsers::{age, count, duration, lifetime, memory, size};
use super::sandbox::Sandbox;

const AFTER_HELP: &str = "\
The first signal (SIGTERM, SIGINT) lets running transfers finish and exits 0; a second one ends at once with 130.
Exit code 2: it did not start. Exit code 1: it failed while serving. RUST_LOG is honoured.
A flag beats its variable, and both beat the configuration file, whose keys are the flags' names; --print-config shows what counts.

Example, a directory for everybody who reaches this machine:
  qfs-server --ip 0.0.0.0 --root /srv/data
and on another machine, with the ticket it prints:
  qfs-client --server qfs://192.0.2.7:8000#sha256:... get --all
The same for those who were given a token:
  qfs-server --ip 0.0.0.0 --root /srv/data --auth tokens
  qfs-server --ip 192.0.2.7 token create --name Ann --ticket > ann.ticket
and on Ann's machine:
  qfs-client --server-file ann.ticket get --all";

/// Hands out a directory of files over QUIC.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Address to listen on, IPv4 or IPv6; 0.0.0.0 or :: for all of this machine's
    #[arg(long, global = true, env = "QFS_IP", value_name = "ADDR", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    pub(crate) ip: IpAddr,
    /// UDP port, and TCP port of the same number; 0 for any free one
    #[arg(long, global = true, env = "QFS_PORT", value_name = "N", default_value_t = DEFAULT_PORT)]
    pub(crate) port: u16,
    /// Whether the TCP port is open too, for HTTPS and for clients whose network carries no UDP: on, off
    #[arg(long, env = "QFS_TCP", value_name = "ON|OFF", default_value = "on", hide_possible_values = true)]
    pub(crate) tcp: Switch,
    /// The published directory, or a bucket: s3://BUCKET[/PREFIX], gs://…, az://… (see --root-option)
    #[arg(long, env = "QFS_ROOT", value_name = "DIR", default_value = "server_databases")]
    pub(crate) root: PathBuf,
    /// A setting of the bucket, beside its provider's usual variables such as AWS_ACCESS_KEY_ID (repeatable)
    #[cfg(feature = "bucket")]
    #[arg(long, env = "QFS_ROOT_OPTION", value_name = "KEY=VALUE", value_delimiter = ',')]
    pub(crate) root_option: Vec<String>,
    /// Where uploads are gathered before they go into the bucket [default: spool in the cache directory]
    #[cfg(feature = "bucket")]
    #[arg(long, env = "QFS_SPOOL", value_name = "DIR")]
    pub(crate) spool: Option<PathBuf>,
    /// Keep what was read from the bucket on disk, in the cache directory, up to this (100G; at least 16M, 0 for none)
    #[cfg(feature = "bucket")]
    #[arg(long, env = "QFS_CACHE_DISK", value_name = "SIZE", value_parser = cache_disk)]
    pub(crate) cache_disk: Option<u64>,
    /// Publish names that begin with a dot too
    #[arg(long, env = "QFS_HIDDEN", value_parser = FalseyValueParser::new())]
    pub(crate) hidden: bool,
    /// Symbolic links that are published as what they end at: `none`; `inside`, those that end within the directory; `any`, all
    /// of them, with the sandbox open for reading where they end at the start
    #[arg(long, env = "QFS_FOLLOW_LINKS", value_name = "WHICH", default_value = "none", hide_possible_values = true)]
    pub(crate) follow_links: FollowLinks,
    /// The identity: server.key and server.crt, made on the first start
    #[arg(long, global = true, env = "QFS_CERTS", value_name = "DIR", default_value = "certs")]
    pub(crate) certs: PathBuf,
    /// HTTP for browsers and curl, beside qfs on the same ports (over TCP, and HTTP/3 over UDP): `on` or `off`
    #[cfg(feature = "http")]
    #[arg(long, env = "QFS_HTTP", value_name = "WHEN", default_value = "on", value_parser = ["on", "off"], hide_possible_values = true)]
    http: String,
    /// Tell numbers and health over plain HTTP at this port of loopback, or at this IP:PORT: /metrics, /healthz, /readyz
    #[cfg(feature = "metrics")]
    #[arg(long, env = "QFS_METRICS", value_name = "ADDR", value_parser = metrics_address)]
    pub(crate) metrics: Option<std::net::SocketAddr>,
    /// Tell the local network that this server is there, under NAME or this machine's, for `qfs-client discover` (DNS-SD)
    #[cfg(feature = "announce")]
    #[arg(long, env = "QFS_ANNOUNCE", value_name = "NAME", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub(crate) announce: Option<String>,
    /// Who may list and read: `open`, everybody who reaches the port; `tokens`, who shows one of `token create`
    #[arg(long, env = "QFS_AUTH", value_name = "WHO", default_value = "open", hide_possible_values = true)]
    pub(crate) auth: Auth,
    /// What anybody may do where nothing has to be shown: read, write, delete, with commas between
    #[arg(long, env = "QFS_ALLOW", value_name = "LIST", default_value = "read")]
    pub(crate) allow: Rights,
    /// Take no upload that would leave less free space than this (10G) [default: 1G, or 5 % of a smaller disk]
    #[arg(long, env = "QFS_KEEP_FREE", value_name = "SIZE", value_parser = size)]
    pub(crate) keep_free: Option<u64>,
    /// Take no file larger than this
    #[arg(long, env = "QFS_MAX_UPLOAD", value_name = "SIZE", value_parser = size)]
    pub(crate) max_upload: Option<u64>,
    /// Bytes a second for all clients together: down and up (10M,1M), one for both, off, or by the time of day, the last for the rest
    /// (08:00-18:00=2M,off)
    #[arg(long, env = "QFS_LIMIT", value_name = "RATE[,RATE]", default_value = "off")]
    pub(crate) limit: Limit,
    /// The same for each client
    #[arg(long, env = "QFS_LIMIT_CLIENT", value_name = "RATE[,RATE]", default_value = "off")]
    pub(crate) limit_client: Limit,
    /// Keep what was cut off of an upload for its client for so long (12h, 7d, 4w)
    #[arg(long, env = "QFS_PARTIAL_AGE", value_name = "TIME", default_value = "7d", value_parser = age)]
    pub(crate) partial_age: Duration,
    /// A certificate of your own instead: PEM chain, the server's first; needs --key
    #[arg(long, env = "QFS_CERT", value_name = "FILE")]
    pub(crate) cert: Option<PathBuf>,
    /// Its key, PEM; nobody else may be able to read it
    #[arg(long, env = "QFS_KEY", value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// Let in only clients with a certificate that an authority of this PEM file has signed
    #[arg(long, env = "QFS_CLIENT_CA", value_name = "FILE")]
    pub(crate) client_ca: Option<PathBuf>,
    /// End points on the port, 1 to 64, each a thread for the network; one connection stays at one of them
    /// [default: 1 up to 3 processors, then one for two, at most 8]
    #[arg(long, env = "QFS_ENDPOINTS", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=MAX_ENDPOINTS as i64))]
    endpoints: Option<u16>,
    /// Time for running transfers to finish when told to stop (30, 30s, 500ms, 2m)
    #[arg(long, env = "QFS_DRAIN_TIMEOUT", value_name = "TIME", default_value = "30s", value_parser = duration)]
    pub(crate) drain_timeout: Duration,
    /// A client that takes nothing for this long loses its transfer
    #[arg(long, env = "QFS_STALL_TIMEOUT", value_name = "TIME", default_value = "30s", value_parser = duration)]
    pub(crate) stall_timeout: Duration,
    /// Connections in all
    #[arg(long, env = "QFS_MAX_CONNECTIONS", value_name = "N", default_value = "4096", value_parser = count)]
    pub(crate) max_connections: usize,
    /// Connections from one address (of IPv6: one /64); loopback is exempt
    #[arg(long, env = "QFS_MAX_CONNECTIONS_PER_IP", value_name = "N", default_value = "1024", value_parser = count)]
    pub(crate) max_connections_per_ip: usize,
    /// Memory for file contents on their way, for all clients together (64M, 1G)
    #[arg(long, env = "QFS_BUFFER_MEMORY", value_name = "SIZE", default_value = "256M", value_parser = memory)]
    pub(crate) buffer_memory: usize,
    /// Where digests are remembered between runs [default: qfs in the user's cache directory]
    #[arg(long, env = "QFS_CACHE_DIR", value_name = "DIR")]
    pub(crate) cache_dir: Option<PathBuf>,
    /// Let the kernel (Landlock) deny the server every file it does not need: as far as it can, or not start, or not at all
    #[arg(long, env = "QFS_SANDBOX", value_name = "WHEN", default_value = "auto",
          value_parser = PossibleValuesParser::new(Sandbox::NAMES))]
    sandbox: String,
    /// Congestion controller
    #[arg(long, env = "QFS_CONGESTION", value_name = "NAME", default_value = "auto",
          value_parser = PossibleValuesParser::new(Congestion::ALL.map(Congestion::name)))]
    congestion: String,
    /// Largest UDP payload, bytes, in both directions, 1200 to 6500 [default: as the path carries]
    #[arg(long, env = "QFS_MTU", value_name = "N", value_parser = clap::value_parser!(u16).range(1200..=6500))]
    pub(crate) mtu: Option<u16>,
    /// How a line of the log is written
    #[arg(long, env = "QFS_LOG_FORMAT", value_name = "FORMAT", default_value = "text",
          value_parser = PossibleValuesParser::new(LogFormat::NAMES))]
    log_format: String,
    /// Keep the audit trail in this file, whatever the log shows: connections, commands, refusals
    #[arg(long, env = "QFS_AUDIT_LOG", value_name = "FILE")]
    pub(crate) audit_log: Option<PathBuf>,
    /// Read options from this file instead of server.toml in the user's configuration directory or /etc/qfs/server.toml
    #[arg(long, global = true, env = "QFS_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Print all options with their values and where each came from, and do nothing else
    #[arg(long, global = true, env = "QFS_PRINT_CONFIG", value_parser = FalseyValueParser::new())]
    pub(crate) print_config: bool,
    /// Say nothing but errors
    #[arg(short, long, global = true, env = "QFS_QUIET", conflicts_with = "verbose", value_parser = FalseyValueParser::new())]
    pub(crate) quiet: bool,
    /// Log connections and commands; twice: more
    #[arg(short, long, global = true, env = "QFS_VERBOSE", action = ArgAction::Count)]
    pub(crate) verbose: u8,
    /// What to do instead of serving
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// Which symbolic links are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FollowLinks {
    /// None.
    None,
    /// Those that end within the root.
    Inside,
    /// All.
    Any,
}

impl From<FollowLinks> for local::FollowLinks {
    fn from(follow: FollowLinks) -> Self {
        match follow {
            FollowLinks::None => Self::None,
            FollowLinks::Inside => Self::Inside,
            FollowLinks::Any => Self::Any,
        }
    }
}

/// What is either on or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Switch {
    /// On.
    On,
    /// Off.
    Off,
}

/// Who may read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Auth {
    /// Everybody.
    Open,
    /// Who shows a token.
    Tokens,
}

/// What the program does besides serving.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make, show and revoke the tokens that let clients in under --auth tokens
    #[command(subcommand, after_help = TOKEN_EXAMPLES, arg_required_else_help = false)]
    Token(TokenCommand),
    /// Hand out some files and directories alone, without further ado, until told to stop, for a time, or so many times
    #[command(after_help = SHARE_EXAMPLES)]
    Share(ShareArgs),
    /// Show and renew the key that clients know this server by
    #[command(subcommand, after_help = IDENTITY_EXAMPLES, arg_required_else_help = false)]
    Identity(IdentityCommand),
    #[command(flatten)]
    Manual(Manual),
}

const SHARE_EXAMPLES: &str = "\
Prints a ticket for qfs-client and a link for browsers, on a terminal also as a picture for a telephone. Both have a token in them
that is good for this share alone. It listens at all addresses and any free port, with a key of its own, unless --ip, --port or
--certs say otherwise.

Examples:
  qfs-server share report.pdf
  qfs-server share ~/photos/2026 notes.txt --for 1h
  qfs-server share disk.img --times 1           until it was downloaded once";

/// `share`
#[derive(Debug, clap::Args)]
pub(crate) struct ShareArgs {
    /// Files and directories, from anywhere that you can read; nothing beside them is handed out
    #[arg(value_name = "PATH", required = true)]
    pub(crate) paths: Vec<PathBuf>,
    /// End by itself after this time (90s, 30m, 12h, 7d)
    #[arg(long = "for", env = "QFS_FOR", value_name = "TIME", value_parser = lifetime)]
    pub(crate) time: Option<Duration>,
    /// End by itself when everything was downloaded so many times
    #[arg(long, env = "QFS_TIMES", value_name = "N", value_parser = clap::value_parser!(u32).range(1..1_000_000))]
    pub(crate) times: Option<u32>,
    /// Let everybody in who reaches the port, without a token
    #[arg(long, env = "QFS_OPEN", value_parser = FalseyValueParser::new())]
    pub(crate) open: bool,
}

const IDENTITY_EXAMPLES: &str = "\
Clients that have this server on record learn the next key when they come by, and go on without a question when the server
has it. Who comes by too late, or was given a ticket or a fingerprint, has to be told the new one. A key that was stolen is
not mended so: its thief can announce keys too.

Examples:
  qfs-server identity rotate        make the next key; a running server announces it from now on
  qfs-server identity show
  qfs-server identity activate      some days later; then restart the server
  qfs-server identity withdraw      or have no other key after all";

/// `identity`
#[derive(Debug, Subcommand)]
pub(crate) enum IdentityCommand {
    /// Print the current fingerprint, and the next one where one is pending
    #[command(after_help = IDENTITY_EXAMPLES)]
    Show {
        /// One JSON object: current, next
        #[arg(long, env = "QFS_JSON", value_parser = FalseyValueParser::new())]
        json: bool,
    },
    /// Make the next key and certificate, next.key and next.crt, beside the current ones
    #[command(after_help = IDENTITY_EXAMPLES)]
    Rotate {
        /// In place of one that is pending
        #[arg(long, env = "QFS_REPLACE", value_parser = FalseyValueParser::new())]
        replace: bool,
        /// One JSON object: current, next
        #[arg(long, env = "QFS_JSON", value_parser = FalseyValueParser::new())]
        json: bool,
    },
    /// Remove the next key: a running server announces it no more, and clients that have learnt it forget it when they come by
    #[command(after_help = IDENTITY_EXAMPLES)]
    Withdraw {
        /// One JSON object: current, next, withdrawn
        #[arg(long, env = "QFS_JSON", value_parser = FalseyValueParser::new())]
        json: bool,
    },
    /// Make the next key the current one, from the server's next start on; the old one is gone
    #[command(after_help = IDENTITY_EXAMPLES)]
    Activate {
        /// One JSON object: current, next
        #[arg(long, env = "QFS_JSON", value_parser = FalseyValueParser::new())]
        json: bool,
    },
}

const TOKEN_EXAMPLES: &str = "\
The tokens stand, hashed, in the file `tokens` in --certs. A running server sees a change within a second.

Examples:
  qfs-server token create --name Ann --expires 30d --scope photos --scope 'logs/*.gz' > ann.token
  qfs-server --ip 192.0.2.7 token create --ticket > ann.ticket     the address, the key and the token in one line
  qfs-server token list
  qfs-server token revoke 0b5c1f9e";

/// `token`
#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token and print it, this once
    #[command(after_help = TOKEN_EXAMPLES)]
    Create(CreateArgs),
    /// Show the tokens, without their secrets
    #[command(after_help = TOKEN_EXAMPLES)]
    List {
        /// One JSON object: id -> created, expires, name, scope
        #[arg(long, env = "QFS_JSON", value_parser = FalseyValueParser::new())]
        json: bool,
    },
    /// Forget tokens: who has them is let in no longer
    #[command(after_help = TOKEN_EXAMPLES)]
    Revoke {
        /// Ids, as `token list` shows them
        #[arg(value_name = "ID", required = true)]
        ids: Vec<TokenId>,
    },
}

/// `token create`
#[derive(Debug, clap::Args)]
pub(crate) struct CreateArgs {
    /// Whom or what it is for
    #[arg(long, env = "QFS_NAME", value_name = "TEXT")]
    pub(crate) name: Option<String>,
    /// Until when it is good: 30m, 12h, 7d, 4w; a date, to its end in UTC; or a time such as 2026-12-31T18:00:00Z
    #[arg(long, env = "QFS_EXPIRES", value_name = "TIME")]
    pub(crate) expires: Option<Expiry>,
    /// Reach this file, all below this directory, or what matches this pattern, instead of everything (repeatable)
    #[arg(long, alias = "under", env = "QFS_SCOPE", value_name = "PATTERN")]
    pub(crate) scope: Vec<String>,
    /// What its holder may do: read, write, delete, with commas between
    #[arg(long, env = "QFS_CAN", value_name = "LIST", default_value = "read")]
    pub(crate) can: Rights,
    /// Print tickets with the token for --ip and --port instead of the token alone
    #[arg(long, env = "QFS_TICKET", value_parser = FalseyValueParser::new())]
    pub(crate) ticket: bool,
}

impl Args {
    /// Whether HTTP is served.
    #[cfg(feature = "http")]
    pub(crate) fn http(&self) -> bool {
        self.http == "on"
    }

    /// How a line of the log is written.
    pub(crate) fn log_format(&self) -> LogFormat {
        // Only names of formats get here.
        self.log_format.parse().unwrap_or_default()
    }

    /// Whether the server confines itself.
    pub(crate) fn sandbox(&self) -> Sandbox {
        // Only names of it get here.
        self.sandbox.parse().unwrap_or_default()
    }

    /// End points asked for, or as many as suit the machine.
    pub(crate) fn endpoints(&self) -> usize {
        let processors = || std::thread::available_parallelism().map_or(1, usize::from);
        self.endpoints.map_or_else(|| usual_endpoints(processors()), usize::from)
    }

    /// The congestion controller asked for.
    pub(crate) fn congestion(&self) -> Congestion {
        // Only names of controllers get here.
        self.congestion.parse().unwrap_or_default()
    }
}

/// Half of the processors: the other half read, hash, and run whatever else is there. On up to three, a second end point only
/// takes turns with the first; beyond eight, disks and memory are what is short.
fn usual_endpoints(processors: usize) -> usize {
    if processors <= 3 { 1 } else { (processors / 2).min(8) }
}

#[cfg(test)]
mod tests;
