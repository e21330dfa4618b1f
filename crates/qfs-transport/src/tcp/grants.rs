//! What one end of a connection lets the other one do.

/// What this end grants; never less than what needs no grant.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Grants {
    /// Bytes on the connection that were not taken yet, at first.
    pub(crate) window: u64,
    /// Bytes on one stream.
    pub(crate) stream_window: u64,
    /// Streams of the peer at once.
    pub(crate) streams: u64,
}
