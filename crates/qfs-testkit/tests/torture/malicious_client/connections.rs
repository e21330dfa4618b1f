//! Clients that misuse connections, handshakes and packets.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use qfs_core::wire::{ALPN, StatusCode};
use quinn::{ConnectionError, TransportConfig, VarInt};

use crate::crowd::runtime;
use crate::lab::{WATCHDOG, noise};
use crate::raw::{
    answers, begin, config, connect, connect_with, connecting, download, endpoint, first_packets, soon, status,
};
use crate::victim::LARGE_BYTES;

pub(super) async fn another_protocol(server: SocketAddr) {
    for protocols in [&[b"hq-29".as_slice()][..], &[b"qfs/2"], &[b"qfs/1\0"], &[]] {
        let failed = connecting(server, config(protocols, TransportConfig::default())).await;
        let Err(ConnectionError::ConnectionClosed(close)) = failed else { panic!("{protocols:?}: {failed:?}") };
        assert_eq!(u64::from(close.error_code), 0x178, "{protocols:?}");
    }
}

/// A second connection may resume, but has no early data to send.
pub(super) async fn early_data(server: SocketAddr) {
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

pub(super) async fn what_is_not_offered(server: SocketAddr) {
    let connection = connect(server).await;
    assert!(connection.send_datagram(b"?"[..].into()).is_err(), "datagrams are off");
    assert_eq!(status(&connection, &download("small")).await, StatusCode::OK);
    // There is credit for one, for the sake of HTTP/3 on the same port, and no use of it.
    let mut stream = connection.open_uni().await.unwrap();
    stream.write_all(b"?").await.unwrap();
    let closed = connection.closed().await;
    let code = VarInt::from_u32(StatusCode::BAD_REQUEST.0);
    assert!(matches!(&closed, ConnectionError::ApplicationClosed(close) if close.error_code == code), "{closed}");
}

pub(super) async fn a_closed_window(server: SocketAddr) {
    let mut transport = TransportConfig::default();
    transport.receive_window(VarInt::from_u32(1)).stream_receive_window(VarInt::from_u32(1));
    let connection = connect_with(server, transport).await;
    for _ in 0..50 {
        let (mut send, _receive) = begin(&connection, &download("large")).await;
        let _ = send.finish();
    }
    connection.close(VarInt::from_u32(0), b"");
}

/// Streams that a client lets the server open, which opens none. More would cost this process: quinn keeps a slot for each.
const STREAMS_GRANTED: u32 = 10_000;

pub(super) async fn extreme_parameters(server: SocketAddr) {
    let mut transport = TransportConfig::default();
    transport
        .receive_window(VarInt::MAX)
        .stream_receive_window(VarInt::MAX)
        .max_concurrent_bidi_streams(VarInt::from_u32(STREAMS_GRANTED))
        .max_concurrent_uni_streams(VarInt::from_u32(STREAMS_GRANTED))
        .max_idle_timeout(None)
        .initial_rtt(Duration::from_nanos(1))
        .datagram_receive_buffer_size(Some(usize::MAX >> 16));
    let connection = connect_with(server, transport).await;
    assert_eq!(status(&connection, &download("large")).await, StatusCode::OK);
}

/// What it says at parting must not become a line of the server's log.
pub(super) async fn close_with_a_trap(server: SocketAddr) {
    let connection = connect(server).await;
    let (mut send, mut receive) = begin(&connection, &download("large")).await;
    send.finish().unwrap();
    receive.read_exact(&mut [0; 50_000]).await.unwrap();
    connection.close(VarInt::MAX, b"bye\n2026-01-01 ERROR forged \x1b[2J\xff\xe2\x80\xae");
}

/// They ask, and neither acknowledge nor close.
pub(super) async fn vanish(server: SocketAddr) {
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

pub(super) async fn connection_flood(server: SocketAddr) {
    let own = endpoint();
    for _ in 0..200 {
        let connecting = own.connect_with(config(&[ALPN], TransportConfig::default()), server, "localhost").unwrap();
        let connection = soon(connecting).await.unwrap();
        connection.close(VarInt::from_u32(0), b"");
    }
}

pub(super) async fn wander(server: SocketAddr) {
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

pub(super) async fn half_handshakes(server: SocketAddr) {
    for packet in first_packets(server, 300) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.send_to(&packet, server).unwrap();
    }
}

/// Long and short headers, other versions, damaged and cut first packets, and noise.
pub(super) async fn garbage(server: SocketAddr) {
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
