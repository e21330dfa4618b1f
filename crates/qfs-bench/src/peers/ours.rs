//! qfs itself, set up like any other program.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::{Job, Peer, PeerError, Place, Started};
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
    /// What the server publishes.
    root: PathBuf,
}

impl Ours {
    /// Sets it up; `both` are arguments for both programs.
    ///
    /// # Errors
    /// When the server does not start.
    pub fn start(place: &Place<'_>, both: &[&str]) -> Result<Self, PeerError> {
        let ours = place.ours;
        let and_both = |args: &[OsString]| args.iter().cloned().chain(both.iter().map(OsString::from)).collect();
        let (root, rights): (_, &[OsString]) = match place.task.is_upload() {
            true => (&place.home, &["--allow".into(), "read,write".into()]),
            false => (&place.data.root, &[]),
        };
        let spec = ServerSpec {
            program: ours.server.clone(),
            ip: place.ends.server_ip.clone(),
            port: 0,
            root: root.clone(),
            extra: and_both(&[&ours.server_args[..], rights].concat()),
            without_env: ours.without_env.clone(),
            wrapper: place.ends.server_end.clone(),
        };
        let server = Server::start(place.supervisor, &spec).map_err(|error| match error {
            BenchError::Server(error) => PeerError::Process(error),
            BenchError::Process(ProcessError::Interrupted) => PeerError::Process(ProcessError::Interrupted),
            other => PeerError::Setup(other.to_string()),
        })?;
        let client = Client {
            program: ours.client.clone(),
            address: server.address(),
            extra: and_both(&ours.client_args),
            without_env: ours.without_env.clone(),
        };
        Ok(Self { server, client, end: place.ends.client_end.clone(), root: root.clone() })
    }
}

impl Ours {
    /// The name of the destination at the server.
    fn at_server<'a>(&self, job: &Job<'a>) -> &'a Path {
        job.dest.strip_prefix(&self.root).unwrap_or(job.dest)
    }
}

impl Peer for Ours {
    fn about(&self) -> String {
        "qfs: encrypted, SHA-256 of every file verified".to_owned()
    }

    fn command(&self, job: &Job<'_>) -> Invocation {
        let command = match (job.task, job.only_name()) {
            (Task::List, _) => self.client.list(),
            (Task::Pull(_), _) => self.client.sync("pull", [job.dest]),
            (Task::Push(_), _) => self.client.sync("push", [&job.data.root, self.at_server(job)]),
            (Task::Put, name) => {
                let file = job.data.root.join(name.unwrap_or_default());
                self.client.put(&file, self.at_server(job))
            }
            (_, Some(name)) => self.client.get(job.dest, [name]),
            (_, None) => self.client.get(job.dest, ["--all", "--parallel"]),
        };
        command.wrapped(&self.end)
    }

    fn daemon(&self) -> Option<&Daemon> {
        Some(self.server.daemon())
    }
}

pub(super) fn start_cubic(place: &Place<'_>) -> Started {
    Ok(Box::new(Ours::start(place, &["--congestion", "cubic"])?))
}

pub(super) fn start_bbr(place: &Place<'_>) -> Started {
    Ok(Box::new(Ours::start(place, &["--congestion", "bbr"])?))
}
