//! A client of our own making, down to the packet: QUIC without the manners of `qfs-core`, and first packets by the thousand.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use qfs_core::body::{Answer, collect};
use qfs_core::framing::read_frame;
use qfs_core::model::Digest;
use qfs_core::wire::{
    ALPN, DownloadHead, DownloadRequest, Request, StatusCode, Trailer, decode_error, decode_response, frame,
};
use qfs_transport::{ClientEndpoint, ClientTuning, Trust};
use quinn::{ClientConfig, Connecting, Connection, Endpoint, RecvStream, SendStream, TransportConfig};

use qfs_testkit::gullible;

use crate::lab::WATCHDOG;

/// A QUIC client's configuration that offers these protocols, and 0-RTT where the server has it.
pub(crate) fn config(protocols: &[&[u8]], transport: TransportConfig) -> ClientConfig {
    gullible::client_config(protocols, transport).unwrap()
}

/// An end point on loopback.
pub(crate) fn endpoint() -> Endpoint {
    Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).unwrap()
}

/// Begins a connection.
pub(crate) fn connecting(server: SocketAddr, config: ClientConfig) -> Connecting {
    endpoint().connect_with(config, server, "localhost").unwrap()
}

/// An ordinary connection.
pub(crate) async fn connect(server: SocketAddr) -> Connection {
    connect_with(server, TransportConfig::default()).await
}

/// A connection with transport parameters of one's own.
pub(crate) async fn connect_with(server: SocketAddr, transport: TransportConfig) -> Connection {
    soon(connecting(server, config(&[ALPN], transport))).await.unwrap()
}

/// Resolves before the watchdog barks, or the server hung.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(WATCHDOG, future).await.expect("it hung")
}

/// A stream on which `bytes` were sent; its end is the caller's.
pub(crate) async fn begin(connection: &Connection, bytes: &[u8]) -> (SendStream, RecvStream) {
    let (mut send, receive) = soon(connection.open_bi()).await.unwrap();
    // A server that has heard enough may stop it on the way.
    let _ = soon(send.write_all(bytes)).await;
    (send, receive)
}

/// The status that answers `bytes`: of the head, or of a reset.
pub(crate) async fn status(connection: &Connection, bytes: &[u8]) -> StatusCode {
    let (mut send, receive) = begin(connection, bytes).await;
    let _ = send.finish();
    status_of(receive).await
}

/// As [`status`], for JSON in a frame.
pub(crate) async fn ask(connection: &Connection, json: &[u8]) -> StatusCode {
    status(connection, &frame(json).unwrap()).await
}

/// The status that an answer begins with.
pub(crate) async fn status_of(mut receive: RecvStream) -> StatusCode {
    match soon(read_frame(&mut receive)).await {
        Ok(payload) => decode_error(&payload).map_or(StatusCode::OK, |error| error.code),
        Err(_) => match soon(receive.received_reset()).await {
            Ok(Some(code)) => StatusCode::from_quic(code.into_inner()),
            other => panic!("no answer: {other:?}"),
        },
    }
}

/// The frame that asks for all of `name`.
pub(crate) fn download(name: &str) -> Vec<u8> {
    let request = DownloadRequest { filename: name.to_owned(), ..DownloadRequest::default() };
    Request::Download(request).encode().unwrap().to_vec()
}

/// What an honest client gets of `name`, on a connection of its own.
pub(crate) async fn honest(server: SocketAddr, name: &str) -> Digest {
    let endpoint = ClientEndpoint::bind(server.ip(), None).unwrap();
    let tuning = ClientTuning::default();
    let connection = endpoint.connect(server, "localhost", Trust::AnyKey, &tuning, WATCHDOG).await.unwrap();
    let digest = fetch(&connection, name).await;
    connection.close(StatusCode::OK);
    endpoint.flush().await;
    digest
}

/// All of `name`, compared with the digest behind it.
pub(crate) async fn fetch(connection: &qfs_transport::Connection, name: &str) -> Digest {
    let (sink, source) = connection.open_stream().await.unwrap();
    sink.send_request(download(name).into()).await.unwrap();
    let mut answer = Answer::new(source);
    let head: DownloadHead = decode_response(&soon(answer.next_frame()).await.unwrap()).unwrap().unwrap();
    let mut body = answer.into_body(head.size);
    let pieces = soon(collect(&mut body, |_| {})).await.unwrap();
    let trailer: Trailer = decode_response(&body.into_trailer().unwrap()).unwrap().unwrap();
    let digest = Digest::of(&pieces.concat());
    assert_eq!(digest, trailer.digest);
    digest
}

/// The first packets of `count` clients, each whole and valid, none of whom will say more.
pub(crate) fn first_packets(server: SocketAddr, count: usize) -> Vec<Vec<u8>> {
    let config = config(&[ALPN], TransportConfig::default());
    let mut endpoint = quinn_proto::Endpoint::new(Arc::new(quinn_proto::EndpointConfig::default()), None, true, None);
    let mut packets = Vec::with_capacity(count);
    for _ in 0..count {
        let now = Instant::now();
        let (_, mut connection) = endpoint.connect(now, config.clone(), server, "localhost").unwrap();
        let mut packet = Vec::new();
        let sent = connection.poll_transmit(now, 1, &mut packet).expect("a client speaks first");
        packet.truncate(sent.size);
        packets.push(packet);
    }
    packets
}

/// What came back to a socket that sent something it should not have.
pub(crate) fn answers(socket: &UdpSocket) -> Vec<Vec<u8>> {
    socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let mut buffer = [0; 2048];
    let mut answers = Vec::new();
    while let Ok(read) = socket.recv(&mut buffer) {
        answers.push(buffer[..read].to_vec());
        if answers.len() == 64 {
            break;
        }
    }
    answers
}

/// Whether a packet is a Retry (RFC 9000 §17.2.5).
pub(crate) fn is_retry(packet: &[u8]) -> bool {
    packet.len() > 5 && packet[0] & 0xf0 == 0xf0 && packet[1..5] == [0, 0, 0, 1]
}
