//! What the flags and variables mean together.

use std::ffi::OsString;
use std::io::{self, IsTerminal as _};
use std::path::PathBuf;

use clap::builder::Resettable;
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _};
use qfs_client::config::{ConnectConfig, FetchConfig, ServerAddress};
use qfs_client::known_servers::{KnownServers, store_path};
use qfs_core::model::Fingerprint;
use qfs_core::transport::ClientTuning;

use super::args::{Args, Command, Fsync, Options};
use super::exit::Exit;
use super::report::Problem;

/// A run as it was asked for, flags and variables settled.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) connect: ConnectConfig,
    pub(crate) fetch: FetchConfig,
    pub(crate) save_dir: PathBuf,
    pub(crate) known_servers: KnownServers,
    pub(crate) accept_new: bool,
    pub(crate) json: bool,
    pub(crate) quiet: bool,
    pub(crate) verbose: u8,
}

/// Why there are no settings.
pub(crate) enum Refusal {
    /// clap's: an error, or a request for help or the version.
    Clap(Box<clap::Error>),
    /// Each value is right, together they are not.
    Problem(Problem),
}

impl From<clap::Error> for Refusal {
    fn from(error: clap::Error) -> Self {
        Self::Clap(Box::new(error))
    }
}

/// Reads arguments and environment.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<(Settings, Option<Command>), Refusal> {
    let matches = without_empty_variables(Args::command()).try_get_matches_from(args)?;
    let args = Args::from_arg_matches(&matches)?;
    let mut command = args.command;
    settle_all(&mut command, &matches)?;
    let json = args.options.json && (command.is_some() || source(&matches, "json") == Origin::Flag);
    if json && command.is_none() {
        return Err(usage("--json needs a command: the menu is a dialogue", "qfs-client --json list"));
    }
    let (server, pin) = settle_server(&args.options, &matches)?;
    Ok((settings(args.options, json, server, pin), command))
}

fn settings(options: Options, json: bool, server: ServerAddress, pin: Option<Fingerprint>) -> Settings {
    let tuning = ClientTuning { congestion: options.congestion, max_payload: options.mtu, ..ClientTuning::default() };
    Settings {
        connect: ConnectConfig {
            server,
            pin,
            tuning,
            patience: options.connect_timeout,
            retry_timeout: options.retry_timeout,
        },
        fetch: FetchConfig {
            parallel: options.parallel,
            connections: options.connections,
            overwrite: options.overwrite,
            checksum: options.checksum,
            durable: options.fsync == Fsync::Full,
        },
        save_dir: options.save_dir,
        known_servers: KnownServers::at(store_path(|name| std::env::var_os(name))),
        accept_new: options.accept_new,
        json,
        quiet: options.quiet,
        verbose: options.verbose,
    }
}

/// Where a value comes from, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Origin {
    Default,
    Variable,
    Flag,
}

fn source(matches: &ArgMatches, flag: &str) -> Origin {
    match matches.value_source(flag) {
        Some(ValueSource::CommandLine) => Origin::Flag,
        Some(ValueSource::EnvVariable) => Origin::Variable,
        _ => Origin::Default,
    }
}

/// A variable that is set to nothing counts as not set, as elsewhere.
fn without_empty_variables(command: clap::Command) -> clap::Command {
    command
        .mut_args(|arg| {
            let is_empty = |name| std::env::var_os(name).is_some_and(|value: OsString| value.is_empty());
            if arg.get_env().is_some_and(is_empty) { arg.env(Resettable::Reset) } else { arg }
        })
        .mut_subcommands(without_empty_variables)
}

/// Names beat `QFS_ALL`; names and `--all` together are a contradiction.
fn settle_all(command: &mut Option<Command>, matches: &ArgMatches) -> Result<(), Refusal> {
    if let Some(Command::Get(get)) = command
        && get.all
        && !get.names.is_empty()
    {
        let own = matches.subcommand_matches("get");
        if own.is_some_and(|own| source(own, "all") == Origin::Flag) {
            return Err(usage("--all and names cannot be used together", "give the names, or --all alone"));
        }
        get.all = false;
    }
    Ok(())
}

/// The server and its pin: a ticket, or `--ip` and `--port`; a flag beats variables of the other kind.
fn settle_server(options: &Options, matches: &ArgMatches) -> Result<(ServerAddress, Option<Fingerprint>), Refusal> {
    let ticket_from = source(matches, "server");
    let parts_from = source(matches, "ip").max(source(matches, "port"));
    if ticket_from == Origin::Flag && parts_from == Origin::Flag {
        return Err(usage("--server cannot be used with --ip or --port", "the ticket has both"));
    }
    let ticket = options.server.as_ref().filter(|_| ticket_from >= parts_from);
    let Some(ticket) = ticket else {
        return Ok((ServerAddress { host: options.ip.clone(), port: options.port }, options.fingerprint));
    };
    let server = ServerAddress { host: ticket.host.clone(), port: ticket.port };
    let pin = match (ticket.fingerprint, options.fingerprint) {
        (Some(in_ticket), Some(flag)) if in_ticket != flag => match ticket_from.cmp(&source(matches, "fingerprint")) {
            std::cmp::Ordering::Less => flag,
            std::cmp::Ordering::Greater => in_ticket,
            std::cmp::Ordering::Equal => {
                let what = "the ticket and --fingerprint name different keys";
                return Err(usage(what, "ask whoever runs the server which of them is right"));
            }
        },
        (in_ticket, flag) => match in_ticket.or(flag) {
            Some(pin) => pin,
            None => return Ok((server, None)),
        },
    };
    Ok((server, Some(pin)))
}

fn usage(what: &str, hint: &str) -> Refusal {
    Refusal::Problem(Problem::new(Exit::Usage, what).hint(hint))
}

impl Settings {
    /// Whether a person can be asked: they can answer, and see what they answer to.
    pub(crate) fn can_ask() -> bool {
        io::stdin().is_terminal() && io::stderr().is_terminal()
    }
}
