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
pub use quinn::Incoming;
pub use steering::MAX_ENDPOINTS;
pub(crate) use streams::{QuicRequestReader, QuicSink, QuicSource};
