//! `token create|list|revoke`: works on the file alone; a running server sees it within a second.

use std::process::ExitCode;

use jiff::Timestamp;
use qfs_core::model::{Ticket, escape_untrusted};
use qfs_server::gate::rights::Rights;
use qfs_server::gate::tokens::{Issue, Record, Scope, TokenFile, TokenFileError};

use super::output::{notice, print};
use crate::cli::announce;
use crate::cli::args::{Args, CreateArgs, TokenCommand};
use crate::cli::expiry::Expiry;
use crate::cli::failure::Failure;
use crate::cli::start;

pub(crate) fn run(args: &Args, verb: &TokenCommand) -> Result<ExitCode, Failure> {
    let file = TokenFile::in_directory(&args.certs);
    match verb {
        TokenCommand::Create(create) => make(args, create, &file)?,
        TokenCommand::List { json } => {
            let document = file.read().map_err(|e| refused("cannot list the tokens", &e))?;
            print(&if *json { machine(document.records()) } else { human(document.records(), Timestamp::now()) })?;
        }
        TokenCommand::Revoke { ids } => {
            let unknown = file.revoke(ids).map_err(|e| refused("cannot revoke", &e))?;
            if let [first, ..] = unknown[..] {
                let others = if ids.len() > unknown.len() { "; the others are revoked" } else { "" };
                return Err(Failure::refused(
                    format!("cannot revoke {first}: no token has this id{others}"),
                    "qfs-server token list shows the ids",
                ));
            }
            notice(args, &format!("revoked {}", plural(ids.len(), "token")));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn refused(what: &str, error: &TokenFileError) -> Failure {
    Failure::refused(format!("{what}: {error}"), error.hint())
}

/// Makes a token, and prints it the only time that it is ever shown.
fn make(args: &Args, create: &CreateArgs, file: &TokenFile) -> Result<(), Failure> {
    let expires = create.expires.map(Expiry::time);
    if expires.is_some_and(|time| time <= Timestamp::now()) {
        return Err(Failure::refused(
            "cannot create a token: it would have expired already".to_owned(),
            "--expires takes a time from now on, such as 12h or 7d, or a date to come",
        ));
    }
    let scope = match &create.scope[..] {
        [] => None,
        texts => Some(Scope::parse(texts).map_err(|e| {
            let hint = "--scope takes a name below the published directory or a pattern, such as photos or 'logs/*.gz'";
            Failure::refused(format!("cannot create a token: {e}"), hint)
        })?),
    };
    // Before the token is made: one that could not be printed would be lost.
    let fingerprint = match create.ticket {
        true => Some(start::identity(args)?.0.fingerprint()),
        false => None,
    };
    let issue =
        Issue { expires, scope, can: Some(create.can).filter(|can| *can != Rights::READ), name: create.name.clone() };
    let (token, record) = file.create(issue).map_err(|e| refused("cannot create a token", &e))?;
    print(&match fingerprint {
        Some(fingerprint) => announce::tickets(args.ip, args.port, fingerprint)
            .map(|ticket| Ticket { token: Some(token.clone()), ..ticket }.reveal() + "\n")
            .collect(),
        None => format!("{}\n", token.reveal()),
    })?;
    notice(args, &told(&record));
    Ok(())
}

/// What was made, in a line for a person.
fn told(record: &Record) -> String {
    let until = record.expires.map_or_else(|| "never expires".to_owned(), |time| format!("expires {time}"));
    let reach = record.scope.as_ref().map_or_else(
        || "everything published".to_owned(),
        |scope| scope.texts().map(escape_untrusted).collect::<Vec<_>>().join(" "),
    );
    let can = record.rights();
    format!("note: token {} {until}, may {can} and reaches {reach}; it is shown this once and kept nowhere", record.id)
}

/// One line a token, columns aligned.
fn human(records: &[Record], now: Timestamp) -> String {
    if records.is_empty() {
        return String::new();
    }
    let header = ["ID", "CREATED", "EXPIRES", "NAME", "CAN", "SCOPE"].map(str::to_owned);
    let rows: Vec<[String; 6]> = std::iter::once(header).chain(records.iter().map(|record| row(record, now))).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths = [width(0), width(1), width(2), width(3), width(4)];
    let mut text = String::new();
    for row in &rows {
        let [id, created, expires, name, can, scope] = row;
        let [a, b, c, d, e] = widths;
        text.push_str(&format!("{id:a$}  {created:b$}  {expires:c$}  {name:d$}  {can:e$}  {scope}\n"));
    }
    text
}

fn row(record: &Record, now: Timestamp) -> [String; 6] {
    let expires = match record.expires {
        None => "never".to_owned(),
        Some(_) if record.is_expired(now) => "expired".to_owned(),
        Some(time) => time.to_string(),
    };
    let name = record.name.as_deref().map_or_else(|| "-".to_owned(), escape_untrusted);
    let scope = record.scope.as_ref().map_or_else(
        || "everything".to_owned(),
        |scope| scope.texts().map(escape_untrusted).collect::<Vec<_>>().join(" "),
    );
    [record.id.to_string(), record.created.to_string(), expires, name, record.rights().to_string(), scope]
}

/// One JSON object, id → what is known of the token; nothing of its secret, not even the hash.
fn machine(records: &[Record]) -> String {
    let map: std::collections::BTreeMap<_, _> = records
        .iter()
        .map(|record| {
            let scope = record.scope.as_ref().map(|scope| scope.texts().collect::<Vec<_>>());
            let Record { created, expires, name, .. } = record;
            let value = serde_json::json!({"created": created, "expires": expires, "name": name, "scope": scope,
                "can": record.rights()});
            (record.id.to_string(), value)
        })
        .collect();
    serde_json::to_string(&map).map(|text| text + "\n").unwrap_or_default()
}

fn plural(count: usize, word: &str) -> String {
    if count == 1 { format!("1 {word}") } else { format!("{count} {word}s") }
}
