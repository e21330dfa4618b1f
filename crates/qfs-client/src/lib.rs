//! The client of qfs as a library: connects to a server, lists its files and fetches them, each checked by its digest before it
//! appears under its name. The library prints nothing, parses no command line and never exits; the program `qfs-client` does
//! that on top of it.
//!
//! ```no_run
//! use std::path::Path;
//! use std::sync::Arc;
//!
//! use qfs_client::config::{ConnectConfig, FetchConfig};
//! use qfs_client::plan::selection::Selection;
//! use qfs_client::session::Session;
//! use qfs_client::transfer::run;
//! use qfs_client::trust::NoRecords;
//! use qfs_core::model::Ticket;
//! use qfs_core::observe::NoObserver;
//! use qfs_store::local::LocalStore;
//!
//! # async fn example(ticket: &str) -> Result<(), Box<dyn std::error::Error>> {
//! // The server prints its ticket when it starts. The ticket pins the server's key.
//! let ticket: Ticket = ticket.parse()?;
//! let session = Session::connect(ConnectConfig::from(ticket), Arc::new(NoRecords), Arc::new(NoObserver)).await?;
//!
//! let store = Arc::new(LocalStore::create_root(Path::new("client_env"))?);
//! let config = FetchConfig::default();
//! let outcome =
//!     run::fetch(&session, store, Selection::all(), config, Arc::new(NoObserver), &mut |_| {}).await?;
//! println!("{} files, {} bytes received", outcome.files.len(), outcome.received());
//! session.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! The examples of this crate are whole programs: `list.rs` lists, `fetch.rs` fetches in parallel and reports progress through an
//! [`Observer`](qfs_core::observe::Observer), and `verify.rs` compares a directory with a server's listing. Where the key of a
//! server is not pinned, a [`TrustStore`](trust::TrustStore) decides; [`trust::known_servers`] is the one of the command line.
//!
//! | to | call |
//! |---|---|
//! | connect | [`Session::connect`](session::Session::connect) |
//! | list everything, with details | [`exchange::list`](session::exchange::list), [`exchange::tree`](session::exchange::tree) |
//! | look at one name, or into one directory | [`look::stat`](transfer::look::stat), [`look::children`](transfer::look::children), [`look::files`](transfer::look::files) |
//! | read parts of a file into memory | [`RemoteFile`](transfer::remote_file::RemoteFile) |
//! | take a whole file as it comes, verified at the end | [`cat`](transfer::cat::cat) |
//! | fetch many files into a store | [`run::fetch`](transfer::run::fetch) |
//! | fetch one file to any path | [`fetch_file`](transfer::single::fetch_file) |
//! | upload files, bytes, or what comes from elsewhere | [`put`](transfer::put::put), [`put_bytes`](transfer::put::put_bytes), [`put_stream`](transfer::put::put_stream) |
//! | make one side like the other | [`sync::prepare`](transfer::sync::prepare) and what it returns |
//! | remove, copy, make directories | [`change`](transfer::change) |
//!
//! **Every one of these is a future that may be spawned, and dropping it ends its work**: requests under way are cancelled, and nothing
//! half done appears under a name, here or on the server. A step on the disk that has begun is finished. What has arrived of a file is kept,
//! and the same call later continues it. There is no global state: everything belongs to a [`Session`](session::Session), of which a
//! program may have as many as it likes, and which lives until its last clone is gone. An [`Observer`](qfs_core::observe::Observer)
//! that is given to a call is told of that call's transfers.
//!
//! | module | owns |
//! |---|---|
//! | [`config`] | what a run is asked to do |
//! | [`session`] | the connection, making it anew when it is lost, and one exchange on it |
//! | [`plan`] | what to do, from what is known on both sides; pure |
//! | [`transfer`] | files under way, and how they ended |
//! | [`mirrors`] | several servers of the same files |
//! | [`insight`] | where the time of a run went, and what limited it |
//! | [`trust`] | whether the key a server shows is believed; the servers known |
//! | [`discovery`] | servers of the local network that announce themselves |
//! | [`error`] | what can go wrong |

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that panics has failed, which is its job"))]

pub mod config;
pub mod discovery;
pub mod error;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
pub mod insight;
pub mod mirrors;
pub mod plan;
pub mod session;
mod small_file;
mod sync;
pub mod transfer;
pub mod trust;
