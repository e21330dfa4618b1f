//! The store on a bucket keeps what the contract promises, against an S3 in memory.

use std::fs;

use qfs_core::model::RemotePath;
use qfs_store::bucket::{BucketStore, Location, Settings};
use qfs_testkit::conformance::Subject;
use qfs_testkit::s3_engine::S3Engine;
use tempfile::TempDir;

struct Bucket {
    engine: S3Engine,
    spool: TempDir,
    prefix: &'static str,
    store: BucketStore,
}

/// The store on `prefix` of the engine's bucket.
pub(crate) fn open(engine: &S3Engine, prefix: &str, spool: &TempDir) -> BucketStore {
    open_with(engine, prefix, spool, None, &[])
}

/// The same, which keeps blocks on disk, and has these options besides.
pub(crate) fn open_with(
    engine: &S3Engine,
    prefix: &str,
    spool: &TempDir,
    disk: Option<qfs_store::bucket::DiskCache>,
    more: &[(&str, &str)],
) -> BucketStore {
    let location = format!("s3://{}/{prefix}", S3Engine::BUCKET);
    let option = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let mut options = vec![
        option("aws_endpoint", &engine.endpoint()),
        option("aws_allow_http", "true"),
        option("aws_access_key_id", "test"),
        option("aws_secret_access_key", "test"),
    ];
    options.extend(more.iter().map(|(name, value)| option(name, value)));
    let location = Location::parse(&location).unwrap().unwrap();
    let settings = Settings { location, options, hidden: false, disk };
    BucketStore::open(&settings).unwrap().with_spool(spool.path()).unwrap()
}

impl Bucket {
    fn below(prefix: &'static str) -> Self {
        let (engine, spool) = (S3Engine::start(), tempfile::tempdir().unwrap());
        let store = open(&engine, prefix, &spool);
        Self { engine, spool, prefix, store }
    }

    fn key(&self, path: &RemotePath) -> String {
        if self.prefix.is_empty() { path.as_str().to_owned() } else { format!("{}/{}", self.prefix, path.as_str()) }
    }
}

impl Subject for Bucket {
    type Store = BucketStore;
    const OUTLIVES: bool = false;
    const LINKS: bool = false;

    fn new() -> Self {
        Self::below("some/where")
    }

    fn store(&self) -> &BucketStore {
        &self.store
    }

    fn another(&self) -> BucketStore {
        open(&self.engine, self.prefix, &self.spool)
    }

    fn mutate(&self, path: &RemotePath, content: &[u8]) {
        self.engine.put(&self.key(path), content);
    }

    fn remove(&self, path: &RemotePath) {
        self.engine.remove(&self.key(path));
    }

    fn partials(&self) -> usize {
        fs::read_dir(self.spool.path()).unwrap().count() + self.engine.uploads()
    }
}

qfs_testkit::store_conformance!(bucket_store, Bucket);
