//! `trust`: the store of known servers, by hand.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use qfs_client::config::{ServerAddress, Vouching};
use qfs_client::trust::known_servers::{Change, KnownServersError, Record};
use qfs_client::trust::{Known, TrustError, TrustStore};
use qfs_core::model::{Fingerprint, Ticket};

use crate::cli::args::{ServerKey, TrustCommand};
use crate::cli::connection::{Context, confirm};
use crate::cli::exit::Exit;
use crate::cli::report::{Problem, json, problem};
use crate::cli::settings::Settings;

/// Does what the command says.
pub(crate) async fn run(context: &mut Context, command: &TrustCommand) -> Result<Exit, Problem> {
    match command {
        TrustCommand::List => list(context),
        TrustCommand::Add(server_key) => {
            let (server, key) = settle(context, server_key, "add").await?;
            let change = context.known_servers().add(&server, key).map_err(|e| of_store(&e))?;
            tell(context, &server, key, change);
            Ok(Exit::Done)
        }
        TrustCommand::Replace(server_key) => {
            let server = address(&server_key.server);
            // Known at all? Better said before a key is asked for.
            if context.known_servers().fingerprint(&server).map_err(|e| of_store(&e))?.is_none() {
                return Err(of_store(&KnownServersError::NotKnown { server }));
            }
            let (server, key) = settle(context, server_key, "replace").await?;
            let change = context.known_servers().replace(&server, key).map_err(|e| of_store(&e))?;
            tell(context, &server, key, change);
            Ok(Exit::Done)
        }
        TrustCommand::Remove { server } => {
            let server = address(server);
            let key = context.known_servers().remove(&server).map_err(|e| of_store(&e))?;
            context.screen.notice(&format!("{server} is no longer known; its key was {key}"));
            Ok(Exit::Done)
        }
    }
}

fn list(context: &Context) -> Result<Exit, Problem> {
    let records = context.known_servers().records().map_err(|e| of_store(&e))?;
    let text = if context.settings.json {
        machine(&records)
    } else {
        records.iter().map(|record| format!("{record}\n")).collect()
    };
    // Nobody reading is no failure.
    let _ = context.screen.result(&text);
    Ok(Exit::Done)
}

/// One JSON object, server → key; where keys are announced, `next` (no server is called so: its port is missing) has those.
fn machine(records: &[Record]) -> String {
    let key = |record: &Record| (record.server.to_string(), record.fingerprint.to_string().into());
    let next = |record: &Record| Some((record.server.to_string(), record.next?.to_string().into()));
    let mut map: serde_json::Map<String, serde_json::Value> = records.iter().map(key).collect();
    let announced: serde_json::Map<_, _> = records.iter().filter_map(next).collect();
    if !announced.is_empty() {
        map.insert("next".to_owned(), announced.into());
    }
    format!("{}\n", json::text(&map))
}

fn tell(context: &Context, server: &ServerAddress, key: Fingerprint, change: Change) {
    context.screen.notice(&match change {
        Change::Added => format!("{server} is known now, with the key {key}"),
        Change::AlreadyThere => format!("{server} is known with this key already"),
        Change::Replaced(old) => format!("the key of {server} is {key} now; it was {old}"),
    });
}

/// The server with the key it is to have: from the arguments, or shown by the server and confirmed by a person.
async fn settle(
    context: &mut Context,
    server_key: &ServerKey,
    verb: &str,
) -> Result<(ServerAddress, Fingerprint), Problem> {
    let server = address(&server_key.server);
    let named = [server_key.server.fingerprint, server_key.key, context.settings.connect.pin];
    let mut named = named.into_iter().flatten();
    if let Some(key) = named.next() {
        if named.any(|other| other != key) {
            return Err(Problem::new(Exit::Usage, format!("two different keys are named for {server}"))
                .hint("ask whoever runs the server which of them is right"));
        }
        return Ok((server, key));
    }
    let presented = shown_by(context, &server).await?;
    // --accept-new is about new servers: it never replaces a key.
    if verb == "add" && context.settings.accept_new {
        return Ok((server, presented));
    }
    if !Settings::can_ask() {
        return Err(Problem::new(Exit::Usage, format!("which key is meant must be said: {server} shows {presented}"))
            .hint(format!("if that is the one the server prints: qfs-client trust {verb} {server} {presented}")));
    }
    let question = format!("The server {server} shows the key\n  {presented}\nIs that the fingerprint it prints?");
    let screen = Arc::clone(&context.screen);
    match tokio::task::spawn_blocking(move || confirm(&screen, &question)).await {
        Ok(true) => Ok((server, presented)),
        _ => Err(Problem::new(Exit::Trust, format!("the key of {server} was not confirmed: nothing is changed"))),
    }
}

/// The key that the server proves to hold.
async fn shown_by(context: &mut Context, server: &ServerAddress) -> Result<Fingerprint, Problem> {
    context.settings.connect.server = server.clone();
    // The store is about keys, whoever else vouches for the server.
    context.settings.connect.vouching = Vouching::Key;
    let shown = Arc::new(Shown::default());
    let session = context.connect_with(Arc::clone(&shown) as _).await?;
    session.close().await;
    let key = *shown.0.lock().unwrap_or_else(PoisonError::into_inner);
    key.ok_or_else(|| Problem::new(Exit::Connection, format!("{server} shows no key")))
}

/// Believes nobody for longer than it takes to see their key.
#[derive(Debug, Default)]
struct Shown(Mutex<Option<Fingerprint>>);

impl TrustStore for Shown {
    fn lookup(&self, _: &ServerAddress) -> Result<Option<Known>, TrustError> {
        Ok(None)
    }

    fn announce(&self, _: &ServerAddress, _: Known) -> Result<bool, TrustError> {
        Ok(false)
    }

    fn promote(&self, _: &ServerAddress, _: Fingerprint, _: Fingerprint) -> Result<bool, TrustError> {
        Ok(false)
    }

    fn approve(&self, _: &ServerAddress, _: IpAddr, presented: Fingerprint) -> Result<(), TrustError> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(presented);
        Ok(())
    }
}

fn address(ticket: &Ticket) -> ServerAddress {
    ServerAddress { host: ticket.host.to_ascii_lowercase(), port: ticket.port }
}

fn of_store(error: &KnownServersError) -> Problem {
    problem::of_known_servers(error)
}
