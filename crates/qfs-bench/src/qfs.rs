//! The command lines of `qfs-client` and `qfs-server`, and what they print: the contract that scripts rely on.
//!
//! This module knows the programs only from outside.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::{IpAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use tempfile::TempDir;

use crate::BenchError;
use crate::process::{Daemon, Invocation, Supervisor, Usage};
use crate::runner::Finished;

/// How long a server may take until it has printed where it listens.
const START_LIMIT: Duration = Duration::from_secs(15);

/// How the client is told of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// `qfs://HOST:PORT#sha256:HEX`.
    Ticket(String),
    /// Host and port. The client decides whether to trust the server.
    At {
        /// Address or host name.
        host: String,
        /// UDP port.
        port: u16,
    },
}

/// Makes the client's command lines.
#[derive(Debug, Clone)]
pub struct Client {
    /// The program.
    pub program: PathBuf,
    /// The server that it asks.
    pub address: Address,
    /// Arguments put before the command of every call.
    pub extra: Vec<OsString>,
    /// Variables meant for the bench, not for it.
    pub without_env: Vec<OsString>,
}

impl Client {
    /// `list --json`.
    #[must_use]
    pub fn list(&self) -> Invocation {
        self.base().args(["--json", "list"])
    }

    /// `get` to `save_dir`, with a JSON report. `what` contains flags of `get` and names.
    #[must_use]
    pub fn get<S: AsRef<std::ffi::OsStr>>(&self, save_dir: &Path, what: impl IntoIterator<Item = S>) -> Invocation {
        self.base().arg("--save-dir").arg(save_dir).args(["--json", "get"]).args(what)
    }

    /// `pull` or `push`, with a JSON report.
    #[must_use]
    pub fn sync<'a>(&self, verb: &str, places: impl IntoIterator<Item = &'a Path>) -> Invocation {
        places.into_iter().fold(self.base().args(["--json", verb]), |command, place| command.arg(place))
    }

    /// `put` of one file into a directory, with a JSON report.
    #[must_use]
    pub fn put(&self, file: &Path, to: &Path) -> Invocation {
        self.base().args(["--json", "put"]).arg(file).arg("--to").arg(to)
    }

    fn base(&self) -> Invocation {
        let invocation = Invocation::new(&self.program).without_env(&self.without_env);
        let invocation = match &self.address {
            // Everybody on the machine can read arguments.
            Address::Ticket(ticket) if has_token(ticket) => invocation.env("QFS_SERVER", ticket),
            Address::Ticket(ticket) => invocation.args(["--server", ticket]),
            Address::At { host, port } => invocation.args(["--ip", host, "--port", &port.to_string()]),
        };
        invocation.args(&self.extra)
    }
}

/// Whether a ticket contains a token, and so lets in whoever has it.
#[must_use]
pub fn has_token(ticket: &str) -> bool {
    ticket.contains("&token=")
}

/// Size in bytes by name, from `list --json`.
///
/// # Errors
/// When the client failed, or printed something else.
pub fn listing(finished: &Finished) -> Result<BTreeMap<String, u64>, BenchError> {
    #[derive(Deserialize)]
    struct Entry {
        size: u64,
    }
    if let Some(failure) = finished.failure() {
        return Err(BenchError::List(failure));
    }
    let entries: BTreeMap<String, Entry> = serde_json::from_slice(&finished.stdout)
        .map_err(|error| BenchError::List(format!("the client's --json output is not a listing: {error}")))?;
    Ok(entries.into_iter().map(|(name, entry)| (name, entry.size)).collect())
}

/// What `get --json` says about a file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Fetched {
    /// `downloaded`, `resumed`, `unchanged` or `failed`.
    #[serde(default)]
    pub status: String,
    /// The digest that the client computed.
    #[serde(default)]
    pub sha256: Option<String>,
    /// Why it failed.
    #[serde(default)]
    pub error: Option<FetchError>,
}

/// The error of a file, as the client reports it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct FetchError {
    /// `not_found` …
    #[serde(default)]
    pub code: String,
    /// A text for people.
    #[serde(default)]
    pub message: String,
}

/// The first file of a `get --json` report; `None` when the output is none.
#[must_use]
pub fn fetched(stdout: &[u8]) -> Option<Fetched> {
    #[derive(Deserialize)]
    struct Report {
        files: Vec<Fetched>,
    }
    serde_json::from_slice::<Report>(stdout).ok()?.files.into_iter().next()
}

/// A server running for the bench; ends with it.
#[derive(Debug)]
pub struct Server {
    daemon: Daemon,
    ticket: String,
    _certs: TempDir,
}

/// What a server is started with.
#[derive(Debug, Clone)]
pub struct ServerSpec {
    /// The program.
    pub program: PathBuf,
    /// Address to listen on.
    pub ip: String,
    /// Port to listen on; 0 lets the system choose.
    pub port: u16,
    /// The directory it publishes.
    pub root: PathBuf,
    /// Further arguments.
    pub extra: Vec<OsString>,
    /// Variables meant for the bench, not for it.
    pub without_env: Vec<OsString>,
    /// A command that runs the server as its last argument, for instance in a network namespace.
    pub wrapper: Vec<OsString>,
}

impl Server {
    /// Starts it with an identity of its own and waits until it has printed its ticket.
    ///
    /// # Errors
    /// When it cannot be started, or ends before that.
    pub fn start(supervisor: &Supervisor, spec: &ServerSpec) -> Result<Self, BenchError> {
        let certs =
            TempDir::with_prefix("qfs-bench-certs-").map_err(BenchError::local("create", std::env::temp_dir()))?;
        let invocation = Invocation::new(&spec.program)
            .without_env(&spec.without_env)
            .args(["--ip", &spec.ip, "--port", &spec.port.to_string()])
            .arg("--root")
            .arg(&spec.root)
            .arg("--certs")
            .arg(certs.path())
            .args(&spec.extra)
            .wrapped(&spec.wrapper);
        let mut daemon = Daemon::start(supervisor, &invocation).map_err(BenchError::Server)?;
        let is_ticket = |line: &str| line.starts_with("ticket ");
        let lines = daemon.lines_until(START_LIMIT, is_ticket).map_err(BenchError::Server)?;
        let ticket = lines.iter().find_map(|line| line.strip_prefix("ticket ")).unwrap_or_default().trim().to_owned();
        Ok(Self { daemon, ticket, _certs: certs })
    }

    /// How clients reach and recognise it.
    #[must_use]
    pub fn address(&self) -> Address {
        Address::Ticket(self.ticket.clone())
    }

    /// Where browsers and curl find it.
    #[must_use]
    pub fn https(&self) -> Option<String> {
        let place = self.ticket.strip_prefix("qfs://")?;
        Some(format!("https://{}", place.split('#').next()?))
    }

    /// What it has used so far.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.daemon.usage()
    }

    /// The process, for the accounting of daemons of all kinds.
    #[must_use]
    pub fn daemon(&self) -> &Daemon {
        &self.daemon
    }
}

/// Whether `host` is this machine's loopback and nobody listens on `port` there.
#[must_use]
pub fn nobody_listens(host: &str, port: u16) -> bool {
    let address = if host == "localhost" { Ok(IpAddr::from([127, 0, 0, 1])) } else { host.parse::<IpAddr>() };
    // Binding is a reliable test without a time-out: the port is free, or somebody has it.
    address.is_ok_and(|ip| ip.is_loopback() && port != 0 && UdpSocket::bind((ip, port)).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runner::Mock;

    #[test]
    fn command_lines_follow_the_contract() {
        let mut client = Client {
            program: "qfs-client".into(),
            address: Address::At { host: "::1".into(), port: 9 },
            extra: vec!["--accept-new".into()],
            without_env: vec![],
        };
        assert_eq!(client.list().to_string(), "qfs-client --ip ::1 --port 9 --accept-new --json list");
        client.address = Address::Ticket("qfs://h:1".into());
        let get = client.get(Path::new("d"), ["--", "a b"]).to_string();
        assert_eq!(get, "qfs-client --server qfs://h:1 --accept-new --save-dir d --json get -- 'a b'");
        client.address = Address::Ticket("qfs://h:1#sha256:00&token=sesame".into());
        assert!(!client.list().to_string().contains("sesame"), "a secret is no argument");
    }

    #[test]
    fn listings_are_read() {
        let listed = Mock::success(1, r#"{"b":{"size":2,"modified":"x","sha256":null},"a":{"size":1}}"#);
        let sizes: Vec<_> = listing(&listed).unwrap().into_iter().collect();
        assert_eq!(sizes, [("a".to_owned(), 1), ("b".to_owned(), 2)]);
        assert!(listing(&Mock::success(1, "[]")).is_err());
        let refused = Finished { exit: crate::runner::Exit::Code(3), ..Mock::success(1, "{}") };
        assert!(matches!(listing(&refused), Err(BenchError::List(why)) if why == "exit code 3"));
    }

    #[test]
    fn reports_are_read() {
        let text =
            br#"{"files":[{"name":"a","status":"failed","sha256":null,"error":{"code":"not_found","message":"m"}}]}"#;
        assert_eq!(fetched(text).unwrap().error.unwrap().code, "not_found");
        assert_eq!(fetched(b"no json"), None);
    }

    #[test]
    fn a_bound_port_has_somebody() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        assert!(!nobody_listens("127.0.0.1", port));
        drop(socket);
        assert!(nobody_listens("127.0.0.1", port));
        assert!(!nobody_listens("192.0.2.1", port));
        assert!(!nobody_listens("example.org", port));
    }
}
