//! The streams of one connection and its windows, without I/O (PROTOCOL §9): bytes of the peer go in, bytes for it come out, and
//! the halves of streams are worked on in between.
//!
//! Knows neither sockets nor TLS. Every queue in here is bounded by a window that this end has granted, by the number of streams
//! it allows, or by what one sender may leave waiting.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::{Buf as _, BytesMut};
use qfs_core::stream::Lost;
use qfs_core::wire::StatusCode;

use super::frame::{Frame, Violation};
use super::grants::Grants;
use super::halves::{End, Receiving, Sending, Turn};
use super::vitals::Vitals;
use crate::receive_window::ReceiveWindow;

mod calls;
mod output;
#[cfg(test)]
mod tests;

/// What each end may send without being told so (PROTOCOL §9.3): on a connection and on one stream, in bytes, and how many
/// streams a client may open.
pub(crate) const INITIAL_DATA: u64 = 1 << 20;
pub(crate) const INITIAL_STREAM_DATA: u64 = 128 << 10;
pub(crate) const INITIAL_STREAMS: u64 = 64;

/// Which end this is: the client opens streams, the server accepts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// Opens streams.
    Client,
    /// Accepts them.
    Server,
}

/// Numbers of streams the peer opens first, counted by four (RFC 9000 §2.1).
const ID_STEP: u64 = 4;

/// The state of a connection.
#[derive(Debug)]
pub(crate) struct Mux {
    side: Side,
    grants: Grants,
    streams: HashMap<u64, Stream>,
    /// Streams opened so far, by whichever end opens them, and how many may be.
    opened: u64,
    allowed: u64,
    /// Streams that are over, on the end that accepts them.
    forgotten: u64,
    accepting: VecDeque<u64>,
    /// Whoever waits to open or to accept.
    waiting: Vec<Waker>,
    /// Bytes sent on all streams, and how many may be.
    sent: u64,
    may_send: u64,
    blocked_at: Option<u64>,
    /// Bytes received on all streams, taken of them, and how many may come.
    received: u64,
    taken: u64,
    granted: u64,
    window: ReceiveWindow,
    /// Streams with something to tell beside data.
    owing: VecDeque<u64>,
    owes_streams: bool,
    owes_challenge: Option<[u8; 8]>,
    /// One at most: who asks faster than answers go out has the newest answered.
    owes_response: Option<[u8; 8]>,
    /// Streams with data that may be sent, in the order of their turns.
    ready: BTreeMap<Turn, u64>,
    turns: u64,
    /// The STREAM frame that is arriving: its stream, the bytes still to come, whether they are the last.
    arriving: Option<(u64, usize, bool)>,
    /// What the peer is to be told at the end; then whether it is being told.
    closing: Option<StatusCode>,
    is_closed: bool,
    end: Option<Lost>,
    driver: Option<Waker>,
    pub(in crate::tcp) vitals: Vitals,
}

/// A stream as the connection knows it.
#[derive(Debug)]
struct Stream {
    sending: Sending,
    receiving: Receiving,
    /// Halves that somebody holds.
    held: u8,
    owes_stop: Option<StatusCode>,
    /// Whether it is in `owing`.
    owes: bool,
}

impl Mux {
    pub(crate) fn new(side: Side, grants: Grants, now: Instant) -> Self {
        let window = grants.window.max(INITIAL_DATA);
        Self {
            side,
            grants: Grants {
                window,
                stream_window: grants.stream_window.max(INITIAL_STREAM_DATA),
                streams: grants.streams.max(INITIAL_STREAMS),
            },
            streams: HashMap::new(),
            opened: 0,
            allowed: INITIAL_STREAMS,
            forgotten: 0,
            accepting: VecDeque::new(),
            waiting: Vec::new(),
            sent: 0,
            may_send: INITIAL_DATA,
            blocked_at: None,
            received: 0,
            taken: 0,
            granted: INITIAL_DATA,
            window: ReceiveWindow::new(window, now),
            owing: VecDeque::new(),
            owes_streams: side == Side::Server && grants.streams > INITIAL_STREAMS,
            owes_challenge: None,
            owes_response: None,
            ready: BTreeMap::new(),
            turns: 0,
            arriving: None,
            closing: None,
            is_closed: false,
            end: None,
            driver: None,
            vitals: Vitals::new(now),
        }
    }

    /// Takes what has come; what is left in `input` is the beginning of a frame.
    ///
    /// # Errors
    /// [`Violation`]: the connection is to be closed.
    pub(crate) fn receive(&mut self, input: &mut BytesMut, now: Instant) -> Result<(), Violation> {
        while self.end.is_none() {
            if let Some((id, left, is_last)) = self.arriving {
                if input.is_empty() {
                    return Ok(());
                }
                let piece = input.split_to(left.min(input.len()));
                let left = left - piece.len();
                self.arriving = (left > 0).then_some((id, left, is_last));
                self.arrive(id, piece, is_last && left == 0, now);
                continue;
            }
            let Some((frame, length)) = Frame::read(input)? else { return Ok(()) };
            input.advance(length);
            self.accept_frame(frame, now)?;
        }
        Ok(())
    }

    fn accept_frame(&mut self, frame: Frame, now: Instant) -> Result<(), Violation> {
        match frame {
            Frame::Data { stream: id, length, fin } => {
                self.received += length as u64;
                if self.received > self.granted {
                    return Err(Violation("more on the connection than was permitted"));
                }
                let stream = self.named(id)?.ok_or(Violation("data on a stream that is over"))?;
                stream.receiving.announce(length as u64)?;
                if length > 0 {
                    self.arriving = Some((id, length, fin));
                } else if fin {
                    self.arrive(id, BytesMut::new(), true, now);
                }
            }
            Frame::Reset { stream: id, code, size } => {
                let stream = self.named(id)?.ok_or(Violation("a reset of a stream that is over"))?;
                if stream.receiving.end.is_some() || stream.receiving.received != size {
                    return Err(Violation("a reset that does not fit its stream"));
                }
                stream.receiving.end = Some(End::Reset(code));
                let unread = stream.receiving.discard();
                stream.receiving.wake();
                self.note_taken(unread, now);
                self.settle(id);
            }
            Frame::Stop { stream: id, code } => {
                if let Some(stream) = self.named(id)? {
                    stream.sending.stopped.get_or_insert(code);
                    stream.sending.wake();
                    self.reset(id, code);
                }
            }
            Frame::MaxStreamData { stream: id, most } => {
                if let Some(stream) = self.named(id)? {
                    stream.sending.permit(most);
                    self.schedule(id);
                }
            }
            Frame::MaxData(most) => self.may_send = self.may_send.max(most),
            // A server opens none, so there is nothing that a client could allow; what it may open itself is not for it to say.
            Frame::MaxStreams(most) if self.side == Side::Client => {
                self.allowed = self.allowed.max(most);
                self.wake_waiting();
            }
            Frame::MaxStreams(_) => {}
            Frame::Blocked(_) => self.vitals.blocked += 1,
            Frame::Challenge(data) => self.owes_response = Some(data),
            Frame::Response(data) => self.vitals.answered(data, now),
            Frame::Close { code } => self.fail(Lost::Closed(code)),
        }
        Ok(())
    }

    /// The stream that the peer names, which by that opens it where it may; None when it is over.
    fn named(&mut self, id: u64) -> Result<Option<&mut Stream>, Violation> {
        if !id.is_multiple_of(ID_STEP) {
            return Err(Violation("a stream of a kind that is not used"));
        }
        let number = id / ID_STEP;
        if number >= self.opened {
            if self.side == Side::Client {
                return Err(Violation("a stream that was not opened"));
            }
            // Streams before it are opened with it (RFC 9000 §3.2): at most as many as this end has allowed.
            if number >= self.allowed {
                return Err(Violation("more streams than were permitted"));
            }
            for number in self.opened..=number {
                self.insert(number * ID_STEP);
                self.accepting.push_back(number * ID_STEP);
            }
            self.opened = number + 1;
            self.wake_waiting();
        }
        Ok(self.streams.get_mut(&id))
    }

    fn insert(&mut self, id: u64) {
        let stream = Stream {
            sending: Sending::new(INITIAL_STREAM_DATA),
            receiving: Receiving::new(INITIAL_STREAM_DATA, self.grants.stream_window),
            held: 2,
            owes_stop: None,
            owes: false,
        };
        // A request fits what needs no grant; the server widens the window of one that goes on when it has taken the first of it.
        let grants = self.side == Side::Client && stream.receiving.wants_to_grant();
        self.streams.insert(id, stream);
        if grants {
            self.owe(id);
        }
    }

    fn arrive(&mut self, id: u64, piece: BytesMut, is_last: bool, now: Instant) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let unwanted = stream.receiving.arrive(piece);
        if is_last {
            stream.receiving.end = Some(End::Whole);
            stream.receiving.wake();
            self.settle(id);
        }
        self.note_taken(unwanted, now);
    }

    fn owe(&mut self, id: u64) {
        if let Some(stream) = self.streams.get_mut(&id)
            && !std::mem::replace(&mut stream.owes, true)
        {
            self.owing.push_back(id);
        }
        self.wake_driver();
    }

    /// Forgets a stream that is over for both ends, and that nobody holds here.
    fn settle(&mut self, id: u64) {
        let Some(stream) = self.streams.get(&id) else { return };
        if stream.held > 0 || stream.owes || !stream.sending.is_over() || stream.receiving.end.is_none() {
            return;
        }
        self.streams.remove(&id);
        self.forgotten += 1;
        if self.side == Side::Server && self.forgotten + self.grants.streams >= self.allowed + self.grants.streams / 8 {
            self.owes_streams = true;
            self.wake_driver();
        }
    }

    fn wants_to_grant(&self) -> bool {
        let news = (self.taken + self.window.bytes).saturating_sub(self.granted);
        news > 0 && news >= self.window.bytes / 4
    }

    /// Bytes that this end has done with.
    fn note_taken(&mut self, bytes: u64, now: Instant) {
        self.taken += bytes;
        self.window.take(bytes, || self.vitals.round_trip(), now);
        if self.wants_to_grant() {
            self.wake_driver();
        }
    }

    /// Ends the connection from here; every stream fails.
    pub(crate) fn close(&mut self, code: StatusCode) {
        if self.end.is_none() {
            self.closing = Some(code);
            self.fail(Lost::ClosedHere);
        }
    }

    /// Ends it because the peer does not keep to the protocol, and says so.
    pub(crate) fn break_off(&mut self, violation: Violation) {
        if self.end.is_none() {
            self.closing = Some(StatusCode::BAD_REQUEST);
            self.fail(Lost::Transport(violation.to_string()));
        }
    }

    /// The connection is gone.
    pub(crate) fn fail(&mut self, lost: Lost) {
        if self.end.is_none() {
            self.end = Some(lost);
            self.ready.clear();
            for stream in self.streams.values_mut() {
                stream.sending.wake();
                stream.receiving.wake();
            }
            self.wake_waiting();
            self.wake_driver();
        }
    }

    pub(crate) fn end(&self) -> Option<&Lost> {
        self.end.as_ref()
    }

    /// Whether streams wait for the peer.
    pub(crate) fn is_busy(&self) -> bool {
        !self.streams.is_empty()
    }

    /// Asks the peer for a sign of life, which measures the round trip.
    pub(crate) fn challenge(&mut self, now: Instant) {
        self.owes_challenge = Some(self.vitals.challenge(now));
    }

    /// The round trip by which windows grow, before the first one is measured here.
    pub(crate) fn assume_round_trip(&mut self, round_trip: Duration) {
        self.vitals.measured(round_trip);
    }

    pub(crate) fn await_end(&mut self, cx: &Context<'_>) -> Poll<Lost> {
        match &self.end {
            Some(lost) => Poll::Ready(lost.clone()),
            None => {
                self.wait(cx);
                Poll::Pending
            }
        }
    }

    /// Has the task of `cx` woken when something changes for those that wait for more than a stream.
    fn wait(&mut self, cx: &Context<'_>) {
        if !self.waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            self.waiting.push(cx.waker().clone());
        }
    }

    /// What must hold whatever a peer sends.
    pub(in crate::tcp) fn assert_bounds(&self) {
        let buffered: u64 = self.streams.values().map(|stream| stream.receiving.buffered()).sum();
        assert!(buffered <= self.granted - self.taken.min(self.granted), "more is held than was granted");
        assert!(self.end.is_some() || self.received <= self.granted);
        assert!(self.streams.len() as u64 <= self.allowed - self.forgotten.min(self.allowed));
        assert!(self.side == Side::Client || self.streams.len() as u64 <= self.grants.streams);
        assert!(self.sent <= self.may_send);
    }

    fn wake_waiting(&mut self) {
        self.waiting.drain(..).for_each(Waker::wake);
    }

    fn wake_driver(&mut self) {
        if let Some(driver) = &self.driver {
            driver.wake_by_ref();
        }
    }
}
