//! Clients over HTTP/2 that never hear that the connection ends: they do not acknowledge the PING by which they would be told
//! (RFC 9113 §6.8), and so could go on.
#![cfg(feature = "http")]
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may panic, and makes the files it publishes"
)]

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use qfs_server::Gate;
use qfs_server::gate::tokens::TokenFile;
use support::http::connect;
use support::{Rig, Tree, soon};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// The preface and empty settings (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// A PING (RFC 9113 §6.7).
const PING: &[u8] = b"\0\0\x08\x06\0\0\0\0\0pingping";

type Halves = (ReadHalf<TlsStream<TcpStream>>, WriteHalf<TlsStream<TcpStream>>);

async fn open(address: SocketAddr) -> Halves {
    let (reader, mut writer) = tokio::io::split(connect(address, &[b"h2"]).await);
    writer.write_all(PREFACE).await.unwrap();
    (reader, writer)
}

/// `GET /` on this stream: the header block has the fields by their numbers (RFC 7541, Appendix A), and the authority written out.
fn get(stream: u8) -> Vec<u8> {
    let block = [0x82, 0x84, 0x87, 0x01, 1, b'x'];
    [&[0, 0, block.len() as u8, 1, 5, 0, 0, 0, stream], &block[..]].concat()
}

/// Reads the kind and the stream of the next frame; None at the end.
async fn frame(reader: &mut ReadHalf<TlsStream<TcpStream>>) -> Option<(u8, u32)> {
    let mut head = [0; 9];
    soon(reader.read_exact(&mut head)).await.ok()?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let mut payload = vec![0; length as usize];
    soon(reader.read_exact(&mut payload)).await.ok()?;
    Some((head[3], u32::from_be_bytes([head[5], head[6], head[7], head[8]])))
}

/// Pings until the connection ends.
async fn ping_for_ever((mut reader, mut writer): Halves) {
    let pinging = async {
        while writer.write_all(PING).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let mut nothing = Vec::new();
    soon(async {
        tokio::select! {
            () = pinging => {}
            _ = reader.read_to_end(&mut nothing) => {}
        }
    })
    .await;
}

/// Fails when: what is answered to its pings keeps the connection of a client that asks for nothing, or for nothing more.
#[tokio::test]
async fn pings_keep_nobody() {
    let rig = Rig::start(Tree::new(), |config| {
        config.deadlines.first_request = Duration::from_millis(300);
        config.deadlines.request = Duration::from_millis(300);
        config.deadlines.stall = Duration::from_millis(500);
        config.deadlines.drain = Duration::from_secs(60);
    });
    let asked_for_nothing = open(rig.address).await;
    ping_for_ever(asked_for_nothing).await;

    let (mut reader, mut writer) = open(rig.address).await;
    writer.write_all(&get(1)).await.unwrap();
    while frame(&mut reader).await.unwrap() != (0, 1) {}
    let mut rig = rig;
    // A server that ends does not wait a minute until nothing is under way.
    rig.stop();
    ping_for_ever((reader, writer)).await;
    rig.ended().await;
}

/// Fails when: a client that was turned out for guessing goes on being answered.
#[tokio::test]
async fn who_guesses_tokens_is_answered_no_more() {
    let home = tempfile::tempdir().unwrap();
    let rig = Rig::start(Tree::new(), |config| {
        config.gate = Gate::tokens(TokenFile::in_directory(home.path())).unwrap();
        config.limits.denials_per_connection = 4;
    });
    let (mut reader, mut writer) = open(rig.address).await;
    let mut answered = 0;
    for stream in (1..120).step_by(2) {
        if writer.write_all(&get(stream)).await.is_err() {
            break;
        }
        // HEADERS is an answer; RST_STREAM, and the end, are none.
        let said = loop {
            match frame(&mut reader).await {
                Some((kind @ (1 | 3), of)) if of == u32::from(stream) => break Some(kind),
                Some(_) => {}
                None => break None,
            }
        };
        match said {
            Some(1) => answered += 1,
            Some(_) => {}
            None => break,
        }
    }
    assert!((4..=6).contains(&answered), "{answered} guesses were answered");
}
