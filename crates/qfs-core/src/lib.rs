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
//! This crate is a library in the strict sense: it prints nothing, parses no command line and never exits.
//! What may import what is written in `ARCHITECTURE.md` and kept by a test that reads the sources.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that panics has failed, which is its job"))]

pub mod body;
pub mod chunks;
pub mod framing;
pub mod model;
pub mod observe;
pub mod offload;
pub mod store;
pub mod stream;
pub mod wire;
