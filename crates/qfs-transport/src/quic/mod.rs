//! QUIC: end points, connections and streams on quinn.

mod bundling;
mod connection;
mod endpoint;
mod listener;
mod lost;
mod notes;
mod steering;
mod streams;
mod windows;

pub(crate) use connection::Connection;
pub use endpoint::{ClientEndpoint, SocketBuffers, packets_a_call};
pub use listener::{BoundEndpoint, Listener};
#[cfg(any(test, fuzzing))]
pub(crate) use notes::exercise as exercise_notes;
pub use quinn::Incoming;
pub use steering::MAX_ENDPOINTS;
#[cfg(any(test, fuzzing))]
pub(crate) use steering::exercise as exercise_steering;
pub(crate) use streams::{QuicRequestReader, QuicSink, QuicSource};
