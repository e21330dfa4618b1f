//! The qfs client as a library: connect, list, fetch. Prints nothing, exits never; `main.rs` and `cli/` do that.
//!
//! | module | owns |
//! |---|---|
//! | [`config`] | what a run is asked to do |
//! | [`session`] | the connection, making it anew when it is lost, and one exchange on it |
//! | [`plan`] | what to do, from what is known on both sides; pure |
//! | [`transfer`] | files under way, and how they ended |
//! | [`insight`] | where the time of a run went, and what limited it |
//! | [`trust`] | whether the key a server shows is believed; the servers known |
//! | [`error`] | what can go wrong |

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that panics has failed, which is its job"))]

pub mod config;
pub mod error;
pub mod insight;
pub mod plan;
pub mod session;
mod sync;
pub mod transfer;
pub mod trust;
