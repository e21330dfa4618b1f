//! The writing half: small objects, metadata, removing, directories.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use qfs_core::model::{Digest, ETag, RemotePath};
use qfs_core::store::{
    CommitSpec, Condition, ObjectMeta, Space, StageSpec, StagedObject, StoreError, TargetMeta, WriteStore,
};

use super::BucketStore;
use super::attributes::{self, Attributes};
use super::cloud::Only;
use super::conditions::{condition, executable, refused, written};
use super::error::CloudError;
use super::listing;
use super::names::{self, There};
use super::shared::is_hidden;
use super::stage::BucketStage;

/// The largest object that S3 copies in one request.
const MAX_COPY_BYTES: u64 = 5 << 30;

impl BucketStore {
    fn put_object(
        &self,
        path: &RemotePath,
        content: &[Bytes],
        commit: &CommitSpec,
        digest: Option<Digest>,
    ) -> Result<ObjectMeta, StoreError> {
        let shared = &self.shared;
        let content = match content {
            [one] => one.clone(),
            several => several.concat().into(),
        };
        let digest = digest.or_else(|| Some(Digest::of(&content)));
        let key = shared.key(path);
        names::ensure_free(shared, path)?;
        let _turn = shared.lock(&key);
        let executable = executable(shared, &key, commit)?;
        let attributes = Attributes::fresh(commit.modified, executable).with_digest(digest);
        let only = condition(shared, &key, &commit.condition)?;
        let size = content.len() as u64;
        let tag = shared
            .wait(shared.cloud.put(&key, content, &attributes, &only))
            .map_err(|error| refused(error, &commit.condition))?;
        shared.ways.forget(&key);
        Ok(written(shared, &key, size, tag, attributes))
    }

    /// What is under `path`, of a name that may be.
    fn look(&self, path: &RemotePath) -> Result<There, StoreError> {
        if is_hidden(&self.shared, path) {
            return Err(StoreError::Reserved);
        }
        names::look(&self.shared, path)
    }

    /// Makes the directory above `path` one on purpose, if nothing else is in it any more: what was removed was what showed it.
    fn keep_directory(&self, path: &RemotePath) -> Result<(), StoreError> {
        let Some(parent) = path.parent().and_then(|parent| RemotePath::parse(parent).ok()) else { return Ok(()) };
        if names::is_directory(&self.shared, &parent)? { Ok(()) } else { self.mark(&parent, Timestamp::now()) }
    }

    fn mark(&self, path: &RemotePath, modified: Timestamp) -> Result<(), StoreError> {
        let attributes = Attributes::fresh(modified, false);
        let key = format!("{}/", self.shared.key(path));
        let put = self.shared.cloud.put(&key, Bytes::new(), &attributes, &Only::Any);
        self.shared.wait(put).map(drop).map_err(CloudError::into_store)
    }

    fn describe(
        &self,
        path: &RemotePath,
        version: Option<&ETag>,
        modified: Option<Timestamp>,
        executable: Option<bool>,
    ) -> Result<ObjectMeta, StoreError> {
        let shared = &self.shared;
        let info = match self.look(path)? {
            There::Object(info) => *info,
            There::Directory => return Err(StoreError::NotRegular),
            There::Nothing => return Err(StoreError::NotFound),
        };
        let key = shared.key(path);
        let _turn = shared.lock(&key);
        if version.is_some_and(|version| *version != attributes::etag(&key, &info)) {
            return Err(StoreError::Conflict);
        }
        if info.size > MAX_COPY_BYTES {
            return Err(StoreError::Unsupported);
        }
        let before = info.attributes.clone().unwrap_or_default();
        let modified = modified.unwrap_or(attributes::meta(&key, &info).modified);
        let fresh = Attributes::fresh(modified, executable.unwrap_or(before.executable));
        let attributes = Attributes {
            sha256: before.sha256,
            blake3: before.blake3,
            others: before.others,
            fields: before.fields,
            ..fresh
        };
        let tag = shared
            .wait(shared.cloud.describe(&key, &info, &attributes))
            .map_err(|error| refused(error, &Condition::Any))?;
        Ok(written(shared, &key, info.size, tag, attributes))
    }
}

impl WriteStore for BucketStore {
    fn existing(&self, path: &RemotePath) -> Result<Option<TargetMeta>, StoreError> {
        match self.look(path)? {
            There::Nothing => Ok(None),
            There::Directory => Err(StoreError::NotRegular),
            There::Object(info) => {
                let meta = attributes::meta(&self.shared.key(path), &info);
                Ok(Some(TargetMeta { size: meta.size, modified: meta.modified, executable: meta.executable }))
            }
        }
    }

    fn stage_sparse(
        &self,
        path: &RemotePath,
        spec: &StageSpec,
        holes: u64,
    ) -> Result<Arc<dyn StagedObject>, StoreError> {
        names::ensure_free(&self.shared, path)?;
        let spool = self.spool.as_ref().ok_or(StoreError::Unsupported)?;
        Ok(Arc::new(BucketStage::open(&self.shared, spool, path, (spec, holes))?))
    }

    fn put(&self, path: &RemotePath, content: &[Bytes], commit: &CommitSpec) -> Result<(), StoreError> {
        self.put_object(path, content, commit, None).map(drop)
    }

    fn put_described(
        &self,
        path: &RemotePath,
        content: &[Bytes],
        commit: &CommitSpec,
    ) -> Result<ObjectMeta, StoreError> {
        self.put_object(path, content, commit, None)
    }

    fn put_known(
        &self,
        path: &RemotePath,
        content: &[Bytes],
        commit: &CommitSpec,
        digest: Digest,
    ) -> Result<ObjectMeta, StoreError> {
        self.put_object(path, content, commit, Some(digest))
    }

    fn touch(&self, path: &RemotePath, modified: Timestamp) -> Result<(), StoreError> {
        self.describe(path, None, Some(modified), None).map(drop)
    }

    fn set_executable(&self, path: &RemotePath, executable: bool) -> Result<(), StoreError> {
        self.describe(path, None, None, Some(executable)).map(drop)
    }

    fn set_metadata(
        &self,
        path: &RemotePath,
        version: Option<&ETag>,
        modified: Option<Timestamp>,
        executable: Option<bool>,
    ) -> Result<ObjectMeta, StoreError> {
        self.describe(path, version, modified, executable)
    }

    fn copy_within(
        &self,
        from: &RemotePath,
        version: &ETag,
        path: &RemotePath,
        commit: &CommitSpec,
    ) -> Result<Option<ObjectMeta>, StoreError> {
        let shared = &self.shared;
        let source = shared.key(from);
        let Some(info) = names::head(shared, &source)? else { return Err(StoreError::NotFound) };
        if attributes::etag(&source, &info) != *version {
            return Err(StoreError::Changed);
        }
        if info.size > MAX_COPY_BYTES {
            return Ok(None);
        }
        let before = info.attributes.clone().unwrap_or_default();
        let fresh = Attributes::fresh(commit.modified, commit.executable.unwrap_or(before.executable));
        let attributes = Attributes {
            sha256: before.sha256,
            blake3: before.blake3,
            others: before.others,
            fields: before.fields,
            ..fresh
        };
        let key = shared.key(path);
        names::ensure_free(shared, path)?;
        let _turn = shared.lock(&key);
        let only = condition(shared, &key, &commit.condition)?;
        let tag = match shared.wait(shared.cloud.copy(&source, &info, &key, &attributes, &only)) {
            Ok(tag) => tag,
            Err(CloudError::Unsupported) => return Ok(None),
            Err(error) => return Err(refused(error, &commit.condition)),
        };
        shared.ways.forget(&key);
        Ok(Some(written(shared, &key, info.size, tag, attributes)))
    }

    fn remove_abandoned(&self, age: Duration) -> Result<u64, StoreError> {
        self.spool.as_ref().map_or(Ok(0), |spool| spool.remove_abandoned(age))
    }

    fn space(&self) -> Result<Option<Space>, StoreError> {
        // Uploads are gathered there; the bucket has no end.
        self.spool.as_ref().map_or(Ok(None), WriteStore::space)
    }

    fn remove(&self, path: &RemotePath, condition: &Condition, _durable: bool) -> Result<(), StoreError> {
        let shared = &self.shared;
        let key = shared.key(path);
        let turn = shared.lock(&key);
        let info = match self.look(path)? {
            There::Nothing => return Err(StoreError::NotFound),
            There::Directory => return Err(StoreError::NotRegular),
            There::Object(info) => *info,
        };
        let tag = match condition {
            Condition::Absent => return Err(StoreError::Exists),
            Condition::Any => None,
            Condition::Matches(version) if attributes::etag(&key, &info) == *version => info.tag.as_deref(),
            Condition::Matches(_) => return Err(StoreError::Conflict),
        };
        match shared.wait(shared.cloud.delete(&key, tag)) {
            Ok(()) => {}
            Err(error) => return Err(refused(error, condition)),
        }
        drop(turn);
        self.keep_directory(path)
    }

    fn make_directory(&self, path: &RemotePath, modified: Option<Timestamp>, _durable: bool) -> Result<(), StoreError> {
        match self.look(path)? {
            There::Object(_) => Err(StoreError::NotRegular),
            There::Directory if modified.is_none() => Ok(()),
            There::Directory | There::Nothing => self.mark(path, modified.unwrap_or_else(Timestamp::now)),
        }
    }

    fn remove_directory(&self, path: &RemotePath, _durable: bool) -> Result<(), StoreError> {
        let shared = &self.shared;
        match self.look(path)? {
            There::Object(_) => return Err(StoreError::NotRegular),
            There::Nothing => return Err(StoreError::NotFound),
            There::Directory => {}
        }
        let key = format!("{}/", shared.key(path));
        if listing::exists_in(shared, &key).map_err(CloudError::into_store)? {
            return Err(StoreError::NotEmpty);
        }
        // What comes into it meanwhile keeps it there: only the object that marks it goes.
        shared.wait(shared.cloud.delete(&key, None)).map_err(CloudError::into_store)?;
        self.keep_directory(path)
    }

    fn make_link(&self, path: &RemotePath, target: &str, _durable: bool) -> Result<(), StoreError> {
        if path.admits_link(target) { Err(StoreError::Unsupported) } else { Err(StoreError::Outside) }
    }

    fn remove_link(&self, path: &RemotePath, _text: Option<&str>, _durable: bool) -> Result<(), StoreError> {
        match self.look(path)? {
            There::Nothing => Err(StoreError::NotFound),
            There::Object(_) | There::Directory => Err(StoreError::NotRegular),
        }
    }

    fn sync_directories(&self) -> Result<(), StoreError> {
        // What a bucket has answered is stored.
        Ok(())
    }
}
