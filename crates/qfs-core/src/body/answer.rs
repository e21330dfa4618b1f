//! What arrives on a stream: frames in order, then a body out of order, then the trailer. Named after the client's view of an
//! answer; the server reads an upload with it.

use std::future::poll_fn;
use std::ops::Range;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};

use crate::framing::{FrameError, announced_length};
use crate::stream::{Chunk, ChunkSource, Order, StreamError};
use crate::wire::{FRAME_PREFIX_BYTES, MAX_FRAME_BYTES, StatusCode};

/// Why an answer could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiveError {
    /// The stream failed.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// The stream is no sequence of frames.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The stream ended before the body was whole.
    #[error("the body ended {missing} bytes early")]
    Truncated {
        /// Bytes that never came.
        missing: u64,
    },
    /// Bytes follow the trailer.
    #[error("the stream goes on behind its end")]
    TooLong,
    /// What arrived could not be stored.
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
}

/// Longest piece taken from a stream at once, in bytes; one packet's worth is what arrives.
const CHUNK_LIMIT: usize = 64 << 10;

/// An answer's stream, read from its start.
#[derive(Debug)]
pub struct Answer<C> {
    source: C,
    /// Read and not yet handed out.
    carried: Bytes,
    /// Offset of `carried` in the stream.
    position: u64,
}

impl<C: ChunkSource> Answer<C> {
    /// The answer that arrives on `source`.
    pub fn new(source: C) -> Self {
        Self { source, carried: Bytes::new(), position: 0 }
    }

    /// What follows the first `position` bytes, which somebody else has read, on `source`.
    pub fn continued(source: C, position: u64) -> Self {
        Self { source, carried: Bytes::new(), position }
    }

    /// The next block of a body whose length nobody knows (PROTOCOL §4.5.3); None behind the last one.
    ///
    /// # Errors
    /// [`ReceiveError::Frame`] when the stream ends before, or a block is longer than a frame may be.
    pub async fn next_block(&mut self) -> Result<Option<Bytes>, ReceiveError> {
        let prefix = self.take(FRAME_PREFIX_BYTES).await?;
        let mut length = [0; FRAME_PREFIX_BYTES];
        length.copy_from_slice(&prefix);
        match u32::from_be_bytes(length) {
            0 => Ok(None),
            _ => self.take(announced_length(length)?).await.map(Some),
        }
    }

    /// Exactly `length` bytes in order: the bytes of a small file behind its record.
    ///
    /// # Errors
    /// [`ReceiveError::Frame`] when the stream ends before.
    pub async fn next_bytes(&mut self, length: usize) -> Result<Bytes, ReceiveError> {
        self.take(length).await
    }

    /// The payload of the next frame.
    ///
    /// # Errors
    /// [`ReceiveError::Frame`] with [`FrameError::End`] when the stream ended in good order.
    pub async fn next_frame(&mut self) -> Result<Bytes, ReceiveError> {
        let prefix = match self.take(FRAME_PREFIX_BYTES).await {
            Err(ReceiveError::Frame(FrameError::Truncated)) if self.carried.is_empty() => {
                return Err(FrameError::End.into());
            }
            prefix => prefix?,
        };
        let mut length = [0; FRAME_PREFIX_BYTES];
        length.copy_from_slice(&prefix);
        self.take(announced_length(length)?).await
    }

    /// Exactly `length` bytes in order; they are copied only when they came in pieces.
    async fn take(&mut self, length: usize) -> Result<Bytes, ReceiveError> {
        let mut assembled = BytesMut::new();
        while assembled.len() + self.carried.len() < length {
            assembled.extend_from_slice(&self.carried);
            self.position += self.carried.len() as u64;
            self.carried = Bytes::new();
            let source = &mut self.source;
            match poll_fn(|cx| source.poll_chunk(cx, CHUNK_LIMIT, Order::Ordered)).await? {
                Some(chunk) => self.carried = chunk.bytes,
                None => {
                    self.carried = assembled.freeze();
                    return Err(FrameError::Truncated.into());
                }
            }
        }
        let rest = length - assembled.len();
        self.position += rest as u64;
        let last = self.carried.split_to(rest);
        if assembled.is_empty() {
            return Ok(last);
        }
        assembled.extend_from_slice(&last);
        Ok(assembled.freeze())
    }

    /// The stream that the answer is read from.
    pub fn source_mut(&mut self) -> &mut C {
        &mut self.source
    }

    /// Waits until something has come, or the stream has ended. Nothing is lost when this is dropped.
    ///
    /// # Errors
    /// [`StreamError`] when the stream failed.
    pub async fn arrival(&mut self) -> Result<(), StreamError> {
        if self.carried.is_empty() {
            let source = &mut self.source;
            if let Some(chunk) = poll_fn(|cx| source.poll_chunk(cx, CHUNK_LIMIT, Order::Ordered)).await? {
                self.carried = chunk.bytes;
            }
        }
        Ok(())
    }

    /// Adds to `pieces` what comes next, in order, until they have `enough` bytes; true when the stream has ended.
    ///
    /// # Errors
    /// [`StreamError`] when the stream failed; what came before is in `pieces`.
    pub async fn gather(&mut self, pieces: &mut Vec<Bytes>, enough: usize) -> Result<bool, StreamError> {
        let mut gathered = 0;
        while gathered < enough {
            let piece = if self.carried.is_empty() {
                let source = &mut self.source;
                match poll_fn(|cx| source.poll_chunk(cx, CHUNK_LIMIT, Order::Ordered)).await? {
                    Some(chunk) => chunk.bytes,
                    None => return Ok(true),
                }
            } else {
                std::mem::take(&mut self.carried)
            };
            self.position += piece.len() as u64;
            gathered += piece.len();
            pieces.push(piece);
        }
        Ok(false)
    }

    /// Tells the peer that no more is wanted.
    pub fn stop(mut self) {
        self.source.stop(StatusCode::CANCELLED);
    }

    /// What follows are `length` bytes of body and the trailer.
    pub fn into_body(self, length: u64) -> BodyChunks<C> {
        let body = self.position..self.position.saturating_add(length);
        let carried = (!self.carried.is_empty()).then_some(Chunk { offset: self.position, bytes: self.carried });
        BodyChunks { source: self.source, body, carried, received: 0, tail: Vec::new(), ended: false }
    }
}

/// A body and its trailer, taken as they arrive.
#[derive(Debug)]
pub struct BodyChunks<C> {
    source: C,
    /// Where in the stream the body stands.
    body: Range<u64>,
    carried: Option<Chunk>,
    received: u64,
    /// What arrived of the trailer; bounded by its longest frame.
    tail: Vec<Chunk>,
    ended: bool,
}

impl<C: ChunkSource> BodyChunks<C> {
    /// The length of the body in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.body.end - self.body.start
    }

    /// Whether the body has no bytes at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.body.is_empty()
    }

    /// The next piece of the body, its offset counted from the body's start; None when the body is whole and the stream has
    /// ended.
    ///
    /// # Errors
    /// [`ReceiveError`] when the stream failed, ended early or does not end.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Chunk>, ReceiveError>> {
        loop {
            if self.ended {
                return Poll::Ready(Ok(None));
            }
            let chunk = match self.carried.take() {
                Some(chunk) => Some(chunk),
                None => match self.source.poll_chunk(cx, CHUNK_LIMIT, Order::Unordered) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(chunk) => chunk?,
                },
            };
            let Some(chunk) = chunk else {
                self.ended = true;
                let missing = self.len() - self.received;
                return Poll::Ready(if missing > 0 { Err(ReceiveError::Truncated { missing }) } else { Ok(None) });
            };
            if let Some(piece) = self.split_off_tail(chunk)? {
                self.received += piece.bytes.len() as u64;
                return Poll::Ready(Ok(Some(piece)));
            }
        }
    }

    /// Puts aside what of `chunk` belongs to the trailer; returns what belongs to the body.
    fn split_off_tail(&mut self, mut chunk: Chunk) -> Result<Option<Chunk>, ReceiveError> {
        const LONGEST_TAIL: u64 = (FRAME_PREFIX_BYTES + MAX_FRAME_BYTES) as u64;
        let end = chunk.offset + chunk.bytes.len() as u64;
        if end > self.body.end.saturating_add(LONGEST_TAIL) {
            return Err(ReceiveError::TooLong);
        }
        if end > self.body.end {
            let in_body = self.body.end.saturating_sub(chunk.offset) as usize;
            let tail = chunk.bytes.split_off(in_body);
            self.tail.push(Chunk { offset: end - tail.len() as u64 - self.body.end, bytes: tail });
        }
        chunk.offset = chunk.offset.saturating_sub(self.body.start);
        Ok((!chunk.bytes.is_empty()).then_some(chunk))
    }

    /// The trailer's payload, once [`Self::poll_next`] returned None.
    ///
    /// # Errors
    /// [`ReceiveError::Frame`] when it is missing or cut off, [`ReceiveError::TooLong`] when something follows it.
    pub fn into_trailer(mut self) -> Result<Bytes, ReceiveError> {
        self.tail.sort_unstable_by_key(|chunk| chunk.offset);
        let mut tail: Bytes = match self.tail.len() {
            0 => return Err(FrameError::End.into()),
            1 => self.tail.swap_remove(0).bytes,
            _ => self.tail.iter().flat_map(|chunk| chunk.bytes.iter().copied()).collect(),
        };
        if tail.len() < FRAME_PREFIX_BYTES {
            return Err(FrameError::Truncated.into());
        }
        let length = announced_length(tail.get_u32().to_be_bytes())?;
        match tail.len().cmp(&length) {
            std::cmp::Ordering::Less => Err(FrameError::Truncated.into()),
            std::cmp::Ordering::Equal => Ok(tail),
            std::cmp::Ordering::Greater => Err(ReceiveError::TooLong),
        }
    }

    /// Tells the peer that no more is wanted.
    pub fn stop(mut self) {
        self.source.stop(StatusCode::CANCELLED);
    }
}
