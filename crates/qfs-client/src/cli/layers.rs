//! The command line, read on top of the configuration file: which file, which of the servers that it names, and where each value
//! came from.
//!
//! Knows which options say where a server is and what it is shown; what they mean together is settled in [`super::settings`].

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::Resettable;
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command, CommandFactory as _};
use qfs_config::{ConfigFile, Error, Layer, Origin, Place, quote, without_empty_variables};
use qfs_core::model::TicketSet;

use super::args::Args;
use super::choice::{Choice, Patient, is_name};
use super::exit::Exit;
use super::report::Problem;
use super::secret;

const PLACE: Place = Place { name: "client.toml", system: None };

/// The table of the file with servers in it.
const SERVERS: &str = "servers";

/// Options that say where a server is, which key it has, and what it is shown. One who names a server means that server's.
const OF_A_SERVER: [&str; 7] = ["server", "server_file", "ip", "port", "fingerprint", "token_file", "token_command"];

/// Options that say where the server is, each of which can do so without the others.
const ADDRESSES: [&str; 4] = ["server", "server_file", "ip", "port"];

/// A server of the configuration file that was asked for.
pub(crate) struct Named {
    name: String,
    /// Who asked.
    origin: Origin,
    /// What the file has as its `server`.
    pub(crate) tickets: Option<TicketSet>,
}

/// The command line, read.
pub(crate) struct Reading {
    pub(crate) matches: ArgMatches,
    layer: Layer,
    pub(crate) named: Option<Named>,
}

/// Why there is no [`Reading`].
pub(crate) enum Unread {
    /// clap's: an error, or a request for help or the version.
    Clap(Box<clap::Error>),
    /// The file cannot be used.
    Problem(Problem),
}

impl From<clap::Error> for Unread {
    fn from(error: clap::Error) -> Self {
        Self::Clap(Box::new(error))
    }
}

impl From<Error> for Unread {
    fn from(error: Error) -> Self {
        Self::Problem(Problem::new(Exit::Usage, error.to_string()).hint(error.hint()))
    }
}

/// Reads the arguments, the environment and the file.
pub(crate) fn read(args: impl IntoIterator<Item = OsString>) -> Result<Reading, Unread> {
    let args = with_name_as_option(args.into_iter().collect());
    let command = || without_empty_variables(Args::command());
    let given = parse(command(), &args)?;
    refuse_names_among_others(&given)?;
    let named_by = |path: &PathBuf| Some(path.clone());
    let path = given.get_one("config").map_or_else(|| PLACE.find(|name| std::env::var_os(name)), named_by);
    let Some(path) = path else {
        // Nothing lies below the command line: it is not read once more, which costs as much as a small file.
        let layer = Layer::default();
        return match choice(&given, &layer, &[]) {
            None => Ok(Reading { matches: given, layer, named: None }),
            Some((name, _)) => Err(unknown(None, &name)?),
        };
    };
    let file = ConfigFile::read(&path)?;
    let definitions = Args::command();
    let base = base(&file, &definitions)?;
    let Some((name, origin)) = choice(&given, &base, &file.names(SERVERS)?) else {
        let layer = base.beaten_by(&definitions, &given)?;
        return finish(command(), &args, layer, None);
    };
    let (section, tickets) = section(&file, &definitions, &name)?;
    let layer = base.without(&OF_A_SERVER).under(section);
    // A flag or a variable that names a server means all that belongs to it; variables about another one do not count.
    let command = if origin < Origin::Variable { command() } else { without_variables(command(), &OF_A_SERVER[1..]) };
    let layer = layer.beaten_by(&definitions, &given)?;
    finish(command, &args, layer, Some(Named { name, origin, tickets }))
}

/// The names of the servers in the configuration file that a line would have, as far as it is typed; none where the file cannot be used.
pub(crate) fn servers(args: impl IntoIterator<Item = OsString>) -> Vec<String> {
    let given = Args::command().ignore_errors(true).try_get_matches_from(args);
    let named = given.ok().and_then(|given| given.get_one::<PathBuf>("config").cloned());
    let path = named.or_else(|| PLACE.find(|name| std::env::var_os(name)));
    let names = path.and_then(|path| ConfigFile::read(&path).ok()?.names(SERVERS).ok()).unwrap_or_default();
    names.into_iter().filter(|name| is_name(name)).collect()
}

fn finish(command: Command, args: &[OsString], layer: Layer, named: Option<Named>) -> Result<Reading, Unread> {
    match parse(layer.defaults_of(command), args) {
        Ok(matches) => Ok(Reading { matches, layer, named }),
        Err(error) => Err(layer.explain(&error).map_or_else(|| error.into(), Unread::from)),
    }
}

/// `lab: list` is `--server=lab list`; only as the first word, where it cannot be anything else.
fn with_name_as_option(mut args: Vec<OsString>) -> Vec<OsString> {
    let name = args.get(1).and_then(|first| first.to_str()?.strip_suffix(':').filter(|name| is_name(name)));
    if let Some(option) = name.map(|name| format!("--server={name}").into()) {
        args[1] = option;
    }
    args
}

fn parse(command: Command, args: &[OsString]) -> Result<ArgMatches, clap::Error> {
    common_where_named(command, args).try_get_matches_from(args)
}

/// Gives the options that all commands share to those alone whose names are among the words. clap would give them to each command, by
/// a copy of each option, and that is half of what a start of the program executes.
fn common_where_named(command: Command, args: &[OsString]) -> Command {
    let common: Vec<Arg> = command.get_arguments().filter(|arg| arg.is_global_set()).cloned().collect();
    // A word may be the value of an option instead: a command too many does no harm.
    let is_named = |sub: &Command| args.iter().any(|arg| arg == sub.get_name());
    let command = command.mut_args(|arg| arg.global(false));
    command.mut_subcommands(|sub| if is_named(&sub) { sub.args(&common) } else { sub })
}

/// What the file says outside of its servers; these are looked at too, so that a mistake shows before one is needed.
fn base(file: &ConfigFile, definitions: &Command) -> Result<Layer, Unread> {
    let layer = file.layer(definitions, &[SERVERS])?;
    for name in file.names(SERVERS)? {
        section(file, definitions, &name)?;
    }
    if let Some([text]) = layer.words("server")
        && text.parse().is_ok_and(|set: TicketSet| set.tickets().iter().any(|ticket| ticket.token.is_some()))
    {
        secret::refuse_exposed(file.path(), file.mode(), "ticket").map_err(Unread::Problem)?;
    }
    Ok(layer)
}

/// What belongs to a server of the file counts for all that is said: its token, its directory. So it stands alone.
fn refuse_names_among_others(given: &ArgMatches) -> Result<(), Unread> {
    let said: Vec<&Choice> = given.get_many("server").into_iter().flatten().collect();
    let name = said.iter().find_map(|choice| if let Choice::Named(name) = choice { Some(name) } else { None });
    match name {
        Some(name) if said.len() > 1 => {
            let what = format!("{name} is a server of the configuration file, and cannot be used with another one");
            let hint =
                "give tickets to fetch from several servers, or a ticket of several hosts to one name in the file";
            Err(Unread::Problem(Problem::new(Exit::Usage, what).hint(hint)))
        }
        _ => Ok(()),
    }
}

/// Whom `doctor` is to examine, if that is the command and it says so: as strong as a flag.
pub(crate) fn patient(given: &ArgMatches) -> Option<&Patient> {
    given.subcommand_matches("doctor")?.get_one("patient")
}

/// The server that is named by what is strongest of all that says where the server is. The file has these `names`.
fn choice(given: &ArgMatches, base: &Layer, names: &[String]) -> Option<(String, Origin)> {
    match patient(given) {
        Some(Patient::Called(name, ticket)) if ticket.is_none() || names.contains(name) => {
            return Some((name.clone(), Origin::Flag));
        }
        Some(_) => return None,
        None => {}
    }
    let origin = |id: &str| match given.value_source(id) {
        Some(ValueSource::CommandLine) => Origin::Flag,
        Some(ValueSource::EnvVariable) => Origin::Variable,
        _ => Origin::Default,
    };
    let strongest = ADDRESSES.map(origin).into_iter().max()?;
    let said = given.get_many::<Choice>("server").into_iter().flatten();
    let mut names = said.filter_map(|choice| if let Choice::Named(name) = choice { Some(name) } else { None });
    match names.next() {
        Some(name) if origin("server") == strongest => Some((name.clone(), strongest)),
        _ if strongest > Origin::Default => None,
        _ => base.words("server")?.first().filter(|text| is_name(text)).map(|name| (name.clone(), Origin::File(0))),
    }
}

/// What the file says about the server `name`, and its ticket.
fn section(file: &ConfigFile, definitions: &Command, name: &str) -> Result<(Layer, Option<TicketSet>), Unread> {
    let layer = file.section(definitions, SERVERS, name, &[])?;
    let Some(layer) = layer else { return Err(unknown(Some(file), name)?) };
    let ticket = match layer.words("server").and_then(<[String]>::first) {
        None => None,
        Some(text) => Some(text.parse::<TicketSet>().map_err(|why| {
            let hint = "server is a ticket here, qfs://HOST:PORT[#sha256:HEX], as qfs-server prints it";
            layer.refuse("server", &format!("the ticket of {name} cannot be used: {why}"), hint)
        })?),
    };
    if ticket.iter().flat_map(TicketSet::tickets).any(|ticket| ticket.token.is_some()) {
        secret::refuse_exposed(file.path(), file.mode(), "ticket").map_err(Unread::Problem)?;
    }
    let has = |id: &str| layer.words(id).is_some();
    let refuse = |what: &str, hint: &str| Error::in_file(file.path(), file.line_of(SERVERS, name), what, hint);
    if !is_name(name) {
        let hint = "it consists of letters, digits, and within it -, _ and .";
        return Err(refuse(&format!("no server can be called {name:?}"), hint).into());
    }
    let places = [has("server"), has("server_file"), has("ip") || has("port")];
    if places.into_iter().filter(|said| *said).count() != 1 {
        let what = format!(
            "[{SERVERS}.{name}] says in {} ways where the server is",
            if places == [false; 3] { "no" } else { "several" }
        );
        let hint = "it has one of server, server-file, or ip and port";
        return Err(refuse(&what, hint).into());
    }
    Ok((layer, ticket))
}

/// That there is no such server. A text that was meant as a ticket comes here too.
fn unknown(file: Option<&ConfigFile>, name: &str) -> Result<Unread, Unread> {
    let names = file.map(|file| file.names(SERVERS)).transpose()?.unwrap_or_default();
    let what = format!("no server is called {name} in the configuration file");
    let hint = match (names.is_empty(), file) {
        (false, _) => {
            format!("it has {}; a ticket starts with qfs://, and an address goes into --ip", names.join(", "))
        }
        (true, Some(file)) => {
            format!("add [{SERVERS}.{name}] to {}, or give a ticket, qfs://HOST:PORT", file.path().display())
        }
        (true, None) => match PLACE.usual(|name| std::env::var_os(name)) {
            Some(path) => format!("there is none; make {}, or give a ticket, qfs://HOST:PORT", path.display()),
            None => "there is none; name it with --config, or give a ticket, qfs://HOST:PORT".to_owned(),
        },
    };
    Ok(Unread::Problem(Problem::new(Exit::Usage, what).hint(hint)))
}

/// Tickets as people may see them, without their tokens.
fn shown(set: &TicketSet) -> String {
    set.tickets().iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

fn without_variables(command: Command, ids: &[&str]) -> Command {
    ids.iter().fold(command, |command, id| command.mut_arg(id, |arg| arg.env(Resettable::Reset)))
}

impl Reading {
    /// Where the value of an option came from. What belongs to a server that was named came from whoever named it.
    pub(crate) fn origin(&self, id: &str) -> Origin {
        match (self.layer.origin(&self.matches, id), &self.named) {
            (Origin::File(_), Some(named)) if OF_A_SERVER.contains(&id) => named.origin,
            (origin, _) => origin,
        }
    }

    /// Whether the option was given on the command line itself.
    pub(crate) fn is_flag(&self, id: &str) -> bool {
        self.layer.origin(&self.matches, id) == Origin::Flag
    }

    /// Whether the value belongs to the server that was named.
    pub(crate) fn is_of_named(&self, id: &str) -> bool {
        self.named.is_some() && matches!(self.layer.origin(&self.matches, id), Origin::File(_))
    }

    /// All options, as `--print-config` shows them. No token is in it.
    pub(crate) fn show(&self) -> String {
        let mut text = qfs_config::show(&Args::command(), &self.matches, &self.layer, &|long, word| match word
            .parse::<TicketSet>()
        {
            Ok(set) if long == "server" => shown(&set),
            _ => word.to_owned(),
        });
        if let Some(Named { name, tickets: Some(set), .. }) = &self.named {
            text = format!("# {name} is {}\n{text}", shown(set));
        }
        if let Some(Named { name, tickets, .. }) = &self.named {
            // The name means nothing without its table.
            text.push_str(&format!("\n[{SERVERS}.{}]\n", quote(name)));
            for id in OF_A_SERVER {
                let word = self.layer.words(id).and_then(<[String]>::first);
                let word = if id == "server" { tickets.as_ref().map(ToString::to_string) } else { word.cloned() };
                text.extend(word.map(|word| format!("{} = {}\n", id.replace('_', "-"), quote(&word))));
            }
        }
        if std::env::var_os(secret::TOKEN_VARIABLE).is_some_and(|value| !value.is_empty()) {
            text.push_str(&format!("# the variable {} holds a token\n", secret::TOKEN_VARIABLE));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Fails when: an option that all commands share is not known, or not heard, on either side of any command, or help says less.
    #[test]
    fn options_that_all_share_are_the_same_as_if_each_command_had_them() {
        let read = |command: Command, line: &str| {
            let matches = command.try_get_matches_from(line.split(' '));
            matches.map(|matches| format!("{matches:#?}")).map_err(|error| error.to_string())
        };
        let names: Vec<String> = Args::command().get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
        assert!(names.len() > 10, "{names:?}");
        let of_all = names.iter().flat_map(|name| {
            let both = format!("qfs-client --save-dir get {name} --port 7 --quiet");
            [
                format!("qfs-client --port 7 {name} x"),
                both,
                format!("qfs-client {name} --help"),
                format!("qfs-client help {name}"),
            ]
        });
        let others = [
            "",
            "--help",
            "--port 7",
            "trust add --port 7 h:1",
            "--port 7 trust list -v",
            "list --port x",
            "gte --port 7",
        ];
        for line in of_all.chain(others.map(|rest| format!("qfs-client {rest}").trim_end().to_owned())) {
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            assert_eq!(
                read(common_where_named(Args::command(), &words), &line),
                read(Args::command(), &line),
                "{line}"
            );
        }
    }
}
