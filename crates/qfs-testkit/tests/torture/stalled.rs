//! Readers that take nothing: what they cost the server, and what they leave to others.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use qfs_core::body::Answer;
use qfs_core::wire::{DownloadRequest, Request, StatusCode};
use qfs_transport::{ClientEndpoint, ClientTuning, Source};
use tokio::sync::Semaphore;

use crate::crowd::{Client, HANDSHAKES, memory, runtime};
use crate::lab::{Lab, noise, wait_until};
use crate::tally::{Tally, count, seed};

/// What a stalled reader takes before it stalls, in bytes: nearly all stays with the server.
const WINDOW: u64 = 32 << 10;

/// How often those ask anew that do not wait to be cut off.
const ANEW: Duration = Duration::from_secs(2);

/// Readers that stall, on a thread of their own, until dropped.
struct Stalled {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Stalled {
    /// Has `total` of them at `server`, each with the file of its number, and waits until all have asked. The server cuts off
    /// those who take nothing, sooner the less memory is left; with `again` they do not wait for it.
    fn start(server: SocketAddr, total: u64, again: bool) -> Self {
        let (stop, all) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (stopped, asked) = (Arc::clone(&stop), Arc::clone(&all));
        let thread = std::thread::spawn(move || runtime().block_on(stall(server, total, again, &stopped, &asked)));
        wait_until("the readers", || all.load(Ordering::Relaxed) || thread.is_finished());
        Self { stop, thread: Some(thread) }
    }

    /// Ends them; panics when one of them could not go on.
    fn end(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

impl Drop for Stalled {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

async fn stall(server: SocketAddr, total: u64, again: bool, stop: &AtomicBool, all: &AtomicBool) {
    let endpoint = Arc::new(ClientEndpoint::bind(server.ip(), None).unwrap());
    let tuning = ClientTuning { receive_window: WINDOW, ..ClientTuning::default() };
    let turn = Semaphore::new(HANDSHAKES);
    let mut readers = Vec::new();
    for n in 0..total {
        let client = Client::connect_with(server, &tuning, &endpoint, &turn).await;
        let answer = ask(&client, n).await;
        readers.push((client, answer));
    }
    all.store(true, Ordering::Relaxed);
    while !stop.load(Ordering::Relaxed) {
        tokio::time::sleep(ANEW).await;
        for (n, (client, answer)) in readers.iter_mut().enumerate().filter(|_| again) {
            std::mem::replace(answer, ask(client, n as u64).await).stop();
        }
    }
    readers.iter().for_each(|(client, _)| client.connection.close(StatusCode::OK));
}

async fn ask(client: &Client, n: u64) -> Answer<Source> {
    let request = DownloadRequest { filename: format!("bait/{n}"), ..DownloadRequest::default() };
    client.ask(&Request::Download(request)).await
}

/// A server with `large`, and a file for each of `readers`, since readers of one file share its blocks; those are holes.
fn lab(readers: u64, large: &[u8], args: &[&str]) -> Lab {
    let mut lab = Lab::new();
    lab.publish("large", large);
    for n in 0..readers {
        lab.publish(&format!("bait/{n}"), b"");
        let bait = std::fs::File::options().write(true).open(lab.root().join(format!("bait/{n}"))).unwrap();
        bait.set_len(8 << 20).unwrap();
    }
    lab.start_with(args);
    lab
}

/// Promise: stalled readers cost the server its budget and a quarter at most, what QUIC keeps for them included.
///
/// Fails when: what was handed to QUIC and not yet acknowledged is not counted, or what a connection costs is not
/// (`Budget`); the send window has no bound.
#[test]
fn readers_that_take_nothing() {
    let total = count("stalled", 50);
    let content = noise(seed() ^ 13, 4 << 20);
    // A budget that the readers exceed, so that it is what holds them.
    let budget_mib = (total / 4).clamp(16, 256);
    let lab = lab(total, &content, &["--buffer-memory", &format!("{budget_mib}M")]);
    let (before, _) = memory(lab.server().id());
    let stalled = Stalled::start(lab.address(), total, true);
    // An honest client is still served.
    lab.run(&["get", "large", "--json"]).ends_with(0);
    assert!(lab.saved_file("large").as_deref() == Some(&content[..]));
    stalled.end();
    let (_, most) = memory(lab.server().id());
    let grown = (most - before) >> 10;
    let allowed = (budget_mib * 5 / 4).max(budget_mib + 16);
    assert!(grown <= allowed, "a budget of {budget_mib} MiB, and it grew by {grown} MiB");
    let mut tally = Tally::new("stalled", total);
    (0..total).for_each(|_| tally.note("stalled"));
    tally.end(&format!("budget {budget_mib} MiB, server grew by {grown} MiB"));
}

/// Promise: beside stalled readers an honest client keeps 80 % of its speed.
///
/// Fails when: readers that take nothing are not cut off (`Patience::ends`, `Budget::patience`), and keep what they hold.
#[test]
fn an_honest_client_beside_readers_that_take_nothing() {
    honest_beside("honest_beside_stalled", false, 0.8);
}

/// Promise: beside readers that take little and ask again and again, an honest client keeps half of its speed. They take so
/// little that its fair share is nearly all that the server can do.
///
/// Fails when: the budget serves who comes first, or lets readers that hold what they are given have all of it (`Budget`).
#[test]
fn an_honest_client_beside_readers_that_ask_again() {
    honest_beside("honest_beside_greedy", true, 0.5);
}

/// Two servers, one of them with the readers, serve the client in turns; the medians are compared. Of few readers only that it is
/// served is asserted.
fn honest_beside(row: &'static str, again: bool, least: f64) {
    let (total, pairs) = (count("beside", 50), count("pairs", 1));
    let content = noise(seed() ^ 14, 64 << 20);
    let (without, with) = (lab(0, &content, &[]), lab(total, &content, &[]));
    let mut tally = Tally::new(row, pairs);
    let get = |lab: &Lab| {
        lab.clear();
        let done = lab.run(&["get", "large", "--json"]).ends_with(0);
        assert!(lab.saved_file("large").as_deref() == Some(&content[..]));
        done.json()["seconds"].as_f64().unwrap()
    };
    // The digests are known from here on.
    get(&without);
    get(&with);
    let stalled = Stalled::start(with.address(), total, again);
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for _ in 0..pairs {
        alone.push(get(&without));
        beside.push(get(&with));
        tally.note("pairs");
    }
    stalled.end();
    let slowest = beside.iter().copied().fold(0.0, f64::max);
    let kept = median(alone) / median(beside);
    let figure = format!("{total} readers, {:.0} % of its speed kept, 64 MiB in {slowest:.1} s at worst", kept * 100.0);
    tally.end(&figure);
    assert!(total < 1000 || kept >= least, "{kept:.2} of its speed");
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
