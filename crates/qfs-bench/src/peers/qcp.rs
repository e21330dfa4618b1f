//! qcp: QUIC for the bytes, a login by ssh for the rest.

use super::place::AtClient;
use super::{Job, Peer, Place, Started, ssh};
use crate::process::{Daemon, Invocation};
use crate::scenario::{Scenario, Task};

#[derive(Debug)]
struct Qcp {
    daemon: Daemon,
    client: AtClient,
    source: String,
}

pub(super) fn can(scenario: &Scenario) -> bool {
    scenario.task == Task::Fetch && scenario.processes == 1 && scenario.shape.files == 1
}

pub(super) fn start(place: &Place<'_>) -> Started {
    let qcp = place.program("qcp")?;
    place.program("ssh")?;
    let (daemon, config) = ssh::start_sshd(place)?;
    let config = config.display().to_string();
    // It wants to be told of the path, in bytes a second and milliseconds, and its windows are made for that.
    let path = match place.link {
        Some(link) => [format!("--rx={}k", link.rate * 125.0), format!("--rtt={}", 2.0 * link.delay)],
        None => ["--rx=1250M".to_owned(), "--rtt=5".to_owned()],
    };
    let client = Invocation::new(&qcp)
        .args(["--quiet", "--congestion=bbr", "-S", "-F", "-S", &config, "--ssh-config", &config])
        .args(path)
        .arg("--remote-qcp-binary")
        .arg(&qcp);
    let source = format!("{}:{}", ssh::ALIAS, place.data.root.display());
    Ok(Box::new(Qcp { daemon, client: place.at_client(client), source }))
}

impl Peer for Qcp {
    fn about(&self) -> String {
        "qcp, a login by ssh and then QUIC with BBR, told of the path, no checksum".to_owned()
    }

    fn command(&self, job: &Job<'_>) -> Invocation {
        let name = job.only_name().unwrap_or_default();
        self.client.with(job.dest, [format!("{}/{name}", self.source), ".".to_owned()])
    }

    fn daemon(&self) -> Option<&Daemon> {
        Some(&self.daemon)
    }
}
