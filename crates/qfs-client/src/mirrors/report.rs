//! What is told of each server when a run has ended.

use std::time::Duration;

/// What one of several servers did in a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MirrorReport {
    /// The server, as it was named.
    pub server: String,
    /// Bytes of content that it sent, those that were not needed in the end included.
    pub bytes: u64,
    /// How long something was asked of it.
    pub busy: Duration,
    /// Whether it is still one of them.
    pub state: MirrorState,
}

/// Whether a server still serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MirrorState {
    /// It does.
    Ok,
    /// It is asked for nothing more, for this reason; not safe to print.
    Dropped(String),
    /// It was never reached, for this reason; not safe to print.
    Unreachable(String),
}

impl MirrorState {
    /// The word for it in machine output.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Dropped(_) => "dropped",
            Self::Unreachable(_) => "unreachable",
        }
    }

    /// Why it is not [`Self::Ok`]; not safe to print.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Ok => None,
            Self::Dropped(why) | Self::Unreachable(why) => Some(why),
        }
    }
}
