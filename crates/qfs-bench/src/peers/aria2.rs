//! aria2c from nginx, with several connections per file over a link and one on loopback.

use super::nginx::Nginx;
use super::place::AtClient;
use super::{Job, Peer, Place, Started};
use crate::process::{Daemon, Invocation};
use crate::scenario::{Scenario, Task};

#[derive(Debug)]
struct Aria2 {
    nginx: Nginx,
    client: AtClient,
    connections: &'static str,
    tcp: String,
}

/// It takes part with one file only, because with thousands of small files it takes minutes and adds no insight.
pub(super) fn can(scenario: &Scenario) -> bool {
    scenario.shape.files == 1 && matches!(scenario.task, Task::Fetch | Task::Resume)
}

pub(super) fn start(place: &Place<'_>) -> Started {
    let program = place.program("aria2c")?;
    let nginx = Nginx::start(place)?;
    let connections = if place.ends.is_link() { "16" } else { "1" };
    let flags = ["--no-conf", "--quiet", "--file-allocation=none", "--continue", "--min-split-size=1M"];
    let aria2 = Invocation::new(program)
        .args(flags)
        .arg(format!("--ca-certificate={}", nginx.certificate.display()))
        .arg(format!("--max-connection-per-server={connections}"))
        .arg(format!("--split={connections}"));
    let aria2 = aria2.arg(format!("{}/{}", nginx.url, place.data.shape.name(0)));
    Ok(Box::new(Aria2 { client: place.at_client(aria2), nginx, connections, tcp: place.tcp_note() }))
}

impl Peer for Aria2 {
    fn about(&self) -> String {
        format!("aria2c from nginx over HTTPS, connections a file: {}, no checksum{}", self.connections, self.tcp)
    }

    fn command(&self, job: &Job<'_>) -> Invocation {
        self.client.with(job.dest, std::iter::empty::<&str>())
    }

    fn daemon(&self) -> Option<&Daemon> {
        Some(&self.nginx.daemon)
    }
}
