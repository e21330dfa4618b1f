//! A server inside another program: hands out files that are in memory, prints a ticket, and stops with its standard input.
//!
//! ```sh
//! cargo run -p qfs-server --example embed
//! ```
#![allow(clippy::print_stdout, reason = "an example prints what it shows")]

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};

use qfs_core::model::{RemotePath, Ticket};
use qfs_server::{Server, ServerConfig};
use qfs_store::mem::MemStore;
use qfs_transport::{Identity, IdentityPem};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    // Any implementation of the contract in `qfs_core::store` will do; `qfs_store::local::LocalStore` is a directory.
    let store = MemStore::new();
    store.insert(&RemotePath::parse("hello.txt")?, "Hello from memory\n");
    store.insert(&RemotePath::parse("numbers/squares.csv")?, squares());
    store.insert(&RemotePath::parse("numbers/zeros.bin")?, vec![0; 5_000_000]);

    // A fresh key for each start. `qfs_server::IdentityDir` keeps one on disk, so that clients recognise the server.
    let IdentityPem { key, certificate } = IdentityPem::generate()?;
    let identity = Identity::from_pem(key.as_bytes(), certificate.as_bytes())?;
    let config = ServerConfig::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    let server = Server::bind(config, &identity, store)?;

    let address = server.local_addr();
    let (host, port, fingerprint) = (address.ip().to_string(), address.port(), Some(server.fingerprint()));
    println!("{}", Ticket { host, port, fingerprint, token: None });

    // Until then the server runs on this thread, and the files are read and hashed on others.
    let drained = server.serve(end_of_input()).await?;
    println!("stopped; {} connections were cut off", drained.cut);
    Ok(())
}

fn squares() -> String {
    (0..10_000u32).map(|n| format!("{n},{}\n", n * n)).collect()
}

/// Resolves when the standard input ends, or a line arrives on it.
async fn end_of_input() {
    let wait = || std::io::stdin().read_line(&mut String::new());
    // Neither a broken input nor a task that failed is a reason to go on.
    let _ = tokio::task::spawn_blocking(wait).await;
}
