//! Runs the examples of the client's and the server's library together, as the programs that cargo builds of them.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test that panics has failed; directories of the test's own"
)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use qfs_core::model::Ticket;
use qfs_testkit::binaries::{example, without_settings};

/// The server of `embed.rs`; killed when dropped.
struct Embedded {
    child: Child,
    stdout: BufReader<ChildStdout>,
    ticket: String,
}

impl Embedded {
    fn start() -> Self {
        let mut command = Command::new(example("qfs-server", "embed"));
        let mut child = without_settings(&mut command).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let ticket = line.trim_end().to_owned();
        assert!(ticket.parse::<Ticket>().unwrap().fingerprint.is_some(), "{ticket}");
        Self { child, stdout, ticket }
    }

    /// Lets it stop by itself.
    fn stop(mut self) -> String {
        self.child.stdin.take().unwrap().write_all(b"\n").unwrap();
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).unwrap();
        assert!(self.child.wait().unwrap().success());
        rest
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What an example of the client came to.
fn run(name: &str, arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new(example("qfs-client", name));
    let Output { status, stdout, stderr } = without_settings(&mut command).args(arguments).output().unwrap();
    let (out, err) = (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap());
    (status.success(), format!("{out}{err}"))
}

fn is_empty(directory: &Path) -> bool {
    directory.read_dir().unwrap().next().is_none()
}

#[test]
fn what_is_embedded_is_listed_fetched_and_verified() {
    let server = Embedded::start();
    let ticket = server.ticket.as_str();
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().to_str().unwrap();

    let (listed, text) = run("list", &[ticket]);
    assert!(listed && text.contains("     5000000  numbers/zeros.bin\n") && text.ends_with("3 files\n"), "{text}");

    let (verified, text) = run("verify", &[ticket, place]);
    assert!(!verified && text.contains("missing  hello.txt\n") && text.ends_with("3 complaints\n"), "{text}");
    assert!(is_empty(directory.path()), "verify.rs fetches nothing");

    let (fetched, text) = run("fetch", &[ticket, place]);
    assert!(fetched && text.contains("downloaded  numbers/squares.csv\n") && text.contains("100 %\n"), "{text}");
    let hello = directory.path().join("hello.txt");
    assert_eq!(std::fs::read(&hello).unwrap(), b"Hello from memory\n");

    // The server has sent everything, and so knows every digest.
    let (verified, text) = run("verify", &[ticket, place]);
    assert!(verified, "{text}");
    assert_eq!(text, "3 files published, 0 compared by size only, 0 complaints\n");

    std::fs::write(&hello, "Hullo from memory\n").unwrap();
    std::fs::write(directory.path().join("more"), "").unwrap();
    let (verified, text) = run("verify", &[ticket, place]);
    assert!(!verified, "{text}");
    assert!(text.contains("differs  hello.txt\n") && text.contains("extra    more\n"), "{text}");

    let (fetched, text) = run("fetch", &[ticket, place, "hello.txt"]);
    assert!(!fetched && text.contains("hello.txt: "), "a file with other content is not replaced: {text}");

    assert_eq!(server.stop(), "stopped; 0 connections were cut off\n");
}

#[test]
fn a_server_with_another_key_is_refused() {
    let server = Embedded::start();
    let (address, _) = server.ticket.split_once('#').unwrap();
    let (listed, text) = run("list", &[&format!("{address}#sha256:{}", "0".repeat(64))]);
    assert!(!listed && !text.contains("files\n"), "{text}");
    // Without a fingerprint nothing vouches for the server.
    let (listed, text) = run("list", &[address]);
    assert!(!listed && !text.contains("files\n"), "{text}");
}
