//! The pump: store → stream on the server, stream → stage on the client. The one place where bytes in flight are hashed.
//!
//! Disks and hashing run on [`Threads`](crate::offload::Threads), the network on the thread that polls; between them stand bounded
//! buffers, so that memory does not depend on the size of a file. Works on the traits of [`crate::stream`] and
//! [`crate::store`]: no network, no messages.

mod answer;
mod assembly;
mod budget;
mod copy;
mod coverage;
mod cutting;
mod live;
mod places;
mod receive;
mod running;
mod send;
mod stages;
#[cfg(test)]
mod testing;

pub use answer::{Answer, BodyChunks, ReceiveError};
pub use assembly::Assembly;
pub use budget::{Budget, Reservation, Share, Turn};
pub use copy::copy;
pub use cutting::{chunk_map, cut_object};
pub use live::confirm;
pub use receive::{FLUSH_BUDGET_BYTES, collect, collect_into, flush_bytes, pump, pump_into};
pub use send::{Opened, SMALL_BODY_BYTES, SendError, open, open_as, send, send_around, send_within};
pub use stages::{Stage, StageTimes, Stages};
