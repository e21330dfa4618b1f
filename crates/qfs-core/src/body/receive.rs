//! Stream → stage.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;

use super::places::WARM_PIECES;
use super::stages::Waits;
use super::{Assembly, BodyChunks, ReceiveError, Stage};
use crate::model::{Holes, Layout};
use crate::offload::Offloaded;
use crate::store::StoreError;
use crate::stream::{Chunk, ChunkSource};

/// Bytes that the pumps of one client hold in all: of each, one batch being gathered, [`WRITES`] being written, and one that waits to
/// be hashed.
pub const FLUSH_BUDGET_BYTES: usize = 16 << 20;

/// Batches of a pump that are being written at once: whoever wrote one hashes it, and what comes behind it, while the others are copied
/// to the file.
const WRITES: usize = 2;

/// Bytes that each of `streams` pumps gathers before it writes. Larger writes cost less for each byte; beyond 512 KiB nothing
/// more is gained.
#[must_use]
pub fn flush_bytes(streams: usize) -> usize {
    (FLUSH_BUDGET_BYTES / (1 + WRITES + WARM_PIECES) / streams.max(1)).clamp(64 << 10, 512 << 10)
}

/// Takes the whole of a small body into memory, in order.
///
/// # Errors
/// [`ReceiveError`] as [`BodyChunks::poll_next`].
pub async fn collect<C: ChunkSource>(
    body: &mut BodyChunks<C>,
    mut received: impl FnMut(u64),
) -> Result<Vec<Bytes>, ReceiveError> {
    let mut pieces = Vec::new();
    while let Some(piece) = poll_fn(|cx| body.poll_next(cx)).await? {
        received(piece.bytes.len() as u64);
        pieces.push(piece);
    }
    pieces.sort_unstable_by_key(|piece| piece.offset);
    Ok(pieces.into_iter().map(|piece| piece.bytes).collect())
}

/// As [`collect`], of a body that lies in a file as `layout` says, which is that of the whole file with `holes`: with the zeros of
/// these, the whole content.
///
/// # Errors
/// As [`collect`].
pub async fn collect_into<C: ChunkSource>(
    body: &mut BodyChunks<C>,
    layout: &Layout,
    holes: &Holes,
    received: impl FnMut(u64),
) -> Result<Vec<Bytes>, ReceiveError> {
    let content = collect(body, received).await?;
    if holes.is_empty() {
        return Ok(content);
    }
    let mut pieces: Vec<(u64, Bytes)> = Vec::new();
    let mut position = 0;
    for mut bytes in content {
        let length = bytes.len() as u64;
        for place in layout.place(position, length) {
            // No longer than what is placed.
            pieces.push((place.start, bytes.split_to((place.end - place.start) as usize)));
        }
        position += length;
    }
    // A small body is held whole, and so are its holes.
    pieces.extend(holes.iter().map(|hole| (hole.start, Bytes::from(vec![0; (hole.end - hole.start) as usize]))));
    pieces.sort_unstable_by_key(|(offset, _)| *offset);
    Ok(pieces.into_iter().map(|(_, bytes)| bytes).collect())
}

/// Takes a body, whose first byte is byte `start` of the file, into `assembly`: gathers what arrives while earlier batches are
/// being written, and stops reading when `flush` bytes wait, so that flow control holds the sender.
///
/// Whatever arrived before an error is written.
///
/// # Errors
/// [`ReceiveError::Store`] when writing fails, otherwise as [`BodyChunks::poll_next`].
pub async fn pump<C: ChunkSource>(
    body: &mut BodyChunks<C>,
    assembly: &Arc<Assembly>,
    start: u64,
    flush: usize,
    received: impl FnMut(u64),
) -> Result<(), ReceiveError> {
    let layout = Layout::new(&(start..start.saturating_add(body.len())), &Holes::default());
    pump_into(body, assembly, &layout, flush, received).await
}

/// As [`pump`], a body that lies in the file as `layout` says.
///
/// # Errors
/// As [`pump`].
pub async fn pump_into<C: ChunkSource>(
    body: &mut BodyChunks<C>,
    assembly: &Arc<Assembly>,
    layout: &Layout,
    flush: usize,
    mut received: impl FnMut(u64),
) -> Result<(), ReceiveError> {
    let (gathered, writing, waits) = (Vec::new(), Vec::new(), Waits::new());
    let mut pump = Pump { assembly, layout, flush, gathered, waiting: 0, writing, waits };
    let result = poll_fn(|cx| {
        let mut came = 0;
        let polled = pump.poll_gather(cx, body, &mut came);
        // Once for all packets that came together.
        if came > 0 {
            received(came);
        }
        polled
    })
    .await;
    let flushed = pump.finish().await;
    result?;
    Ok(flushed?)
}

struct Pump<'a> {
    assembly: &'a Arc<Assembly>,
    layout: &'a Layout,
    flush: usize,
    gathered: Vec<Chunk>,
    waiting: usize,
    /// At most [`WRITES`].
    writing: Vec<Offloaded<()>>,
    waits: Waits,
}

impl Pump<'_> {
    /// Gathers and writes until the body has ended; adds what came to `came`, in bytes.
    fn poll_gather<C: ChunkSource>(
        &mut self,
        cx: &mut Context<'_>,
        body: &mut BodyChunks<C>,
        came: &mut u64,
    ) -> Poll<Result<(), ReceiveError>> {
        self.waits.go_on(self.assembly.stages());
        loop {
            if let Poll::Ready(result) = self.poll_written(cx) {
                result?;
                if self.waiting >= self.flush {
                    self.write();
                    // Registers for the end of the write just begun.
                    continue;
                }
            } else if self.waiting >= self.flush {
                self.waits.stand(Stage::Store);
                return Poll::Pending;
            }
            match body.poll_next(cx) {
                Poll::Pending => {
                    self.waits.stand(Stage::Network);
                    return Poll::Pending;
                }
                Poll::Ready(Ok(None)) => return Poll::Ready(Ok(())),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Ready(Ok(Some(mut chunk))) => {
                    let length = chunk.bytes.len();
                    *came += length as u64;
                    self.waits.note(chunk.offset, length as u64);
                    self.waiting += length;
                    for place in self.layout.place(chunk.offset, length as u64) {
                        // No longer than the chunk.
                        let bytes = chunk.bytes.split_to((place.end - place.start) as usize);
                        self.gathered.push(Chunk { offset: place.start, bytes });
                    }
                }
            }
        }
    }

    /// Ready when another write may begin.
    fn poll_written(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StoreError>> {
        let mut number = 0;
        while let Some(writing) = self.writing.get_mut(number) {
            match Pin::new(writing).poll(cx) {
                Poll::Ready(written) => {
                    self.writing.swap_remove(number);
                    if let Err(error) = written {
                        return Poll::Ready(Err(error));
                    }
                }
                Poll::Pending => number += 1,
            }
        }
        if self.writing.len() < WRITES { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    fn write(&mut self) {
        let pieces = std::mem::take(&mut self.gathered);
        self.waiting = 0;
        let assembly = Arc::clone(self.assembly);
        let written = self.assembly.threads().run(move || assembly.write(pieces));
        self.writing.push(written);
    }

    /// Waits until everything gathered is written; the first error is told when no write is under way any more.
    async fn finish(mut self) -> Result<(), StoreError> {
        if !self.gathered.is_empty() {
            self.write();
        }
        let mut result = Ok(());
        self.waits.stand(Stage::Store);
        for writing in self.writing {
            result = result.and(writing.await);
        }
        self.waits.end(self.assembly.stages());
        result
    }
}
