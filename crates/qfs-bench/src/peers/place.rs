//! Where a peer is set up: its directory, its addresses, and the two ends it runs on.

use std::ffi::OsString;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::PeerError;
use crate::dataset::DataSet;
use crate::process::{Daemon, Invocation, Supervisor, find_program};
use crate::scenario::{Link, Task};

/// How long a server may take until it listens.
const START_LIMIT: Duration = Duration::from_secs(15);
/// The port used at the end of a link, where nobody else listens.
const LINK_PORT: u16 = 8443;

/// The two ends of the path between server and client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ends {
    /// Address the server listens on.
    pub server_ip: String,
    /// Address the client has.
    pub client_ip: String,
    /// What runs a command at the server's end; empty on loopback.
    pub server_end: Vec<OsString>,
    /// What runs a command at the client's end; empty on loopback.
    pub client_end: Vec<OsString>,
}

impl Ends {
    /// Both ends on this machine.
    #[must_use]
    pub fn loopback() -> Self {
        Self {
            server_ip: "127.0.0.1".to_owned(),
            client_ip: "127.0.0.1".to_owned(),
            server_end: Vec::new(),
            client_end: Vec::new(),
        }
    }

    /// Whether there is a link between them.
    #[must_use]
    pub fn is_link(&self) -> bool {
        !self.client_end.is_empty()
    }
}

/// The programs of this project and what to tell them.
#[derive(Debug, Clone)]
pub struct OursSpec {
    /// `qfs-client`.
    pub client: PathBuf,
    /// `qfs-server`.
    pub server: PathBuf,
    /// `qfs-wan`, for scenarios with a link.
    pub wan: Option<PathBuf>,
    /// Further arguments of the client.
    pub client_args: Vec<OsString>,
    /// Further arguments of the server.
    pub server_args: Vec<OsString>,
    /// Variables meant for the bench alone.
    pub without_env: Vec<OsString>,
}

impl OursSpec {
    /// The same work done by the programs in `directory`, which are of another build.
    #[must_use]
    pub fn built_in(&self, directory: &Path) -> Self {
        Self { client: directory.join("qfs-client"), server: directory.join("qfs-server"), ..self.clone() }
    }
}

/// Everything that a peer needs to set itself up.
#[derive(Debug)]
pub struct Place<'a> {
    /// The supervisor of its processes.
    pub supervisor: &'a Supervisor,
    /// What it serves.
    pub data: &'a DataSet,
    /// An empty directory for its configuration.
    pub home: PathBuf,
    /// What it is going to do. Where that is an upload, copies lie below `home`.
    pub task: Task,
    /// Where it runs.
    pub ends: &'a Ends,
    /// What lies between them, where that is not loopback.
    pub link: Option<Link>,
    /// The congestion control of a TCP server at the end of a link, never left to the machine's default.
    pub tcp: &'static str,
    /// The programs of this project.
    pub ours: &'a OursSpec,
}

impl Place<'_> {
    /// Where the program is.
    pub(super) fn program(&self, name: &'static str) -> Result<PathBuf, PeerError> {
        find_program(name).ok_or(PeerError::Missing(name))
    }

    /// A TCP port nobody uses at the server's end.
    pub(super) fn port(&self) -> Result<u16, PeerError> {
        if self.ends.is_link() {
            return Ok(LINK_PORT);
        }
        Ok(TcpListener::bind((self.ends.server_ip.as_str(), 0))?.local_addr()?.port())
    }

    /// Writes a file of its configuration and returns its path.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<PathBuf, PeerError> {
        let path = self.home.join(name);
        fs::write(&path, text)?;
        Ok(path)
    }

    /// A certificate of the server's address, made for it, and its key: `cert.pem` and `key.pem`.
    pub(super) fn certificate(&self) -> Result<(PathBuf, PathBuf), PeerError> {
        let made = rcgen::generate_simple_self_signed(vec![self.ends.server_ip.clone()]);
        let made = made.map_err(|error| PeerError::Setup(error.to_string()))?;
        Ok((self.write("cert.pem", &made.cert.pem())?, self.write("key.pem", &made.signing_key.serialize_pem())?))
    }

    /// Starts a server at the server's end and waits until it listens on TCP `port`.
    pub(super) fn serve(&self, server: Invocation, port: u16) -> Result<Daemon, PeerError> {
        self.set_congestion()?;
        let mut daemon = Daemon::start(self.supervisor, &server.wrapped(&self.ends.server_end))?;
        let id = daemon.id();
        daemon.wait_until(START_LIMIT, || listens(id, port))?;
        Ok(daemon)
    }

    /// What the report says about TCP: its congestion control, where that matters.
    pub(super) fn tcp_note(&self) -> String {
        if self.ends.is_link() { format!(", TCP {}", self.tcp) } else { String::new() }
    }

    /// Sets the congestion control of the route to the client, and checks that it is set.
    ///
    /// The sysctl is not enough: in a namespace it refuses what the machine does not allow to everybody (EPERM).
    fn set_congestion(&self) -> Result<(), PeerError> {
        const SCRIPT: &str = r#"dev=$(ip -o route get "$1" | sed 's/.* dev \([^ ]*\).*/\1/')
ip route replace "$1" dev "$dev" congctl lock "$2" && ip route show "$1" | grep -q "congctl lock $2""#;
        if !self.ends.is_link() {
            return Ok(());
        }
        self.at_server(Invocation::new("sh").args(["-c", SCRIPT, "sh", &self.ends.client_ip, self.tcp]))
    }

    /// Runs a command at the server's end for its effect.
    fn at_server(&self, command: Invocation) -> Result<(), PeerError> {
        self.finish(command.wrapped(&self.ends.server_end))
    }

    /// Runs a command and waits for its success.
    pub(super) fn finish(&self, command: Invocation) -> Result<(), PeerError> {
        let text = command.to_string();
        let mut daemon = Daemon::start(self.supervisor, &command)?;
        match daemon.finish(START_LIMIT) {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(PeerError::Setup(format!("{text}: {status}: {}", daemon.stderr().trim()))),
            None => Err(PeerError::Setup(format!("{text} does not end"))),
        }
    }

    /// The command at the client's end.
    pub(super) fn at_client(&self, command: Invocation) -> AtClient {
        AtClient { command, end: self.ends.client_end.clone() }
    }

    /// Whether the bench runs as root. Servers must then be told not to become a user who cannot read the data.
    pub(super) fn is_root() -> bool {
        rustix::process::geteuid().is_root()
    }
}

/// The unchanging part of a client's command, to be completed for each run.
#[derive(Debug, Clone)]
pub(super) struct AtClient {
    command: Invocation,
    end: Vec<OsString>,
}

impl AtClient {
    /// The whole command, run in `dir`.
    pub(super) fn with<S: AsRef<std::ffi::OsStr>>(&self, dir: &Path, args: impl IntoIterator<Item = S>) -> Invocation {
        self.command.clone().args(args).wrapped(&self.end).dir(dir)
    }
}

/// Whether somebody listens on `port` in the network namespace of process `id`.
fn listens(id: u32, port: u16) -> bool {
    ["tcp", "tcp6"].iter().any(|table| {
        let table = fs::read_to_string(format!("/proc/{id}/net/{table}")).unwrap_or_default();
        table.lines().any(|line| is_listener(line, port))
    })
}

/// A row of `/proc/net/tcp`: number, local address:port, remote address:port, state (0A: listening).
fn is_listener(line: &str, port: u16) -> bool {
    let fields: Vec<&str> = line.split_ascii_whitespace().take(4).collect();
    matches!(fields[..], [_, local, _, "0A"] if local.ends_with(&format!(":{port:04X}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_of_the_set_up_that_fails_is_no_set_up() {
        let data = DataSet {
            root: PathBuf::new(),
            shape: crate::dataset::Shape { files: 1, file_bytes: 0, directories: 0 },
            contents: Vec::new(),
        };
        let nowhere = PathBuf::from("/nowhere");
        let ours = OursSpec {
            client: nowhere.clone(),
            server: nowhere.clone(),
            wan: None,
            client_args: vec![],
            server_args: vec![],
            without_env: vec![],
        };
        let (supervisor, ends) = (Supervisor::default(), Ends::loopback());
        let place = Place {
            supervisor: &supervisor,
            data: &data,
            home: nowhere,
            task: Task::Fetch,
            ends: &ends,
            link: None,
            tcp: "cubic",
            ours: &ours,
        };
        let shell = |script: &str| place.finish(Invocation::new("sh").args(["-c", script]));
        assert!(shell("exit 0").is_ok());
        assert!(shell("echo refused >&2; exit 1").is_err_and(|error| error.to_string().contains("refused")));
    }

    #[test]
    fn listeners_are_seen() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(listens(std::process::id(), port));
        drop(listener);
        assert!(!listens(std::process::id(), port));
        assert!(!is_listener("  0: 0100007F:1F90 0100007F:0001 01 0:0", 0x1F90));
    }
}
