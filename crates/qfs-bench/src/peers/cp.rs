//! cp on the same disk: an upper bound that no program that checks or encrypts can reach.

use super::place::AtClient;
use super::{Job, Peer, Place, Started};
use crate::process::{Daemon, Invocation};
use crate::scenario::{Scenario, Task};

#[derive(Debug)]
struct Cp {
    client: AtClient,
    source: String,
}

pub(super) fn can(scenario: &Scenario) -> bool {
    scenario.link.is_none() && matches!(scenario.task, Task::Fetch | Task::Again)
}

pub(super) fn start(place: &Place<'_>) -> Started {
    let client = place.at_client(Invocation::new(place.program("cp")?));
    Ok(Box::new(Cp { client, source: format!("{}/.", place.data.root.display()) }))
}

impl Peer for Cp {
    fn about(&self) -> String {
        "cp from the same file system: no network, no checksum, no encryption".to_owned()
    }

    fn command(&self, job: &Job<'_>) -> Invocation {
        let flags = if job.task == Task::Again { "-ru" } else { "-r" };
        self.client.with(job.dest, [flags, &self.source, "."])
    }

    fn daemon(&self) -> Option<&Daemon> {
        None
    }
}
