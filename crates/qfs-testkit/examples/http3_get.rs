//! Fetches a file over HTTP/3, as curl does where it is built with that: `http3_get ADDRESS NAME TARGET`. Any certificate is believed.
//! `scripts/http3-speed.sh` times it beside `qfs-client`.
#![allow(clippy::disallowed_methods, reason = "an example writes a file")]

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Buf as _;
use qfs_testkit::gullible;
use quinn::{Endpoint, MtuDiscoveryConfig, TransportConfig, VarInt};

/// As much may be under way as the client of qfs allows.
const WINDOW: u32 = 64 << 20;

/// The largest packets of loopback, as qfs' client looks for them.
const MTU: u16 = 6500;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [address, name, target] = &args[..] else { return Err("usage: http3_get ADDRESS NAME TARGET".into()) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(get(address.parse()?, name, target))
}

async fn get(address: SocketAddr, name: &str, target: &str) -> Result<(), Box<dyn std::error::Error>> {
    let mut transport = TransportConfig::default();
    let mut discovery = MtuDiscoveryConfig::default();
    discovery.upper_bound(MTU);
    transport.mtu_discovery_config(Some(discovery));
    transport.stream_receive_window(VarInt::from_u32(WINDOW)).receive_window(VarInt::from_u32(WINDOW));
    let mut endpoint = Endpoint::client("0.0.0.0:0".parse()?)?;
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
    let (pieces, arriving) = std::sync::mpsc::sync_channel::<bytes::Bytes>(64);
    let mut file = std::fs::File::create(target)?;
    let writing = tokio::task::spawn_blocking(move || arriving.iter().try_for_each(|piece| file.write_all(&piece)));
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
