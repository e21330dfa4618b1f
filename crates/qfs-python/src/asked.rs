//! What operations are asked for, read from the objects of `python/qfs/asked.py`, in terms of the library.

use std::path::PathBuf;

use pyo3::prelude::*;
use qfs_client::config::{DEFAULT_PARALLEL, FetchConfig};
use qfs_client::error::Failure;
use qfs_client::plan::sync::{FilterRules, Options};
use qfs_client::transfer::put::{PutConfig, Replace};
use qfs_client::transfer::sync::{Direction, SyncConfig, SyncRequest};
use qfs_core::model::RemotePath;

use crate::fault::Fault;

/// How files are fetched or uploaded.
#[derive(FromPyObject)]
pub(crate) struct How {
    overwrite: bool,
    checksum: bool,
    parallel: bool,
    durable: bool,
}

impl How {
    /// As a download.
    pub(crate) fn fetch(&self) -> FetchConfig {
        let parallel = self.parallel.then_some(DEFAULT_PARALLEL);
        let (overwrite, checksum, durable) = (self.overwrite, self.checksum, self.durable);
        FetchConfig { parallel, overwrite, checksum, durable, perms: true, ..FetchConfig::default() }
    }

    /// As an upload.
    pub(crate) fn put(&self) -> PutConfig {
        let replace = if self.overwrite { Replace::Any } else { Replace::Never };
        let (parallel, checksum, durable) = (self.parallel.then_some(DEFAULT_PARALLEL), self.checksum, self.durable);
        PutConfig { parallel, replace, checksum, durable, perms: true, ..PutConfig::default() }
    }
}

/// What a `pull` or `push` is asked for.
#[derive(FromPyObject)]
pub(crate) struct Sync {
    delete: bool,
    max_delete: String,
    checksum: bool,
    update: bool,
    links: bool,
    durable: bool,
    include: Vec<String>,
    exclude: Vec<String>,
    pub(crate) dry_run: bool,
}

impl Sync {
    /// How its steps are carried out.
    pub(crate) fn config(&self) -> SyncConfig {
        SyncConfig { durable: self.durable, perms: true, ..SyncConfig::default() }
    }

    /// What is to be compared, and what may be done.
    pub(crate) fn request(
        self,
        direction: Direction,
        directory: PathBuf,
        prefix: Option<RemotePath>,
    ) -> PyResult<SyncRequest> {
        let mut rules = FilterRules::default();
        for pattern in &self.exclude {
            rules.exclude(pattern);
        }
        for pattern in &self.include {
            rules.include(pattern);
        }
        let options = Options {
            delete: self.delete,
            max_delete: self.max_delete.parse().map_err(|error| Fault::Usage(format!("max_delete: {error}")))?,
            checksum: self.checksum,
            update: self.update,
            links: self.links,
            hidden: direction == Direction::Pull,
            filters: rules.compile().map_err(|error| Fault::Usage(error.to_string()))?,
            ..Options::default()
        };
        Ok(SyncRequest { direction, prefix, directory, options })
    }
}

/// A name on the server.
pub(crate) fn path(name: &str) -> PyResult<RemotePath> {
    RemotePath::parse(name).map_err(|error| Fault::Failure(Some(name.to_owned()), Failure::InvalidName(error)).into())
}

/// A directory on the server; None for the top.
pub(crate) fn top(directory: &str) -> PyResult<Option<RemotePath>> {
    let name = directory.trim_end_matches('/');
    if name.is_empty() { Ok(None) } else { path(name).map(Some) }
}
