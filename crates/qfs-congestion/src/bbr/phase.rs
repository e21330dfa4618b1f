//! What the controller says about itself: its phase, and a snapshot for reports.

use std::fmt;
use std::time::Duration;

/// What the controller is doing (§5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// Doubling each round until the pipe is full.
    Startup,
    /// Letting the queue of start-up drain.
    Drain,
    /// Below the estimate after a probe, so that its queue drains.
    ProbeDown,
    /// At the estimate.
    ProbeCruise,
    /// At the estimate for one round before a probe.
    ProbeRefill,
    /// Above the estimate, to see whether the path gives more.
    ProbeUp,
    /// At half the estimate for a moment, to see the round trip without a queue.
    ProbeRtt,
}

impl Phase {
    /// A short name, as in the draft.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Startup => "startup",
            Self::Drain => "drain",
            Self::ProbeDown => "probe-down",
            Self::ProbeCruise => "probe-cruise",
            Self::ProbeRefill => "probe-refill",
            Self::ProbeUp => "probe-up",
            Self::ProbeRtt => "probe-rtt",
        }
    }

    /// Whether this phase sends more than is known to be safe, on purpose (`IsProbingBW`).
    pub(super) const fn is_probing(self) -> bool {
        matches!(self, Self::Startup | Self::ProbeRefill | Self::ProbeUp)
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The controller's view of the path at one moment, for reports.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Snapshot {
    /// Estimated bandwidth of the path, in bytes per second; 0 before the first sample.
    pub bandwidth: u64,
    /// Estimated round-trip propagation delay; `None` before the first sample.
    pub min_rtt: Option<Duration>,
    /// Congestion window, in bytes.
    pub window: u64,
    /// Bytes in flight.
    pub in_flight: u64,
    /// Share of packets the path loses at random, 0 to 1, as estimated.
    pub ambient_loss: f64,
    /// What the controller is doing.
    pub phase: Phase,
    /// Whether the application (or flow control), and not the path, limits what is being sent.
    pub app_limited: bool,
}
