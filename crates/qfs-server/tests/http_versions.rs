//! HTTP/2 and 3 as clients of other makes speak them, the end of a server with HTTP clients, and clients that misuse the door.
#![cfg(feature = "http")]
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may panic, and makes the files it publishes"
)]

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::Request;
use qfs_server::Deliveries;
use quinn::crypto::rustls::QuicClientConfig;
use support::http::{Answer, connect, get, is_ended, parse, raw};
use support::{PATIENCE, Rig, Tree, noise, soon};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn rig(adjust: impl FnOnce(&mut qfs_server::ServerConfig)) -> (Rig, Vec<u8>) {
    let tree = Tree::new();
    let large = noise(3_000_001);
    tree.write("large.bin", &large);
    tree.write("hello.txt", b"hello");
    (Rig::start(tree, adjust), large)
}

fn request(target: &str) -> Request<()> {
    Request::get(format!("https://localhost{target}")).body(()).unwrap()
}

async fn h2_client(address: SocketAddr) -> h2::client::SendRequest<Bytes> {
    let stream = connect(address, &[b"h2"]).await;
    let (client, connection) = soon(h2::client::handshake(stream)).await.unwrap();
    tokio::spawn(connection);
    soon(client.ready()).await.unwrap()
}

async fn h2_get(client: &mut h2::client::SendRequest<Bytes>, target: &str) -> (u16, Vec<u8>) {
    let (answer, _) = client.send_request(request(target), true).unwrap();
    let answer = soon(answer).await.unwrap();
    let (status, mut body, mut whole) = (answer.status().as_u16(), answer.into_body(), Vec::new());
    while let Some(part) = soon(body.data()).await {
        let part = part.unwrap();
        body.flow_control().release_capacity(part.len()).unwrap();
        whole.extend_from_slice(&part);
    }
    (status, whole)
}

#[tokio::test]
async fn http_2_carries_many_answers_on_one_connection() {
    let (rig, large) = rig(|_| {});
    let client = h2_client(rig.address).await;
    let fetches: Vec<_> = (0..20)
        .map(|_| {
            let mut client = client.clone();
            tokio::spawn(async move { h2_get(&mut client, "/large.bin").await })
        })
        .collect();
    for fetch in fetches {
        let (status, body) = fetch.await.unwrap();
        assert_eq!((status, body == large), (200, true));
    }
    assert_eq!(h2_get(&mut client.clone(), "/none").await.0, 404);
}

/// A connection of QUIC that offers `protocol`.
async fn quic(address: SocketAddr, protocol: &[u8]) -> (quinn::Endpoint, quinn::Connection) {
    let crypto = QuicClientConfig::try_from(support::http::tls(&[protocol])).unwrap();
    let config = quinn::ClientConfig::new(Arc::new(crypto));
    let endpoint = quinn::Endpoint::client(([127, 0, 0, 1], 0).into()).unwrap();
    let connection = soon(endpoint.connect_with(config, address, "localhost").unwrap()).await.unwrap();
    (endpoint, connection)
}

#[tokio::test]
async fn http_3_is_spoken_on_the_port_of_qfs() {
    let (rig, large) = rig(|_| {});
    let (_endpoint, connection) = quic(rig.address, b"h3").await;
    let (mut driver, client) = soon(h3::client::new(h3_quinn::Connection::new(connection))).await.unwrap();
    let driving = tokio::spawn(async move { std::future::poll_fn(|cx| driver.poll_close(cx)).await });
    for (target, status, content) in
        [("/large.bin", 200, Some(&large[..])), ("/hello.txt", 200, Some(b"hello")), ("/none", 404, None)]
    {
        let mut client = client.clone();
        let mut stream = soon(client.send_request(request(target))).await.unwrap();
        stream.finish().await.unwrap();
        let answer = soon(stream.recv_response()).await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{target}");
        let mut body = Vec::new();
        while let Some(mut part) = soon(stream.recv_data()).await.unwrap() {
            let length = part.remaining();
            body.extend_from_slice(&part.copy_to_bytes(length));
        }
        assert!(content.is_none_or(|content| content == body), "{target}");
    }
    // qfs goes on beside it.
    assert_eq!(rig.connect().await.get("hello.txt").await.unwrap().body, b"hello");
    drop(client);
    driving.abort();
}

/// Fails when credit for streams of HTTP/3 makes something out of them on a connection of qfs (PROTOCOL §1.4).
#[tokio::test]
async fn qfs_has_no_unidirectional_streams() {
    let (rig, _) = rig(|_| {});
    let (_endpoint, connection) = quic(rig.address, b"qfs/1").await;
    let mut stream = soon(connection.open_uni()).await.unwrap();
    stream.write_all(b"x").await.unwrap();
    let closed = soon(connection.closed()).await;
    assert!(matches!(closed, quinn::ConnectionError::ApplicationClosed(close) if close.error_code == 1u32.into()));
    let (without, _) = self::rig(|config| (config.http, config.tcp) = (false, false));
    let (_endpoint, connection) = quic(without.address, b"qfs/1").await;
    assert!(tokio::time::timeout(Duration::from_millis(300), connection.open_uni()).await.is_err());
    assert!(tokio::net::TcpStream::connect(without.address).await.is_err());
}

#[tokio::test]
async fn answers_under_way_end_well_when_the_server_does() {
    let tree = Tree::new();
    let large = noise(32 << 20);
    tree.write("large.bin", &large);
    let mut rig = Rig::start(tree, |_| {});
    let mut idle = connect(rig.address, &[b"http/1.1"]).await;
    let mut kept = h2_client(rig.address).await;
    assert_eq!(h2_get(&mut kept, "/none").await.0, 404);
    let mut stream = connect(rig.address, &[b"http/1.1"]).await;
    stream.write_all(b"GET /large.bin HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut bytes = vec![0; 1 << 16];
    stream.read_exact(&mut bytes).await.unwrap();
    rig.stop();
    soon(stream.read_to_end(&mut bytes)).await.unwrap();
    assert!(parse(&bytes).body == large);
    assert!(is_ended(&mut idle, PATIENCE).await);
    assert_eq!(rig.ended().await.cut, 0);
}

/// A way to `server` on which nothing gets from the client to it while the flag says so.
async fn one_way_at_times(server: SocketAddr) -> (SocketAddr, tokio::sync::watch::Sender<bool>) {
    let front = Arc::new(tokio::net::UdpSocket::bind(("127.0.0.1", 0)).await.unwrap());
    let back = Arc::new(tokio::net::UdpSocket::bind(("127.0.0.1", 0)).await.unwrap());
    back.connect(server).await.unwrap();
    let address = front.local_addr().unwrap();
    let (held, is_held) = tokio::sync::watch::channel(false);
    tokio::spawn(async move {
        let (mut there, mut here) = (vec![0; 1 << 16], vec![0; 1 << 16]);
        let mut client = None;
        loop {
            tokio::select! {
                Ok((length, from)) = front.recv_from(&mut there) => {
                    client = Some(from);
                    if !*is_held.borrow() {
                        let _ = back.send(&there[..length]).await;
                    }
                }
                Ok(length) = back.recv(&mut here) => if let Some(client) = client {
                    let _ = front.send_to(&here[..length], client).await;
                },
                else => {}
            }
        }
    });
    (address, held)
}

/// Fails when an answer counts as given while QUIC still holds some of it: the connection is closed then, and that is lost.
#[tokio::test]
async fn http_3_answers_arrive_whole_when_the_server_ends() {
    let tree = Tree::new();
    let content = noise(1_000_001);
    tree.write("file.bin", &content);
    let mut rig = Rig::start(tree, |_| {});
    let (address, held) = one_way_at_times(rig.address).await;
    let (_endpoint, connection) = quic(address, b"h3").await;
    let (mut driver, mut client) = soon(h3::client::new(h3_quinn::Connection::new(connection))).await.unwrap();
    let driving = tokio::spawn(async move { std::future::poll_fn(|cx| driver.poll_close(cx)).await });
    let mut stream = soon(client.send_request(request("/file.bin"))).await.unwrap();
    stream.finish().await.unwrap();
    assert_eq!(soon(stream.recv_response()).await.unwrap().status(), 200);
    // Without acknowledgements no more than a congestion window leaves; the rest lies where it can be lost.
    held.send_replace(true);
    rig.stop();
    tokio::time::sleep(Duration::from_millis(300)).await;
    held.send_replace(false);
    let mut body = Vec::new();
    while let Some(mut part) = soon(stream.recv_data()).await.unwrap() {
        let length = part.remaining();
        body.extend_from_slice(&part.copy_to_bytes(length));
    }
    assert!(body == content, "{} of {}", body.len(), content.len());
    assert_eq!(rig.ended().await.cut, 0);
    drop(client);
    driving.abort();
}

/// Fails when what was handed over counts as taken: the client's window may be full of it.
#[tokio::test]
async fn http_2_answers_arrive_whole_when_the_server_ends() {
    let tree = Tree::new();
    let content = noise(200_000);
    tree.write("file.bin", &content);
    let (told, mut hears) = tokio::sync::mpsc::unbounded_channel();
    let mut rig = Rig::start(tree, |config| {
        config.deliveries = Some(Deliveries::new(move |_| _ = told.send(())));
    });
    let mut client = h2_client(rig.address).await;
    let (answer, _) = client.send_request(request("/file.bin"), true).unwrap();
    let mut body = soon(answer).await.unwrap().into_body();
    soon(hears.recv()).await.unwrap();
    rig.stop();
    let mut whole = Vec::new();
    while let Some(part) = soon(body.data()).await {
        let Ok(part) = part else { break };
        whole.extend_from_slice(&part);
        // Longer than a client has that takes nothing and is owed nothing.
        if whole.len() == 65_535 {
            tokio::time::sleep(Duration::from_secs(8)).await;
        }
        body.flow_control().release_capacity(part.len()).unwrap();
    }
    assert!(whole == content, "{} of {}", whole.len(), content.len());
    assert_eq!(rig.ended().await.cut, 0);
}

/// Fails when archives that nobody reads keep everybody else from looking into directories.
#[tokio::test]
async fn archives_hold_up_no_listings() {
    let tree = Tree::new();
    (0..200).for_each(|index| drop(tree.write(&format!("f{index}"), b"content")));
    let rig = Rig::start(tree, |config| config.deadlines.queue = Duration::from_millis(500));
    let stream = connect(rig.address, &[b"h2"]).await;
    let (client, connection) =
        soon(h2::client::Builder::new().initial_window_size(0).handshake::<_, Bytes>(stream)).await.unwrap();
    tokio::spawn(connection);
    let mut answers = Vec::new();
    for _ in 0..64 {
        let mut client = soon(client.clone().ready()).await.unwrap();
        answers.push(client.send_request(request("/?tar"), true).unwrap().0);
    }
    // Kept, or they would be given up.
    let mut kept = Vec::new();
    for answer in answers {
        kept.push(soon(answer).await.unwrap());
    }
    assert!(kept.iter().any(|answer| answer.status() == 200));
    assert_eq!(get(rig.address, "/", &[]).await.status, 200);
    assert_eq!(get(rig.address, "/none", &[]).await.status, 404);
    let another = h2_get(&mut h2_client(rig.address).await, "/?tar").await;
    assert_eq!(another.0, 200, "nobody has them all");
}

/// Fails when lists that nobody reads keep everybody else from pages, and from hearing that there is no such file.
#[tokio::test]
async fn lists_that_nobody_reads_hold_up_no_pages() {
    let tree = Tree::new();
    (0..6000).for_each(|index| drop(tree.write(&format!("{index:0200}"), b"")));
    let rig = Rig::start(tree, |config| {
        config.deadlines.queue = Duration::from_millis(500);
        config.limits.listings = 4;
    });
    let stream = connect(rig.address, &[b"h2"]).await;
    let (client, connection) =
        soon(h2::client::Builder::new().initial_window_size(0).handshake::<_, Bytes>(stream)).await.unwrap();
    tokio::spawn(connection);
    let mut kept = Vec::new();
    for status in [200, 200, 200, 200, 503] {
        let list = Request::get("https://localhost/").header("accept", "application/json").body(()).unwrap();
        let answer = soon(client.clone().ready()).await.unwrap().send_request(list, true).unwrap().0;
        let answer = soon(answer).await.unwrap();
        assert_eq!(answer.status(), status);
        kept.push(answer);
    }
    assert_eq!(get(rig.address, "/", &["Accept: text/html"]).await.status, 200);
    assert_eq!(get(rig.address, "/none", &[]).await.status, 404);
}

#[tokio::test]
async fn the_slow_are_cut() {
    let (rig, _) = rig(|config| {
        config.deadlines.first_request = Duration::from_millis(900);
        config.deadlines.request = Duration::from_millis(600);
        config.deadlines.stall = Duration::from_millis(900);
    });
    // Nothing; half a head; a head without end, a byte at a time; HTTP/2 without a request.
    let mut silent = connect(rig.address, &[b"http/1.1"]).await;
    let mut half = connect(rig.address, &[b"http/1.1"]).await;
    half.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n").await.unwrap();
    let mut h2 = connect(rig.address, &[b"h2"]).await;
    h2.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let trickle = connect(rig.address, &[b"http/1.1"]).await;
    let (mut reader, mut writer) = tokio::io::split(trickle);
    let trickling = tokio::spawn(async move {
        writer.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        while writer.write_all(b"X: y\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    // One that asks for a file and reads none of it, and one whose form never comes.
    let mut deaf = connect(rig.address, &[b"http/1.1"]).await;
    deaf.write_all(b"GET /large.bin HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut form = connect(rig.address, &[b"http/1.1"]).await;
    form.write_all(
        b"POST /.qfs/token HTTP/1.1\r\nHost: x\r\nSec-Fetch-Site: same-origin\r\nContent-Length: 9\r\n\r\nto",
    )
    .await
    .unwrap();
    assert!(
        is_ended(&mut silent, PATIENCE).await
            && is_ended(&mut half, PATIENCE).await
            && is_ended(&mut h2, PATIENCE).await
    );
    assert!(is_ended(&mut form, PATIENCE).await);
    let mut nothing = Vec::new();
    let _ = soon(reader.read_to_end(&mut nothing)).await;
    soon(trickling).await.unwrap();
    assert_eq!(get(rig.address, "/hello.txt", &[]).await.text(), "hello");
    drop(deaf);
}

/// Shapes that two servers in a row may read as different requests.
#[tokio::test]
async fn smuggling_shapes_are_refused_or_end_the_connection() {
    let (rig, _) = rig(|_| {});
    let next = "GET /hello.txt HTTP/1.1\r\nHost: x\r\n\r\n";
    for shape in [
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Length: 40\r\n\r\nabcd",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +4\r\n\r\nabcd",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0x4\r\n\r\nabcd",
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nX: a\r\n b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nX\0: y\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nX: y\0\r\n\r\n",
        "GET /\x01 HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET / HTTP/9.9\r\nHost: x\r\n\r\n",
        "GET  / HTTP/1.1\r\nHost: x\r\n\r\n",
    ] {
        let said = raw(rig.address, format!("{shape}{next}").as_bytes()).await;
        let said = String::from_utf8_lossy(&said);
        assert!(!said.contains("200 OK"), "{shape:?} was answered: {said}");
    }
    let long = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "y".repeat(200_000));
    assert!(!String::from_utf8_lossy(&raw(rig.address, long.as_bytes()).await).contains("200 OK"));
    let many = format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "X: y\r\n".repeat(500));
    assert!(!String::from_utf8_lossy(&raw(rig.address, many.as_bytes()).await).contains("200 OK"));
}

/// CVE-2023-44487: opening and resetting costs a client nothing.
#[tokio::test]
async fn a_rapid_reset_ends_the_connection() {
    let (rig, _) = rig(|config| config.limits.abandoned_streams = 50);
    let mut client = h2_client(rig.address).await;
    let flood = async {
        loop {
            match client.clone().ready().await {
                Ok(ready) => client = ready,
                Err(error) => return error,
            }
            match client.send_request(request("/large.bin"), true) {
                Ok((_, mut stream)) => stream.send_reset(h2::Reason::CANCEL),
                Err(error) => return error,
            }
            tokio::task::yield_now().await;
        }
    };
    soon(flood).await;
    assert_eq!(get(rig.address, "/hello.txt", &[]).await.text(), "hello");
}

/// CVE-2024-27316 and its like: a header block that does not end.
#[tokio::test]
async fn headers_without_end_end_the_connection() {
    let (rig, _) = rig(|_| {});
    let mut stream = connect(rig.address, &[b"h2"]).await;
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    // HEADERS without END_HEADERS on stream 1, then CONTINUATION for ever: a literal field of 16,000 bytes each.
    stream.write_all(b"\0\0\0\x01\0\0\0\0\x01").await.unwrap();
    let mut frame = vec![0, 0x3e, 0x87, 9, 0, 0, 0, 0, 1, 0, 1, b'x', 0x7f, 0x81, 0x7c];
    frame.resize(9 + 0x3e87, b'y');
    let (mut reader, mut writer) = tokio::io::split(stream);
    let flood = async move {
        let mut sent = 0;
        while sent < 64 << 20 && writer.write_all(&frame).await.is_ok() {
            sent += frame.len();
        }
        sent
    };
    let mut said = Vec::new();
    let (sent, _) = soon(async { tokio::join!(flood, reader.read_to_end(&mut said)) }).await;
    assert!(sent < 64 << 20, "all of it was taken");
    let answer: Answer = get(rig.address, "/hello.txt", &[]).await;
    assert_eq!(answer.text(), "hello");
}

#[tokio::test]
async fn connections_are_counted_with_all_others() {
    let (rig, _) = rig(|config| config.limits.connections = 2);
    let qfs = rig.connect().await;
    let mut h2 = h2_client(rig.address).await;
    assert_eq!(h2_get(&mut h2, "/hello.txt").await.1, b"hello");
    let stream = soon(tokio::net::TcpStream::connect(rig.address)).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(support::http::tls(&[])));
    assert!(soon(connector.connect("localhost".try_into().unwrap(), stream)).await.is_err());
    drop(qfs);
}

/// Who forgot the s in https is told.
#[tokio::test]
async fn plain_http_is_answered_with_a_sentence() {
    let (rig, _) = rig(|_| {});
    let mut stream = tokio::net::TcpStream::connect(rig.address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut said = Vec::new();
    let _ = soon(stream.read_to_end(&mut said)).await;
    let answer = parse(&said);
    assert_eq!(answer.header("content-length"), answer.body.len().to_string());
    assert!(answer.status == 400 && answer.text().contains("https://"), "{answer:?}");
}
