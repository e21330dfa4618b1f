//! Fetches a file over HTTP/3, as curl does where it is built with that: `http3_get ADDRESS NAME TARGET`. Any certificate is believed.
//! `scripts/http3-speed.sh` times it beside `qfs-client`.
#![allow(clippy::disallowed_methods, reason = "an example writes a file")]

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Buf as _;
use qfs_testkit::gullible;
use quinn::{Endpoint, EndpointConfig, MtuDiscoveryConfig, TokioRuntime, TransportConfig, VarInt};
use socket2::{Domain, Socket, Type};

/// As much may be under way as the client of qfs allows.
const WINDOW: u32 = 64 << 20;

/// Size of the socket's buffers, in bytes, as qfs' client asks for.
const SOCKET_BUFFER: usize = 4 << 20;

/// Bytes that are written to the file in one call, where so many are there.
const BATCH: usize = 1 << 20;

/// The largest packets taken and looked for, in bytes, unless said: those of qfs' client on loopback.
const PAYLOAD: u16 = 6500;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let ([address, name, target], payload) = match &args[..] {
        [address, name, target] => ([address, name, target], PAYLOAD),
        [address, name, target, payload] => ([address, name, target], payload.parse()?),
        _ => return Err("usage: http3_get ADDRESS NAME TARGET [LARGEST-PACKET]".into()),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(get(address.parse()?, name, target, payload))
}

fn endpoint(payload: u16) -> Result<Endpoint, Box<dyn std::error::Error>> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    socket.set_recv_buffer_size(SOCKET_BUFFER)?;
    socket.set_send_buffer_size(SOCKET_BUFFER)?;
    socket.bind(&"0.0.0.0:0".parse::<SocketAddr>()?.into())?;
    let mut config = EndpointConfig::default();
    // What a client says that it takes is the most that the server's discovery tries (RFC 9000 §18.2).
    config.max_udp_payload_size(payload)?;
    Ok(Endpoint::new(config, None, socket.into(), Arc::new(TokioRuntime))?)
}

/// Writes what arrives, much of it together.
fn write(arriving: &std::sync::mpsc::Receiver<bytes::Bytes>, mut file: std::fs::File) -> std::io::Result<()> {
    let mut batch = Vec::with_capacity(BATCH);
    for piece in arriving {
        if batch.len() + piece.len() > BATCH {
            file.write_all(&batch)?;
            batch.clear();
        }
        batch.extend_from_slice(&piece);
    }
    file.write_all(&batch)
}

async fn get(address: SocketAddr, name: &str, target: &str, payload: u16) -> Result<(), Box<dyn std::error::Error>> {
    let mut transport = TransportConfig::default();
    let mut discovery = MtuDiscoveryConfig::default();
    discovery.upper_bound(payload);
    transport.mtu_discovery_config(Some(discovery));
    transport.stream_receive_window(VarInt::from_u32(WINDOW)).receive_window(VarInt::from_u32(WINDOW));
    let mut endpoint = endpoint(payload)?;
    endpoint.set_default_client_config(gullible::client_config(&[b"h3"], transport)?);
    let connection = endpoint.connect(address, "localhost")?.await?;
    let (mut driver, mut client) = h3::client::new(h3_quinn::Connection::new(connection)).await?;
    let driving = tokio::spawn(async move { std::future::poll_fn(|cx| driver.poll_close(cx)).await });
    let request = http::Request::get(format!("https://{address}/{name}")).body(())?;
    let mut stream = client.send_request(request).await?;
    stream.finish().await?;
    let answer = stream.recv_response().await?;
    if !answer.status().is_success() {
        return Err(format!("the server answered {}", answer.status()).into());
    }
    // Written elsewhere, so that the connection is not kept waiting by the disk.
    let (pieces, arriving) = std::sync::mpsc::sync_channel::<bytes::Bytes>(1024);
    let file = std::fs::File::create(target)?;
    let writing = tokio::task::spawn_blocking(move || write(&arriving, file));
    let pieces = Arc::new(pieces);
    while let Some(mut part) = stream.recv_data().await? {
        let piece = part.copy_to_bytes(part.remaining());
        if let Err(std::sync::mpsc::TrySendError::Full(piece)) = pieces.try_send(piece) {
            let pieces = Arc::clone(&pieces);
            tokio::task::spawn_blocking(move || pieces.send(piece)).await??;
        }
    }
    drop(pieces);
    writing.await??;
    driving.abort();
    Ok(())
}
