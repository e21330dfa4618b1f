//! An emulated long-distance link, for kernels without netem and for machines without a second one.
//!
//! It consists of two network namespaces, a TUN device in each, and threads between them that carry every IP packet,
//! TCP and UDP alike, over a link with a rate, a queue, a delay and loss. Any program can be run across it.
//!
//! - [`link`]: what a link does to packets. Pure arithmetic, repeatable by its seed; other emulators build on it too.
//! - [`carrier`]: moves packets from one device to another as the link says. Knows descriptors and the clock.
//! - [`namespace`]: network namespaces through `ip(8)`, and the devices in them.
//! - [`wan`]: [`Wan`], which makes the whole link and cleans it up.
//!
//! The `qfs-wan` program is a [`Wan`] around one command.

pub mod carrier;
mod error;
pub mod link;
pub mod namespace;
pub mod wan;

pub use carrier::Carried;
pub use error::WanError;
pub use link::{Bottleneck, BurstLoss, Direction, LinkSpec, Loss, Verdict};
pub use wan::{Wan, WanConfig, WanStats};
