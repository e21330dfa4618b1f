//! What the flags, the variables and the configuration file mean together.

use std::ffi::OsString;
use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::parser::ValueSource;
use clap::{ArgMatches, FromArgMatches as _};
use qfs_client::config::{ConnectConfig, FetchConfig, ServerAddress, Vouching};
use qfs_client::mirrors::MAX_MIRRORS;
use qfs_client::session::{PATHS_FILE_NAME, WAYS_FILE_NAME};
use qfs_client::trust::known_servers::{KnownServers, store_path};
use qfs_config::Origin;
use qfs_core::model::{Fingerprint, Ticket, TicketSet, Token};
use qfs_transport::{ClientTuning, Identity};

use super::args::{Args, Command, TrustCommand};
use super::choice::{Choice, Patient};
use super::exit::Exit;
use super::layers::{self, Reading, Unread};
use super::options::{Fsync, Options, Tls};
use super::report::Problem;
use super::secret;

/// A run as it was asked for, flags and variables settled.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) connect: ConnectConfig,
    /// All servers, that of `connect` first, where there are several.
    pub(crate) mirrors: Vec<ConnectConfig>,
    pub(crate) fetch: FetchConfig,
    pub(crate) save_dir: PathBuf,
    /// Files and directories that what is fetched may have in common with.
    pub(crate) seeds: Vec<PathBuf>,
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
    /// The options were to be shown.
    Shown(String),
}

impl From<clap::Error> for Refusal {
    fn from(error: clap::Error) -> Self {
        Self::Clap(Box::new(error))
    }
}

impl From<Unread> for Refusal {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::Clap(error) => Self::Clap(error),
            Unread::Problem(problem) => Self::Problem(problem),
        }
    }
}

/// Reads arguments, environment and the configuration file. Without `attended` no command is run for a token, which may ask something:
/// there is none then.
pub(crate) fn parse(
    args: impl IntoIterator<Item = OsString>,
    attended: bool,
) -> Result<(Settings, Option<Command>), Refusal> {
    let reading = layers::read(args)?;
    let args = Args::from_arg_matches(&reading.matches)?;
    if args.options.print_config {
        return Err(Refusal::Shown(reading.show()));
    }
    let mut command = args.command;
    settle_all(&mut command, &reading.matches)?;
    let json = args.options.json && (command.is_some() || reading.is_flag("json"));
    if json && command.is_none() {
        return Err(usage("--json needs a command: the menu is a dialogue", "qfs-client --json list"));
    }
    let (tickets, ticket_from) = settle_tickets(&args.options, &reading, command.as_ref())?;
    let shows_a_token = !matches!(command, Some(Command::Trust(TrustCommand::List | TrustCommand::Remove { .. })));
    let with_token = |ticket: Option<&Ticket>| {
        let (server, pin) = settle_server(&args.options, &reading, ticket, ticket_from)?;
        let in_ticket = ticket.and_then(|ticket| ticket.token.clone());
        let token = if shows_a_token { settle_token(&args.options, &reading, in_ticket, attended)? } else { None };
        Ok::<_, Refusal>((server, pin, token))
    };
    let (server, pin, token) = with_token(tickets.first())?;
    let others = tickets.iter().skip(1).map(|ticket| with_token(Some(ticket))).collect::<Result<Vec<_>, _>>()?;
    refuse_several(&others, command.as_ref())?;
    let identity = client_identity(&args.options)?;
    let mut settings = settings(args.options, json, server, pin, token);
    settings.connect.identity = identity;
    if !others.is_empty() {
        let first = settings.connect.clone();
        let config = |(server, pin, token)| ConnectConfig { server, pin, token, ..first.clone() };
        settings.mirrors = std::iter::once(first.clone()).chain(others.into_iter().map(config)).collect();
    }
    Ok((settings, command))
}

/// What is written is written to one server.
fn refuse_several<T>(others: &[T], command: Option<&Command>) -> Result<(), Refusal> {
    let verb = match command {
        Some(Command::Put(_)) => "put",
        Some(Command::Push(_)) => "push",
        Some(Command::Rm(_)) => "rm",
        _ => return Ok(()),
    };
    if others.is_empty() {
        return Ok(());
    }
    Err(usage(
        &format!("{verb} takes one server: what it changes, it changes in one place"),
        "give one --server, and run it again for each of the others",
    ))
}

fn settings(
    options: Options,
    json: bool,
    server: ServerAddress,
    pin: Option<Fingerprint>,
    token: Option<Token>,
) -> Settings {
    let tuning = ClientTuning { congestion: options.congestion, max_payload: options.mtu, ..ClientTuning::default() };
    let known_servers = store_path(|name| std::env::var_os(name));
    Settings {
        connect: ConnectConfig {
            server,
            pin,
            token,
            vouching: match options.tls {
                Tls::Pin => Vouching::Key,
                Tls::System => Vouching::Certificate,
            },
            identity: None,
            transport: options.transport,
            without_udp: known_servers.as_deref().map(|path| path.with_file_name(WAYS_FILE_NAME)),
            hash: options.hash,
            path_notes: (known_servers.as_deref().filter(|_| !options.no_path_notes))
                .map(|path| path.with_file_name(PATHS_FILE_NAME)),
            tuning,
            patience: options.connect_timeout,
            retry_timeout: options.retry_timeout,
        },
        mirrors: Vec::new(),
        fetch: FetchConfig {
            parallel: options.parallel,
            connections: options.connections,
            overwrite: options.overwrite,
            checksum: options.checksum,
            durable: options.fsync == Fsync::Full,
            dense: options.no_sparse,
            perms: !options.no_perms,
            live: options.live,
            whole: options.whole,
            measured: json || options.verbose > 0,
        },
        save_dir: options.save_dir,
        seeds: options.seeds,
        known_servers: KnownServers::at(known_servers),
        accept_new: options.accept_new,
        json,
        quiet: options.quiet,
        verbose: options.verbose,
    }
}

/// Names beat `QFS_ALL` and the file; names and `--all` together are a contradiction.
fn settle_all(command: &mut Option<Command>, matches: &ArgMatches) -> Result<(), Refusal> {
    if let Some(Command::Get(get)) = command
        && get.all
        && !get.names.is_empty()
    {
        let own = matches.subcommand_matches("get");
        if own.is_some_and(|own| own.value_source("all") == Some(ValueSource::CommandLine)) {
            return Err(usage("--all and names cannot be used together", "give the names, or --all alone"));
        }
        get.all = false;
    }
    Ok(())
}

/// Whether the command has a use of its own for standard input: the menu, and `put -`.
fn reads_input(command: Option<&Command>) -> bool {
    match command {
        None => true,
        Some(Command::Put(put)) => put.paths.iter().any(|path| path == Path::new("-")),
        Some(_) => false,
    }
}

/// The tickets, given as such or in a file, and where they come from; none where `--ip` or `--port` is stronger. With a token in it
/// it must not come from the command line, which everybody on the machine can read.
fn settle_tickets(
    options: &Options,
    reading: &Reading,
    command: Option<&Command>,
) -> Result<(Vec<Ticket>, Origin), Refusal> {
    let (text_from, file_from) = (reading.origin("server"), reading.origin("server_file"));
    let trusted = match command {
        Some(Command::Trust(TrustCommand::Add(key) | TrustCommand::Replace(key))) => Some(&key.server),
        Some(Command::Trust(TrustCommand::Remove { server })) => Some(server),
        Some(Command::Doctor(doctor)) => doctor.patient.as_ref().and_then(Patient::ticket),
        _ => None,
    };
    let said = || options.server.iter().flat_map(Choice::tickets);
    let on_line = said().filter(|_| reading.is_flag("server")).chain(trusted);
    if on_line.into_iter().any(|ticket| ticket.token.is_some()) {
        let what =
            "a ticket with a token must not stand on the command line: everybody on this machine can read it there";
        return Err(usage(
            what,
            "put it into QFS_SERVER or a file for --server-file (- is standard input); have this token revoked if others use this machine",
        ));
    }
    if reading.is_flag("server") && reading.is_flag("server_file") {
        return Err(usage("--server cannot be used with --server-file", "give one of them"));
    }
    let patient = layers::patient(&reading.matches);
    if let Some(patient) = patient
        && reading.named.is_none()
    {
        return Ok((patient.ticket().cloned().into_iter().collect(), Origin::Flag));
    }
    let from = text_from.max(file_from);
    let is_weaker = from < reading.origin("ip").max(reading.origin("port"));
    match &options.server_file {
        _ if is_weaker => Ok((Vec::new(), from)),
        Some(path) if file_from > text_from => {
            if path == Path::new("-") && reads_input(command) {
                return Err(usage(
                    "standard input cannot be both the ticket and what is read behind it",
                    "put the ticket into a file for --server-file, or into QFS_SERVER",
                ));
            }
            let set = secret::tickets_from(path).map_err(Refusal::Problem)?;
            Ok((set.into_tickets(), from))
        }
        _ => {
            let mut tickets: Vec<Ticket> = Vec::new();
            // A server that is named twice is one.
            let is_new = |known: &[Ticket], ticket: &Ticket| {
                known.iter().all(|other| (&other.host, other.port) != (&ticket.host, ticket.port))
            };
            let named = reading.named.iter().flat_map(|named| named.tickets.iter().flat_map(TicketSet::tickets));
            for ticket in said().filter(|_| patient.is_none()).chain(named) {
                if is_new(&tickets, ticket) {
                    tickets.push(ticket.clone());
                }
            }
            if tickets.len() > MAX_MIRRORS {
                return Err(usage(&format!("more than {MAX_MIRRORS} servers"), "give fewer of them"));
            }
            Ok((tickets, from))
        }
    }
}

/// What is shown to the server. A flag is the strongest, then the token in the ticket and what belongs to a server that was named,
/// which are for this very server.
fn settle_token(
    options: &Options,
    reading: &Reading,
    in_ticket: Option<Token>,
    attended: bool,
) -> Result<Option<Token>, Refusal> {
    let sources = ["token_file", "token_command"];
    let fetched = || match (&options.token_file, &options.token_command) {
        (Some(path), _) => secret::token_from(path).map(Some).map_err(Refusal::Problem),
        (None, Some(_)) if !attended => Ok(None),
        (None, Some(command)) => secret::token_by(command).map(Some).map_err(Refusal::Problem),
        (None, None) => Ok(None),
    };
    if sources.iter().any(|id| reading.is_flag(id)) {
        return fetched();
    }
    if in_ticket.is_some() {
        return Ok(in_ticket);
    }
    if sources.iter().any(|id| reading.is_of_named(id)) {
        return fetched();
    }
    match secret::token_in(std::env::var_os(secret::TOKEN_VARIABLE)).map_err(Refusal::Problem)? {
        Some(token) => Ok(Some(token)),
        None => fetched(),
    }
}

/// The server and its pin: a ticket, or `--ip` and `--port`; a flag beats variables of the other kind.
fn settle_server(
    options: &Options,
    reading: &Reading,
    ticket: Option<&Ticket>,
    ticket_from: Origin,
) -> Result<(ServerAddress, Option<Fingerprint>), Refusal> {
    let parts_from = reading.origin("ip").max(reading.origin("port"));
    let is_said = reading.is_flag("server") || reading.is_flag("server_file");
    if ticket.is_some() && is_said && parts_from == Origin::Flag {
        return Err(usage("--server cannot be used with --ip or --port", "the ticket has both"));
    }
    let Some(ticket) = ticket else {
        return Ok((ServerAddress { host: options.ip.clone(), port: options.port }, options.fingerprint));
    };
    let server = ServerAddress { host: ticket.host.clone(), port: ticket.port };
    let pin = match (ticket.fingerprint, options.fingerprint) {
        (Some(in_ticket), Some(flag)) if in_ticket != flag => match ticket_from.cmp(&reading.origin("fingerprint")) {
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

/// The certificate to show, where one is named.
fn client_identity(options: &Options) -> Result<Option<Arc<Identity>>, Refusal> {
    match (&options.client_cert, &options.client_key) {
        (None, None) => Ok(None),
        (Some(certificate), Some(key)) => match Identity::from_files(certificate, key) {
            Ok(identity) => Ok(Some(Arc::new(identity))),
            Err(error) => {
                let hint = error.hint();
                Err(Refusal::Problem(Problem::local("cannot use the client certificate", error).hint(hint)))
            }
        },
        (Some(_), None) => Err(usage("--client-cert needs --client-key", "name the file of the certificate's key")),
        (None, Some(_)) => Err(usage("--client-key needs --client-cert", "name the file of the key's certificate")),
    }
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
