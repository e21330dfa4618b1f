//! The streams of a connection fed by a stranger, for the fuzzer and for tests: any bytes, and any order of calls.

use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use qfs_core::wire::StatusCode;

use super::batch::Batch;
use super::frame::Frame;
use super::grants::Grants;
use super::mux::{INITIAL_DATA, INITIAL_STREAM_DATA, INITIAL_STREAMS, Mux, Side};

/// Streams that are held at once; more are dropped as they come.
const HELD: usize = 8;

/// Takes any bytes as those of a peer, in pieces whose length the first byte gives, while the halves of streams are worked on as the
/// second byte says.
///
/// # Panics
/// When more is held than was granted, or what is sent is no sequence of frames.
pub fn exercise(data: &[u8]) {
    let [shape, acts, stream @ ..] = data else { return };
    let now = Instant::now();
    let side = if shape & 1 == 0 { Side::Server } else { Side::Client };
    let grants = Grants { window: INITIAL_DATA, stream_window: INITIAL_STREAM_DATA, streams: INITIAL_STREAMS };
    let mut mux = Mux::new(side, grants, now);
    let cx = &Context::from_waker(Waker::noop());
    let mut held = Vec::new();
    let (mut input, mut batch, mut acts) = (BytesMut::new(), Batch::default(), *acts);
    for piece in stream.chunks(usize::from(shape >> 1) + 1) {
        input.extend_from_slice(piece);
        if let Err(violation) = mux.receive(&mut input, now) {
            mux.break_off(violation);
        }
        let opened = match side {
            Side::Server => mux.poll_accept(cx),
            Side::Client => mux.poll_open(cx),
        };
        if let Poll::Ready(Ok(id)) = opened {
            held.push(id);
        }
        if held.len() > HELD {
            let id = held.remove(0);
            mux.reset(id, StatusCode::CANCELLED);
            mux.stop(id, StatusCode::CANCELLED);
            mux.release(id);
            mux.release(id);
        }
        for &id in &held {
            act(&mut mux, id, acts, cx);
            acts = acts.rotate_left(3).wrapping_add(1);
        }
        mux.assert_bounds();
        mux.fill(&mut batch);
        assert_frames(&batch.drain());
    }
    mux.close(StatusCode::OK);
    mux.fill(&mut batch);
    assert_frames(&batch.drain());
}

fn act(mux: &mut Mux, id: u64, act: u8, cx: &Context<'_>) {
    match act % 8 {
        0 | 1 => drop(mux.poll_take(id, usize::from(act) * 64 + 1, cx)),
        2 | 3 => drop(mux.poll_send(id, &mut Bytes::from(vec![act; usize::from(act) * 16]), cx)),
        4 => mux.finish(id),
        5 => mux.reset(id, StatusCode::CHANGED),
        6 => mux.stop(id, StatusCode::CANCELLED),
        _ => mux.set_priority(id, i32::from(act)),
    }
}

/// What is sent reads back as whole frames.
fn assert_frames(mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let (frame, length) = Frame::read(bytes).expect("it is a frame").expect("it is whole");
        bytes = &bytes[length..];
        if let Frame::Data { length, .. } = frame {
            bytes = &bytes[length..];
        }
    }
}
