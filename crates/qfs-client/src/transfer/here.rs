//! The file that is here already under a name: its digest, and what is set right about it where the content is the server's.

use std::sync::Arc;

use jiff::Timestamp;
use qfs_core::model::{Digest, HashKind, Hasher, RemotePath};
use qfs_core::store::{BLOCK_BYTES, TargetMeta, WriteStore};
use qfs_core::wire::DownloadHead;
use qfs_store::blocking;

use crate::config::FetchConfig;
use crate::error::{Failure, store_failure};
use crate::plan::lacks_bit;

/// The file of this name in a store.
pub(crate) struct Here<'a> {
    pub(crate) store: &'a Arc<dyn WriteStore>,
    pub(crate) path: &'a RemotePath,
}

impl Here<'_> {
    /// The digest of `kind` of the content, or None when it is no longer `size` bytes long.
    pub(crate) async fn digest(&self, size: u64, kind: HashKind) -> Result<Option<Digest>, Failure> {
        let (store, path) = (Arc::clone(self.store), self.path.clone());
        let digest = blocking(move || {
            let object = store.object(&path)?;
            if object.meta().size != size {
                return Ok(None);
            }
            let mut hasher = Hasher::of_kind(kind);
            let mut position = 0;
            while position < size {
                let length = BLOCK_BYTES.min(size - position);
                hasher.update(&object.read_at(position, length as usize)?);
                position += length;
            }
            object.ensure_unchanged()?;
            Ok(Some(hasher.finish()))
        })
        .await;
        digest.map_err(|e| store_failure(&e))
    }

    /// Whether the file, of which `local` is known, has the content of the server's, whose `head` and digest are these. Then it is given
    /// the server's time and bit.
    pub(crate) async fn becomes(
        &self,
        local: Option<TargetMeta>,
        head: &DownloadHead,
        expected: Option<Digest>,
        config: &FetchConfig,
    ) -> Result<bool, Failure> {
        if self.digest(head.size, head.hash).await? != expected {
            return Ok(false);
        }
        self.restore_time(local, head.modified).await?;
        self.restore_bit(local, head.executable, config).await?;
        Ok(true)
    }

    /// Gives the file, of which `local` is known, the server's time, so that the next run need not hash it.
    pub(crate) async fn restore_time(&self, local: Option<TargetMeta>, modified: Timestamp) -> Result<(), Failure> {
        if local.is_some_and(|local| local.modified == modified) {
            return Ok(());
        }
        let (store, path) = (Arc::clone(self.store), self.path.clone());
        blocking(move || store.touch(&path, modified)).await.map_err(|e| store_failure(&e))
    }

    /// Lets the file, of which `local` is known, be executed where it may be on the server.
    pub(crate) async fn restore_bit(
        &self,
        local: Option<TargetMeta>,
        executable: bool,
        config: &FetchConfig,
    ) -> Result<(), Failure> {
        if !lacks_bit(executable, local, config) {
            return Ok(());
        }
        let (store, path) = (Arc::clone(self.store), self.path.clone());
        blocking(move || store.set_executable(&path, true)).await.map_err(|e| store_failure(&e))
    }
}
