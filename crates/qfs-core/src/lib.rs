//! The machinery both ends of qfs share: what is true without a network and without an operating system.
//!
//! One idea carries everything: **both ends hold a [`store::Store`], and a transfer is Store → wire → Store.**
//!
//! | module | owns |
//! |---|---|
//! | [`model`] | names, digests, ranges, metadata, tickets: values that are valid once they exist |
//! | [`wire`] | the messages of `docs/PROTOCOL.md` and their bytes; no I/O |
//! | [`chunks`] | what a version consists of, so that only what changed is moved; no I/O |
//! | [`framing`] | length-prefixed messages over an asynchronous byte stream |
//! | [`body`] | the pump: store → stream and stream → stage, the one place where bytes in flight are hashed |
//! | [`store`] | the contract of a store: where objects come from and go to; digests and open versions shared by their readers |
//! | [`offload`] | where work that blocks is done |
//! | [`stream`] | the small traits between the pump and the network |
//! | [`observe`] | events of a transfer, for progress, metrics and logs |
//!
//! This crate is a library in the strict sense: it prints nothing, parses no command line and never exits. `ARCHITECTURE.md` says
//! which module may import which, and a test that reads the sources enforces it.
//!
//! Values are checked when they are made, and valid from then on:
//!
//! ```
//! use qfs_core::model::{RemotePath, Ticket, escape_untrusted};
//!
//! assert!(RemotePath::parse("models/v2/weights.bin").is_ok());
//! assert!(RemotePath::parse("../etc/passwd").is_err());
//!
//! let ticket: Ticket = "qfs://192.0.2.7".parse()?;
//! assert_eq!((ticket.host.as_str(), ticket.port), ("192.0.2.7", 8000));
//!
//! // Whatever came from the other side is escaped before a person sees it.
//! assert_eq!(escape_untrusted("a\u{1b}[2Jb"), r"a\u{1b}[2Jb");
//! # Ok::<(), qfs_core::model::ParseTicketError>(())
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that panics has failed, which is its job"))]

pub mod body;
pub mod chunks;
pub mod framing;
pub mod model;
pub mod observe;
pub mod offload;
pub mod store;
pub mod stream;
mod varint;
pub mod wire;
