//! Uploads: which files of this machine become which files of the server, and how each of them ends.
//!
//! | module | owns |
//! |---|---|
//! | `source` | what is uploaded: files below a directory of this machine, and their names on the server |
//! | `context` | what all uploads of a run share |
//! | `upload` | one file: announce, send, and again what is missing |
//! | `batch` | many small files on one stream |
//! | `planned` | files of which a plan says what they replace |
//! | `run` | all of them: what is there already, in which order |

mod batch;
mod context;
mod planned;
mod run;
mod source;
mod upload;

pub use context::{PutConfig, Replace};
pub use run::{put, put_stream};
pub use source::{Source, SourceError, Tree, open_tree, sources};

pub(crate) use planned::{Planned, upload_all};
pub(crate) use upload::digest_on_server;
