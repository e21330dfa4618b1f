//! The files of this machine that may stand in for parts of what is fetched (`--seed`), and their chunks.

use std::fmt;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use qfs_core::body::cut_object;
use qfs_core::chunks::{Chunk, Grain, MAX_SEED_CHUNKS};
use qfs_core::model::{ETag, RemotePath};
use qfs_core::store::{Entry, ListQuery, Object, Store, StoreError};
use qfs_store::local::{Hidden, LocalStore};
use qfs_store::{blocking, blocking_threads};
use tokio::sync::Mutex;

/// Smallest file of a directory that is a seed, in bytes: the smallest chunks have about as many.
const LEAST_BYTES: u64 = 4 << 10;

/// Most files that are seeds: of more, the largest.
pub const MAX_SEEDS: usize = 10_000;

/// Why a path is no seed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SeedError {
    /// It is not there, or cannot be read.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The system refuses.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// It has a name that is no UTF-8, or with a backslash in it.
    #[error("its name is not one that can be opened here")]
    Name,
}

/// A file that is here. It is opened when it is needed, because there may be more of them than a process may have open.
#[derive(Clone)]
pub(super) struct SeedFile {
    store: Arc<dyn Store>,
    path: RemotePath,
    size: u64,
}

impl SeedFile {
    /// The file of this name in `store`, of about `size` bytes.
    pub(super) fn new(store: Arc<dyn Store>, path: RemotePath, size: u64) -> Self {
        Self { store, path, size }
    }

    /// Opens it. Blocks.
    pub(super) fn open(&self) -> Result<Arc<dyn Object>, StoreError> {
        self.store.object(&self.path)
    }
}

/// The chunks of a file that is here.
#[derive(Clone)]
pub(super) struct Cut {
    pub(super) file: SeedFile,
    /// The version that was cut.
    pub(super) etag: ETag,
    pub(super) chunks: Vec<Chunk>,
}

impl Cut {
    /// Cuts `file`: of a large one, at least its first `most` chunks. None when it cannot be read.
    pub(super) async fn of(file: &SeedFile, grain: Grain, most: usize) -> Option<Self> {
        let opened = file.clone();
        let cut = async {
            let object = blocking(move || opened.open()).await?;
            let chunks = cut_object(&blocking_threads(), &object, grain, most).await?.into_chunks();
            Ok::<_, StoreError>(Self { file: file.clone(), etag: object.meta().etag.clone(), chunks })
        };
        match cut.await {
            Ok(cut) => Some(cut),
            Err(error) => {
                tracing::debug!(%error, path = %file.path, "a file is no seed");
                None
            }
        }
    }
}

/// The files that `--seed` names.
#[derive(Default)]
pub struct Library {
    files: Vec<SeedFile>,
    bytes: u64,
    /// Their chunks, at the grain that was needed last: files of about one size need one.
    cut: Mutex<Option<(Grain, Arc<[Cut]>)>>,
}

impl Library {
    /// Adds the file `path`, or the files below it. Blocks.
    ///
    /// # Errors
    /// [`SeedError`] when there is nothing that can be read.
    pub fn add(&mut self, path: &Path) -> Result<(), SeedError> {
        // Whoever names a link means what it leads to.
        let path = std::fs::canonicalize(path)?;
        let name = path.file_name().filter(|_| !path.is_dir());
        let root = if name.is_some() { path.parent().unwrap_or(Path::new("/")) } else { &path };
        let store = Arc::new(LocalStore::open_root(root)?.hidden(Hidden::Included));
        if let Some(name) = name {
            let name = name.to_str().and_then(|name| RemotePath::parse(name).ok()).ok_or(SeedError::Name)?;
            let size = store.object(&name)?.meta().size;
            self.files.push(SeedFile::new(store, name, size));
        } else {
            store.list(&ListQuery::default(), &mut |path, entry| {
                if let Entry::File(meta) = entry
                    && meta.size >= LEAST_BYTES
                {
                    self.files.push(SeedFile::new(Arc::clone(&store) as _, path, meta.size));
                }
                ControlFlow::Continue(())
            })?;
        }
        if self.files.len() > MAX_SEEDS {
            self.files.sort_by_key(|file| std::cmp::Reverse(file.size));
            self.files.truncate(MAX_SEEDS);
        }
        self.bytes = self.files.iter().map(|file| file.size).sum();
        Ok(())
    }

    /// Bytes of all of them.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The chunks of all of them, as many as are indexed. They are cut once at each grain, and again when another was needed between.
    pub(super) async fn cut(&self, grain: Grain) -> Arc<[Cut]> {
        let mut cut = self.cut.lock().await;
        if let Some((known, cuts)) = &*cut
            && *known == grain
        {
            return Arc::clone(cuts);
        }
        // The memory of those of before is given back first.
        *cut = None;
        let (mut cuts, mut room) = (Vec::new(), MAX_SEED_CHUNKS);
        for file in &self.files {
            if room == 0 {
                break;
            }
            if let Some(mut cut) = Cut::of(file, grain, room).await {
                cut.chunks.truncate(room);
                room -= cut.chunks.len();
                cuts.push(cut);
            }
        }
        let cuts: Arc<[Cut]> = cuts.into();
        *cut = Some((grain, Arc::clone(&cuts)));
        cuts
    }
}

impl fmt::Debug for Library {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Library").field("files", &self.files.len()).field("bytes", &self.bytes).finish_non_exhaustive()
    }
}
