//! The connection to a server: made, kept alive across losses, and asked one thing at a time.
//!
//! | module | owns |
//! |---|---|
//! | `connect` | makes the first connection of a session, and begins to follow the server's key |
//! | `handle` | [`Session`]: the connection in use, and making it anew when it is lost |
//! | [`Wide`] | several connections, each further one on a thread of its own |
//! | `lane` | such a thread |
//! | `dial` | one connection: the host's addresses and the ways to them, tried beside one another |
//! | `schedule` | in which order those are tried |
//! | `watch` | going over to the other way when a connection falls silent |
//! | [`Ways`] | which servers are not reached over UDP, remembered for a day |
//! | [`Paths`] | what servers have written down about the path, kept for a day |
//! | `path_note` | showing them that, and what they write down now |
//! | `renewal` | planned changes of a known server's key |
//! | [`exchange`] | one stream: a request and its answer |
//! | `delta` | exchanges for what changed alone |
//! | `writing` | exchanges in which the client sends more than a request |
//! | `stay` | exchanges that have to stay on the connection they began on |
//! | `tries` | whether and when an exchange is attempted again |
//! | `patience` | how long an answer may be silent |

mod connect;
pub(crate) mod delta;
mod dial;
pub mod exchange;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod handle;
mod lane;
mod path_note;
mod paths;
mod patience;
mod recent;
mod renewal;
mod schedule;
mod stay;
mod tries;
mod watch;
mod ways;
mod wide;
pub(crate) mod writing;

pub use handle::{Lease, Session};
pub use paths::{FILE_NAME as PATHS_FILE_NAME, KnownPath, Paths};
pub use ways::{FILE_NAME as WAYS_FILE_NAME, Ways};
pub use wide::Wide;

pub(crate) use patience::Patience;
pub(crate) use stay::{Stay, Staying};
pub(crate) use tries::Tries;
