//! The connection to a server: made, kept alive across losses, and asked one thing at a time.
//!
//! | module | owns |
//! |---|---|
//! | `connect` | makes the first connection of a session, and begins to follow the server's key |
//! | `handle` | [`Session`]: the connection in use, and making it anew when it is lost |
//! | `dial` | one connection: the host's addresses, tried beside one another |
//! | `renewal` | planned changes of a known server's key |
//! | [`exchange`] | one stream: a request and its answer |
//! | `writing` | exchanges in which the client sends more than a request |
//! | `tries` | whether and when an exchange is attempted again |
//! | `patience` | how long an answer may be silent |

mod connect;
mod dial;
pub mod exchange;
mod handle;
mod patience;
mod renewal;
mod tries;
pub(crate) mod writing;

pub use handle::{Lease, Session};

pub(crate) use patience::Patience;
pub(crate) use tries::Tries;
