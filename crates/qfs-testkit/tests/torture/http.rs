//! Clients that misuse the HTTP door, down to the frame: floods, slowness, sizes, shapes. Each is followed by an honest one.

use std::cell::Cell;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use qfs_core::model::Digest;
use qfs_testkit::gullible;
use quinn::TransportConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::crowd::runtime;
use crate::lab::WATCHDOG;
use crate::raw::{config, connecting, soon};
use crate::tally::{Tally, count};
use crate::victim::Victim;

/// What the server promises of whoever is slow: ten seconds for a request, five for a farewell, two in which the rest of a body is read,
/// and one until the next look at the connection.
const PROMISED: Duration = Duration::from_secs(10 + 5 + 2 + 1);

/// Waits that make up [`PROMISED`], each of which ends late where the machine is busy.
const WAITS: u32 = 4;

/// A server whose HTTP door is attacked.
fn victim() -> Victim {
    Victim::new(31, &[], &["--allow", "read,write,delete", "--stall-timeout", "5"])
}

/// Honest clients are served all the same, through both doors, and nothing is left behind.
async fn is_well(victim: &Victim, after: &str) {
    victim.is_well(after).await;
    let said = whole(victim.address(), b"GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    let body = said.windows(4).position(|four| four == b"\r\n\r\n").map(|end| &said[end + 4..]);
    assert_eq!(body.map(Digest::of), Some(victim.large), "after {after}");
    let files = std::fs::read_dir(victim.lab.root()).unwrap().count();
    assert_eq!(files, 1, "after {after} something was left behind");
}

/// A connection over TLS that offers `protocol`.
pub(crate) async fn open(server: SocketAddr, protocol: &[u8]) -> TlsStream<TcpStream> {
    try_open(server, protocol).await.unwrap()
}

/// As [`open`], where the server may be killed meanwhile.
pub(crate) async fn try_open(server: SocketAddr, protocol: &[u8]) -> std::io::Result<TlsStream<TcpStream>> {
    let connector = TlsConnector::from(Arc::new(gullible::tls_config(&[protocol]).unwrap()));
    let stream = soon(TcpStream::connect(server)).await?;
    soon(connector.connect("localhost".try_into().unwrap(), stream)).await
}

/// All that is answered to `bytes` over HTTP/1.1.
pub(crate) async fn whole(server: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = open(server, b"http/1.1").await;
    // A server may end the connection before it has read everything.
    let _ = soon(stream.write_all(bytes)).await;
    let mut said = Vec::new();
    let _ = soon(stream.read_to_end(&mut said)).await;
    said
}

/// What HTTP/2 begins with: the preface and empty settings (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// A frame of HTTP/2 (RFC 9113 §4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The head of `GET /large`, as RFC 7541 has it: three fields by their numbers, two written out.
fn get_large() -> Vec<u8> {
    [&[0x82, 0x87, 0x04, 6][..], b"/large", &[0x01, 1], b"x"].concat()
}

/// What a flood came to.
struct Flooded {
    /// Pieces that the server took.
    taken: u64,
    /// Whether it ended the connection, in time for it.
    ended: bool,
}

/// Writes pieces for as long as the server takes them, `most` at most, and waits so long for it to end the connection. What it says is
/// dropped.
async fn flood(
    server: SocketAddr,
    first: &[u8],
    most: u64,
    mut piece: impl FnMut(u64) -> Vec<u8>,
    patience: Duration,
) -> Flooded {
    let (mut reader, mut writer) = tokio::io::split(open(server, b"h2").await);
    let mut said = [0; 4096];
    let hearing = async { while !matches!(reader.read(&mut said).await, Ok(0) | Err(_)) {} };
    tokio::pin!(hearing);
    let taken = Cell::new(0);
    let telling = async {
        writer.write_all(first).await.unwrap();
        while taken.get() < most && writer.write_all(&piece(taken.get())).await.is_ok() {
            taken.set(taken.get() + 1);
        }
    };
    let ended_early = soon(async {
        tokio::select! {
            () = telling => false,
            () = &mut hearing => true,
        }
    });
    let ended = ended_early.await || tokio::time::timeout(patience, hearing).await.is_ok();
    Flooded { taken: taken.get(), ended }
}

/// How much comes for a request that is none of these, which shows that the frames here are understood.
async fn ordinary(server: SocketAddr) -> usize {
    let mut stream = open(server, b"h2").await;
    let asked = [PREFACE, &frame(1, 0b101, 1, &get_large())].concat();
    soon(stream.write_all(&asked)).await.unwrap();
    // As much as a client lets come that says nothing more (RFC 9113 §6.9.2).
    let mut said = vec![0; 65_535];
    soon(stream.read_exact(&mut said)).await.unwrap()
}

/// Promise: floods over HTTP/2 end the connection, and cost the server nothing.
///
/// Fails when: hyper's bounds on resets are lifted (`MAX_RESET_UNSEEN`), nothing counts abandoned requests, or a header list has no end.
#[test]
fn http_floods() {
    let pieces = count("http_flood", 5000);
    let victim = victim();
    let address = victim.address();
    let mut tally = Tally::new("http_floods", 6);
    runtime().block_on(async {
        assert_eq!(ordinary(address).await, 65_535);
        let stream = |n: u64| u32::try_from(2 * n + 1).unwrap();
        let resets = |n| [frame(1, 0b101, stream(n), &get_large()), frame(3, 0, stream(n), &[0, 0, 0, 8])].concat();
        let endless = [PREFACE, &frame(1, 1, 1, &get_large())].concat();
        let field = [&[0x00, 1, b'x', 0x7f, 0x81, 0x7c][..], &[b'y'; 16_000]].concat();
        // Bodies without content on a stream that goes on.
        let put = [&[0x83, 0x87, 0x04, 2][..], b"/x", &[0x01, 1], b"x"].concat();
        let begun = [PREFACE, &frame(1, 4, 1, &put)].concat();
        macro_rules! floods {
            ($($name:literal, $first:expr, $piece:expr, $ends:literal;)*) => {$(
                // What has to end it may take as long as the machine needs to read it.
                let patience = if $ends { WATCHDOG } else { Duration::from_secs(2) };
                let flooded = flood(address, $first, pieces, $piece, patience).await;
                assert!(flooded.ended || !$ends, "{} took {} pieces and goes on", $name, flooded.taken);
                is_well(&victim, $name).await;
                tally.note(if flooded.ended { "ended" } else { "borne" });
            )*};
        }
        floods! {
            "rapid reset", PREFACE, resets, true;
            "a CONTINUATION flood", &endless, |_| frame(9, 0, 1, &field), true;
            "empty CONTINUATION frames", &endless, |_| frame(9, 0, 1, &[]), false;
            "pings", PREFACE, |n: u64| frame(6, 0, 0, &n.to_be_bytes()), false;
            "settings", PREFACE, |n: u64| frame(4, 0, 0, &[0, 4, 0, 0, 0, (n % 200) as u8]), false;
            "empty DATA frames", &begun, |_| frame(0, 0, 1, &[]), false;
        }
    });
    tally.end("honest clients served, 0 panics");
}

/// Promise: who is slow with a head or a body is cut, however many there are, and leaves nothing behind.
///
/// Fails when: `header_read_timeout` is not set, a body has no patience, or each byte begins it anew for a head.
#[test]
fn http_slowness() {
    let clients = count("http_slow", 20);
    let victim = victim();
    let address = victim.address();
    let mut tally = Tally::new("http_slow", 3 * clients);
    let mut slowest = Duration::ZERO;
    let longest = Arc::new(Mutex::new(Duration::ZERO));
    runtime().block_on(async {
        let honest = tokio::spawn(ask_again_and_again(address, Arc::clone(&longest)));
        let head = "GET / HTTP/1.1\r\nHost: x\r\n";
        let body = "PUT /x HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nabc";
        let mut all = JoinSet::new();
        for index in 0..3 * clients {
            let (begins, goes_on) = [(head, ""), (head, "X: y\r\n"), (body, "")][(index % 3) as usize];
            all.spawn(async move {
                let stream = open(address, b"http/1.1").await;
                let (mut reader, mut writer) = tokio::io::split(stream);
                let begun = Instant::now();
                writer.write_all(begins.as_bytes()).await.unwrap();
                let trickling = async {
                    while writer.write_all(goes_on.as_bytes()).await.is_ok() {
                        tokio::time::sleep(Duration::from_millis(300)).await;
                    }
                    std::future::pending::<()>().await;
                };
                let mut said = Vec::new();
                tokio::select! {
                    ended = tokio::time::timeout(WATCHDOG, reader.read_to_end(&mut said)) => drop(ended.expect("it hung")),
                    () = trickling => {}
                }
                begun.elapsed()
            });
        }
        while let Some(took) = all.join_next().await {
            slowest = slowest.max(took.unwrap());
            tally.note("cut");
        }
        assert!(!honest.is_finished(), "honest clients were not served meanwhile");
        honest.abort();
        is_well(&victim, "slow heads and bodies").await;
    });
    // How late this machine is shows in what an honest client waits, who is served at once otherwise.
    let longest = *longest.lock().unwrap();
    let limit = PROMISED + WAITS * longest;
    assert!(slowest <= limit, "the last was cut after {slowest:?}, an honest client waited for {longest:?}");
    tally.end(&format!("the last after {:.1} s of {:.1}", slowest.as_secs_f64(), limit.as_secs_f64()));
}

/// Asks for a head on connections of their own, one after another, and keeps the longest time that this took.
async fn ask_again_and_again(server: SocketAddr, longest: Arc<Mutex<Duration>>) {
    loop {
        let begun = Instant::now();
        let said = whole(server, b"HEAD /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
        assert!(said.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&said));
        let took = begun.elapsed();
        {
            let mut longest = longest.lock().unwrap();
            *longest = took.max(*longest);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Promise: sizes and shapes that are none, or that two servers would read differently, are refused.
#[test]
fn http_sizes_and_shapes() {
    let rounds = count("http_shapes", 1);
    let victim = victim();
    let address = victim.address();
    let next = "GET /large HTTP/1.1\r\nHost: x\r\n\r\n";
    let line = |line: String| format!("GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{line}\r\n\r\n");
    let post = |lines: &str, body: &str| {
        format!("PUT /large HTTP/1.1\r\nHost: x\r\nIf-None-Match: *\r\n{lines}\r\n\r\n{body}{next}")
    };
    let mut shapes = vec![
        line(format!("X: {}", "y".repeat(200_000))),
        line(format!("X: {}", "y".repeat(8 << 20))),
        line("X: y\r\n".repeat(5000)),
        format!("GET /{} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "a".repeat(60_000)),
        line(format!("Range: bytes={}", (0..5000).map(|n| format!("{n}-{n}")).collect::<Vec<_>>().join(","))),
        line(format!("Range: bytes={}", "0-,".repeat(5000))),
        line("Range: bytes=99999999999999999999999-".to_owned()),
    ];
    for (lines, body) in [
        ("Content-Length: 4\r\nTransfer-Encoding: chunked", "0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\nContent-Length: 4", "0\r\n\r\n"),
        ("Content-Length: 4\r\nContent-Length: 40", "abcd"),
        ("Content-Length: 4, 4", "abcd"),
        ("Content-Length: +4", "abcd"),
        ("Content-Length: -1", ""),
        ("Content-Length: 0x4", "abcd"),
        ("Content-Length: 99999999999999999999999", "abcd"),
        ("Transfer-Encoding: xchunked", "0\r\n\r\n"),
        ("Transfer-Encoding: chunked, identity", "0\r\n\r\n"),
        ("Transfer-Encoding : chunked", "0\r\n\r\n"),
        ("Transfer-Encoding: chunked", "ffffffffffffffff1\r\nabc"),
        ("Transfer-Encoding: chunked", "-1\r\nabc\r\n"),
        ("Upload-Complete: ?0\r\nUpload-Length: 999999999999999\r\nContent-Length: 4", "abcd"),
    ] {
        shapes.push(post(lines, body));
    }
    let mut tally = Tally::new("http_shapes", rounds * shapes.len() as u64 + rounds * 4);
    runtime().block_on(async {
        for _ in 0..rounds {
            for shape in &shapes {
                let said = whole(address, shape.as_bytes()).await;
                let end = said.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(said.len());
                let said = String::from_utf8_lossy(&said[..end]).into_owned();
                let shown: String = shape.chars().take(120).collect();
                // A range that is none is as if it were not there.
                let is_whole = shown.contains("Range") && said.starts_with("HTTP/1.1 200");
                assert!(!said.starts_with("HTTP/1.1 2") || is_whole, "{shown:?}: {said}");
                tally.note("refused");
            }
            is_well(&victim, "sizes and shapes").await;
            for misuse in [&b"\x21\x00"[..], b"\x00\x04\x00", b"\x02\xff\xff", b"\x41\x01\x02"] {
                misuse_http_3(address, misuse).await;
                is_well(&victim, "misuse of HTTP/3").await;
                tally.note("harmless");
            }
        }
    });
    tally.end("honest clients served, 0 panics");
}

/// A connection of HTTP/3 with `bytes` on streams of either kind, and requests that are begun and left, or claim to be endless.
async fn misuse_http_3(server: SocketAddr, bytes: &[u8]) {
    let connection = soon(connecting(server, config(&[b"h3"], TransportConfig::default()))).await.unwrap();
    let mut kept = Vec::new();
    for _ in 0..3 {
        // The server may have seen enough at any time.
        if let Ok(Ok(mut one_way)) = tokio::time::timeout(Duration::from_millis(200), connection.open_uni()).await {
            let _ = one_way.write_all(bytes).await;
            kept.push(one_way);
        }
    }
    for head in [bytes, &b"\x01\xbf\xff\xff\xff"[..], b"\x01\x03\x00\x00\xd1", b"\x00\x05hello"] {
        if let Ok(Ok((mut send, receive))) =
            tokio::time::timeout(Duration::from_millis(200), connection.open_bi()).await
        {
            let _ = send.write_all(head).await;
            kept.push(send);
            drop(receive);
        }
    }
    tokio::task::yield_now().await;
    connection.close(0x100u32.into(), b"");
}
