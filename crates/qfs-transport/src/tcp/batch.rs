//! Bytes on their way to the socket: whole frames, in order, data without a copy.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf as _, Bytes, BytesMut};

use super::frame::Frame;

/// Bytes that are gathered before they are written, give or take a frame. What is in here has its place in the order already,
/// so nothing more urgent overtakes it: four frames of data.
const BATCH_BYTES: usize = 256 << 10;

/// Frames put together with their data in one buffer: a piece this short is copied more cheaply than pointed to.
const COPIED_BYTES: usize = 1 << 10;

/// Pieces handed to the system at once.
pub(super) const SLICES: usize = 32;

/// Frames that were chosen and not written yet.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pieces: VecDeque<Bytes>,
    head: BytesMut,
    bytes: usize,
}

impl Batch {
    pub(super) fn has_room(&self) -> bool {
        self.bytes < BATCH_BYTES
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Appends a frame without data.
    pub(super) fn frame(&mut self, frame: Frame) {
        let before = self.head.len();
        frame.write(&mut self.head);
        self.bytes += self.head.len() - before;
    }

    /// Appends a STREAM frame.
    pub(super) fn data(&mut self, stream: u64, data: Bytes, fin: bool) {
        self.frame(Frame::Data { stream, length: data.len(), fin });
        self.bytes += data.len();
        if data.len() <= COPIED_BYTES {
            self.head.extend_from_slice(&data);
        } else {
            self.seal();
            self.pieces.push_back(data);
        }
    }

    /// Closes the buffer of frames, so that it can be written.
    pub(super) fn seal(&mut self) {
        if !self.head.is_empty() {
            self.pieces.push_back(self.head.split().freeze());
        }
    }

    /// What is to be written next.
    pub(super) fn slices(&self) -> ([IoSlice<'_>; SLICES], usize) {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let mut count = 0;
        for (slice, piece) in slices.iter_mut().zip(&self.pieces) {
            *slice = IoSlice::new(piece);
            count += 1;
        }
        (slices, count)
    }

    /// So many bytes were written.
    pub(super) fn advance(&mut self, mut written: usize) {
        self.bytes -= written;
        while let Some(front) = self.pieces.front_mut() {
            if written < front.len() {
                return front.advance(written);
            }
            written -= front.len();
            self.pieces.pop_front();
        }
    }

    /// Takes everything, as the peer would read it.
    pub(super) fn drain(&mut self) -> Vec<u8> {
        self.seal();
        self.bytes = 0;
        self.pieces.drain(..).flat_map(|piece| piece.to_vec()).collect()
    }
}
