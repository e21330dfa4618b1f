//! The server of qfs: hands out one directory over QUIC (`docs/PROTOCOL.md`).
//!
//! | module | owns |
//! |---|---|
//! | [`config`] | everything that can be set, and every bound with its worst case |
//! | [`server`] | the server as a whole: binds the doors, runs them, drains them |
//! | `door` | what speaks with clients: `qfs` over QUIC |
//! | `service` | what every door shares: the files, the gate, budgets and limits |
//! | `view` | the published files as one request may see them |
//! | [`gate`] | who is let in, and what is written down about it |
//! | `metrics` | the numbers of `--metrics` |
//! | [`identity`] | the key and certificate on disk |
//! | [`digest_file`] | digests remembered between runs |
//!
//! A library in the strict sense: it prints nothing, parses no command line and never exits. No globals: any number of
//! servers run in one process.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that panics has failed, which is its job"))]

pub mod config;
pub mod digest_file;
mod door;
mod error;
pub mod gate;
pub mod identity;
mod metrics;
pub mod server;
mod service;
mod view;

pub use config::{Deadlines, Limits, ServerConfig};
pub use digest_file::DigestFile;
pub use door::{BLOCKING_THREADS, Drained, ServeError};
pub use gate::access::Gate;
pub use identity::{IdentityDir, IdentityDirError};
pub use server::Server;
