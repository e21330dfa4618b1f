//! What those who hold a stream, or want one, ask for.

use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use qfs_core::stream::{Lost, StreamError};
use qfs_core::wire::StatusCode;

use super::{ID_STEP, Mux};
use crate::tcp::halves::{End, Phase};

impl Mux {
    /// Opens a stream, when the peer permits another.
    pub(crate) fn poll_open(&mut self, cx: &Context<'_>) -> Poll<Result<u64, Lost>> {
        if let Some(lost) = &self.end {
            return Poll::Ready(Err(lost.clone()));
        }
        if self.opened >= self.allowed {
            self.wait(cx);
            return Poll::Pending;
        }
        let id = self.opened * ID_STEP;
        self.opened += 1;
        self.insert(id);
        Poll::Ready(Ok(id))
    }

    /// The next stream that the peer opened.
    pub(crate) fn poll_accept(&mut self, cx: &Context<'_>) -> Poll<Result<u64, Lost>> {
        match (self.accepting.pop_front(), &self.end) {
            (_, Some(lost)) => Poll::Ready(Err(lost.clone())),
            (Some(id), None) => Poll::Ready(Ok(id)),
            (None, None) => {
                self.wait(cx);
                Poll::Pending
            }
        }
    }

    /// Takes `bytes` to be sent, once there is room.
    pub(crate) fn poll_send(&mut self, id: u64, bytes: &mut Bytes, cx: &Context<'_>) -> Poll<Result<(), StreamError>> {
        let lost = || self.end.clone().unwrap_or(Lost::ClosedHere);
        let Some(stream) = self.streams.get_mut(&id) else { return Poll::Ready(Err(lost().into())) };
        if let Some(code) = stream.sending.stopped {
            return Poll::Ready(Err(StreamError::Stopped(code)));
        }
        if self.end.is_some() || stream.sending.phase != Phase::Open {
            return Poll::Ready(Err(lost().into()));
        }
        if !stream.sending.has_room() {
            stream.sending.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        stream.sending.push(std::mem::take(bytes));
        self.schedule(id);
        self.wake_driver();
        Poll::Ready(Ok(()))
    }

    pub(crate) fn finish(&mut self, id: u64) {
        if let Some(stream) = self.streams.get_mut(&id)
            && stream.sending.phase == Phase::Open
        {
            stream.sending.phase = Phase::Ending;
            self.schedule(id);
            self.wake_driver();
        }
    }

    pub(crate) fn reset(&mut self, id: u64, code: StatusCode) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if stream.sending.reset(code) {
            if let Some(turn) = stream.sending.scheduled.take() {
                self.ready.remove(&turn);
            }
            self.owe(id);
        }
    }

    pub(crate) fn set_priority(&mut self, id: u64, priority: i32) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        stream.sending.priority = priority;
        if let Some(turn) = stream.sending.scheduled.take() {
            self.ready.remove(&turn);
            self.schedule(id);
        }
    }

    /// Ready when the peer has everything or wants no more, as far as this end can know: what the kernel has counts as had.
    pub(crate) fn poll_stopped(&mut self, id: u64, cx: &Context<'_>) -> Poll<()> {
        let Some(stream) = self.streams.get_mut(&id) else { return Poll::Ready(()) };
        if self.end.is_some() || stream.sending.stopped.is_some() || stream.sending.is_over() {
            return Poll::Ready(());
        }
        stream.sending.watcher = Some(cx.waker().clone());
        Poll::Pending
    }

    /// The next at most `limit` bytes of a stream and their offset; None at its end.
    pub(crate) fn poll_take(
        &mut self,
        id: u64,
        limit: usize,
        cx: &Context<'_>,
    ) -> Poll<Result<Option<(u64, Bytes)>, StreamError>> {
        let Some(stream) = self.streams.get_mut(&id) else { return Poll::Ready(Ok(None)) };
        if let Some((offset, bytes)) = stream.receiving.take(limit) {
            if stream.receiving.wants_to_grant() {
                self.owe(id);
            }
            self.note_taken(bytes.len() as u64, Instant::now());
            return Poll::Ready(Ok(Some((offset, bytes))));
        }
        match (stream.receiving.end, &self.end) {
            (Some(End::Whole), _) => Poll::Ready(Ok(None)),
            (Some(End::Reset(code)), _) => Poll::Ready(Err(StreamError::Reset(code))),
            (None, Some(lost)) => Poll::Ready(Err(lost.clone().into())),
            (None, None) => {
                stream.receiving.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Tells the peer that no more of its half is wanted.
    pub(crate) fn stop(&mut self, id: u64, code: StatusCode) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if stream.receiving.is_stopped {
            return;
        }
        stream.receiving.is_stopped = true;
        let unread = stream.receiving.discard();
        if stream.receiving.end.is_none() {
            stream.owes_stop = Some(code);
            self.owe(id);
        }
        self.note_taken(unread, Instant::now());
    }

    /// A half of the stream is no longer held.
    pub(crate) fn release(&mut self, id: u64) {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.held = stream.held.saturating_sub(1);
            self.settle(id);
        }
    }
}
