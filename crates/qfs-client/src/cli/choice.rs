//! Servers as they are said on the command line: tickets, names from the configuration file, addresses.
//!
//! clap would quote the whole text of one that it does not like, and there may be a token in it; this does not.

use std::ffi::OsStr;
use std::str::FromStr;

use clap::builder::TypedValueParser;
use clap::error::ErrorKind;
use clap::{Arg, Command, Error};
use qfs_core::model::{ParseTicketError, Ticket, TicketSet};

/// Longest name of a server in the configuration file, in bytes.
const MAX_NAME_BYTES: usize = 64;

/// What `--server` takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Choice {
    /// Where the servers are, and which keys they have: one of them, or mirrors.
    Tickets(TicketSet),
    /// Which table of the configuration file says so.
    Named(String),
}

impl Choice {
    /// The tickets, if that is what it is.
    pub(crate) fn tickets(&self) -> &[Ticket] {
        match self {
            Self::Tickets(set) => set.tickets(),
            Self::Named(_) => &[],
        }
    }
}

/// Whether a server in the configuration file can be called so on the command line: letters, digits, and within it `-`, `_`, `.`.
pub(crate) fn is_name(text: &str) -> bool {
    let inner = |c: char| c.is_alphanumeric() || "-_.".contains(c);
    text.len() <= MAX_NAME_BYTES && text.starts_with(char::is_alphanumeric) && text.chars().all(inner)
}

/// Reads a [`Choice`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct ChoiceParser;

impl TypedValueParser for ChoiceParser {
    type Value = Choice;

    fn parse_ref(&self, command: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<Choice, Error> {
        match value.to_str() {
            Some(name) if is_name(name) => Ok(Choice::Named(name.to_owned())),
            _ => ticket(command, arg, value, false).map(Choice::Tickets),
        }
    }
}

/// Reads a ticket, or `HOST[:PORT]`, which is one without its `qfs://`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PlaceParser;

impl TypedValueParser for PlaceParser {
    type Value = Ticket;

    fn parse_ref(&self, command: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<Ticket, Error> {
        ticket(command, arg, value, true)
    }
}

/// Whom `doctor` examines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Patient {
    /// A server by its address.
    At(Ticket),
    /// A word that is the name of a server in the configuration file, or else the name of a host; the former alone where there is no
    /// ticket, with a colon behind the name.
    Called(String, Option<Ticket>),
}

impl Patient {
    /// The ticket, if it can be one.
    pub(crate) fn ticket(&self) -> Option<&Ticket> {
        match self {
            Self::At(ticket) => Some(ticket),
            Self::Called(_, ticket) => ticket.as_ref(),
        }
    }
}

/// Reads a [`Patient`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct PatientParser;

impl TypedValueParser for PatientParser {
    type Value = Patient;

    fn parse_ref(&self, command: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<Patient, Error> {
        let text = value.to_str().unwrap_or_default();
        if let Some(name) = text.strip_suffix(':').filter(|name| is_name(name)) {
            return Ok(Patient::Called(name.to_owned(), None));
        }
        let ticket = PlaceParser.parse_ref(command, arg, value)?;
        Ok(if is_name(text) { Patient::Called(text.to_owned(), Some(ticket)) } else { Patient::At(ticket) })
    }
}

fn ticket<T: FromStr<Err = ParseTicketError>>(
    command: &Command,
    arg: Option<&Arg>,
    value: &OsStr,
    may_be_bare: bool,
) -> Result<T, Error> {
    let text = value.to_string_lossy();
    let is_bare = may_be_bare && !text.starts_with("qfs://");
    let parsed: Result<T, _> = if is_bare { format!("qfs://{text}").parse() } else { text.parse() };
    parsed.map_err(|why| {
        let quoted = text.split(['#', '?', '&', '@']).next().unwrap_or_default();
        let rest = if quoted.len() < text.len() { "…" } else { "" };
        let arg = arg.map(ToString::to_string).unwrap_or_default();
        let message = format!("invalid value '{quoted}{rest}' for '{arg}': {why}\n");
        Error::raw(ErrorKind::ValueValidation, message).with_cmd(command)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["lab", "lab-2", "data.example.org", "labör", "a_b"] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "-x", ".x", "a:b", "a/b", "qfs://h", "a b", "a\n", &"x".repeat(65)] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
