//! Many clients at once, idle ones and half-sent requests, many files, long listings; and what they cost the server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use qfs_core::body::{Answer, collect};
use qfs_core::model::Digest;
use qfs_core::stream::ByteSink as _;
use qfs_core::wire::{
    DownloadHead, DownloadRequest, ListHead, ListPage, ListRequest, Request, StatusCode, Trailer, decode_response,
};
use qfs_transport::{ClientEndpoint, ClientTuning, Connection, Source, Trust};
use tokio::sync::Semaphore;

use crate::lab::{Lab, WATCHDOG, noise};
use crate::tally::{Tally, count, seed};

/// Handshakes under way at once: all clients share this machine with the server.
pub(crate) const HANDSHAKES: usize = 16;

/// Resident memory of a process in KiB: now, and at most so far.
pub(crate) fn memory(pid: u32) -> (u64, u64) {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let field = |name: &str| -> u64 {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    (field("VmRSS:"), field("VmHWM:"))
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

pub(crate) struct Client {
    pub(crate) connection: Connection,
    _endpoint: Arc<ClientEndpoint>,
}

impl Client {
    async fn connect(lab: &Lab, endpoint: &Arc<ClientEndpoint>, turn: &Semaphore) -> Self {
        Self::connect_with(lab.address(), &ClientTuning::default(), endpoint, turn).await
    }

    pub(crate) async fn connect_with(
        server: SocketAddr,
        tuning: &ClientTuning,
        endpoint: &Arc<ClientEndpoint>,
        turn: &Semaphore,
    ) -> Self {
        let _turn = turn.acquire().await.unwrap();
        let connection = endpoint.connect(server, "localhost", Trust::AnyKey, tuning, WATCHDOG).await.unwrap();
        Self { connection, _endpoint: Arc::clone(endpoint) }
    }

    pub(crate) async fn ask(&self, request: &Request) -> Answer<Source> {
        let (sink, source) = self.connection.open_stream().await.unwrap();
        sink.send_request(request.encode().unwrap()).await.unwrap();
        Answer::new(source)
    }

    async fn list(&self) -> u64 {
        let mut answer = self.ask(&Request::GetFilesList(ListRequest::default())).await;
        let _: ListHead = decode_response(&answer.next_frame().await.unwrap()).unwrap().unwrap();
        loop {
            let page = <ListPage>::decode(&answer.next_frame().await.unwrap(), None).unwrap();
            if let Some(end) = page.end {
                return end.count;
            }
        }
    }

    async fn begin(&self, name: &str) -> (DownloadHead, Answer<Source>) {
        let request = DownloadRequest { filename: name.to_owned(), ..DownloadRequest::default() };
        let mut answer = self.ask(&Request::Download(request)).await;
        let head: DownloadHead = decode_response(&answer.next_frame().await.unwrap()).unwrap().unwrap();
        (head, answer)
    }

    async fn get(&self, name: &str) -> Digest {
        let (head, answer) = self.begin(name).await;
        let mut body = answer.into_body(head.size);
        let pieces = collect(&mut body, |_| {}).await.unwrap();
        let trailer: Trailer = decode_response(&body.into_trailer().unwrap()).unwrap().unwrap();
        let digest = Digest::of(&pieces.concat());
        assert_eq!(digest, trailer.digest);
        digest
    }
}

/// Promise: 1,000 connections, each of which lists and gets 1 MiB: no error, server at most 512 MiB.
///
/// Fails when: a connection's buffers do not count against the server's budget (`body/budget.rs`); `max_incoming` is smaller
/// than the crowd and nobody is asked to retry.
#[test]
fn a_crowd_lists_and_gets() {
    let total = count("connections", 50);
    let content = noise(seed() ^ 12, 1 << 20);
    let lab = Lab::serving(&[("large", &content)]);
    let expected = Digest::of(&content);
    let mut tally = Tally::new("connections", total);
    runtime().block_on(async {
        let endpoint = Arc::new(ClientEndpoint::bind(lab.address().ip(), None).unwrap());
        let turn = Semaphore::new(HANDSHAKES);
        let one = async || {
            let client = Client::connect(&lab, &endpoint, &turn).await;
            assert_eq!(client.list().await, 1);
            // Its own turn, or the crowd would hold a gigabyte of bodies in this process.
            let _turn = turn.acquire().await.unwrap();
            assert_eq!(client.get("large").await, expected);
            drop(_turn);
            client
        };
        // They stay connected until all are done.
        let clients = join_all((0..total).map(|_| one())).await;
        clients.iter().for_each(|client| client.connection.close(StatusCode::OK));
    });
    (0..total).for_each(|_| tally.note("listed and got"));
    let (_, most) = memory(lab.server().id());
    assert!(most <= 512 << 10, "the server took {most} KiB");
    tally.end(&format!("server at most {} MiB", most >> 10));
}

async fn join_all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut pinned: Vec<_> = futures.map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|cx| {
        for (future, output) in &mut pinned {
            if output.is_none()
                && let std::task::Poll::Ready(done) = future.as_mut().poll(cx)
            {
                *output = Some(done);
            }
        }
        if pinned.iter().all(|(_, output)| output.is_some()) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    pinned.into_iter().filter_map(|(_, output)| output).collect()
}

/// Promise: half-sent requests are cut within ten seconds.
///
/// Fails when: the deadline of a request is armed at its first byte and not at its stream's opening, or extended by each byte.
#[test]
fn requests_that_never_end() {
    let total = count("slowloris", 50);
    let lab = Lab::serving(&[("small", b"x")]);
    let mut tally = Tally::new("slowloris", total);
    let slowest = runtime().block_on(async {
        let endpoint = Arc::new(ClientEndpoint::bind(lab.address().ip(), None).unwrap());
        let turn = Semaphore::new(HANDSHAKES);
        let one = async || {
            let client = Client::connect(&lab, &endpoint, &turn).await;
            let (mut sink, source) = client.connection.open_stream().await.unwrap();
            let frame = Request::GetFilesList(ListRequest::default()).encode().unwrap();
            let begun = Instant::now();
            sink.send(frame.slice(..9)).await.unwrap();
            let mut answer = Answer::new(source);
            // An error head, or the end of the stream or of the connection: either way it is over.
            let _ = tokio::time::timeout(WATCHDOG, answer.next_frame()).await.expect("never cut");
            begun.elapsed()
        };
        join_all((0..total).map(|_| one())).await.into_iter().max().unwrap_or_default()
    });
    (0..total).for_each(|_| tally.note("cut"));
    assert!(slowest < Duration::from_secs(20), "the last one was cut after {slowest:?}");
    tally.end(&format!("the last after {:.1} s", slowest.as_secs_f64()));
}

/// Promise: 10,000 files of 1 KiB on one connection, 0 errors.
#[test]
fn very_many_small_files() {
    let total = count("small_files", 1000);
    let lab = Lab::new();
    let content = |n: u64| noise(seed() ^ (n << 8), 1024);
    for n in 0..total {
        lab.publish(&format!("d{}/{n}", n % 97), &content(n));
    }
    let mut lab = lab;
    lab.start();
    let mut tally = Tally::new("small_files", 2);
    for flags in [&[][..], &["--parallel"]] {
        lab.clear();
        let done = lab.run(&[&["get", "--all", "-q"][..], flags].concat()).ends_with(0);
        assert_eq!(done.out.lines().count() as u64, total);
        for n in 0..total {
            assert!(lab.saved_file(&format!("d{}/{n}", n % 97)).as_deref() == Some(&content(n)[..]), "{n}");
        }
        tally.note("whole");
    }
    tally.end(&format!("{total} files each, 0 errors"));
}

/// Promise: 100,000 files listed cost the server 32 MiB at most, and the first row comes within 200 ms.
///
/// Fails when: the listing is sorted in memory as a whole; the first page waits for the last row.
#[test]
fn a_long_listing() {
    let total = count("listed_files", 5000);
    let mut lab = Lab::new();
    for directory in 0..total.div_ceil(1000) {
        std::fs::create_dir(lab.root().join(format!("{directory:05}"))).unwrap();
    }
    for n in 0..total {
        std::fs::write(lab.root().join(format!("{:05}/{n:08}-with-a-name-of-some-length", n / 1000)), "").unwrap();
    }
    lab.start();
    let mut tally = Tally::new("listed_files", 3);
    let (before, _) = memory(lab.server().id());
    let mut first_rows = Vec::new();
    runtime().block_on(async {
        let endpoint = Arc::new(ClientEndpoint::bind(lab.address().ip(), None).unwrap());
        let client = Client::connect(&lab, &endpoint, &Semaphore::new(1)).await;
        for _ in 0..3 {
            let begun = Instant::now();
            let mut answer = client.ask(&Request::GetFilesList(ListRequest::default())).await;
            answer.next_frame().await.unwrap();
            answer.next_frame().await.unwrap();
            first_rows.push(begun.elapsed().as_millis());
            // Left unread, it would fill the connection's window and keep the next listing from moving.
            answer.stop();
            assert_eq!(client.list().await, total);
            tally.note("listed");
        }
    });
    let (_, most) = memory(lab.server().id());
    let grown = (most - before) >> 10;
    assert!(grown <= 32, "it grew by {grown} MiB");
    tally.end(&format!("{total} files, server grew by {grown} MiB, first rows after {first_rows:?} ms"));
}
