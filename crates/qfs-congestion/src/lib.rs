//! Congestion control for quinn: how much a connection may have in flight, decided from what the path shows.
//!
//! This crate owns the choice between controllers ([`Congestion`]) and the controller of our own ([`bbr`]), a model of the path
//! that consists of its delivery rate and its minimum round trip. It knows nothing about messages, streams, files or sockets:
//! quinn tells it which packets were sent, acknowledged and lost, and asks it for one number, the congestion window. The other
//! controllers come from quinn. They are kept for comparison, and for paths on which an operator wants a controller that
//! responds to loss.
//!
//! What follows is the crate's README.
//!
#![doc = include_str!("../README.md")]

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use quinn_proto::congestion::{BbrConfig, ControllerFactory, CubicConfig};

pub mod bbr;
mod known_path;
mod remembering;

use remembering::Remembering;

pub use bbr::{Bbr3, Bbr3Config, Phase, Snapshot};
pub use known_path::{KnownPath, PathMemory};

/// Which congestion controller a connection uses for what it sends.
///
/// Each end chooses for its own direction; the two need not agree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Congestion {
    /// The controller of this crate ([`Bbr3`]): keeps its rate under random loss, and queues short.
    #[default]
    Auto,
    /// quinn's CUBIC (RFC 9438): collapses under random loss, never starves other TCP flows.
    Cubic,
    /// quinn's BBR: fast under loss, but floods the bottleneck's queue.
    Bbr,
}

impl Congestion {
    /// Every choice, in the order in which help texts list them.
    pub const ALL: [Self; 3] = [Self::Auto, Self::Cubic, Self::Bbr];

    /// The name on the command line and in configuration files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Cubic => "cubic",
            Self::Bbr => "bbr",
        }
    }

    /// A factory for [`quinn_proto::TransportConfig::congestion_controller_factory`].
    #[must_use]
    pub fn factory(self) -> Arc<dyn ControllerFactory + Send + Sync + 'static> {
        match self {
            Self::Auto => Arc::new(Bbr3Config::default()),
            Self::Cubic => Arc::new(CubicConfig::default()),
            Self::Bbr => Arc::new(BbrConfig::default()),
        }
    }
}

impl Congestion {
    /// As [`Self::factory`], for one connection whose controller is told of its path, and tells of it, by `memory`. Only
    /// [`Self::Auto`] has an ear for it.
    #[must_use]
    pub fn remembering(self, memory: PathMemory) -> Arc<dyn ControllerFactory + Send + Sync + 'static> {
        match self {
            Self::Auto => Arc::new(Remembering::new(memory)),
            Self::Cubic | Self::Bbr => self.factory(),
        }
    }
}

impl fmt::Display for Congestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The name of a congestion controller that does not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownCongestion {
    name: String,
}

impl fmt::Display for UnknownCongestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown congestion controller {:?}: expected auto, cubic or bbr", self.name)
    }
}

impl std::error::Error for UnknownCongestion {}

impl FromStr for Congestion {
    type Err = UnknownCongestion;

    /// # Errors
    /// [`UnknownCongestion`] for anything but the names of [`Congestion::ALL`].
    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|choice| choice.name() == name)
            .ok_or_else(|| UnknownCongestion { name: name.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_back_and_others_are_refused() {
        for choice in Congestion::ALL {
            assert_eq!(choice.to_string().parse(), Ok(choice));
        }
        assert!("BBR".parse::<Congestion>().is_err());
        assert!("".parse::<Congestion>().is_err());
    }

    #[test]
    fn auto_is_the_default_and_builds_our_controller() {
        let built = Congestion::default().factory().build(std::time::Instant::now(), 1200);
        assert!(built.into_any().downcast::<Bbr3>().is_ok());
    }
}
