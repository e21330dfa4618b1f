//! Uploads: which files of this machine become which files of the server, and how each of them ends.
//!
//! | module | owns |
//! |---|---|
//! | `source` | what is uploaded: files below a directory of this machine, and their names on the server |
//! | `context` | what all uploads of a run share |
//! | `changed` | what the server can copy from the version that it has |
//! | `upload` | one file: announce, send, and again what is missing |
//! | `batch` | many small files on one stream |
//! | `planned` | files of which a plan says what they replace |
//! | `run` | all of them: what is there already, in which order |
//! | `stream` | one file from memory, or from wherever its bytes come |

mod batch;
mod changed;
mod context;
mod planned;
mod run;
mod source;
mod stream;
mod upload;

pub use context::{PutConfig, Replace};
pub use run::put;
pub use source::{Aside, Omitted, Source, SourceError, Tree, gather, open_tree, sources};
pub use stream::{put_bytes, put_stream};

pub(crate) use context::Present;
pub(crate) use planned::{Planned, upload_all};
pub(crate) use upload::digest_on_server;
