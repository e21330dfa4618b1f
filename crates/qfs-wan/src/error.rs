//! Why there is no link.

use std::io;

/// Why there is no link.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WanError {
    /// The program does not run as root.
    #[error("cannot make network namespaces: not running as root")]
    NotRoot,
    /// `ip(8)` is not installed.
    #[error("cannot make network namespaces: the ip command was not found")]
    NoIp,
    /// `ip(8)` failed.
    #[error("cannot set up the network: ip {command}: {why}")]
    Ip {
        /// Its arguments.
        command: String,
        /// What it said.
        why: String,
    },
    /// There is no TUN device.
    #[error("cannot make a TUN device: {0}")]
    Device(#[source] io::Error),
    /// There is no thread, or a carrier failed.
    #[error("cannot carry packets: {0}")]
    Carrier(#[source] io::Error),
}

impl WanError {
    /// What to do about it, where that is known.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NotRoot => Some("run it with sudo"),
            Self::NoIp => Some("install iproute2"),
            Self::Device(_) => Some("the kernel needs TUN support and /dev/net/tun (modprobe tun)"),
            Self::Ip { .. } | Self::Carrier(_) => None,
        }
    }
}
