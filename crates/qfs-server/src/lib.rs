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
//! | [`access`] | who is let in, and what they may see |
//! | [`server`] | the server as a whole: bind, serve until told to stop |
//! | `end_point` | one of its end points: accept, drain; the threads of several |
//! | [`identity`] | the key and certificate on disk |
//! | [`digest_file`] | digests remembered between runs |
//! | [`tokens`] | the tokens handed out, on disk |
//! | `admission` | who may connect |
//! | [`audit`] | the audit trail |
//! | `connection` | one client: its streams, its deadlines |
//! | `dispatch` | one stream: request → handler, error → status |
//! | `handler` | a file for each command |
//! | `patience` | clients that take nothing |

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that panics has failed, which is its job"))]

pub mod access;
mod admission;
pub mod audit;
pub mod config;
mod connection;
pub mod digest_file;
mod dispatch;
mod end_point;
mod error;
mod handler;
pub mod identity;
mod patience;
pub mod server;
pub mod tokens;

pub use access::Gate;
pub use config::{Deadlines, Limits, ServerConfig};
pub use digest_file::DigestFile;
pub use identity::{IdentityDir, IdentityDirError};
pub use server::{BLOCKING_THREADS, Drained, ServeError, Server};
