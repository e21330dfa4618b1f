//! Runs the bench's own binary with a client and a server that are shell scripts.
#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(clippy::disallowed_methods, reason = "tests look at files by path")]
#![allow(dead_code, reason = "each test file uses a part")]

use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

/// Published files, a place to work in, and a socket that listens on a port.
pub(crate) struct World {
    dir: TempDir,
    socket: UdpSocket,
}

impl World {
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for sub in ["root", "work", "cwd"] {
            std::fs::create_dir(dir.path().join(sub)).unwrap();
        }
        for (name, text) in files {
            std::fs::write(dir.path().join("root").join(name), text).unwrap();
        }
        Self { dir, socket: UdpSocket::bind("127.0.0.1:0").unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A port where the bench finds somebody, so that it starts no server.
    pub(crate) fn port(&self) -> String {
        self.socket.local_addr().unwrap().port().to_string()
    }

    /// The bench with the fake client, ready for arguments.
    pub(crate) fn bench(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_qfs-bench"));
        command
            .current_dir(self.path("cwd"))
            .env("FAKE_ROOT", self.path("root"))
            .env("FAKE_PIDS", self.path("pids"))
            .env("QFS_CLIENT_BIN", fake("qfs-client"))
            .env("QFS_SERVER_BIN", fake("qfs-server"))
            .env("QFS_WORK_DIR", self.path("work"));
        command
    }

    /// The bench against the somebody on [`Self::port`].
    pub(crate) fn crowd(&self, n: u16) -> Command {
        let mut command = self.bench();
        command.args(["-n", &n.to_string(), "--port", &self.port()]);
        command
    }

    /// What the bench left in its working place.
    pub(crate) fn left_behind(&self) -> usize {
        std::fs::read_dir(self.path("work")).unwrap().count()
    }

    /// Processes the fakes noted that are alive.
    pub(crate) fn alive(&self) -> usize {
        let noted = std::fs::read_to_string(self.path("pids")).unwrap_or_default();
        noted.lines().filter(|pid| Path::new("/proc").join(pid).exists()).count()
    }
}

pub(crate) fn fake(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fake").join(name)
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub(crate) fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", stderr(output)))
}
