//! What whoever runs a server sees of it as numbers: connections, commands, bytes, and how near its limits it is.
//!
//! Counts what it is told and knows no door and no service. Labels are words of this program and ids of tokens: names of files, and
//! whatever else a stranger can make up, are never among them. Without the feature `metrics` it counts nothing.

#[cfg(feature = "metrics")]
mod counted;
#[cfg(not(feature = "metrics"))]
mod uncounted;

#[cfg(feature = "metrics")]
pub(crate) use counted::{Levels, Metrics, Open, timed_threads};
#[cfg(not(feature = "metrics"))]
pub(crate) use uncounted::{Metrics, Open};

use std::time::Duration;

/// One command that was answered.
#[cfg_attr(not(feature = "metrics"), expect(dead_code, reason = "nothing is counted"))]
pub(crate) struct Answered<'a> {
    /// The way it came.
    pub(crate) door: &'static str,
    /// A word of this program.
    pub(crate) command: &'a str,
    /// `ok`, or a status of PROTOCOL §3.
    pub(crate) status: &'a str,
    /// The id of the token that let it in.
    pub(crate) token: Option<&'a str>,
    /// Bytes of the answer.
    pub(crate) bytes: u64,
    /// How long it took.
    pub(crate) took: Duration,
}
