//! What all operations of one store work on, and the thread where its requests run.

use std::sync::{Arc, Mutex, OnceLock};

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use qfs_core::model::RemotePath;

use super::blocks::Blocks;
use super::cloud::{Cloud, Info};
use super::disk::Disk;
use super::error::CloudError;
use super::known::Known;
use super::patience;
use super::ways::Ways;

/// What all parts of a store work on.
pub(super) struct Shared {
    pub(super) cloud: Box<dyn Cloud>,
    /// In front of every key, with a slash at its end, or empty.
    pub(super) prefix: String,
    pub(super) blocks: Blocks,
    /// Where blocks are kept besides.
    pub(super) disk: Option<Arc<Disk>>,
    pub(super) known: Known,
    pub(super) reads_attributes: bool,
    pub(super) hidden: bool,
    pub(super) ways: Ways,
    /// Held by whoever replaces or removes, so that of two in this process one wins whatever the bucket checks; by key.
    pub(super) locks: Vec<Mutex<()>>,
    pub(super) runtime: Runtime,
}

/// Keys share this many locks.
pub(super) const LOCKS: usize = 256;

/// Where requests run: begins with the first, ends with the store.
#[derive(Default)]
pub(super) struct Runtime(OnceLock<Option<tokio::runtime::Runtime>>);

impl Runtime {
    pub(super) fn handle(&self) -> Result<&tokio::runtime::Handle, CloudError> {
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
    pub(super) fn wait<T>(&self, work: impl Future<Output = Result<T, CloudError>>) -> Result<T, CloudError> {
        self.runtime.handle()?.block_on(work)
    }

    /// Begins `work`; where there is no runtime it is dropped.
    pub(super) fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<tokio::task::JoinHandle<T>, CloudError> {
        Ok(self.runtime.handle()?.spawn(work))
    }

    pub(super) fn key(&self, path: &RemotePath) -> String {
        format!("{}{}", self.prefix, path.as_str())
    }

    /// What an object says of itself, as its version is named here: where a listing asks for nothing that stands beside objects, their
    /// number counts nowhere.
    pub(super) fn named(&self, mut info: Info) -> Info {
        if let Some(attributes) = info.attributes.as_mut().filter(|_| !self.reads_attributes) {
            attributes.nonce = None;
        }
        info
    }

    /// The lock that `key` has with others.
    pub(super) fn lock(&self, key: &str) -> std::sync::MutexGuard<'_, ()> {
        let sum = key.bytes().fold(0usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(byte)));
        self.locks[sum % LOCKS].lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The object `key` with its first bytes, in one request.
    pub(super) async fn first(&self, key: &str, first: u64) -> Result<(Info, Bytes), CloudError> {
        if first == 0 {
            return Ok((self.named(self.cloud.head(key).await?), Bytes::new()));
        }
        let mut patience = patience::Patience::new();
        loop {
            let (info, mut body) = match self.cloud.get(key, 0..first, None).await {
                Err(CloudError::Range) => match self.cloud.head(key).await? {
                    // No range is within an object of no bytes.
                    info if info.size == 0 => return Ok((self.named(info), Bytes::new())),
                    // It was replaced between the two requests: its bytes are asked for anew.
                    _ => {
                        patience.again(CloudError::unavailable("no range of an object that is not empty")).await?;
                        continue;
                    }
                },
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
                return Ok((self.named(info), content.freeze()));
            }
            patience.again(why).await?;
        }
    }
}

/// Whether a name is kept from everybody.
pub(super) fn is_hidden(shared: &Shared, path: &RemotePath) -> bool {
    !shared.hidden && path.is_hidden()
}
