//! The qfs client as a library: connect, list, fetch. Prints nothing, exits never; `main.rs` and `cli/` do that.
//!
//! | module | owns |
//! |---|---|
//! | [`config`] | what a run is asked to do |
//! | [`session`] | the connection, and making it anew when it is lost |
//! | `dial` | one connection: the host's addresses, tried beside one another |
//! | [`trust`] | whether the key a server shows is believed |
//! | `renewal` | planned changes of a known server's key |
//! | [`exchange`] | one stream: a request and its answer |
//! | [`plan`] | what to do about one file, from what is known on both sides; pure |
//! | `nesting` | names of one run that lie below one another; pure |
//! | [`scheduler`] | which files are under way at once |
//! | [`download`] | one file: fetch, verify, commit, and again what is missing |
//! | [`outcome`], [`error`] | how it ended |
//! | [`bottleneck`] | what limited it; pure, fed by `gauge` |

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that panics has failed, which is its job"))]

mod batch;
pub mod bottleneck;
pub mod config;
mod dial;
pub mod download;
pub mod error;
pub mod exchange;
mod gauge;
mod job;
pub mod known_servers;
mod nesting;
pub mod outcome;
mod patience;
pub mod plan;
mod planner;
mod renewal;
pub mod scheduler;
pub mod selection;
pub mod session;
mod stripes;
mod tries;
pub mod trust;
