//! Transfers under way: which files, in which order, and how each of them ended.
//!
//! | module | owns |
//! |---|---|
//! | `planner` | lists, looks at what is here, and makes jobs of a selection |
//! | [`run`] | a whole run: names, then directories |
//! | `scheduler` | which files are under way at once |
//! | [`download`] | one file: fetch, verify, commit, and again what is missing |
//! | `batch` | many small files on one stream |
//! | `partial` | what is here of a version that is being fetched |
//! | `job` | one file to fetch, and how it is reported |
//! | [`outcome`] | how a file and a run ended |

pub(crate) mod batch;
pub mod download;
pub(crate) mod job;
pub mod outcome;
mod partial;
pub(crate) mod planner;
pub mod run;
pub(crate) mod scheduler;
