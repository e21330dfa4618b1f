//! What goes to the peer, and in which order: news of windows and ends first, then data by priority and turn.

use std::cmp::Reverse;
use std::task::{Context, Waker};

use super::Mux;
use crate::tcp::batch::Batch;
use crate::tcp::frame::{Frame, MAX_DATA_BYTES};
use crate::tcp::halves::Phase;

impl Mux {
    /// As [`Self::fill`], for the task of `cx`, which is woken when there is more.
    pub(in crate::tcp) fn fill_for(&mut self, batch: &mut Batch, cx: &Context<'_>) {
        if !self.driver.as_ref().is_some_and(|driver| driver.will_wake(cx.waker())) {
            self.driver = Some(cx.waker().clone());
        }
        self.fill(batch);
    }

    /// Puts into `batch` what may be sent now, as far as it has room.
    pub(crate) fn fill(&mut self, batch: &mut Batch) {
        if self.is_closed {
            return;
        }
        if let Some(code) = self.closing {
            batch.frame(Frame::Close { code });
            self.is_closed = true;
            return;
        }
        if self.end.is_none() {
            self.fill_news(batch);
            self.fill_data(batch);
        }
    }

    fn fill_news(&mut self, batch: &mut Batch) {
        if std::mem::take(&mut self.owes_streams) {
            self.allowed = self.forgotten + self.grants.streams;
            batch.frame(Frame::MaxStreams(self.allowed));
        }
        if self.wants_to_grant() {
            self.granted = self.taken + self.window.bytes;
            batch.frame(Frame::MaxData(self.granted));
        }
        if let Some(data) = self.owes_challenge.take() {
            batch.frame(Frame::Challenge(data));
        }
        if let Some(data) = self.owes_response.take() {
            batch.frame(Frame::Response(data));
        }
        while batch.has_room()
            && let Some(id) = self.owing.pop_front()
        {
            let Some(stream) = self.streams.get_mut(&id) else { continue };
            stream.owes = false;
            if let Some(code) = stream.owes_stop.take() {
                batch.frame(Frame::Stop { stream: id, code });
            }
            if stream.receiving.wants_to_grant() {
                batch.frame(Frame::MaxStreamData { stream: id, most: stream.receiving.grant() });
            }
            if let Phase::Resetting(code) = stream.sending.phase {
                stream.sending.phase = Phase::Reset;
                batch.frame(Frame::Reset { stream: id, code, size: stream.sending.sent });
            }
            self.settle(id);
        }
    }

    fn fill_data(&mut self, batch: &mut Batch) {
        while batch.has_room()
            && let Some((turn, id)) = self.ready.pop_first()
        {
            let Some(stream) = self.streams.get_mut(&id) else { continue };
            let room = self.may_send - self.sent;
            if room == 0 && stream.sending.needs_window() {
                self.ready.insert(turn, id);
                if self.blocked_at != Some(self.may_send) {
                    self.blocked_at = Some(self.may_send);
                    batch.frame(Frame::Blocked(self.may_send));
                }
                return;
            }
            stream.sending.scheduled = None;
            let (data, fin) = stream.sending.next(room.min(MAX_DATA_BYTES as u64));
            self.sent += data.len() as u64;
            if stream.sending.has_room() {
                stream.sending.writer.take().into_iter().for_each(Waker::wake);
            }
            batch.data(id, data, fin);
            if fin {
                stream.sending.wake();
                self.settle(id);
            } else {
                self.schedule(id);
            }
        }
    }

    /// Gives a stream with something to send its turn.
    pub(super) fn schedule(&mut self, id: u64) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if stream.sending.scheduled.is_none() && stream.sending.is_ready() {
            self.turns += 1;
            let turn = (Reverse(stream.sending.priority), self.turns);
            stream.sending.scheduled = Some(turn);
            self.ready.insert(turn, id);
        }
    }
}
