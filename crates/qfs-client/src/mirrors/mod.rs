//! Several servers of the same files: what each of them has, who is asked for which part, and who is asked no more.
//!
//! A file is fetched from all servers that have the same version of it. One below [`STRIPED_BYTES`] comes whole from one of them, and
//! is proved by its digest; a larger one is cut into stripes along the chunks of its map (PROTOCOL §4.8), and each stripe is
//! proved by the hashes in it before it is written. So whoever sends wrong bytes is known after one stripe. A map is a claim as
//! everything else: those of all servers are compared, and the digest of the whole file has the last word.
//!
//! | module | owns |
//! |---|---|
//! | [`fleet`] | the servers: which there are, and which is asked first |
//! | `mirror` | one of them: whether it can be asked, and what came of it |
//! | `traffic` | what it was asked for and what it sent: how fast it is |
//! | [`report`] | what is told of a server at the end |
//! | `schedule` | which stripe goes to whom; pure |
//! | `claims` | what the servers say they have, and whom that makes the source; pure |
//! | `file` | one file of a run, whichever way it is fetched |
//! | `listing` | what there is |
//! | `ask` | one question to one server |
//! | `stripes` | how a map is cut, and the proof of a stripe; pure |
//! | `busy` | when a busy server is asked again; pure |
//! | `coming` | whether content trickles |
//! | `unproved` | how much has come and is not written yet |
//! | `striped` | a large file, from all that have it |
//! | `whole` | a small file, from one of them |

mod ask;
mod busy;
mod claims;
pub(crate) mod coming;
pub(crate) mod file;
pub mod fleet;
pub(crate) mod listing;
pub(crate) mod mirror;
pub mod report;
mod schedule;
mod striped;
mod stripes;
mod traffic;
mod unproved;
mod whole;

/// From this size on a file is cut into stripes, in bytes: below it, what a map costs is no less than what more servers gain.
pub(crate) const STRIPED_BYTES: u64 = 1 << 20;

/// Most servers of one set.
pub const MAX_MIRRORS: usize = 16;
