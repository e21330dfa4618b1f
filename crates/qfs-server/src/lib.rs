//! The server of qfs: hands out one directory over QUIC (`docs/PROTOCOL.md`).
//!
//! | module | owns |
//! |---|---|
//! | [`config`] | everything that can be set, and every bound with its worst case |
//! | [`server`] | the end point: bind, serve until told to stop, drain |
//! | [`identity`] | the key and certificate on disk |
//! | [`digest_file`] | digests remembered between runs |
//! | [`tokens`] | the tokens handed out, on disk |
//! | `admission` | who may connect |
//! | [`audit`] | the audit trail |
//! | `connection` | one client: its streams, its deadlines |
//! | `dispatch` | one stream: request → handler, error → status |
//! | `handler` | a file for each command |
//! | `patience` | clients that take nothing |
//!
//! A library in the strict sense: it prints nothing, parses no command line and never exits. No globals: any number of
//! servers run in one process.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that panics has failed, which is its job"))]

mod admission;
pub mod audit;
pub mod config;
mod connection;
pub mod digest_file;
mod dispatch;
mod error;
mod handler;
pub mod identity;
mod patience;
pub mod server;
pub mod tokens;

pub use config::{Deadlines, Limits, ServerConfig};
pub use digest_file::DigestFile;
pub use identity::{IdentityDir, IdentityDirError};
pub use server::{Drained, ServeError, Server};
