//! Where the bytes of qfs live: implementations of the store contract in [`qfs_core::store`].
//!
//! | module | owns |
//! |---|---|
//! | [`local`] | a directory of this machine; the only code that touches published or downloaded files |
//! | `bucket` | a bucket of S3, Google Cloud Storage or Azure (feature `bucket`) |
//! | [`mem`] | a store in memory, for tests and examples |
//! | [`picked`] | files and directories from anywhere, and nothing beside them; read-only |
//! | [`blocking()`] | tokio's blocking threads, for everything that waits for a disk |
//!
//! A store never sees a message or a network.
//!
//! ```
//! use qfs_core::model::RemotePath;
//! use qfs_core::store::Store;
//! use qfs_store::mem::MemStore;
//!
//! let store = MemStore::new();
//! let path = RemotePath::parse("sub/hello.txt")?;
//! store.insert(&path, "hello");
//!
//! let object = store.object(&path)?;
//! assert_eq!(object.meta().size, 5);
//! assert_eq!(object.read_at(1, 4)?, "ello");
//! // What was read is of the version that was opened.
//! object.ensure_unchanged()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that panics has failed, which is its job"))]

mod blocking;
#[cfg(feature = "bucket")]
pub mod bucket;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
pub mod local;
pub mod mem;
pub mod picked;
mod sync;

pub use blocking::{blocking, blocking_threads};
