//! Measures qfs as people use it: whole processes from their start to their end, whose copies are read back and
//! compared.
//!
//! There are two instruments. The *crowd* ([`crowd`]) runs many clients at once, which all download the same file. The
//! *suite* ([`suite`]) runs scenarios on data sets that the bench makes itself, in which qfs and the programs people
//! use today take turns.
//!
//! | module | owns |
//! |---|---|
//! | [`process`] | child processes: none is forgotten, none outlives the bench |
//! | [`runner`] | a batch of commands at once, and how each went; the clock of every measurement |
//! | [`stats`] | medians, quartiles, ratios pair by pair |
//! | [`verify`] | reading copies back |
//! | [`qfs`] | the command-line contract of `qfs-client` and `qfs-server` |
//! | [`crowd`] | N clients, one file |
//! | [`scenario`], [`dataset`], [`older`] | kinds of work, the data for them, and older versions of it |
//! | [`peers`], [`wan`] | the programs compared, and the emulated link between their ends |
//! | [`suite`], [`results`] | runs in turns, and what came of them |
//! | [`goals`] | what was to be reached, and whether it was |
//! | [`figures`] | what is kept of results for the picture of the documentation |
//! | [`host`] | the machine |
//! | [`report`] | results as text, JSON, Markdown and HTML |
//!
//! The programs are driven through their command lines only: nothing here links against what it measures.
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may panic"))]
#![allow(
    clippy::disallowed_methods,
    reason = "the bench makes data sets and reads copies back by path, from outside, as a user's shell would"
)]

pub mod crowd;
pub mod dataset;
mod error;
pub mod figures;
pub mod goals;
pub mod host;
pub mod older;
pub mod peers;
pub mod process;
pub mod qfs;
pub mod report;
pub mod results;
pub mod runner;
pub mod scenario;
pub mod stats;
pub mod suite;
pub mod verify;
pub mod wan;

pub use error::BenchError;
