//! A bare quinn program that sends with [`Bbr3`]: a server hands 8 MiB to a client on loopback and prints what the controller
//! believes about the path meanwhile.
//!
//! ```sh
//! cargo run -p qfs-congestion --example bare_quinn
//! ```
#![allow(clippy::print_stdout, reason = "an example prints what it shows")]

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use qfs_congestion::{Bbr3, Bbr3Config, Snapshot};
use quinn::{ClientConfig, Connection, ConnectionError, Endpoint, ServerConfig, TransportConfig};
use rustls::RootCertStore;
use rustls::pki_types::PrivatePkcs8KeyDer;

/// What is sent, in bytes.
const LENGTH: usize = 8 << 20;

/// What is written between two looks at the controller, in bytes.
const STEP: usize = 1 << 20;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let key = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let certificate = key.cert.der().clone();

    // This is all there is to it. Each end chooses for what it sends itself, so the server's choice is the one that counts here.
    let mut transport = TransportConfig::default();
    transport.congestion_controller_factory(Arc::new(Bbr3Config::default()));

    let private = PrivatePkcs8KeyDer::from(key.signing_key.serialize_der());
    let mut config = ServerConfig::with_single_cert(vec![certificate.clone()], private.into())?;
    config.transport_config(Arc::new(transport));
    let server = Endpoint::server(config, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;

    let mut roots = RootCertStore::empty();
    roots.add(certificate)?;
    let mut client = Endpoint::client(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    client.set_default_client_config(ClientConfig::with_root_certificates(Arc::new(roots))?);

    let address = server.local_addr()?;
    let (seen, received) = tokio::try_join!(serve(&server), fetch(&client, address))?;
    println!(
        "{received} bytes received; in the end the sender was in {}, with a window of {}",
        seen.phase, seen.window
    );
    Ok(())
}

/// Accepts one connection and sends [`LENGTH`] bytes on it.
async fn serve(endpoint: &Endpoint) -> Result<Snapshot> {
    let connection = endpoint.accept().await.ok_or("the end point is closed")?.await?;
    let mut stream = connection.open_uni().await?;
    let block = vec![0; STEP];
    for _ in 0..LENGTH / STEP {
        stream.write_all(&block).await?;
        let Snapshot { phase, window, bandwidth, min_rtt, .. } = snapshot(&connection)?;
        println!("{phase:>12}  window {window:>9}  bandwidth {bandwidth:>11} B/s  round trip {min_rtt:?}");
    }
    stream.finish()?;
    // The client closes the connection once it has everything.
    match connection.closed().await {
        ConnectionError::ApplicationClosed(_) => snapshot(&connection),
        lost => Err(lost.into()),
    }
}

/// Connects, and reads everything on the one stream that the server opens.
async fn fetch(endpoint: &Endpoint, address: SocketAddr) -> Result<usize> {
    let connection = endpoint.connect(address, "localhost")?.await?;
    let mut stream = connection.accept_uni().await?;
    let mut received = 0;
    while let Some(chunk) = stream.read_chunk(64 << 10, true).await? {
        received += chunk.bytes.len();
    }
    connection.close(0u32.into(), b"done");
    endpoint.wait_idle().await;
    Ok(received)
}

/// What the controller of `connection` believes about the path. quinn hands out a copy of any controller; its type tells which.
fn snapshot(connection: &Connection) -> Result<Snapshot> {
    let controller = connection.congestion_state().into_any().downcast::<Bbr3>();
    Ok(controller.map_err(|_| "another controller is in use")?.snapshot())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_example_runs() {
        super::main().expect("the example ends well");
    }
}
