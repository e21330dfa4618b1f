//! The writing half of the contract: staging, committing, removing; directories and links.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;

use super::{ObjectMeta, Store, StoreError};
use crate::model::{Digest, ETag, RemotePath};

/// What is about to be written.
#[derive(Debug, Clone)]
pub struct StageSpec {
    /// Size of the whole object in bytes. None when nobody knows it yet: then the object ends behind the last byte written, and
    /// what is cut off is not continued.
    pub size: Option<u64>,
    /// The version; a partial file of another version is not continued.
    pub etag: ETag,
}

/// What must be under a target's name for it to be replaced or removed. Checked in the step that replaces or removes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// Nothing; otherwise the call fails with [`StoreError::Exists`].
    Absent,
    /// Whatever file or symbolic link there is, or nothing.
    Any,
    /// This version; otherwise the call fails with [`StoreError::Conflict`].
    ///
    /// A bucket checks that in the request itself. A file system cannot: a local store exchanges the two files, looks at what
    /// came out, and exchanges them back when it was another version. Of two such calls of one process one always wins. Beside
    /// other programs these windows remain, each some microseconds long: the refused file is seen under the name until it is
    /// exchanged back; a writer with the file open who also sets back its time is not noticed; where the file system knows no
    /// exchange, whatever another program does between the last look and the rename is lost.
    Matches(ETag),
}

/// How a staged object becomes the target.
#[derive(Debug, Clone)]
pub struct CommitSpec {
    /// Modification time the target gets.
    pub modified: Timestamp,
    /// Whether the target may be executed, by whom the umask lets. None: as what it replaces, and where it
    /// replaces nothing as new files are, which is not. Who may read it follows what it replaces, too.
    pub executable: Option<bool>,
    /// What must be under the target's name.
    pub condition: Condition,
    /// Whether the content is on stable storage before the target appears (fdatasync before rename). The directory entry
    /// is, once [`WriteStore::sync_directories`] has returned.
    pub durable: bool,
}

/// A destination of objects. Nothing appears under a target's name before its content was verified and committed.
///
/// No method follows a symbolic link, at the end of a name or on the way; one on the way is [`StoreError::NotRegular`]. A name
/// that the store hides, or uses itself for partial files, is [`StoreError::Reserved`].
pub trait WriteStore: Store {
    /// Size and modification time of the existing target, or None. Does not follow a symbolic link at the end.
    ///
    /// # Errors
    /// [`StoreError::NotRegular`] when something else than a regular file is there.
    fn existing(&self, path: &RemotePath) -> Result<Option<TargetMeta>, StoreError>;

    /// [`Self::existing`] of each of `paths`, in order.
    fn existing_all(&self, paths: &[&RemotePath]) -> Vec<Result<Option<TargetMeta>, StoreError>> {
        paths.iter().map(|path| self.existing(path)).collect()
    }

    /// Opens the partial file for this version of `path`, making directories as needed: the one a former run left, or
    /// a new one. A partial file that another process is writing is left alone and a private one used.
    ///
    /// # Errors
    /// [`StoreError::NoSpace`] before the first byte when the rest does not fit the free space; what creating failed
    /// with otherwise.
    fn stage(&self, path: &RemotePath, spec: &StageSpec) -> Result<Arc<dyn StagedObject>, StoreError> {
        self.stage_sparse(path, spec, 0)
    }

    /// As [`Self::stage`], for an object of which `holes` bytes will be written by [`StagedObject::write_zeros`]: they need no
    /// room where holes are not stored.
    ///
    /// # Errors
    /// As [`Self::stage`].
    fn stage_sparse(
        &self,
        path: &RemotePath,
        spec: &StageSpec,
        holes: u64,
    ) -> Result<Arc<dyn StagedObject>, StoreError>;

    /// Writes and commits a whole small object at once: [`Self::stage`], one write, [`StagedObject::commit`], in the fewest
    /// system calls. Leaves nothing behind when it fails.
    ///
    /// # Errors
    /// As the calls it stands for.
    fn put(&self, path: &RemotePath, content: &[Bytes], commit: &CommitSpec) -> Result<(), StoreError>;

    /// As [`Self::put`], and says what the object became, which costs a disk one more system call.
    ///
    /// # Errors
    /// As [`Self::put`].
    fn put_described(
        &self,
        path: &RemotePath,
        content: &[Bytes],
        commit: &CommitSpec,
    ) -> Result<ObjectMeta, StoreError>;

    /// As [`Self::put_described`], of content whose digest the caller has just made: a store that keeps digests beside objects need
    /// not make it once more.
    ///
    /// # Errors
    /// As [`Self::put`].
    fn put_known(
        &self,
        path: &RemotePath,
        content: &[Bytes],
        commit: &CommitSpec,
        digest: Digest,
    ) -> Result<ObjectMeta, StoreError> {
        let _ = digest;
        self.put_described(path, content, commit)
    }

    /// Makes `path` a copy of the version `version` of `from`, without its bytes passing through here; None when the store cannot.
    /// `commit.executable` of None means: as the original.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] and [`StoreError::Changed`] as the original is; as [`Self::put`].
    fn copy_within(
        &self,
        from: &RemotePath,
        version: &ETag,
        path: &RemotePath,
        commit: &CommitSpec,
    ) -> Result<Option<ObjectMeta>, StoreError> {
        let _ = (from, version, path, commit);
        Ok(None)
    }

    /// Sets an existing target's modification time.
    ///
    /// # Errors
    /// What the system call failed with.
    fn touch(&self, path: &RemotePath, modified: Timestamp) -> Result<(), StoreError>;

    /// Removes what is staged, written by nobody now, and has not been written to for `age`; how many that were. Blocks. A store
    /// whose stages end with whoever made them has none of that kind.
    ///
    /// # Errors
    /// What listing failed with. What cannot be removed stays, and is only logged.
    fn remove_abandoned(&self, age: Duration) -> Result<u64, StoreError> {
        let _ = age;
        Ok(0)
    }

    /// Sets whether an existing target may be executed, by whom the umask lets. No other bit changes.
    ///
    /// # Errors
    /// As [`Self::touch`]; [`StoreError::Unsupported`].
    fn set_executable(&self, path: &RemotePath, executable: bool) -> Result<(), StoreError>;

    /// Sets the modification time of an existing target and whether it may be executed, as far as either is given, if the target is
    /// `version` where that is given; says what it has become. In one step, and without waiting for the clock to go on.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when nothing is there; [`StoreError::NotRegular`] when it is no file; [`StoreError::Conflict`] when
    /// it is another version; as [`Self::set_executable`].
    fn set_metadata(
        &self,
        path: &RemotePath,
        version: Option<&ETag>,
        modified: Option<Timestamp>,
        executable: Option<bool>,
    ) -> Result<ObjectMeta, StoreError> {
        let before = self.object(path)?;
        if version.is_some_and(|version| *version != before.meta().etag) {
            return Err(StoreError::Conflict);
        }
        if let Some(executable) = executable {
            self.set_executable(path, executable)?;
        }
        if let Some(modified) = modified {
            self.touch(path, modified)?;
        }
        Ok(self.object(path)?.meta().clone())
    }

    /// Bytes that can still be written, and that the store can hold in all. None when there is no such bound, or nobody knows it.
    ///
    /// # Errors
    /// What the system call failed with.
    fn space(&self) -> Result<Option<Space>, StoreError> {
        Ok(None)
    }

    /// Removes the file or the symbolic link `path`, never what a link leads to. With `durable` it stays removed once
    /// [`Self::sync_directories`] has returned.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when nothing is there; [`StoreError::NotRegular`] when it is a directory or a device; as
    /// `condition` says otherwise, where a link is no version of anything.
    fn remove(&self, path: &RemotePath, condition: &Condition, durable: bool) -> Result<(), StoreError>;

    /// Makes the directory `path` and those on the way to it where they are missing, and gives it the time `modified`. Entries
    /// that come later change that time again: a caller that keeps times sets them last, by calling this once more.
    ///
    /// # Errors
    /// [`StoreError::NotRegular`] when something else is there.
    fn make_directory(&self, path: &RemotePath, modified: Option<Timestamp>, durable: bool) -> Result<(), StoreError>;

    /// Removes the empty directory `path`.
    ///
    /// # Errors
    /// [`StoreError::NotEmpty`] when anything is in it, hidden or not; [`StoreError::NotFound`] when nothing is there;
    /// [`StoreError::NotRegular`] when it is something else.
    fn remove_directory(&self, path: &RemotePath, durable: bool) -> Result<(), StoreError>;

    /// Makes the symbolic link `path` that leads to `target`, with directories as needed. Never replaces anything.
    ///
    /// # Errors
    /// [`StoreError::Outside`] when `target` is not one that [`RemotePath::admits_link`] admits; [`StoreError::Exists`] or
    /// [`StoreError::NotRegular`] when something is there; [`StoreError::Unsupported`].
    fn make_link(&self, path: &RemotePath, target: &str, durable: bool) -> Result<(), StoreError>;

    /// Removes the symbolic link `path`, if it leads to `text` where that is given. Never what it leads to, and nothing else that is
    /// under the name.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when nothing is there; [`StoreError::NotRegular`] when it is no link; [`StoreError::Conflict`] when
    /// it leads elsewhere; [`StoreError::Unsupported`].
    fn remove_link(&self, path: &RemotePath, text: Option<&str>, durable: bool) -> Result<(), StoreError> {
        let _ = (path, text, durable);
        Err(StoreError::Unsupported)
    }

    /// Brings every directory that a durable call changed to stable storage, each once.
    ///
    /// # Errors
    /// What fsync failed with.
    fn sync_directories(&self) -> Result<(), StoreError>;
}

/// The room that a store has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes that can still be written.
    pub free: u64,
    /// Bytes that it can hold in all.
    pub total: u64,
}

/// A target that exists already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TargetMeta {
    /// Size in bytes.
    pub size: u64,
    /// Modification time.
    pub modified: Timestamp,
    /// Whether its owner may execute it.
    pub executable: bool,
}

/// An object being written. Dropped without a commit, it stays on disk to be continued by a later run.
pub trait StagedObject: Send + Sync {
    /// Bytes from the start that a former run had recorded as written when this was opened. Never trusted unread.
    fn recorded_frontier(&self) -> u64;

    /// Writes `chunks`, one behind the other, from `offset`.
    ///
    /// # Errors
    /// [`StoreError::NoSpace`] on a full disk or quota; what the system call failed with otherwise.
    fn write_at(&self, offset: u64, chunks: &[Bytes]) -> Result<(), StoreError>;

    /// Makes `range` read as zeros, whatever was there, where possible without storing any.
    ///
    /// # Errors
    /// As [`Self::write_at`].
    fn write_zeros(&self, range: Range<u64>) -> Result<(), StoreError> {
        /// As many as are written at once.
        static ZEROS: [u8; 256 << 10] = [0; 256 << 10];
        let mut position = range.start;
        while position < range.end {
            let step = (range.end - position).min(ZEROS.len() as u64);
            // At most the length of the array.
            self.write_at(position, &[Bytes::from_static(&ZEROS[..step as usize])])?;
            position += step;
        }
        Ok(())
    }

    /// Reads back exactly `length` bytes from `offset`.
    ///
    /// # Errors
    /// [`StoreError::Changed`] when they are not there.
    fn read_at(&self, offset: u64, length: usize) -> Result<Bytes, StoreError>;

    /// Records that all bytes before `frontier` were written, for a later run to continue from.
    ///
    /// # Errors
    /// What the system call failed with.
    fn record_frontier(&self, frontier: u64) -> Result<(), StoreError>;

    /// Makes the staged content the target by one rename, and says what it became. The caller has verified it.
    ///
    /// # Errors
    /// [`StoreError::Exists`] or [`StoreError::Conflict`] when the condition does not hold; the staged content is kept then.
    fn commit(&self, spec: &CommitSpec) -> Result<ObjectMeta, StoreError>;

    /// As [`Self::commit`], of content whose digest the caller has just made.
    ///
    /// # Errors
    /// As [`Self::commit`].
    fn commit_known(&self, spec: &CommitSpec, digest: Digest) -> Result<ObjectMeta, StoreError> {
        let _ = digest;
        self.commit(spec)
    }

    /// Removes the staged content: it is known to be wrong.
    ///
    /// # Errors
    /// What the system call failed with.
    fn discard(&self) -> Result<(), StoreError>;
}
