//! The real program, run in a place of its own.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use qfs_core::model::Fingerprint;
use qfs_transport::{ClientEndpoint, ClientTuning, Trust};
use rustix::process::{Pid, Signal, kill_process};

use super::{Client, PATIENCE, Tree, soon};

/// A place for a server: a root, an identity, a cache.
pub(crate) struct Home {
    pub(crate) tree: Tree,
}

impl Home {
    pub(crate) fn new() -> Self {
        let tree = Tree::new();
        tree.write("root/hello.txt", b"hello");
        Self { tree }
    }

    pub(crate) fn path(&self) -> &Path {
        self.tree.path()
    }

    /// The program, on a free port, blind to the environment of whoever runs the tests.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_qfs-server"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("QFS_") || name == "RUST_LOG" {
                command.env_remove(name);
            }
        }
        command
            .current_dir(self.path())
            .env("QFS_PORT", "0")
            .env("XDG_CACHE_HOME", self.path().join("cache"))
            .env("QFS_ROOT", "root")
            .env("QFS_CONFIG_DIR", self.path().join("config"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub(crate) fn start(&self, flags: &[&str]) -> Running {
        Running::start(self.command().args(flags))
    }

    /// Runs it where it should refuse to start: exit code 2, and a line and a hint.
    pub(crate) fn refused(&self, flags: &[&str]) -> String {
        let Output { status, stdout, stderr } = self.command().args(flags).output().unwrap();
        let stderr = String::from_utf8(stderr).unwrap();
        assert_eq!(status.code(), Some(2), "{stderr}");
        assert!(stdout.is_empty(), "nothing was started, nothing is said to be");
        stderr
    }
}

/// A started server and the lines it printed.
pub(crate) struct Running {
    pub(crate) child: Child,
    stdout: BufReader<ChildStdout>,
    pub(crate) lines: Vec<String>,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        Self::try_start(command).unwrap_or_else(|said| panic!("it did not start: {said}"))
    }

    /// As [`Self::start`], or what it said before it ended.
    pub(crate) fn try_start(command: &mut Command) -> Result<Self, String> {
        let mut child = command.spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut lines = Vec::new();
        while !lines.last().is_some_and(|line: &String| line.starts_with("ticket ")) {
            let mut line = String::new();
            if stdout.read_line(&mut line).unwrap() == 0 {
                let mut said = String::new();
                child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
                child.wait().unwrap();
                return Err(said);
            }
            assert_eq!(line.pop(), Some('\n'));
            lines.push(line);
        }
        Ok(Self { child, stdout, lines })
    }

    pub(crate) fn value(&self, key: &str) -> &str {
        self.lines.iter().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')).unwrap()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.value("listening on").parse().unwrap()
    }

    pub(crate) fn fingerprint(&self) -> Fingerprint {
        self.value("fingerprint").parse().unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// How it ends by itself, and what it had said. Clients of this process go on meanwhile.
    pub(crate) async fn ended(mut self) -> (ExitStatus, String, String) {
        let ended = async {
            while self.child.try_wait().unwrap().is_none() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        soon(ended).await;
        let (mut more, mut said) = (String::new(), String::new());
        self.stdout.read_to_string(&mut more).unwrap();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (self.child.wait().unwrap(), more, said)
    }

    pub(crate) async fn stopped(self) -> (ExitStatus, String, String) {
        self.signal(Signal::TERM);
        self.ended().await
    }

    pub(crate) async fn connect(&self, tuning: &ClientTuning) -> Client {
        let address = self.address();
        let endpoint = ClientEndpoint::bind(address.ip(), None).unwrap();
        let trust = Trust::Pinned(self.fingerprint());
        let connection = endpoint.connect(address, "localhost", trust, tuning, PATIENCE).await.unwrap();
        Client { endpoint, connection }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
