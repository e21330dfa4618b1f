//! What the proxy has counted.

/// Counts since the start of the proxy, over all clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// From the clients to the server.
    pub to_server: PathStats,
    /// From the server to the clients.
    pub to_client: PathStats,
    /// Client addresses seen. One that was silent for [`CLIENT_IDLE`](super::CLIENT_IDLE) counts again.
    pub clients: u64,
    /// Times a client got a new source port towards the server.
    pub rebinds: u64,
}

/// Packets of one direction. Every packet received, and every copy made, ends up in exactly one of `forwarded`,
/// `lost`, `dropped`, `blackholed` and `failed`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PathStats {
    /// Packets that reached the proxy.
    pub received: u64,
    /// Their UDP payload in bytes.
    pub received_bytes: u64,
    /// The largest UDP payload among them, in bytes.
    pub largest: u64,
    /// Packets sent on.
    pub forwarded: u64,
    /// Their UDP payload in bytes.
    pub forwarded_bytes: u64,
    /// Packets lost at random.
    pub lost: u64,
    /// Packets that found the bottleneck's queue full, or one of the proxy's own bounds reached.
    pub dropped: u64,
    /// Packets that came during an outage.
    pub blackholed: u64,
    /// Packets that the kernel refused to send, as when nothing listens at the server's port.
    pub failed: u64,
    /// Packets changed.
    pub corrupted: u64,
    /// Copies made.
    pub duplicated: u64,
    /// Packets sent on after one that had come later.
    pub reordered: u64,
}

impl PathStats {
    /// Packets and copies of them that are still inside the proxy.
    #[must_use]
    pub fn under_way(&self) -> u64 {
        let done = self.forwarded + self.lost + self.dropped + self.blackholed + self.failed;
        (self.received + self.duplicated).saturating_sub(done)
    }
}
