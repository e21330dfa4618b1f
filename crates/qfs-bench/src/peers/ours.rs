//! qfs itself, set up like any other program.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::{Job, OursSpec, Peer, PeerError, Place, Started};
use crate::BenchError;
use crate::process::{Daemon, Invocation, ProcessError};
use crate::qfs::{Client, Server, ServerSpec};
use crate::scenario::Task;

/// A server of ours and the client for it.
#[derive(Debug)]
pub struct Ours {
    server: Server,
    client: Client,
    end: Vec<OsString>,
    /// Where the client keeps what it knows of servers.
    config: PathBuf,
    /// What the server publishes.
    root: PathBuf,
}

impl Ours {
    /// Sets it up with the programs of `ours`; `more` are arguments for both of them, or for the one that stands in front: `client:ARG`.
    ///
    /// # Errors
    /// When the server does not start.
    pub fn start(place: &Place<'_>, ours: &OursSpec, more: &[&str]) -> Result<Self, PeerError> {
        let root = published(place);
        let server = serve(place, ours, more)?;
        let client = Client {
            program: ours.client.clone(),
            address: server.address(),
            extra: with_more(&ours.client_args, "client", more),
            without_env: ours.without_env.clone(),
        };
        let (end, config) = (place.ends.client_end.clone(), place.home.join("config"));
        Ok(Self { server, client, end, config, root: root.to_owned() })
    }
}

/// What the server publishes.
fn published<'a>(place: &'a Place<'_>) -> &'a Path {
    if place.task.is_upload() { &place.home } else { &place.data.root }
}

/// Starts a server of ours.
pub(super) fn serve(place: &Place<'_>, ours: &OursSpec, more: &[&str]) -> Result<Server, PeerError> {
    let rights: &[OsString] = if place.task.is_upload() { &["--allow".into(), "read,write".into()] } else { &[] };
    let spec = ServerSpec {
        program: ours.server.clone(),
        ip: place.ends.server_ip.clone(),
        port: 0,
        root: published(place).to_owned(),
        extra: with_more(&[&ours.server_args[..], rights].concat(), "server", more),
        without_env: ours.without_env.clone(),
        wrapper: place.ends.server_end.clone(),
    };
    Server::start(place.supervisor, &spec).map_err(|error| match error {
        BenchError::Server(error) => PeerError::Process(error),
        BenchError::Process(ProcessError::Interrupted) => PeerError::Process(ProcessError::Interrupted),
        other => PeerError::Setup(other.to_string()),
    })
}

/// `args`, and those of `more` that are for `end`.
fn with_more(args: &[OsString], end: &str, more: &[&str]) -> Vec<OsString> {
    args.iter().cloned().chain(arguments_of(end, more)).collect()
}

impl Ours {
    /// The name of the destination at the server.
    fn at_server<'a>(&self, job: &Job<'a>) -> &'a Path {
        job.dest.strip_prefix(&self.root).unwrap_or(job.dest)
    }
}

impl Peer for Ours {
    fn about(&self) -> String {
        "qfs: encrypted, the digest of every file verified".to_owned()
    }

    fn command(&self, job: &Job<'_>) -> Invocation {
        let command = match (job.task, job.only_name()) {
            (Task::List, _) => self.client.list(),
            (Task::Update(_), Some(name)) => self.client.get(job.dest, ["--overwrite", &name]),
            (Task::Pull(_), _) => self.client.sync("pull", [job.dest]),
            (Task::Push(_), _) => self.client.sync("push", [&job.data.root, self.at_server(job)]),
            (Task::Put, name) => {
                let file = job.data.root.join(name.unwrap_or_default());
                self.client.put(&file, self.at_server(job))
            }
            (_, Some(name)) => self.client.get(job.dest, [name]),
            (_, None) => self.client.get(job.dest, ["--all", "--parallel"]),
        };
        // Unless that is what is measured, no run profits from the one before.
        let command = match job.task {
            Task::Known => command.env("QFS_CONFIG_DIR", &self.config),
            _ => command.env("QFS_NO_PATH_NOTES", "1"),
        };
        command.wrapped(&self.end)
    }

    fn daemon(&self) -> Option<&Daemon> {
        Some(self.server.daemon())
    }
}

/// Those of `arguments` that one of the programs, `client` or `server`, is given.
fn arguments_of(end: &str, arguments: &[&str]) -> Vec<OsString> {
    let for_it = |argument: &&str| match argument.split_once(':') {
        Some((only @ ("client" | "server"), argument)) => (only == end).then(|| argument.into()),
        _ => Some(OsString::from(argument)),
    };
    arguments.iter().filter_map(for_it).collect()
}

pub(super) fn start_cubic(place: &Place<'_>) -> Started {
    Ok(Box::new(Ours::start(place, place.ours, &["--congestion", "cubic"])?))
}

pub(super) fn start_bbr(place: &Place<'_>) -> Started {
    Ok(Box::new(Ours::start(place, place.ours, &["--congestion", "bbr"])?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_for_both_programs_or_for_one() {
        let arguments = ["--mtu", "1452", "client:--no-sparse", "server:--ip=::1"];
        assert_eq!(arguments_of("client", &arguments), ["--mtu", "1452", "--no-sparse"]);
        assert_eq!(arguments_of("server", &arguments), ["--mtu", "1452", "--ip=::1"]);
    }
}
