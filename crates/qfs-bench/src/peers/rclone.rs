//! rclone from nginx's directory listings, sixteen files at once.

use super::nginx::Nginx;
use super::place::AtClient;
use super::{Job, Peer, Place, Started};
use crate::process::{Daemon, Invocation};
use crate::scenario::{Scenario, Task};

#[derive(Debug)]
struct Rclone {
    nginx: Nginx,
    client: AtClient,
    tcp: String,
}

pub(super) fn can(scenario: &Scenario) -> bool {
    match scenario.task {
        Task::Fetch => scenario.processes == 1,
        Task::Again | Task::List => true,
        Task::Resume | Task::Update(_) | Task::Known | Task::Pull(_) | Task::Push(_) | Task::Put => false,
    }
}

pub(super) fn start(place: &Place<'_>) -> Started {
    let program = place.program("rclone")?;
    let nginx = Nginx::start(place)?;
    let config = place.write("rclone.conf", "")?;
    let rclone = Invocation::new(program).arg("--config").arg(config).arg("--ca-cert").arg(&nginx.certificate).args([
        "--http-url",
        &nginx.url,
        "--transfers",
        "16",
        "--checkers",
        "16",
    ]);
    Ok(Box::new(Rclone { client: place.at_client(rclone), nginx, tcp: place.tcp_note() }))
}

impl Peer for Rclone {
    fn about(&self) -> String {
        format!("rclone from nginx over HTTPS, no checksum{}", self.tcp)
    }

    fn command(&self, job: &Job<'_>) -> Invocation {
        match job.task {
            Task::List => self.client.with(job.dest, ["lsl", ":http:"]),
            _ => self.client.with(job.dest, ["copy", ":http:", "."]),
        }
    }

    fn daemon(&self) -> Option<&Daemon> {
        Some(&self.nginx.daemon)
    }
}
