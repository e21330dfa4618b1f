//! Malicious clients against the real server, down to the packet.
//!
//! After each of them an honest client is served, nothing has panicked, and the server's memory is what it was, more or less.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use qfs_core::model::Digest;
use qfs_core::wire::{ALPN, MAX_FRAME_BYTES, StatusCode, frame};
use quinn::{ConnectionError, TransportConfig, VarInt};

use crate::crowd::{memory, runtime};
use crate::lab::{Lab, WATCHDOG, noise};
use crate::raw::{
    answers, ask, begin, config, connect, connect_with, connecting, download, endpoint, first_packets, honest, soon,
    status, status_of,
};
use crate::tally::{Tally, seed};

/// The server may grow by this much over the whole suite, in MiB: budget in use, connections that wait out their time.
const GROWTH_MIB: u64 = 96;

/// A published file that takes many packets.
const LARGE_BYTES: usize = 4 << 20;

struct Victim {
    lab: Lab,
    large: Digest,
    before: u64,
}

impl Victim {
    fn new() -> Self {
        let content = noise(seed() ^ 21, LARGE_BYTES);
        let mut lab = Lab::new();
        lab.publish("large", &content);
        lab.publish("small", b"x");
        lab.start_with(&["-v", "--buffer-memory", "64M"]);
        let before = memory(lab.server().id()).0;
        Self { lab, large: Digest::of(&content), before }
    }

    fn address(&self) -> SocketAddr {
        self.lab.address()
    }

    /// An honest client is served all the same.
    async fn is_well(&self, after: &str) {
        assert_eq!(honest(self.address(), "large").await, self.large, "after {after}");
        let grown = memory(self.lab.server().id()).0.saturating_sub(self.before) >> 10;
        assert!(grown <= GROWTH_MIB, "after {after} it has grown by {grown} MiB");
        let said = self.lab.server().said();
        assert!(!said.contains("panicked"), "after {after}: {said}");
        let acts = said.chars().find(|c| c.is_control() && *c != '\n');
        assert_eq!(acts, None, "after {after} its log holds a raw {acts:?}");
    }
}

/// Requests and the status that each must have.
fn requests() -> Vec<(&'static str, Vec<u8>, StatusCode)> {
    let framed = |json: &str| frame(json.as_bytes()).unwrap().to_vec();
    let file = |more: &str| framed(&format!(r#"{{"command":"download","filename":"small"{more}}}"#));
    let nested = |deep: usize| format!("{}{}", "[".repeat(deep), "]".repeat(deep));
    let length = |bytes: u32| bytes.to_be_bytes().to_vec();
    let bad = StatusCode::BAD_REQUEST;
    let mut requests = vec![
        ("an unknown command", framed(r#"{"command":"delete_everything"}"#), StatusCode::UNKNOWN_COMMAND),
        ("no command", framed(r#"{"filename":"small"}"#), bad),
        ("a command that is a number", framed(r#"{"command":1}"#), bad),
        ("no JSON", framed("GET / HTTP/1.1\r\n\r\n"), bad),
        ("a list", framed(r#"["download","small"]"#), bad),
        ("half an object", framed(r#"{"command":"download","#), bad),
        ("two objects", framed(r#"{"command":"get_files_list"}{}"#), bad),
        ("a frame one byte too long", length(MAX_FRAME_BYTES as u32 + 1), StatusCode::TOO_LARGE),
        ("a frame of 4 GiB", length(u32::MAX), StatusCode::TOO_LARGE),
        ("a frame of nothing", length(0), bad),
        ("nothing at all", Vec::new(), bad),
        ("half a length", vec![0, 0], bad),
        ("a frame cut off", [length(100), b"{\"command\"".to_vec()].concat(), bad),
        ("no UTF-8", frame(b"{\"command\":\"download\",\"filename\":\"\xff\xfe\"}").unwrap().to_vec(), bad),
        ("half a surrogate", framed(r#"{"command":"download","filename":"\ud800"}"#), bad),
        ("a byte order mark", framed("\u{feff}{\"command\":\"get_files_list\"}"), bad),
        ("deep JSON", framed(&nested(30_000)), bad),
        ("deep JSON in a field nobody knows", file(&format!(r#","x":{}"#, nested(30_000))), bad),
        ("a file named twice", file(r#","filename":"large""#), bad),
        ("a file name that is null", framed(r#"{"command":"download","filename":null}"#), bad),
        ("no file name", framed(r#"{"command":"download"}"#), bad),
        ("an inverted range", file(r#","range":{"start":1,"end":0}"#), StatusCode::BAD_RANGE),
        ("a range behind the end", file(r#","range":{"start":2}"#), StatusCode::BAD_RANGE),
        ("a huge range", file(r#","range":{"start":0,"end":18446744073709551615}"#), StatusCode::BAD_RANGE),
        ("a range beyond 64 bits", file(r#","range":{"start":0,"end":18446744073709551616}"#), bad),
        ("a negative range", file(r#","range":{"start":-1}"#), bad),
        ("a range of floats", file(r#","range":{"start":1e300}"#), bad),
        ("an etag that is none", file(r#","if_match":"../../etc/passwd""#), bad),
        ("an etag of another version", file(r#","if_match":"0123456789""#), StatusCode::CHANGED),
        ("the lowest priority", file(r#","priority":-2147483648"#), StatusCode::OK),
        ("the highest priority", file(r#","priority":2147483647"#), StatusCode::OK),
        ("a priority beyond 32 bits", file(r#","priority":2147483648"#), bad),
        ("a name as long as a frame", download(&"x/".repeat(30_000)), StatusCode::NOT_FOUND),
    ];
    for name in ["../small", "/etc/passwd", "", ".", "..", "small/", "small\0", r"..\small", "%2e%2e/small", "small\n"]
    {
        requests.push(("a name that is none", download(name), StatusCode::NOT_FOUND));
    }
    requests
}

/// Promise: whatever is sent on a stream is answered with its status, and harms nobody.
///
/// Fails when: `announced_length` believes any length; `ByteRange::within` clips instead of refusing; a name is opened that
/// `RemotePath` refuses; a parser's error is `internal`.
#[test]
fn requests_that_are_none() {
    let victim = Victim::new();
    let requests = requests();
    let mut tally = Tally::new("malicious_requests", requests.len() as u64);
    runtime().block_on(async {
        for (name, bytes, expected) in requests {
            let connection = connect(victim.address()).await;
            assert_eq!(status(&connection, &bytes).await, expected, "{name}");
            // The connection itself is not to blame.
            assert_eq!(ask(&connection, br#"{"command":"get_files_list"}"#).await, StatusCode::OK, "after {name}");
            connection.close(VarInt::from_u32(0), b"");
            victim.is_well(name).await;
            tally.note("right status");
        }
    });
    tally.end("honest clients served, 0 panics");
}

/// Promise: whatever a connection does, others are served.
///
/// Fails when: uni streams or datagrams are let in (`tuning::common`); early data is accepted (`tls::server_config`); nothing
/// counts abandoned streams (`Abandoned`); a request has no deadline (`read_request`); a reply waits for ever
/// (`Patience`); a close reason is logged as it came (`Visit::end`).
#[test]
fn connections_that_misbehave() {
    let victim = Victim::new();
    let mut tally = Tally::new("malicious_connections", 19);
    macro_rules! behaviours {
        ($($name:literal => $behaviour:expr;)*) => {
            runtime().block_on(async {
                $(
                    soon($behaviour(victim.address())).await;
                    victim.is_well($name).await;
                    tally.note("harmless");
                )*
            });
        };
    }
    behaviours! {
        "another protocol" => another_protocol;
        "early data" => early_data;
        "one-way streams and datagrams" => what_is_not_offered;
        "more streams than allowed" => more_streams_than_allowed;
        "streams opened and reset" => open_and_reset;
        "an answer stopped before it begins" => stop_at_once;
        "an answer stopped in the middle" => stop_in_the_middle;
        "a request reset in the middle" => reset_in_the_middle;
        "a request that never ends" => endless_request;
        "a request byte by byte" => trickle;
        "500 requests at once" => a_burst;
        "a window that never opens" => a_closed_window;
        "extreme transport parameters" => extreme_parameters;
        "a close in the middle, with a reason that is a trap" => close_with_a_trap;
        "clients that vanish" => vanish;
        "connections opened and closed" => connection_flood;
        "addresses that change" => wander;
        "handshakes left half done" => half_handshakes;
        "packets that are none" => garbage;
    }
    tally.end("honest clients served, 0 panics");
}

async fn another_protocol(server: SocketAddr) {
    for protocols in [&[b"h3".as_slice()][..], &[b"qfs/2"], &[b"qfs/1\0"], &[]] {
        let failed = connecting(server, config(protocols, TransportConfig::default())).await;
        let Err(ConnectionError::ConnectionClosed(close)) = failed else { panic!("{protocols:?}: {failed:?}") };
        assert_eq!(u64::from(close.error_code), 0x178, "{protocols:?}");
    }
}

/// A second connection may resume, but has no early data to send.
async fn early_data(server: SocketAddr) {
    let (endpoint, config) = (endpoint(), config(&[ALPN], TransportConfig::default()));
    for round in 0..2 {
        let connecting = endpoint.connect_with(config.clone(), server, "localhost").unwrap();
        let connection = match connecting.into_0rtt() {
            Ok(_) => panic!("early data accepted in round {round}"),
            Err(connecting) => connecting.await.unwrap(),
        };
        // The ticket, if there is one, comes before this answer.
        assert_eq!(status(&connection, &download("small")).await, StatusCode::OK);
        connection.close(VarInt::from_u32(0), b"");
    }
}

async fn what_is_not_offered(server: SocketAddr) {
    let connection = connect(server).await;
    assert!(connection.send_datagram(b"?"[..].into()).is_err(), "datagrams are off");
    let patience = Duration::from_millis(200);
    assert!(tokio::time::timeout(patience, connection.open_uni()).await.is_err(), "there is no credit for one");
    assert_eq!(status(&connection, &download("small")).await, StatusCode::OK);
}

async fn more_streams_than_allowed(server: SocketAddr) {
    let connection = connect(server).await;
    let mut streams = Vec::new();
    // Half a request each: the server cannot be done with any.
    while let Ok(stream) = tokio::time::timeout(Duration::from_millis(200), connection.open_bi()).await {
        let (mut send, receive) = stream.unwrap();
        send.write_all(&[0]).await.unwrap();
        streams.push((send, receive));
        assert!(streams.len() <= 1024, "there is a limit");
    }
    assert!(streams.len() >= 256, "{}", streams.len());
    connection.close(VarInt::from_u32(0), b"");
}

/// The connection is closed with `busy`.
async fn open_and_reset(server: SocketAddr) {
    let connection = connect(server).await;
    let closed = loop {
        let Ok((mut send, mut receive)) = connection.open_bi().await else { break connection.closed().await };
        if send.write_all(&download("large")).await.is_err() {
            break connection.closed().await;
        }
        let _ = send.reset(VarInt::from_u32(12));
        let _ = receive.stop(VarInt::from_u32(12));
    };
    let ConnectionError::ApplicationClosed(close) = &closed else { panic!("{closed:?}") };
    assert_eq!(close.error_code.into_inner(), u64::from(StatusCode::BUSY.0));
}

async fn stop_at_once(server: SocketAddr) {
    let connection = connect(server).await;
    for whole in [true, false] {
        let request = download("large");
        let (mut send, mut receive) = begin(&connection, &request[..if whole { request.len() } else { 7 }]).await;
        receive.stop(VarInt::from_u32(12)).unwrap();
        let _ = send.finish();
    }
    assert_eq!(status(&connection, &download("small")).await, StatusCode::OK);
}

async fn stop_in_the_middle(server: SocketAddr) {
    let connection = connect(server).await;
    for _ in 0..20 {
        let (mut send, mut receive) = begin(&connection, &download("large")).await;
        send.finish().unwrap();
        receive.read_exact(&mut [0; 100_000]).await.unwrap();
        receive.stop(VarInt::MAX).unwrap();
    }
    assert_eq!(status(&connection, &download("small")).await, StatusCode::OK);
}

async fn reset_in_the_middle(server: SocketAddr) {
    let connection = connect(server).await;
    for code in [VarInt::from_u32(0), VarInt::MAX] {
        let (mut send, receive) = begin(&connection, &download("large")[..9]).await;
        send.reset(code).unwrap();
        assert_eq!(status_of(receive).await, StatusCode::BAD_REQUEST);
    }
}

/// What follows a whole request is never read, and flow control ends it.
async fn endless_request(server: SocketAddr) {
    let connection = connect(server).await;
    let (mut send, receive) = begin(&connection, &download("small")).await;
    let pour = async {
        let mut sent = 0usize;
        while send.write_all(&[b' '; 4096]).await.is_ok() {
            sent += 4096;
            assert!(sent < 16 << 20, "the server takes all of it");
        }
    };
    let _ = tokio::time::timeout(Duration::from_millis(500), pour).await;
    assert_eq!(status_of(receive).await, StatusCode::OK);
}

async fn trickle(server: SocketAddr) {
    let connection = connect(server).await;
    let request = download("small");
    let (mut send, receive) = begin(&connection, &request[..1]).await;
    let drip = async {
        for byte in &request[1..] {
            tokio::time::sleep(Duration::from_millis(700)).await;
            if send.write_all(&[*byte]).await.is_err() {
                break;
            }
        }
        std::future::pending::<()>().await;
    };
    let status = tokio::select! { status = status_of(receive) => status, () = drip => unreachable!() };
    assert_eq!(status, StatusCode::TIMEOUT);
}

async fn a_burst(server: SocketAddr) {
    let connection = connect(server).await;
    let mut answers = Vec::new();
    for n in 0..500 {
        let name = if n % 2 == 0 { "small" } else { "missing" };
        let (mut send, receive) = begin(&connection, &download(name)).await;
        send.finish().unwrap();
        answers.push((receive, if n % 2 == 0 { StatusCode::OK } else { StatusCode::NOT_FOUND }));
    }
    for (receive, expected) in answers {
        assert_eq!(status_of(receive).await, expected);
    }
}

async fn a_closed_window(server: SocketAddr) {
    let mut transport = TransportConfig::default();
    transport.receive_window(VarInt::from_u32(1)).stream_receive_window(VarInt::from_u32(1));
    let connection = connect_with(server, transport).await;
    for _ in 0..50 {
        let (mut send, _receive) = begin(&connection, &download("large")).await;
        let _ = send.finish();
    }
    connection.close(VarInt::from_u32(0), b"");
}

async fn extreme_parameters(server: SocketAddr) {
    let mut transport = TransportConfig::default();
    transport
        .receive_window(VarInt::MAX)
        .stream_receive_window(VarInt::MAX)
        .max_concurrent_bidi_streams(VarInt::from_u32(u32::MAX))
        .max_concurrent_uni_streams(VarInt::from_u32(u32::MAX))
        .max_idle_timeout(None)
        .initial_rtt(Duration::from_nanos(1))
        .datagram_receive_buffer_size(Some(usize::MAX >> 16));
    let connection = connect_with(server, transport).await;
    assert_eq!(status(&connection, &download("large")).await, StatusCode::OK);
}

/// What it says at parting must not become a line of the server's log.
async fn close_with_a_trap(server: SocketAddr) {
    let connection = connect(server).await;
    let (mut send, mut receive) = begin(&connection, &download("large")).await;
    send.finish().unwrap();
    receive.read_exact(&mut [0; 50_000]).await.unwrap();
    connection.close(VarInt::MAX, b"bye\n2026-01-01 ERROR forged \x1b[2J\xff\xe2\x80\xae");
}

/// They ask, and neither acknowledge nor close.
async fn vanish(server: SocketAddr) {
    let gone = std::thread::spawn(move || {
        for _ in 0..20 {
            let own = runtime();
            own.block_on(async {
                let connection = connect(server).await;
                let (mut send, _receive) = begin(&connection, &download("large")).await;
                send.finish().unwrap();
                std::mem::forget((connection, send, _receive));
            });
            // Its sockets go with it, and nothing is said.
            own.shutdown_background();
        }
    });
    tokio::task::spawn_blocking(move || gone.join().unwrap()).await.unwrap();
}

async fn connection_flood(server: SocketAddr) {
    let own = endpoint();
    for _ in 0..200 {
        let connecting = own.connect_with(config(&[ALPN], TransportConfig::default()), server, "localhost").unwrap();
        let connection = soon(connecting).await.unwrap();
        connection.close(VarInt::from_u32(0), b"");
    }
}

async fn wander(server: SocketAddr) {
    let own = endpoint();
    let connecting = own.connect_with(config(&[ALPN], TransportConfig::default()), server, "localhost").unwrap();
    let connection = soon(connecting).await.unwrap();
    let (mut send, mut receive) = begin(&connection, &download("large")).await;
    send.finish().unwrap();
    let mut read = 0;
    let mut buffer = vec![0; 64 << 10];
    while let Ok(Some(length)) = tokio::time::timeout(WATCHDOG, receive.read(&mut buffer)).await.expect("it hung") {
        read += length;
        if read < LARGE_BYTES {
            own.rebind(UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
        }
    }
    assert!(read > LARGE_BYTES, "{read}");
}

async fn half_handshakes(server: SocketAddr) {
    for packet in first_packets(server, 300) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.send_to(&packet, server).unwrap();
    }
}

/// Long and short headers, other versions, damaged and cut first packets, and noise.
async fn garbage(server: SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(server).unwrap();
    let valid = first_packets(server, 40);
    let send = |packet: &[u8]| drop(socket.send(packet));
    for (n, packet) in valid.iter().enumerate() {
        let mut damaged = packet.clone();
        damaged[(n * 37) % packet.len()] ^= 1 << (n % 8);
        send(&damaged);
        send(&packet[..packet.len() * n / valid.len()]);
        let mut coalesced = packet.clone();
        coalesced.truncate(1200);
        coalesced.extend(noise(n as u64, 200));
        send(&coalesced);
        // A version negotiation, which only servers send, and a version from the future.
        for version in [[0; 4], [0xba; 4]] {
            let mut other = packet.clone();
            other[1..5].copy_from_slice(&version);
            send(&other);
        }
        for first in [0x40, 0xc0, 0xd0, 0xe0, 0xf0, 0x00, 0xff] {
            let mut random = noise(n as u64 ^ 0x77, 1 + n * 36);
            random[0] = first;
            send(&random);
        }
    }
    let back = answers(&socket);
    assert!(back.iter().any(|packet| packet.len() > 5 && packet[1..5] == [0; 4]), "it names the versions it has");
}
