//! Two ends joined without a network: whatever is written arrives, whatever is broken is noticed.

use std::collections::HashMap;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use qfs_core::stream::{Lost, StreamError};
use qfs_core::wire::StatusCode;

use super::*;
use crate::tcp::batch::Batch;

const WIDE: Grants = Grants { window: 4 << 20, stream_window: 1 << 20, streams: INITIAL_STREAMS };
const NARROW: Grants = Grants { window: 0, stream_window: 0, streams: 0 };

/// A client and a server.
struct Pair {
    client: Mux,
    server: Mux,
    inputs: [BytesMut; 2],
    now: Instant,
}

fn cx() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

impl Pair {
    fn new(client: Grants, server: Grants) -> Self {
        let now = Instant::now();
        Self {
            client: Mux::new(Side::Client, client, now),
            server: Mux::new(Side::Server, server, now),
            inputs: Default::default(),
            now,
        }
    }

    /// Carries once what one end has to say to the other, in pieces of `step`; returns how many bytes that was.
    fn carry(&mut self, to_server: bool, step: usize) -> usize {
        let (from, to) = match to_server {
            true => (&mut self.client, &mut self.server),
            false => (&mut self.server, &mut self.client),
        };
        let mut batch = Batch::default();
        from.fill(&mut batch);
        let bytes = batch.drain();
        let input = &mut self.inputs[usize::from(to_server)];
        for piece in bytes.chunks(step) {
            input.extend_from_slice(piece);
            to.receive(input, self.now).unwrap();
            to.assert_bounds();
        }
        bytes.len()
    }

    /// Carries until neither end has anything to say.
    fn settle(&mut self) {
        while self.carry(true, usize::MAX) + self.carry(false, usize::MAX) > 0 {}
    }

    fn open(&mut self) -> u64 {
        ready(self.client.poll_open(&cx())).unwrap()
    }
}

fn ready<T>(poll: Poll<T>) -> T {
    match poll {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("it waits"),
    }
}

fn send(mux: &mut Mux, id: u64, bytes: &[u8]) -> Poll<Result<(), StreamError>> {
    mux.poll_send(id, &mut Bytes::copy_from_slice(bytes), &cx())
}

/// What there is to take, and how it ends; None while it has not.
fn take_all(mux: &mut Mux, id: u64) -> (Vec<u8>, Option<Result<(), StreamError>>) {
    let mut taken = Vec::new();
    loop {
        match mux.poll_take(id, 1000, &cx()) {
            Poll::Pending => return (taken, None),
            Poll::Ready(Ok(None)) => return (taken, Some(Ok(()))),
            Poll::Ready(Err(error)) => return (taken, Some(Err(error))),
            Poll::Ready(Ok(Some((_, bytes)))) => taken.extend_from_slice(&bytes),
        }
    }
}

fn release(mux: &mut Mux, id: u64) {
    mux.release(id);
    mux.release(id);
}

#[test]
fn a_request_and_its_answer_leave_nothing_behind() {
    let mut pair = Pair::new(WIDE, WIDE);
    for _ in 0..3 * INITIAL_STREAMS {
        let id = pair.open();
        ready(send(&mut pair.client, id, b"request")).unwrap();
        pair.client.finish(id);
        pair.settle();
        assert_eq!(ready(pair.server.poll_accept(&cx())), Ok(id));
        assert_eq!(take_all(&mut pair.server, id), (b"request".to_vec(), Some(Ok(()))));
        ready(send(&mut pair.server, id, b"answer")).unwrap();
        assert!(pair.server.poll_stopped(id, &cx()).is_pending());
        pair.server.finish(id);
        release(&mut pair.server, id);
        pair.settle();
        assert_eq!(take_all(&mut pair.client, id), (b"answer".to_vec(), Some(Ok(()))));
        release(&mut pair.client, id);
    }
    assert!(!pair.client.is_busy() && !pair.server.is_busy());
    assert!(pair.server.poll_accept(&cx()).is_pending());
}

/// Fails when a code is lost or changed on the way, or what came before a reset is taken for something.
#[test]
fn resets_and_stops_carry_their_codes_both_ways() {
    let mut pair = Pair::new(WIDE, WIDE);
    let [reset, stopped] = [pair.open(), pair.open()];
    for id in [reset, stopped] {
        ready(send(&mut pair.client, id, b"request")).unwrap();
        pair.settle();
        ready(send(&mut pair.server, id, &[7; 500])).unwrap();
    }
    pair.settle();
    pair.server.reset(reset, StatusCode::CHANGED);
    pair.client.stop(stopped, StatusCode::CANCELLED);
    pair.settle();
    assert_eq!(take_all(&mut pair.client, reset), (vec![], Some(Err(StreamError::Reset(StatusCode::CHANGED)))));
    let stop = Err(StreamError::Stopped(StatusCode::CANCELLED));
    assert_eq!(send(&mut pair.server, stopped, b"more"), Poll::Ready(stop));
    assert_eq!(pair.server.poll_stopped(stopped, &cx()), Poll::Ready(()));
    // The other way round.
    pair.client.reset(reset, StatusCode::CANCELLED);
    pair.server.stop(stopped, StatusCode::TOO_LARGE);
    pair.settle();
    let (request, end) = take_all(&mut pair.server, reset);
    assert_eq!((request.len(), end), (0, Some(Err(StreamError::Reset(StatusCode::CANCELLED)))));
    let stop = Err(StreamError::Stopped(StatusCode::TOO_LARGE));
    assert_eq!(send(&mut pair.client, stopped, b"more"), Poll::Ready(stop));
    // Stopping ends the other's half as well, and nothing is left of either stream.
    for id in [reset, stopped] {
        release(&mut pair.client, id);
        release(&mut pair.server, id);
    }
    pair.settle();
    assert!(!pair.client.is_busy() && !pair.server.is_busy());
}

/// Fails when a stream that nobody reads keeps another one from its bytes, or a sender may leave any amount waiting.
#[test]
fn a_stream_that_is_not_read_holds_itself_up_alone() {
    let mut pair = Pair::new(WIDE, WIDE);
    let [unread, read] = [pair.open(), pair.open()];
    for id in [unread, read] {
        ready(send(&mut pair.client, id, b"request")).unwrap();
    }
    pair.settle();
    let block = vec![1; 256 << 10];
    let mut sent = 0;
    while send(&mut pair.server, unread, &block).is_ready() {
        sent += block.len();
        assert!(sent <= 2 << 20, "it never has to wait");
        pair.settle();
    }
    assert!(sent as u64 >= WIDE.stream_window);
    for _ in 0..32 {
        ready(send(&mut pair.server, read, &block)).unwrap();
        pair.settle();
        assert_eq!(take_all(&mut pair.client, read).0.len(), block.len());
    }
    assert_eq!(take_all(&mut pair.client, unread).0.len() as u64, WIDE.stream_window);
    pair.settle();
    assert!(send(&mut pair.server, unread, &block).is_ready());
}

#[test]
fn streams_with_a_higher_priority_go_first_and_equals_take_turns() {
    let mut pair = Pair::new(WIDE, WIDE);
    let ids = [pair.open(), pair.open(), pair.open()];
    for id in ids {
        ready(send(&mut pair.client, id, b"request")).unwrap();
    }
    pair.settle();
    for id in ids {
        ready(send(&mut pair.server, id, &vec![0; 200 << 10])).unwrap();
    }
    pair.server.set_priority(ids[2], 5);
    let mut order = Vec::new();
    let mut batch = Batch::default();
    let bytes: Vec<u8> = (0..4)
        .flat_map(|_| {
            pair.server.fill(&mut batch);
            batch.drain()
        })
        .collect();
    let mut rest = &bytes[..];
    while let Some((frame, length)) = Frame::read(rest).unwrap() {
        let Frame::Data { stream, length: data, .. } = frame else { panic!("{frame:?}") };
        order.push(stream);
        rest = &rest[length + data..];
    }
    assert_eq!(order[..4], [ids[2]; 4]);
    assert_eq!(order[4..], [ids[0], ids[1]].repeat(4));
}

#[test]
fn a_client_waits_for_its_turn_to_open() {
    let mut pair = Pair::new(WIDE, NARROW);
    let ids: Vec<_> = (0..INITIAL_STREAMS).map(|_| pair.open()).collect();
    assert!(pair.client.poll_open(&cx()).is_pending());
    for &id in &ids {
        pair.client.finish(id);
        pair.client.stop(id, StatusCode::CANCELLED);
        release(&mut pair.client, id);
    }
    pair.settle();
    // Stopped by the client, and still held by the server: none is free.
    assert!(pair.client.poll_open(&cx()).is_pending());
    for &id in &ids {
        assert_eq!(ready(pair.server.poll_accept(&cx())), Ok(id));
        release(&mut pair.server, id);
    }
    pair.settle();
    assert!(pair.client.poll_open(&cx()).is_ready());
}

#[test]
fn the_end_is_told_with_its_code_and_behind_what_was_sent() {
    let mut pair = Pair::new(WIDE, WIDE);
    let id = pair.open();
    ready(send(&mut pair.client, id, b"request")).unwrap();
    pair.settle();
    ready(send(&mut pair.server, id, b"answer")).unwrap();
    pair.server.finish(id);
    let mut batch = Batch::default();
    pair.server.fill(&mut batch);
    pair.server.close(StatusCode::SHUTTING_DOWN);
    pair.server.fill(&mut batch);
    pair.client.receive(&mut BytesMut::from(&batch.drain()[..]), pair.now).unwrap();
    let lost = Lost::Closed(StatusCode::SHUTTING_DOWN);
    assert_eq!(take_all(&mut pair.client, id), (b"answer".to_vec(), Some(Ok(()))));
    assert_eq!(pair.client.poll_open(&cx()), Poll::Ready(Err(lost.clone())));
    assert_eq!(pair.client.end(), Some(&lost));
    assert_eq!(pair.server.poll_accept(&cx()), Poll::Ready(Err(Lost::ClosedHere)));
}

/// Every rule of PROTOCOL §9.3 that a peer can break, each with what breaks it.
#[test]
fn a_peer_that_breaks_the_rules_is_noticed() {
    let (code, fin) = (StatusCode::OK, true);
    let data = |stream, length| Frame::Data { stream, length, fin: false };
    let last = |stream| Frame::Data { stream, length: 0, fin };
    let full = Frame::Data { stream: 0, length: 64 << 10, fin: false };
    let rows: [(&str, Side, &[Frame]); 13] = [
        ("a stream of the server", Side::Server, &[data(1, 0)]),
        ("a one-way stream", Side::Server, &[data(2, 0)]),
        ("one stream too many", Side::Server, &[data(4 * INITIAL_STREAMS, 0)]),
        (
            "streams that a client grants itself",
            Side::Server,
            &[Frame::MaxStreams(1 << 40), data(4 * INITIAL_STREAMS, 0)],
        ),
        ("a stream that was not opened", Side::Client, &[data(0, 0)]),
        ("data behind the end", Side::Server, &[last(0), data(0, 0)]),
        ("a second end", Side::Server, &[last(0), last(0)]),
        ("a reset behind the end", Side::Server, &[last(0), Frame::Reset { stream: 0, code, size: 0 }]),
        ("a reset of another size", Side::Server, &[Frame::Reset { stream: 0, code, size: 1 }]),
        ("more than the stream's window", Side::Server, &[full, full, data(0, 1)]),
        ("data behind a reset", Side::Server, &[Frame::Reset { stream: 0, code, size: 0 }, data(0, 0)]),
        ("two resets", Side::Server, &[Frame::Reset { stream: 0, code, size: 0 }; 2]),
        ("a stop of a stream never opened", Side::Client, &[Frame::Stop { stream: 0, code }]),
    ];
    for (what, side, frames) in rows {
        let mut mux = Mux::new(side, NARROW, Instant::now());
        let mut input = BytesMut::new();
        for frame in frames {
            frame.write(&mut input);
            if let Frame::Data { length, .. } = frame {
                input.extend_from_slice(&vec![0; *length]);
            }
        }
        let violation = mux.receive(&mut input, Instant::now()).expect_err(what);
        mux.break_off(violation);
        let mut batch = Batch::default();
        mux.fill(&mut batch);
        assert_eq!(batch.drain(), [0x1d, 0x01, 0x00], "{what}");
    }
}

#[test]
fn the_windows_of_the_connection_bound_all_streams_together() {
    let mut mux = Mux::new(Side::Server, NARROW, Instant::now());
    let mut input = BytesMut::new();
    for number in 0..8 {
        for _ in 0..2 {
            Frame::Data { stream: number * 4, length: 64 << 10, fin: false }.write(&mut input);
            input.extend_from_slice(&[0; 64 << 10]);
        }
    }
    mux.receive(&mut input, Instant::now()).unwrap();
    Frame::Data { stream: 32, length: 1, fin: false }.write(&mut input);
    assert!(mux.receive(&mut input, Instant::now()).is_err());
}

/// Fails when a stranger who asks faster than answers go out makes the answers pile up.
#[test]
fn a_flood_of_challenges_has_one_answer() {
    let mut mux = Mux::new(Side::Server, NARROW, Instant::now());
    let mut input = BytesMut::new();
    for n in 0..1000u64 {
        Frame::Challenge(n.to_be_bytes()).write(&mut input);
    }
    mux.receive(&mut input, Instant::now()).unwrap();
    let mut batch = Batch::default();
    mux.fill(&mut batch);
    assert_eq!(batch.drain(), [&[0x1b][..], &999u64.to_be_bytes()].concat());
}

/// What a test does to a stream.
#[derive(Debug, Clone)]
enum Act {
    Send { stream: usize, from_client: bool, length: usize },
    Take { stream: usize, at_client: bool },
    Carry { to_server: bool, step: usize },
}

fn any_act() -> impl Strategy<Value = Act> {
    prop_oneof![
        (0..4usize, any::<bool>(), 0..200_000usize).prop_map(|(stream, from_client, length)| Act::Send {
            stream,
            from_client,
            length
        }),
        (0..4usize, any::<bool>()).prop_map(|(stream, at_client)| Act::Take { stream, at_client }),
        (any::<bool>(), 1..50_000usize).prop_map(|(to_server, step)| Act::Carry { to_server, step }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is written, in whatever pieces it travels and whenever it is read: each stream brings its own bytes, in order, all
    /// of them, and both ends hold to their windows.
    #[test]
    fn every_stream_brings_its_own_bytes(acts in proptest::collection::vec(any_act(), 1..80)) {
        let mut pair = Pair::new(WIDE, WIDE);
        let ids: Vec<_> = (0..4).map(|_| pair.open()).collect();
        for &id in &ids {
            ready(send(&mut pair.client, id, b"")).unwrap();
            ready(send(&mut pair.client, id, &[0])).unwrap();
        }
        pair.settle();
        let mut written: HashMap<(u64, bool), Vec<u8>> = ids.iter().map(|id| ((*id, true), vec![0])).collect();
        let mut taken: HashMap<(u64, bool), Vec<u8>> = HashMap::new();
        let mut seed = 1u8;
        for act in acts {
            match act {
                Act::Send { stream, from_client, length } => {
                    seed = seed.wrapping_mul(31).wrapping_add(7);
                    let bytes: Vec<u8> = (0..length).map(|n| (n as u8).wrapping_mul(seed)).collect();
                    let mux = if from_client { &mut pair.client } else { &mut pair.server };
                    if send(mux, ids[stream], &bytes).is_ready() {
                        written.entry((ids[stream], from_client)).or_default().extend(bytes);
                    }
                }
                Act::Take { stream, at_client } => {
                    let mux = if at_client { &mut pair.client } else { &mut pair.server };
                    taken.entry((ids[stream], !at_client)).or_default().extend(take_all(mux, ids[stream]).0);
                }
                Act::Carry { to_server, step } => {
                    pair.carry(to_server, step);
                }
            }
        }
        for &id in &ids {
            pair.client.finish(id);
            pair.server.finish(id);
        }
        let mut ends = 0;
        for _ in 0..1000 {
            pair.settle();
            for (id, from_client) in ids.iter().flat_map(|id| [(*id, true), (*id, false)]) {
                let mux = if from_client { &mut pair.server } else { &mut pair.client };
                let (bytes, end) = take_all(mux, id);
                taken.entry((id, from_client)).or_default().extend(bytes);
                ends += usize::from(end == Some(Ok(())));
            }
            if ends >= 8 { break }
            ends = 0;
        }
        prop_assert_eq!(ends, 8);
        for (id, from_client) in ids.iter().flat_map(|id| [(*id, true), (*id, false)]) {
            let key = (id, from_client);
            prop_assert!(written.get(&key).map_or(&[][..], |b| b) == taken.get(&key).map_or(&[][..], |b| b));
        }
    }

    #[test]
    fn no_bytes_of_a_stranger_break_anything(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        crate::tcp::exercise(&bytes);
    }
}
