//! Blocks of one version that are wanted: from the disk of this machine, where they are kept there, else from the bucket.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;

use super::blocks::BLOCK;
use super::disk::{Disk, Version};
use super::error::CloudError;
use super::patience::Patience;
use super::shared::Shared;

/// See the module.
pub(super) struct Wanted {
    shared: Arc<Shared>,
    key: String,
    tag: Option<String>,
    version: u128,
    /// Where blocks are kept on disk, and under what name. What has no ETag is not kept.
    kept: Option<(Arc<Disk>, Version)>,
}

impl Wanted {
    /// Blocks of `key`, as long as its ETag is `tag`; in memory they are of `version`.
    pub(super) fn new(shared: &Arc<Shared>, key: String, tag: Option<String>, version: u128) -> Self {
        let kept = shared.disk.clone().zip(tag.as_deref().map(|tag| Version::new(version, tag)));
        Self { shared: Arc::clone(shared), key, tag, version, kept }
    }

    /// Puts the blocks of `bytes`, which begin with one, where they belong.
    ///
    /// # Errors
    /// What the bucket failed with.
    pub(super) async fn fetch(&self, bytes: Range<u64>) -> Result<(), CloudError> {
        for missing in self.read_kept(bytes).await? {
            self.ask_for(missing).await?;
        }
        Ok(())
    }

    /// Takes what is on disk; returns what is not.
    async fn read_kept(&self, bytes: Range<u64>) -> Result<Vec<Range<u64>>, CloudError> {
        let Some((disk, name)) = self.kept.clone() else { return Ok(vec![bytes]) };
        let (shared, version) = (Arc::clone(&self.shared), self.version);
        let reading = tokio::task::spawn_blocking(move || {
            let mut missing: Vec<Range<u64>> = Vec::new();
            let mut at = bytes.start;
            while at < bytes.end {
                let end = bytes.end.min(at + BLOCK);
                if let Some(content) = disk.read(&name, at / BLOCK, (end - at) as usize) {
                    shared.blocks.put((version, at / BLOCK), content);
                } else {
                    match missing.last_mut() {
                        Some(last) if last.end == at => last.end = end,
                        _ => missing.push(at..end),
                    }
                }
                at = end;
            }
            missing
        });
        reading.await.map_err(|_| CloudError::unavailable("the disk cache cannot be read"))
    }

    /// Has the bucket send `bytes`. A body that breaks off is asked for again from there.
    async fn ask_for(&self, bytes: Range<u64>) -> Result<(), CloudError> {
        let mut patience = Patience::new();
        let mut at = bytes.start;
        while at < bytes.end {
            let mut block = BytesMut::new();
            let begun = at;
            let (_, mut body) = self.shared.cloud.get(&self.key, at..bytes.end, self.tag.as_deref()).await?;
            let mut why = CloudError::unavailable("the body ended early");
            while let Some(piece) = body.next().await {
                let mut piece = match piece {
                    Ok(piece) => piece,
                    Err(error) => {
                        why = error;
                        break;
                    }
                };
                if piece.len() as u64 > bytes.end - at - block.len() as u64 {
                    return Err(CloudError::nonsense("more than was asked for"));
                }
                while !piece.is_empty() {
                    let length = BLOCK.min(bytes.end - at);
                    let part = piece.len().min(length as usize - block.len());
                    block.extend_from_slice(&piece.split_to(part));
                    if block.len() as u64 == length {
                        self.put(at / BLOCK, std::mem::take(&mut block).freeze());
                        at += length;
                    }
                }
            }
            if at == begun {
                patience.again(why).await?;
            }
        }
        Ok(())
    }

    fn put(&self, index: u64, content: Bytes) {
        if let Some((disk, name)) = &self.kept {
            disk.keep(name, index, &content);
        }
        self.shared.blocks.put((self.version, index), content);
    }
}
