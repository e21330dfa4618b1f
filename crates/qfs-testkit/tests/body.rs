//! The pump without a network: bodies in any order, cut short, too long, resumed, and fed by several streams.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed, which is its job")]

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use qfs_core::body::{Answer, Assembly, ReceiveError, SendError, collect, open, pump, send};
use qfs_core::framing::FrameError;
use qfs_core::model::{Digest, HashKind, RemotePath};
use qfs_core::store::{BLOCK_BYTES, StageSpec, Versions, WriteStore};
use qfs_core::stream::{ByteSink, Chunk, ChunkSource, Order, StreamError};
use qfs_core::wire::{StatusCode, frame};
use qfs_store::mem::MemStore;
use qfs_testkit::fault_store::{Fault, FaultStore, Gate, Operation};

/// A stream that arrived: ordered reads first, then the rest in the order given, with a pause before each chunk.
struct Arrived {
    chunks: VecDeque<Chunk>,
    ordered_position: u64,
    paused: bool,
    ending: Option<StreamError>,
    stopped: Option<StatusCode>,
}

impl Arrived {
    fn new(chunks: Vec<Chunk>) -> Self {
        Self { chunks: chunks.into(), ordered_position: 0, paused: false, ending: None, stopped: None }
    }

    /// `bytes` in pieces of `size`.
    fn in_pieces(bytes: &[u8], size: usize) -> Self {
        Self::new(pieces(bytes, size))
    }
}

fn pieces(bytes: &[u8], size: usize) -> Vec<Chunk> {
    let cut = bytes.chunks(size).enumerate();
    cut.map(|(i, piece)| Chunk { offset: (i * size) as u64, bytes: Bytes::copy_from_slice(piece) }).collect()
}

impl ChunkSource for Arrived {
    fn poll_chunk(
        &mut self,
        cx: &mut Context<'_>,
        limit: usize,
        order: Order,
    ) -> Poll<Result<Option<Chunk>, StreamError>> {
        self.paused = !self.paused;
        if self.paused {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let next = match order {
            Order::Unordered => 0,
            Order::Ordered => {
                let wanted = self.ordered_position;
                self.chunks.iter().position(|chunk| chunk.offset == wanted).unwrap_or(usize::MAX)
            }
        };
        let Some(mut chunk) = self.chunks.remove(next) else {
            return Poll::Ready(self.ending.take().map_or(Ok(None), Err));
        };
        if chunk.bytes.len() > limit {
            let rest = chunk.bytes.split_off(limit);
            self.chunks.push_front(Chunk { offset: chunk.offset + limit as u64, bytes: rest });
        }
        self.ordered_position = chunk.offset + chunk.bytes.len() as u64;
        Poll::Ready(Ok(Some(chunk)))
    }

    fn stop(&mut self, code: StatusCode) {
        self.stopped = Some(code);
    }
}

#[derive(Default)]
struct Sent {
    bytes: Vec<u8>,
    fail_after: Option<usize>,
}

impl ByteSink for Sent {
    async fn send(&mut self, bytes: Bytes) -> Result<(), StreamError> {
        self.bytes.extend_from_slice(&bytes);
        match self.fail_after {
            Some(limit) if self.bytes.len() > limit => Err(StreamError::Stopped(StatusCode::CANCELLED)),
            _ => Ok(()),
        }
    }

    fn finish(&mut self) {}

    fn reset(&mut self, _: StatusCode) {}

    fn set_priority(&mut self, _: i32) {}

    async fn stopped(&mut self) {
        std::future::pending().await
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn path() -> RemotePath {
    RemotePath::parse("file").unwrap()
}

fn content(length: usize) -> Vec<u8> {
    let mut state = 1u32;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
    .take(length)
    .collect()
}

fn staged(store: &impl WriteStore, size: usize) -> Arc<Assembly> {
    staged_as(HashKind::Sha256, store, size)
}

fn staged_as(kind: HashKind, store: &impl WriteStore, size: usize) -> Arc<Assembly> {
    let spec = StageSpec { size: Some(size as u64), etag: "v1".parse().unwrap() };
    let stage = store.stage(&path(), &spec).unwrap();
    Arc::new(Assembly::of_kind(kind, stage, size as u64, qfs_store::blocking_threads()).unwrap())
}

/// A head, `body` and a trailer, as one stream.
fn stream_of(body: &[u8]) -> (Vec<u8>, usize) {
    let head = frame(b"{\"head\":1}").unwrap();
    let bytes = [&head[..], body, &frame(b"{\"trailer\":1}").unwrap()].concat();
    (bytes, head.len())
}

async fn receive(source: Arrived, length: usize, assembly: &Arc<Assembly>) -> Result<Bytes, ReceiveError> {
    let mut answer = Answer::new(source);
    assert_eq!(answer.next_frame().await?, "{\"head\":1}");
    let mut body = answer.into_body(length as u64);
    pump(&mut body, assembly, 0, 64 << 10, |_| {}).await?;
    body.into_trailer()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_body_in_any_order_becomes_the_file(
        length in 0usize..300_000,
        size in 100usize..20_000,
        order in any::<u64>(),
        is_tree in any::<bool>(),
    ) {
        let kind = HashKind::ALL[usize::from(is_tree)];
        let body = content(length);
        let (bytes, head) = stream_of(&body);
        let mut chunks = pieces(&bytes, size);
        // What holds the head is read in order; the rest is shuffled.
        let in_order = head.div_ceil(size);
        let mut state = order | 1;
        for i in (in_order + 1..chunks.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let span = (i - in_order + 1) as u64;
            chunks.swap(i, in_order + ((state >> 33) % span) as usize);
        }
        let store = MemStore::new();
        let assembly = staged_as(kind, &store, length);
        let trailer = block_on(receive(Arrived::new(chunks), length, &assembly)).unwrap();
        prop_assert_eq!(&trailer[..], b"{\"trailer\":1}");
        prop_assert_eq!(assembly.digest(), Some(Digest::of_kind(kind, &body)));
        prop_assert!(assembly.missing().is_empty());
        if length > 0 {
            prop_assert_eq!(&assembly.stage().read_at(0, length).unwrap()[..], &body[..]);
        }
    }

    #[test]
    fn a_body_cut_anywhere_is_never_whole(length in 1usize..50_000, cut in 0.0f64..1.0) {
        let body = content(length);
        let (bytes, head) = stream_of(&body);
        let kept = head + ((bytes.len() - head) as f64 * cut) as usize;
        let assembly = staged(&MemStore::new(), length);
        let result = block_on(receive(Arrived::in_pieces(&bytes[..kept], 1200), length, &assembly));
        prop_assert!(result.is_err(), "{} of {}", kept, bytes.len());
    }
}

#[test]
fn what_is_wrong_with_a_stream_is_named() {
    let body = content(5000);
    let (bytes, _) = stream_of(&body);
    let result = |bytes: &[u8], length| {
        let assembly = staged(&MemStore::new(), length);
        block_on(receive(Arrived::in_pieces(bytes, 1000), length, &assembly))
    };
    assert!(result(&bytes, 5000).is_ok());
    let longer = [&bytes[..], b"x"].concat();
    assert!(matches!(result(&longer, 5000), Err(ReceiveError::TooLong)));
    assert!(matches!(result(&bytes, 6000), Err(ReceiveError::Truncated { .. })));
    assert!(matches!(result(&bytes[..bytes.len() - 1], 5000), Err(ReceiveError::Frame(FrameError::Truncated))));
    let endless = [&bytes[..], &vec![0; 200_000]].concat();
    assert!(matches!(result(&endless, 5000), Err(ReceiveError::TooLong)));
    assert!(matches!(result(b"\xff\xff\xff\xff", 0), Err(ReceiveError::Frame(FrameError::Length(u32::MAX)))));
    assert!(matches!(result(b"", 0), Err(ReceiveError::Frame(FrameError::End))));
}

#[test]
fn what_arrived_before_a_loss_is_kept_and_the_rest_completes_it() {
    let body = content(2_000_000);
    let (bytes, head) = stream_of(&body);
    let store = MemStore::new();
    let assembly = staged(&store, body.len());
    // The second quarter never arrives.
    let mut chunks = pieces(&bytes, 10_000);
    chunks.retain(|chunk| !(500_000..1_000_000).contains(&chunk.offset));
    let mut source = Arrived::new(chunks);
    source.ending = Some(StreamError::Reset(StatusCode::INTERNAL));
    assert!(matches!(block_on(receive(source, body.len(), &assembly)), Err(ReceiveError::Stream(_))));

    let missing = assembly.missing();
    assert_eq!((missing.len(), &missing[0]), (1, &(500_000 - head as u64..1_000_000 - head as u64)));
    assert_eq!(assembly.digest(), None);
    let gap = &body[missing[0].start as usize..missing[0].end as usize];
    assembly.write(vec![Chunk { offset: missing[0].start, bytes: Bytes::copy_from_slice(gap) }]).unwrap();
    assert_eq!(assembly.digest(), Some(Digest::of(&body)));
}

/// Fails when a thread that finds another one hashing leaves its piece to nobody, when what waits at hand is hashed twice or not at all, or
/// when a record or a question takes the place of whoever hashes.
#[test]
fn threads_that_write_at_once_leave_nothing_unhashed() {
    const THREADS: usize = 4;
    let bodies = [content(400_000), content(9_000)];
    // Most of them so short that the last piece is often written while the one before is being hashed.
    for (round, kind) in (0..4000).zip(HashKind::ALL.into_iter().cycle()) {
        let body = &bodies[usize::from(round % 40 > 1)];
        let assembly = staged_as(kind, &MemStore::new(), body.len());
        // Nearly in order, as from several stripes or lanes.
        let mut chunks = pieces(body, 2000 + round % 40);
        chunks.chunks_mut(3).for_each(<[Chunk]>::reverse);
        let next = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    while let Some(chunk) = chunks.get(next.fetch_add(1, Ordering::Relaxed)) {
                        assembly.write(vec![chunk.clone()]).unwrap();
                    }
                });
            }
            scope.spawn(|| {
                while next.load(Ordering::Relaxed) < chunks.len() {
                    assembly.record().unwrap();
                    assert_eq!((assembly.kind(), assembly.missing().len() <= chunks.len()), (kind, true));
                }
            });
        });
        assert_eq!(assembly.digest(), Some(Digest::of_kind(kind, body)), "{kind}, round {round}");
        assert_eq!(assembly.frontier(), body.len() as u64);
    }
}

/// Fails when a part that was hashed for one digest, just as another was begun, counts as hashed for that.
#[test]
fn a_digest_of_another_kind_leaves_out_nothing() {
    let body = content(64 << 10);
    for round in 0..1000 {
        let assembly = staged_as(HashKind::Blake3, &MemStore::new(), body.len());
        let chunks = pieces(&body, 4 << 10);
        let next = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while let Some(chunk) = chunks.get(next.fetch_add(1, Ordering::Relaxed)) {
                        assembly.write(vec![chunk.clone()]).unwrap();
                    }
                });
            }
            scope.spawn(|| {
                while next.load(Ordering::Relaxed) < 1 + round % chunks.len() {}
                assembly.hash_as(HashKind::Sha256).unwrap();
            });
        });
        assembly.finish().unwrap();
        assert_eq!(assembly.digest(), Some(Digest::of(&body)), "round {round}");
    }
}

/// Fails when what came early is read back although its BLAKE3 can be made of parts, or what is read is not what came.
#[test]
fn what_came_early_is_not_read_again_for_a_blake3() {
    let body = content(3_000_000);
    for (kind, reads) in [(HashKind::Sha256, true), (HashKind::Blake3, false)] {
        let store = FaultStore::new(MemStore::new());
        let assembly = staged_as(kind, &store, body.len());
        let mut chunks = pieces(&body, 1450);
        // Every fortieth piece is lost and comes again at the end.
        let lost: Vec<_> = chunks.iter().step_by(40).cloned().collect();
        chunks.retain(|chunk| chunk.offset / 1450 % 40 != 0);
        for batch in chunks.chunks(300).chain(lost.chunks(300)) {
            assembly.write(batch.to_vec()).unwrap();
        }
        assert_eq!(assembly.digest(), Some(Digest::of_kind(kind, &body)));
        assert_eq!(store.count(Operation::ReadBack) > 0, reads, "{kind}");
    }
}

/// Fails when an interrupt waits for what is being hashed.
#[test]
fn who_must_not_wait_records_beside_whoever_hashes() {
    let body = content(600_000);
    let store = FaultStore::new(MemStore::new());
    let assembly = staged(&store, body.len());
    let (gate, (begun, hashing)) = (Gate::new(), mpsc::channel());
    let held = gate.clone();
    store.inject(
        Operation::ReadBack,
        1,
        Fault::call(move || {
            begun.send(()).unwrap();
            held.pass();
        }),
    );
    let (first, second) = body.split_at(300_000);
    let piece = |offset, bytes| vec![Chunk { offset, bytes: Bytes::copy_from_slice(bytes) }];
    assembly.write(piece(300_000, second)).unwrap();
    std::thread::scope(|scope| {
        // What came early is read back behind it.
        let writing = scope.spawn(|| assembly.write(piece(0, first)));
        hashing.recv().unwrap();
        let (ended, end) = mpsc::channel();
        let recorder = Arc::clone(&assembly);
        std::thread::spawn(move || ended.send(recorder.try_record()));
        let recorded = end.recv_timeout(Duration::from_secs(30));
        gate.open();
        recorded.expect("it waits").unwrap();
        writing.join().unwrap().unwrap();
    });
    assert_eq!(assembly.digest(), Some(Digest::of(&body)));
}

#[test]
fn a_later_run_goes_on_from_what_was_recorded() {
    HashKind::ALL.into_iter().for_each(goes_on_as);
}

fn goes_on_as(kind: HashKind) {
    let body = content(1_000_000);
    let store = MemStore::new();
    let first = staged_as(kind, &store, body.len());
    first.write(vec![Chunk { offset: 0, bytes: Bytes::copy_from_slice(&body[..600_000]) }]).unwrap();
    first.record().unwrap();
    drop(first);

    let second = staged_as(kind, &store, body.len());
    assert_eq!(second.frontier(), 600_000);
    second.write(vec![Chunk { offset: 600_000, bytes: Bytes::copy_from_slice(&body[600_000..]) }]).unwrap();
    assert_eq!(second.digest(), Some(Digest::of_kind(kind, &body)));
}

#[test]
fn a_small_body_is_collected_in_order() {
    let (bytes, _) = stream_of(b"some content");
    let collected = block_on(async {
        let mut answer = Answer::new(Arrived::in_pieces(&bytes, 3));
        answer.next_frame().await.unwrap();
        let mut body = answer.into_body(12);
        let pieces = collect(&mut body, |_| {}).await.unwrap();
        body.into_trailer().unwrap();
        pieces.concat()
    });
    assert_eq!(collected, b"some content");
}

#[test]
fn any_range_of_any_version_is_sent_exactly() {
    let body = content(3 * BLOCK_BYTES as usize + 77);
    let store = MemStore::new();
    store.insert(&path(), body.clone());
    let versions = Arc::new(Versions::new(store, Arc::default(), qfs_store::blocking_threads()));
    let size = body.len() as u64;
    for range in [0..size, 0..0, size..size, 1..BLOCK_BYTES, BLOCK_BYTES..BLOCK_BYTES + 1, BLOCK_BYTES - 1..size - 1] {
        let mut sink = Sent::default();
        block_on(async {
            let opened = open(&versions, path()).await.unwrap();
            send(&mut sink, &opened.version, range.clone()).await.unwrap();
        });
        assert!(sink.bytes == body[range.start as usize..range.end as usize], "{range:?}");
    }
}

#[test]
fn a_change_while_sending_is_noticed_and_a_deaf_client_ends_it() {
    let store = MemStore::new();
    store.insert(&path(), content(4 * BLOCK_BYTES as usize));
    let versions = Arc::new(Versions::new(store.clone(), Arc::default(), qfs_store::blocking_threads()));
    block_on(async {
        let opened = open(&versions, path()).await.unwrap();
        let mut deaf = Sent { fail_after: Some(100_000), ..Sent::default() };
        let result = send(&mut deaf, &opened.version, 0..4 * BLOCK_BYTES).await;
        assert!(matches!(result, Err(SendError::Stream(_))));

        let opened = open(&versions, path()).await.unwrap();
        store.mutate(&path(), |bytes| bytes[0] ^= 1);
        let result = send(&mut Sent::default(), &opened.version, 0..4 * BLOCK_BYTES).await;
        assert!(matches!(result, Err(SendError::Store(qfs_core::store::StoreError::Changed))));
    });
}
