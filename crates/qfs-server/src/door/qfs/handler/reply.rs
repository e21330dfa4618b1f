//! The answer to one command, as it goes out: patient with the client up to a point, and aware of how it may still fail.

use bytes::Bytes;
use qfs_core::stream::{ByteSink, StreamError};
use qfs_core::wire::{StatusCode, encode};

use crate::error::HandlerError;
use crate::gate::patience::{Patience, Progress};
use crate::pace::{Direction, Lane};

/// A sink that gives up on a client that takes nothing, and counts.
#[derive(Debug)]
pub(crate) struct Reply<K, P> {
    sink: K,
    progress: P,
    patience: Patience,
    lane: Lane,
    begun: bool,
    /// Whether everything that is answered is a message, so that a failure can be one at any time.
    messages: bool,
    sent: u64,
}

impl<K: ByteSink, P: Progress> Reply<K, P> {
    /// An answer on `sink`, no faster than `lane` has it, given up when `progress` stands still for longer than `patience` has it.
    pub(crate) fn new(sink: K, progress: P, patience: Patience, lane: Lane) -> Self {
        Self { sink, progress, patience, lane, begun: false, messages: false, sent: 0 }
    }

    /// From now on a failure is a message, also behind the head (PROTOCOL §4.5): the client may be in the middle of sending.
    pub(crate) fn fail_by_message(&mut self) {
        self.messages = true;
    }

    /// The connection that it travels on, as far as it shows here.
    pub(crate) fn path(&self) -> &P {
        &self.progress
    }

    /// Bytes handed to the connection so far, messages included.
    pub(crate) fn sent(&self) -> u64 {
        self.sent
    }

    /// Tells the client of a failure: by an error head while nothing was sent, by a reset afterwards (PROTOCOL §3.2, §3.3).
    pub(crate) async fn fail(&mut self, error: &HandlerError) {
        let Some(head) = error.head() else { return };
        if self.begun && !self.messages {
            return self.reset(head.code);
        }
        let sent = match encode(&head) {
            Ok(frame) => self.send(frame).await,
            Err(_) => return self.reset(head.code),
        };
        if sent.is_ok() {
            self.finish();
        }
    }

    /// Waits, with the same patience, until the client has acknowledged everything or wants no more.
    pub(crate) async fn delivered(&mut self) {
        let gone = tokio::select! {
            biased;
            () = self.sink.stopped() => true,
            () = self.patience.ends(&self.progress) => false,
        };
        if !gone {
            self.sink.reset(StatusCode::TIMEOUT);
        }
    }
}

impl<K: ByteSink, P: Progress> ByteSink for Reply<K, P> {
    async fn send(&mut self, mut bytes: Bytes) -> Result<(), StreamError> {
        self.begun = true;
        if !self.lane.is_limited(Direction::Down) {
            return self.send_now(bytes).await;
        }
        loop {
            let piece = bytes.split_to(bytes.len().min(self.lane.piece(Direction::Down)));
            // Before the client's patience is tried: this is not its doing.
            self.lane.pass(Direction::Down, piece.len()).await;
            self.send_now(piece).await?;
            if bytes.is_empty() {
                return Ok(());
            }
        }
    }

    fn finish(&mut self) {
        self.sink.finish();
    }

    fn reset(&mut self, code: StatusCode) {
        self.sink.reset(code);
    }

    fn set_priority(&mut self, priority: i32) {
        self.sink.set_priority(priority);
    }

    async fn stopped(&mut self) {
        self.sink.stopped().await;
    }
}

impl<K: ByteSink, P: Progress> Reply<K, P> {
    async fn send_now(&mut self, bytes: Bytes) -> Result<(), StreamError> {
        let length = bytes.len() as u64;
        let result = tokio::select! {
            biased;
            result = self.sink.send(bytes) => Some(result),
            () = self.patience.ends(&self.progress) => None,
        };
        match result {
            Some(Ok(())) => {
                self.sent += length;
                Ok(())
            }
            Some(Err(error)) => Err(error),
            None => {
                self.sink.reset(StatusCode::TIMEOUT);
                Err(StreamError::Stopped(StatusCode::TIMEOUT))
            }
        }
    }
}
