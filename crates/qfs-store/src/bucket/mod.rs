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
//! | `cloud` | what is asked of a bucket, whoever provides it; `s3` and `other` do it, `patience` says how often |
//! | `attributes` | what stands beside an object, and how versions are named |
//! | `known` | what would cost a request to learn again |
//! | `listing`, `order` | pages of keys, and rows made of them |
//! | `object`, `blocks` | reading: ahead of the reader, once for all |
//! | `write`, `names`, `stage` | the writing half |
//! | `error` | what failures mean |

mod attributes;
mod blocks;
mod cloud;
mod error;
mod known;
mod listing;
mod location;
mod names;
mod object;
mod order;
mod other;
mod patience;
mod s3;
mod stage;
mod write;

use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use qfs_core::model::{Digest, ETag, HashKind, RemotePath};
use qfs_core::store::{LeaveOut, ListQuery, Object, Opened, Store, StoreError, Visit};

use crate::local::{Hidden, LocalStore};
use cloud::{Cloud, Info};
use error::CloudError;
use object::BucketObject;

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
}

/// A [`Store`] and [`WriteStore`](qfs_core::store::WriteStore) on a bucket. Cloning is cheap and gives the same store.
#[derive(Clone)]
pub struct BucketStore {
    shared: Arc<Shared>,
    /// Where uploads are gathered; without it only small ones are taken.
    spool: Option<LocalStore>,
}

/// What all parts of a store work on.
struct Shared {
    cloud: Box<dyn Cloud>,
    /// In front of every key, with a slash at its end, or empty.
    prefix: String,
    blocks: blocks::Blocks,
    known: known::Known,
    reads_attributes: bool,
    hidden: bool,
    names: names::Names,
    /// Held by whoever replaces or removes, so that of two in this process one wins whatever the bucket checks; by key.
    locks: Vec<Mutex<()>>,
    runtime: Runtime,
}

/// Small objects that are opened at once for one request.
const OPENINGS: usize = 64;

/// Keys share this many locks.
const LOCKS: usize = 256;

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
            Provider::Google | Provider::Azure => Box::new(other::connect(&settings.location, &options)?),
        };
        let shared = Shared {
            cloud,
            prefix: settings.location.key_prefix(),
            blocks: blocks::Blocks::default(),
            known: known::Known::default(),
            reads_attributes,
            hidden: settings.hidden,
            names: names::Names::default(),
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
    let settings = settings.clone();
    let checked = std::thread::spawn(move || {
        let store = BucketStore::open(&settings)?;
        let query = cloud::PageQuery { prefix: store.shared.prefix.clone(), most: 1, ..cloud::PageQuery::default() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|e| SetupError::Unreachable(e.to_string()))?;
        runtime.block_on(store.shared.cloud.page(&query)).map(drop).map_err(CloudError::into_setup)
    });
    checked.join().unwrap_or_else(|_| Err(SetupError::Unreachable("asking it failed".to_owned())))
}

/// Where requests run: begins with the first, ends with the store.
#[derive(Default)]
struct Runtime(OnceLock<Option<tokio::runtime::Runtime>>);

impl Runtime {
    fn handle(&self) -> Result<&tokio::runtime::Handle, CloudError> {
        let begin = || {
            let builder = &mut tokio::runtime::Builder::new_multi_thread();
            builder.worker_threads(1).thread_name("qfs-bucket").enable_all().build().ok()
        };
        let runtime = self.0.get_or_init(begin).as_ref();
        runtime.map(tokio::runtime::Runtime::handle).ok_or_else(|| CloudError::unavailable("no thread for requests"))
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        if let Some(Some(runtime)) = self.0.take() {
            // Dropped where waiting is not allowed, it would panic.
            runtime.shutdown_background();
        }
    }
}

impl Shared {
    /// Waits for `work`. Blocks.
    fn wait<T>(&self, work: impl Future<Output = Result<T, CloudError>>) -> Result<T, CloudError> {
        self.runtime.handle()?.block_on(work)
    }

    /// Begins `work`; where there is no runtime it is dropped.
    fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<tokio::task::JoinHandle<T>, CloudError> {
        Ok(self.runtime.handle()?.spawn(work))
    }

    fn key(&self, path: &RemotePath) -> String {
        format!("{}{}", self.prefix, path.as_str())
    }

    /// The lock that `key` has with others.
    fn lock(&self, key: &str) -> std::sync::MutexGuard<'_, ()> {
        let sum = key.bytes().fold(0usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(byte)));
        self.locks[sum % LOCKS].lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// An object that is described so, open.
    fn opened(self: &Arc<Self>, key: String, info: &Info) -> BucketObject {
        let meta = attributes::meta(&key, info);
        self.known.learn(&meta.etag, info.attributes.as_ref());
        let version = attributes::identity(&meta.etag);
        BucketObject::new(self, key, meta, info.tag.clone(), version)
    }

    /// The object `key` with its first bytes, in one request.
    async fn first(&self, key: &str, first: u64) -> Result<(Info, Bytes), CloudError> {
        if first == 0 {
            return Ok((self.cloud.head(key).await?, Bytes::new()));
        }
        let mut patience = patience::Patience::new();
        loop {
            let (info, mut body) = match self.cloud.get(key, 0..first, None).await {
                // No range is within an object of no bytes.
                Err(CloudError::Range) => return Ok((self.cloud.head(key).await?, Bytes::new())),
                answer => answer?,
            };
            let length = usize::try_from(first.min(info.size)).unwrap_or(usize::MAX);
            let mut content = BytesMut::new();
            let mut why = CloudError::unavailable("the body ended early");
            while let Some(piece) = body.next().await {
                match piece {
                    Ok(piece) if piece.len() <= length - content.len() => content.extend_from_slice(&piece),
                    Ok(_) => return Err(CloudError::nonsense("more than was asked for")),
                    Err(error) => {
                        why = error;
                        break;
                    }
                }
            }
            if content.len() == length {
                return Ok((info, content.freeze()));
            }
            patience.again(why).await?;
        }
    }
}

/// Whether a name is kept from everybody.
fn is_hidden(shared: &Shared, path: &RemotePath) -> bool {
    !shared.hidden && path.is_hidden()
}

impl Store for BucketStore {
    fn open(&self, path: &RemotePath, first: usize) -> Result<(Arc<dyn Object>, Bytes), StoreError> {
        if is_hidden(&self.shared, path) {
            return Err(StoreError::NotFound);
        }
        let key = self.shared.key(path);
        let (info, content) =
            self.shared.wait(self.shared.first(&key, first as u64)).map_err(CloudError::into_store)?;
        Ok((Arc::new(self.shared.opened(key, &info)), content))
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
        let opened = match shared.wait(all) {
            Ok(opened) => opened,
            Err(error) => paths.iter().map(|_| Err(error.clone())).collect(),
        };
        let object =
            |(key, info, content): (String, Info, Bytes)| -> Opened { (Arc::new(shared.opened(key, &info)), content) };
        opened.into_iter().map(|opened| opened.map(object).map_err(CloudError::into_store)).collect()
    }

    fn openings_at_once(&self) -> usize {
        OPENINGS
    }

    fn known_digest(&self, etag: &ETag, kind: HashKind) -> Option<Digest> {
        self.shared.known.digest(etag, kind)
    }
}
