//! The server of qfs as a library: hands out the files of one store over QUIC (`docs/PROTOCOL.md`). The library prints nothing,
//! parses no command line and never exits, and it has no globals: any number of servers run in one process.
//!
//! ```no_run
//! use std::net::{Ipv4Addr, SocketAddr};
//! use std::path::Path;
//!
//! use qfs_server::{IdentityDir, Server, ServerConfig};
//! use qfs_store::local::LocalStore;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let store = LocalStore::open_root(Path::new("datasets"))?;
//! let identity = IdentityDir::new("certs").load_or_create()?;
//! let config = ServerConfig::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 8000)));
//! let server = Server::bind(config, &identity, store)?;
//! println!("{} has the key {}", server.local_addr(), server.fingerprint());
//!
//! // Serves until this future resolves, and then lets the answers under way finish.
//! server.serve(std::future::pending()).await?;
//! # Ok(())
//! # }
//! ```
//!
//! The example `embed.rs` is a whole program: it serves files that are in memory, and prints the ticket for its clients.
//!
//! | module | owns |
//! |---|---|
//! | [`config`] | everything that can be set, and every bound with its worst case |
//! | [`server`] | the server as a whole: binds the doors, runs them, drains them |
//! | `door` | what speaks with clients: `qfs` over QUIC |
//! | `service` | what every door shares: the files, the gate, budgets and limits |
//! | `intake` | one file on its way in, whichever door it comes through |
//! | `uploads` | uploads that are continued later (HTTP) |
//! | `deliveries` | who is told what was handed out |
//! | `controls` | what may be changed while it runs |
//! | `room` | how much may still be uploaded |
//! | [`pace`] | how fast bytes go out and come in |
//! | `view` | the published files as one request may see them |
//! | [`gate`] | who is let in, and what is written down about it |
//! | `maps` | chunk maps of published versions, made once and kept for a while |
//! | `metrics` | the numbers of `--metrics` |
//! | [`identity`] | the key and certificate on disk |
//! | [`digest_file`] | digests remembered between runs |

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that panics has failed, which is its job"))]

#[cfg(feature = "announce")]
mod beacon;
pub mod config;
mod controls;
mod deliveries;
pub mod digest_file;
mod door;
mod error;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
pub mod gate;
pub mod identity;
mod intake;
mod maps;
mod metrics;
pub mod pace;
mod room;
pub mod server;
mod service;
#[cfg(feature = "http")]
mod uploads;
mod view;

#[cfg(feature = "announce")]
pub use beacon::{Beacon, BeaconError};
pub use config::{Deadlines, Limits, PassedSockets, ServerConfig};
pub use controls::Controls;
pub use deliveries::{Deliveries, Delivery};
pub use digest_file::DigestFile;
pub use door::{BLOCKING_THREADS, Drained, ServeError};
pub use gate::access::Gate;
pub use identity::{IdentityDir, IdentityDirError};
pub use server::Server;
