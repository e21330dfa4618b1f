//! How fast bytes may go out and come in: for all clients together, and for each of them, by the time of day.
//!
//! Every door sends its answers and reads uploads through a [`Lane`], so that a limit holds whichever way a client came. Knows no
//! door, no file and no connection.

mod bucket;
mod lane;
mod limit;
mod queue;

pub(crate) use lane::{Direction, Lane, Pace, Paced};
pub use limit::{Limit, ParseLimitError, Timetable};

/// What a server is told about speed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pacing {
    /// For all clients together.
    pub all: Limit,
    /// For each: an address (of IPv6: one /64), or on loopback, which stands for many users, a connection.
    pub each: Limit,
    /// Whose time the timetables mean; None: UTC. It is kept, because a confined server cannot read it anew.
    pub zone: Option<jiff::tz::TimeZone>,
}
