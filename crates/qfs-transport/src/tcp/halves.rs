//! The two halves of a stream: what waits to be sent, and what has come and was not taken yet.
//!
//! Pure state: knows its own window, neither the connection's nor any frame.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::task::Waker;

use bytes::{Bytes, BytesMut};
use qfs_core::wire::StatusCode;

use super::frame::Violation;

/// Bytes of one stream that wait for the network before its sender has to wait. With the block that fills it up, two of the
/// pump's blocks: one is being sent while the next is ready.
const MAX_QUEUED_BYTES: usize = 256 << 10;

/// Shorter pieces are copied together. A longer one keeps the buffer alive in which it came, eight times its size at most.
const SHORT_PIECE_BYTES: usize = 8 << 10;

/// When a stream's turn comes: by priority, then by how long it has waited.
pub(super) type Turn = (Reverse<i32>, u64);

/// What is sent on a stream.
#[derive(Debug)]
pub(super) struct Sending {
    queue: VecDeque<Bytes>,
    queued: usize,
    pub(super) sent: u64,
    /// How many bytes the peer permits in all.
    most: u64,
    pub(super) phase: Phase,
    /// The peer wants no more.
    pub(super) stopped: Option<StatusCode>,
    pub(super) priority: i32,
    pub(super) scheduled: Option<Turn>,
    pub(super) writer: Option<Waker>,
    pub(super) watcher: Option<Waker>,
}

/// How far a sending half has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// More may follow.
    Open,
    /// Nothing follows what is queued.
    Ending,
    /// Everything is with the network, the end as well.
    Ended,
    /// It ends without its end.
    Resetting(StatusCode),
    /// And the peer is being told.
    Reset,
}

impl Sending {
    pub(super) fn new(most: u64) -> Self {
        Self {
            queue: VecDeque::new(),
            queued: 0,
            sent: 0,
            most,
            phase: Phase::Open,
            stopped: None,
            priority: 0,
            scheduled: None,
            writer: None,
            watcher: None,
        }
    }

    pub(super) fn has_room(&self) -> bool {
        self.queued < MAX_QUEUED_BYTES
    }

    pub(super) fn push(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.queued += bytes.len();
            self.queue.push_back(bytes);
        }
    }

    /// Nothing more is sent but the news of it.
    pub(super) fn reset(&mut self, code: StatusCode) -> bool {
        let is_news = matches!(self.phase, Phase::Open | Phase::Ending);
        if is_news {
            self.phase = Phase::Resetting(code);
            self.queue.clear();
            self.queued = 0;
        }
        is_news
    }

    /// The peer permits `most` bytes in all; a smaller number than before says nothing new.
    pub(super) fn permit(&mut self, most: u64) {
        self.most = self.most.max(most);
    }

    /// Whether there is something to send, as far as the peer lets this stream.
    pub(super) fn is_ready(&self) -> bool {
        match self.queue.is_empty() {
            true => self.phase == Phase::Ending,
            false => self.sent < self.most,
        }
    }

    /// Whether the connection's window is what it waits for.
    pub(super) fn needs_window(&self) -> bool {
        !self.queue.is_empty()
    }

    /// The next at most `room` bytes, and whether they are the last.
    pub(super) fn next(&mut self, room: u64) -> (Bytes, bool) {
        let room = usize::try_from(room.min(self.most - self.sent)).unwrap_or(usize::MAX);
        let data = match self.queue.front_mut() {
            Some(front) if front.len() > room => front.split_to(room),
            Some(_) => self.queue.pop_front().unwrap_or_default(),
            None => Bytes::new(),
        };
        self.queued -= data.len();
        self.sent += data.len() as u64;
        let is_last = self.phase == Phase::Ending && self.queue.is_empty();
        if is_last {
            self.phase = Phase::Ended;
        }
        (data, is_last)
    }

    /// Whether nothing of it is left to tell.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Ended | Phase::Reset)
    }

    pub(super) fn wake(&mut self) {
        self.writer.take().into_iter().chain(self.watcher.take()).for_each(Waker::wake);
    }
}

/// What comes on a stream.
#[derive(Debug)]
pub(super) struct Receiving {
    pieces: VecDeque<Bytes>,
    /// Short pieces behind those, copied together.
    tail: BytesMut,
    buffered: u64,
    pub(super) received: u64,
    taken: u64,
    /// How many bytes the peer was permitted in all, and how many more than were taken it is to be.
    granted: u64,
    window: u64,
    pub(super) end: Option<End>,
    /// This end wants no more.
    pub(super) is_stopped: bool,
    pub(super) reader: Option<Waker>,
}

/// How the peer ended its half.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// In good order.
    Whole,
    /// As failed.
    Reset(StatusCode),
}

impl Receiving {
    /// `granted` is what the peer may send without being told so; `window` what it is to be told.
    pub(super) fn new(granted: u64, window: u64) -> Self {
        Self {
            pieces: VecDeque::new(),
            tail: BytesMut::new(),
            buffered: 0,
            received: 0,
            taken: 0,
            granted,
            window,
            end: None,
            is_stopped: false,
            reader: None,
        }
    }

    /// `length` more bytes are announced.
    pub(super) fn announce(&mut self, length: u64) -> Result<(), Violation> {
        if self.end.is_some() {
            return Err(Violation("data behind the end of a stream"));
        }
        self.received += length;
        if self.received > self.granted {
            return Err(Violation("more on a stream than was permitted"));
        }
        Ok(())
    }

    /// They arrive; returns how many of them nobody will take.
    pub(super) fn arrive(&mut self, piece: BytesMut) -> u64 {
        let length = piece.len() as u64;
        if self.is_stopped {
            self.taken += length;
            return length;
        }
        self.buffered += length;
        if piece.len() < SHORT_PIECE_BYTES {
            self.tail.extend_from_slice(&piece);
        } else {
            self.flush_tail();
            self.pieces.push_back(piece.freeze());
        }
        self.wake();
        0
    }

    fn flush_tail(&mut self) {
        if !self.tail.is_empty() {
            self.pieces.push_back(self.tail.split().freeze());
        }
    }

    /// At most `limit` bytes, and their offset.
    pub(super) fn take(&mut self, limit: usize) -> Option<(u64, Bytes)> {
        if self.pieces.is_empty() {
            self.flush_tail();
        }
        let front = self.pieces.front_mut()?;
        let bytes = if front.len() > limit { front.split_to(limit) } else { self.pieces.pop_front()? };
        let offset = self.taken;
        self.taken += bytes.len() as u64;
        self.buffered -= bytes.len() as u64;
        Some((offset, bytes))
    }

    /// Throws away what nobody will take, and says how much it was.
    pub(super) fn discard(&mut self) -> u64 {
        self.pieces.clear();
        self.tail = BytesMut::new();
        self.taken += self.buffered;
        std::mem::take(&mut self.buffered)
    }

    /// Bytes that wait to be taken.
    pub(super) fn buffered(&self) -> u64 {
        self.buffered
    }

    /// Whether the peer should be told of more room: not before a quarter of the window can be told.
    pub(super) fn wants_to_grant(&self) -> bool {
        let news = (self.taken + self.window).saturating_sub(self.granted);
        self.end.is_none() && !self.is_stopped && news > 0 && news >= self.window / 4
    }

    /// How much the peer may send in all from now on.
    pub(super) fn grant(&mut self) -> u64 {
        self.granted = self.granted.max(self.taken + self.window);
        self.granted
    }

    pub(super) fn wake(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}
