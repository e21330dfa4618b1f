//! A place for one conversation: what is served, whom the server knows, and where the client saves.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use qfs_testkit::binaries::{ServerOptions, ServerProcess, client_bin, server_bin, without_settings};
use qfs_transport::{Identity, IdentityPem};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::format::{Part, Token};
use crate::quic::PATIENCE;

/// Bytes on disk that show that a client has kept something of what it received.
const KEPT_BYTES: u64 = 1 << 20;

/// Wait between two looks at what a client has on disk.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

pub(crate) struct Lab {
    place: TempDir,
}

/// What a run of the client came to.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) exit: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Lab {
    pub(crate) fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        for directory in ["root", "saved", "config"] {
            std::fs::create_dir(place.path().join(directory)).unwrap();
        }
        Self { place }
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.place.path().join("root")
    }

    /// The server's identity and tokens.
    pub(crate) fn certs(&self) -> PathBuf {
        self.place.path().join("certs")
    }

    /// Where the client puts files.
    pub(crate) fn saved(&self) -> PathBuf {
        self.place.path().join("saved")
    }

    /// The client's store of known servers.
    pub(crate) fn known_servers(&self) -> PathBuf {
        self.place.path().join("config/known_servers")
    }

    /// A server on a free port.
    pub(crate) fn serve(&self, args: &[String]) -> ServerProcess {
        let (root, certs) = (self.root(), self.certs());
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        ServerProcess::start_with(&ServerOptions { certs: Some(&certs), args: &args, ..ServerOptions::new(&root) })
    }

    /// Makes an identity where no server has made one; returns its key.
    pub(crate) fn make_identity(&self) -> String {
        let pem = IdentityPem::generate().unwrap();
        std::fs::create_dir(self.certs()).unwrap();
        std::fs::write(self.certs().join("server.key"), &pem.key).unwrap();
        std::fs::write(self.certs().join("server.crt"), &pem.certificate).unwrap();
        Identity::from_pem(pem.key.as_bytes(), pem.certificate.as_bytes()).unwrap().fingerprint().to_string()
    }

    /// Has the server's program make a token.
    pub(crate) fn make_token(&self, name: &str, args: &[String]) -> Token {
        let mut all = vec!["token".to_owned(), "create".to_owned(), "--name".to_owned(), name.to_owned()];
        all.extend_from_slice(args);
        let secret = self.ask_server(&all);
        Token { name: name.to_owned(), secret: secret.trim().to_owned(), args: args.to_vec() }
    }

    /// Has the server's program make the next key; returns its fingerprint.
    pub(crate) fn rotate(&self, key: &str) -> String {
        self.ask_server(&["identity".to_owned(), "rotate".to_owned()]);
        let shown = self.ask_server(&["identity".to_owned(), "show".to_owned()]);
        let next = shown.split_ascii_whitespace().find(|word| word.starts_with("sha256:") && *word != key);
        next.unwrap_or_else(|| panic!("no next key in {shown:?}")).to_owned()
    }

    fn ask_server(&self, args: &[String]) -> String {
        let mut command = Command::new(server_bin());
        let output = without_settings(&mut command).args(args).arg("--certs").arg(self.certs()).output().unwrap();
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs the client of `part` against `server`, whose key is `key`.
    pub(crate) async fn run(&self, part: &Part, server: SocketAddr, key: &str, secret: Option<&str>) -> Done {
        let mut command = Command::new(client_bin());
        without_settings(&mut command).args(part.run.iter().flatten());
        if part.known {
            std::fs::write(self.known_servers(), format!("{server} {key}\n")).unwrap();
            command.args(["--ip", &server.ip().to_string(), "--port", &server.port().to_string()]);
        } else {
            command.args(["--server", &format!("qfs://{server}#{key}")]);
        }
        if let Some(secret) = secret {
            command.env("QFS_TOKEN", secret);
        }
        command.current_dir(self.place.path()).env("QFS_CONFIG_DIR", self.place.path().join("config")).env("TZ", "UTC");
        if part.run.as_ref().is_some_and(|args| args[0] == "get") {
            command.arg("--save-dir").arg(self.saved());
        }
        finish(command).await
    }

    /// Waits until the client has kept some of what it was sent.
    pub(crate) async fn has_kept_some(&self) {
        crate::quic::soon("the client to write", async {
            while kept(&self.saved()) < KEPT_BYTES {
                tokio::time::sleep(LOOK_INTERVAL).await;
            }
        })
        .await;
    }
}

/// Bytes on disk below `directory`.
fn kept(directory: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let entries = directory.read_dir().into_iter().flatten().flatten();
    entries.map(|entry| entry.metadata().map_or(0, |meta| meta.blocks() * 512)).sum()
}

async fn finish(mut command: Command) -> Done {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let pid = Pid::from_child(&child);
    let ended = tokio::task::spawn_blocking(move || child.wait_with_output());
    let watchdog = tokio::spawn(async move {
        tokio::time::sleep(PATIENCE).await;
        // Nobody has waited for it yet, so the number is still its own.
        let _ = kill_process(pid, Signal::KILL);
    });
    let Output { status, stdout, stderr } = ended.await.unwrap().unwrap();
    watchdog.abort();
    Done {
        exit: status.code(),
        stdout: String::from_utf8(stdout).unwrap(),
        stderr: String::from_utf8_lossy(&stderr).into_owned(),
    }
}
