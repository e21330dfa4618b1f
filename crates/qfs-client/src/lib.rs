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
//! | module | owns |
//! |---|---|
//! | [`config`] | what a run is asked to do |
//! | [`session`] | the connection, making it anew when it is lost, and one exchange on it |
//! | [`plan`] | what to do, from what is known on both sides; pure |
//! | [`transfer`] | files under way, and how they ended |
//! | [`mirrors`] | several servers of the same files |
//! | [`insight`] | where the time of a run went, and what limited it |
//! | [`trust`] | whether the key a server shows is believed; the servers known |
//! | [`error`] | what can go wrong |

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that panics has failed, which is its job"))]

pub mod config;
pub mod error;
pub mod insight;
pub mod mirrors;
pub mod plan;
pub mod session;
mod small_file;
mod sync;
pub mod transfer;
pub mod trust;
