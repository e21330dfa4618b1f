//! Clients that misuse the streams of an ordinary connection.

use std::net::SocketAddr;
use std::time::Duration;

use qfs_core::wire::StatusCode;
use quinn::{ConnectionError, VarInt};

use crate::raw::{begin, connect, download, status, status_of};

pub(super) async fn more_streams_than_allowed(server: SocketAddr) {
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
pub(super) async fn open_and_reset(server: SocketAddr) {
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

pub(super) async fn stop_at_once(server: SocketAddr) {
    let connection = connect(server).await;
    for whole in [true, false] {
        let request = download("large");
        let (mut send, mut receive) = begin(&connection, &request[..if whole { request.len() } else { 7 }]).await;
        receive.stop(VarInt::from_u32(12)).unwrap();
        let _ = send.finish();
    }
    assert_eq!(status(&connection, &download("small")).await, StatusCode::OK);
}

pub(super) async fn stop_in_the_middle(server: SocketAddr) {
    let connection = connect(server).await;
    for _ in 0..20 {
        let (mut send, mut receive) = begin(&connection, &download("large")).await;
        send.finish().unwrap();
        receive.read_exact(&mut [0; 100_000]).await.unwrap();
        receive.stop(VarInt::MAX).unwrap();
    }
    assert_eq!(status(&connection, &download("small")).await, StatusCode::OK);
}

pub(super) async fn reset_in_the_middle(server: SocketAddr) {
    let connection = connect(server).await;
    for code in [VarInt::from_u32(0), VarInt::MAX] {
        let (mut send, receive) = begin(&connection, &download("large")[..9]).await;
        send.reset(code).unwrap();
        assert_eq!(status_of(receive).await, StatusCode::BAD_REQUEST);
    }
}

/// What follows a whole request is never read, and flow control ends it.
pub(super) async fn endless_request(server: SocketAddr) {
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

pub(super) async fn trickle(server: SocketAddr) {
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

pub(super) async fn a_burst(server: SocketAddr) {
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
