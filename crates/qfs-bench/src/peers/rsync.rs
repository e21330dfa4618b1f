//! rsync from its own daemon, unencrypted; the flags shared with rsync over ssh.

use std::path::{Path, PathBuf};

use super::place::AtClient;
use super::{Job, Peer, Place, Started};
use crate::process::{Daemon, Invocation};
use crate::scenario::{Scenario, Task};

#[derive(Debug)]
struct Rsync {
    daemon: Daemon,
    client: AtClient,
    /// What it publishes, or the directory into which files go.
    remote: String,
    /// Where that is.
    root: PathBuf,
    tcp: String,
}

pub(super) fn can(_: &Scenario) -> bool {
    true
}

/// What is carried by something else only fetches.
pub(super) fn can_fetch(scenario: &Scenario) -> bool {
    !scenario.task.is_upload()
}

pub(super) fn start(place: &Place<'_>) -> Started {
    let program = place.program("rsync")?;
    let port = place.port()?;
    let ids = if Place::is_root() { "uid = 0\ngid = 0\n" } else { "" };
    let (root, read_only) = if place.task.is_upload() { (&place.home, "no") } else { (&place.data.root, "yes") };
    let conf = format!(
        "use chroot = no\nreverse lookup = no\nmax connections = 0\n{ids}[data]\npath = {}\nread only = {read_only}\n",
        root.display()
    );
    let conf = place.write("rsyncd.conf", &conf)?;
    let server = Invocation::new(&program)
        .args(["--daemon", "--no-detach", "--address", &place.ends.server_ip, "--port", &port.to_string(), "--config"])
        .arg(conf)
        .arg(format!("--log-file={}", place.home.join("log").display()));
    let daemon = place.serve(server, port)?;
    let remote = format!("rsync://{}:{port}/data/", place.ends.server_ip);
    let client = place.at_client(Invocation::new(program));
    Ok(Box::new(Rsync { daemon, client, remote, root: root.clone(), tcp: place.tcp_note() }))
}

impl Peer for Rsync {
    fn about(&self) -> String {
        format!("rsync from its daemon, not encrypted{}", self.tcp)
    }

    fn command(&self, job: &Job<'_>) -> Invocation {
        if !job.task.is_upload() {
            return complete(&self.client, job, &self.remote);
        }
        let dest = job.dest.strip_prefix(&self.root).unwrap_or(job.dest);
        let from = format!("{}/", job.data.root.display());
        let to = format!("{}{}/", self.remote, dest.display());
        self.client.with(job.dest, ["-a", &from, &to])
    }

    fn daemon(&self) -> Option<&Daemon> {
        Some(&self.daemon)
    }
}

/// The rest of rsync's command line, whatever carries it.
pub(super) fn complete(client: &AtClient, job: &Job<'_>, source: &str) -> Invocation {
    let flags: &[&str] = match job.task {
        Task::Fetch | Task::Known | Task::Again | Task::Update(_) | Task::Pull(_) | Task::Push(_) | Task::Put => {
            &["-a"]
        }
        // Only in-place writing makes a killed rsync leave something from which it can continue.
        Task::Resume => &["-a", "--inplace"],
        Task::List => &["-r", "--list-only"],
    };
    let dest: Option<&Path> = (job.task != Task::List).then_some(Path::new("."));
    let words = flags.iter().map(Path::new).chain([Path::new(source)]).chain(dest);
    client.with(job.dest, words)
}
