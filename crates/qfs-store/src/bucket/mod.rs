//! A store on a bucket: Amazon S3 and what speaks its protocol, Google Cloud Storage, Azure. Behind the feature `bucket`.
//!
//! A name is a key; a directory is what keys have in common, or an object of no bytes whose key ends in a slash. Time, executable bit
//! and digest stand beside an object as its metadata. What a bucket cannot do, this store cannot either: there are no links and no
//! holes, and an object that was replaced while it is read cannot be read to its end ([`StoreError::Changed`]).
//!
//! The contract blocks, requests do not: they run on a runtime of the store's own, with one thread, which begins with the first
//! request, so that whoever opens the store can confine itself before. Knows nothing of the wire.
//!
//! | module | owns |
//! |---|---|
//! | `location` | `s3://BUCKET/PREFIX` |
//! | `cloud` | what is asked of a bucket, whoever provides it; `s3`, `azure` and `other` do it |
//! | `request`, `patience` | one request of `s3` and `azure`, and how often it is sent |
//! | `client` | what `object_store`'s own operations are sent with |
//! | `limits` | how long a bucket may take |
//! | `attributes` | what stands beside an object, and how versions are named |
//! | `known` | what would cost a request to learn again |
//! | `listing`, `order` | pages of keys, and rows made of them |
//! | `object`, `blocks` | reading: ahead of the reader, once for all |
//! | `wanted`, `disk` | blocks that are not in memory: from a disk of this machine, else from the bucket |
//! | `write`, `names`, `ways`, `conditions`, `stage` | the writing half |
//! | `shared` | what all of it works on |
//! | `error` | what failures mean |

mod attributes;
mod azure;
mod blocks;
mod client;
mod cloud;
mod conditions;
mod disk;
mod error;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod known;
mod limits;
mod listing;
mod location;
mod names;
mod object;
mod order;
mod other;
mod patience;
mod request;
mod s3;
mod shared;
mod stage;
mod wanted;
mod ways;
mod write;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use qfs_core::model::{Digest, ETag, HashKind, RemotePath};
use qfs_core::store::{LeaveOut, ListQuery, Object, Opened, Store, StoreError, Visit};

use crate::local::{Hidden, LocalStore};
use cloud::{Cloud, Info};
use error::CloudError;
use object::opened;
use shared::{LOCKS, Runtime, Shared, is_hidden};

pub use error::SetupError;
pub use location::{Location, Provider};

/// What a bucket is opened with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where it is.
    pub location: Location,
    /// `KEY=VALUE`, beside the usual variables of its provider. `qfs_times=listed` is ours: times are those of the listing, and
    /// nothing is asked of each object.
    pub options: Vec<(String, String)>,
    /// Whether names that begin with a dot are published.
    pub hidden: bool,
    /// Where blocks of objects are kept on disk, if they are.
    pub disk: Option<DiskCache>,
}

/// A directory where what was read of a bucket is kept, for all who read it later.
#[derive(Debug, Clone)]
pub struct DiskCache {
    /// Made where it is missing, and closed to others; it may be shared with other processes.
    pub directory: PathBuf,
    /// Bytes that it takes at most.
    pub bound: u64,
}

/// A [`Store`] and [`WriteStore`](qfs_core::store::WriteStore) on a bucket. Cloning is cheap and gives the same store.
#[derive(Clone)]
pub struct BucketStore {
    shared: Arc<Shared>,
    /// Where uploads are gathered; without it only small ones are taken.
    spool: Option<LocalStore>,
}

/// Small objects that are opened at once for one request.
const OPENINGS: usize = 64;

impl BucketStore {
    /// The store on the bucket that `settings` describe. Sends nothing: see [`check`].
    ///
    /// # Errors
    /// [`SetupError`] where the settings or the variables make no sense.
    pub fn open(settings: &Settings) -> Result<Self, SetupError> {
        let (own, options): (Vec<_>, Vec<_>) =
            settings.options.iter().cloned().partition(|(name, _)| name.starts_with("qfs_"));
        let mut reads_attributes = true;
        for (name, value) in &own {
            reads_attributes = match (name.as_str(), value.as_str()) {
                ("qfs_times", "stored") => true,
                ("qfs_times", "listed") => false,
                _ => {
                    return Err(SetupError::Setting(format!(
                        "{name}={value} is no setting: qfs_times is stored or listed"
                    )));
                }
            };
        }
        let cloud: Box<dyn Cloud> = match settings.location.provider {
            Provider::S3 => Box::new(s3::connect(&settings.location, &options)?),
            Provider::Google => Box::new(other::google(&settings.location, &options)?),
            Provider::Azure => azure::connect(&settings.location, &options)?,
        };
        let disk = settings.disk.as_ref().map(|cache| {
            let opened = disk::Disk::open(&cache.directory, cache.bound);
            opened.map(Arc::new).map_err(|e| SetupError::Disk(cache.directory.display().to_string(), e))
        });
        let shared = Shared {
            cloud,
            prefix: settings.location.key_prefix(),
            blocks: blocks::Blocks::default(),
            disk: disk.transpose()?,
            known: known::Known::default(),
            reads_attributes,
            hidden: settings.hidden,
            ways: ways::Ways::default(),
            locks: (0..LOCKS).map(|_| Mutex::default()).collect(),
            runtime: Runtime::default(),
        };
        Ok(Self { shared: Arc::new(shared), spool: None })
    }

    /// The same store, which gathers uploads in the directory `spool`, made where it is missing.
    ///
    /// # Errors
    /// What making and opening it failed with.
    pub fn with_spool(mut self, spool: &Path) -> Result<Self, StoreError> {
        self.spool = Some(LocalStore::create_root(spool)?.hidden(Hidden::Included).without_warnings());
        Ok(self)
    }
}

/// Asks the bucket of `settings` for one key, to see whether it is there and the credentials are good. Every thread that this starts
/// has ended when it returns. Blocks.
///
/// # Errors
/// [`SetupError`]: what to tell whoever starts a server.
pub fn check(settings: &Settings) -> Result<(), SetupError> {
    let settings = Settings { disk: None, ..settings.clone() };
    let checked = std::thread::spawn(move || {
        let store = BucketStore::open(&settings)?;
        let query = cloud::PageQuery { prefix: store.shared.prefix.clone(), most: 1, ..cloud::PageQuery::default() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|e| SetupError::Unreachable(e.to_string()))?;
        runtime.block_on(store.shared.cloud.page(&query)).map(drop).map_err(CloudError::into_setup)
    });
    checked.join().unwrap_or_else(|_| Err(SetupError::Unreachable("asking it failed".to_owned())))
}

impl Store for BucketStore {
    fn open(&self, path: &RemotePath, first: usize) -> Result<(Arc<dyn Object>, Bytes), StoreError> {
        if is_hidden(&self.shared, path) {
            return Err(StoreError::NotFound);
        }
        let key = self.shared.key(path);
        let (info, content) =
            self.shared.wait(self.shared.first(&key, first as u64)).map_err(CloudError::into_store)?;
        Ok((Arc::new(opened(&self.shared, key, &info)), content))
    }

    fn list(&self, query: &ListQuery, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        self.list_telling(query, visit, &mut |_, _| {})
    }

    fn list_telling(
        &self,
        query: &ListQuery,
        visit: &mut Visit<'_>,
        left_out: &mut LeaveOut<'_>,
    ) -> Result<(), StoreError> {
        listing::list(&self.shared, query, visit, left_out)
    }

    fn open_all(&self, paths: &[&RemotePath], first: usize) -> Vec<Result<Opened, StoreError>> {
        let shared = &self.shared;
        let open = |path: &RemotePath| {
            let key = (!is_hidden(shared, path)).then(|| shared.key(path));
            async move {
                let key = key.ok_or(CloudError::Missing)?;
                let (info, content) = shared.first(&key, first as u64).await?;
                Ok((key, info, content))
            }
        };
        let all = async { Ok(futures_util::future::join_all(paths.iter().map(|path| open(path))).await) };
        let answers = match shared.wait(all) {
            Ok(answers) => answers,
            Err(error) => paths.iter().map(|_| Err(error.clone())).collect(),
        };
        let object =
            |(key, info, content): (String, Info, Bytes)| -> Opened { (Arc::new(opened(shared, key, &info)), content) };
        answers.into_iter().map(|answer| answer.map(object).map_err(CloudError::into_store)).collect()
    }

    fn openings_at_once(&self) -> usize {
        OPENINGS
    }

    fn known_digest(&self, etag: &ETag, kind: HashKind) -> Option<Digest> {
        self.shared.known.digest(etag, kind)
    }
}
