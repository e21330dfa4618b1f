//! Transfers under way: which files, in which order, and how each of them ended.
//!
//! | module | owns |
//! |---|---|
//! | `planner` | lists, looks at what is here, and makes jobs of a selection |
//! | [`run`] | a whole run: names, then directories |
//! | `scheduler` | which files are under way at once |
//! | [`download`] | one file: fetch, verify, commit, and again what is missing |
//! | [`single`] | one file to any path here |
//! | [`put`] | uploads |
//! | [`cat`] | one file to wherever its bytes are wanted |
//! | [`remote_file`] | one version of a file, read in parts into memory |
//! | [`look`] | what the server has under a name, and in a directory |
//! | [`verify`] | two sides compared |
//! | [`sync`] | two sides made alike |
//! | [`change`] | small changes of what the server has |
//! | [`delta`] | what is here already of an older version or in other files, and the rest of it |
//! | `batch` | many small files on one stream |
//! | `maps` | chunk maps of the server's versions, in either direction |
//! | `small` | a small file that is in memory: verified and committed in one step |
//! | `planned_store` | a store by other names, and with conditions of its own |
//! | `partial` | what is here of a version that is being fetched |
//! | `intake` | the bytes of one file as they come |
//! | `probe` | what the server has, without its content |
//! | `here` | the file that is here already |
//! | `live` | what is different about files that grow meanwhile |
//! | `job` | one file to fetch, and how it is reported |
//! | [`outcome`] | how a file and a run ended |

pub(crate) mod batch;
pub mod cat;
pub mod change;
pub mod delta;
pub mod download;
pub(crate) mod here;
pub(crate) mod intake;
pub(crate) mod job;
pub(crate) mod live;
pub mod look;
pub(crate) mod maps;
pub mod outcome;
pub(crate) mod partial;
mod planned_store;
pub(crate) mod planner;
pub(crate) mod probe;
pub mod put;
pub mod remote_file;
pub mod run;
pub(crate) mod scheduler;
pub mod single;
pub(crate) mod small;
pub mod sync;
pub mod verify;
