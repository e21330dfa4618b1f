//! sendme, from one address to another without its relays. It makes a copy of nothing beforehand that would count: its sender takes in
//! the data before a round begins.

use std::time::Duration;

use super::place::AtClient;
use super::{Job, Peer, PeerError, Place, Started};
use crate::process::{Daemon, Invocation};
use crate::scenario::{Scenario, Task};

/// How long it may take until it has read the data set, which it does first.
const START_LIMIT: Duration = Duration::from_secs(120);

#[derive(Debug)]
struct Sendme {
    daemon: Daemon,
    client: AtClient,
}

pub(super) fn can(scenario: &Scenario) -> bool {
    scenario.task == Task::Fetch && scenario.processes == 1
}

pub(super) fn start(place: &Place<'_>) -> Started {
    let program = place.program("sendme")?;
    let flags = ["--relay", "disabled", "--no-progress"];
    let address = format!("{}:{}", place.ends.server_ip, place.port()?);
    let send = Invocation::new(&program)
        .args(["send", "--ticket-type", "addresses", "--magic-ipv4-addr", &address])
        .args(flags)
        .arg(&place.data.root)
        .dir(&place.home);
    let mut daemon = Daemon::start(place.supervisor, &send.wrapped(&place.ends.server_end))?;
    let said = daemon.lines_until(START_LIMIT, |line| ticket(line).is_some())?;
    let ticket = said.iter().find_map(|line| ticket(line));
    let ticket = ticket.ok_or_else(|| PeerError::Setup("it printed no ticket".to_owned()))?;
    // It puts everything into a directory of the name that the sender's has.
    let receive = Invocation::new(program).args(["receive", ticket]).args(flags);
    let script = "\"$@\" >&2 && find . -mindepth 2 -maxdepth 2 -exec mv -t . {} +";
    let client = place.at_client(receive.wrapped(&["sh", "-c", script, "sh"]));
    Ok(Box::new(Sendme { daemon, client }))
}

/// The ticket in a line such as `sendme receive blobab12…`.
fn ticket(line: &str) -> Option<&str> {
    let (before, ticket) = line.trim().rsplit_once(' ')?;
    (before.ends_with("receive") && ticket.starts_with("blob")).then_some(ticket)
}

impl Peer for Sendme {
    fn about(&self) -> String {
        "sendme without a relay, BLAKE3 of every part".to_owned()
    }

    fn command(&self, job: &Job<'_>) -> Invocation {
        self.client.with(job.dest, std::iter::empty::<&str>())
    }

    fn daemon(&self) -> Option<&Daemon> {
        Some(&self.daemon)
    }
}
