//! `discover`: servers of the local network that announce themselves.

use std::time::Duration;

use qfs_client::discovery::{Announced, discover};
use qfs_core::model::escape_untrusted;
use serde_json::{Value, json};

use crate::cli::connection::Context;
use crate::cli::exit::Exit;
use crate::cli::report::{Problem, json};

/// Listens for so long, and prints a line for each: name, address, ticket.
pub(crate) async fn run(context: &Context, time: Duration) -> Result<Exit, Problem> {
    let found = discover(time).await.map_err(|e| {
        Problem::new(Exit::Local, e.to_string()).hint("does this machine's network carry multicast (UDP port 5353)?")
    })?;
    let text = if context.settings.json {
        let servers: Vec<Value> = found.iter().map(machine).collect();
        format!("{}\n", json::text(&json!({ "servers": servers })))
    } else {
        found.iter().map(line).collect()
    };
    // Nobody reading is no failure.
    let _ = context.screen.result(&text);
    context.screen.notice(if found.is_empty() {
        "no server announces itself here; those that do were started with qfs-server --announce"
    } else {
        "anybody on this network can announce any name: compare the fingerprint with whoever runs the server"
    });
    Ok(Exit::Done)
}

fn line(server: &Announced) -> String {
    let name = if server.name.is_empty() { "-".to_owned() } else { escape_untrusted(&server.name) };
    format!("{name}  {}  {}\n", server.address, server.ticket())
}

fn machine(server: &Announced) -> Value {
    json!({
        "name": server.name,
        "address": server.address.to_string(),
        "fingerprint": server.fingerprint.to_string(),
        "ticket": server.ticket().to_string(),
    })
}
