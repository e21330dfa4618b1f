//! The real program under many clients at once: its memory, and how those fare that behave.

#![allow(clippy::print_stdout, reason = "a measurement")]
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may panic, and makes the files it publishes"
)]

mod support;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use qfs_core::body::Answer;
use qfs_core::model::Digest;
use qfs_core::wire::{DownloadRequest, Request};
use qfs_transport::{ClientEndpoint, ClientTuning, Connection, Source, Trust};
use support::{Client, PATIENCE, Tree, head, noise};

struct Program {
    child: Child,
    address: SocketAddr,
}

impl Program {
    fn start(tree: &Tree, flags: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_qfs-server"))
            .current_dir(tree.path())
            .args(["--root", "root", "--port", "0", "--cache-dir", "cache"])
            .args(flags)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.strip_prefix("listening on ").unwrap().trim().parse().unwrap();
        Self { child, address }
    }

    async fn connect(&self, endpoint: &ClientEndpoint) -> Connection {
        let tuning = ClientTuning { receive_window: 1 << 20, ..ClientTuning::default() };
        endpoint.connect(self.address, "localhost", Trust::AnyKey, &tuning, PATIENCE).await.unwrap()
    }

    /// Most memory resident so far, in bytes.
    fn peak(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        let kib: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        kib << 10
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What QUIC keeps for a connection that has sent much, beside file contents: room for ten packets of 6,500 bytes, and
/// its books. Bytes.
const SENDING_BYTES: usize = 128 << 10;

/// A number for a longer run, from the environment.
fn count(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// A reader that takes what its window holds and then nothing.
async fn stall(connection: &Connection, name: &str) -> Answer<Source> {
    let (sink, source) = connection.open_stream().await.unwrap();
    let request = DownloadRequest { filename: name.into(), ..DownloadRequest::default() };
    sink.send_request(Request::Download(request).encode().unwrap()).await.unwrap();
    let mut answer = Answer::new(source);
    head(&mut answer).await.unwrap();
    answer
}

/// Seen to fail with a `Reservation::attach` that hands the bytes back as they are.
#[tokio::test]
async fn readers_that_stand_still_stay_within_the_budget_and_do_not_stop_others() {
    const MIB: usize = 1 << 20;
    let (readers, budget) = (count("QFS_TEST_READERS", 100), count("QFS_TEST_BUDGET_MIB", 16));
    let tree = Tree::new();
    let content = noise(8 * MIB);
    tree.write("root/honest", &content);
    tree.write("root/small", b"x");
    // One for each, since readers of one file share its blocks; all of them holes.
    for n in 0..readers {
        std::fs::File::create(tree.path().join(format!("root/{n}"))).unwrap().set_len(8 * MIB as u64).unwrap();
    }
    let program = Program::start(&tree, &["--buffer-memory", &format!("{budget}M")]);
    let endpoint = ClientEndpoint::bind(program.address.ip(), None).unwrap();
    let honest = Client { connection: program.connect(&endpoint).await, endpoint };
    let alone = Instant::now();
    assert_eq!(honest.get("honest").await.unwrap().digest, Digest::of(&content));
    let (alone, before) = (alone.elapsed(), program.peak());

    let mut connections = Vec::new();
    for _ in 0..readers {
        let connection = program.connect(&honest.endpoint).await;
        // Asks for something, or it would be closed before the last one is there.
        stall(&connection, "small").await;
        connections.push(connection);
    }
    let connected = program.peak();
    let mut stalled = Vec::new();
    for (n, connection) in connections.iter().enumerate() {
        stalled.push(stall(connection, &n.to_string()).await);
    }
    let start = Instant::now();
    assert_eq!(honest.get("honest").await.unwrap().digest, Digest::of(&content));
    let first = start.elapsed();
    let start = Instant::now();
    assert_eq!(honest.get("honest").await.unwrap().digest, Digest::of(&content));
    let second = start.elapsed();
    let peak = program.peak();
    println!(
        "{readers} readers, budget {budget} MiB: peak {} MiB before, {} connected, {} with all; \
         8 MiB alone {alone:?}, beside them {first:?}, then {second:?}",
        before / MIB,
        connected / MIB,
        peak / MIB
    );
    assert!(
        peak - connected <= budget * MIB * 5 / 4 + readers * SENDING_BYTES,
        "{} MiB more",
        (peak - connected) / MIB
    );
}
