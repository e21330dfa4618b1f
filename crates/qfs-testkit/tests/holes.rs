//! Bodies without their holes, between stores and without a network: sent, received in any order, continued, and lied about.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test that panics has failed, and makes its own files"
)]

use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use qfs_core::body::{Assembly, Share, open_as, send_around};
use qfs_core::model::{Digest, HashKind, Holes, Layout, RemotePath};
use qfs_core::store::{BLOCK_BYTES, CommitSpec, Condition, StageSpec, StoreError, Versions, WriteStore};
use qfs_core::stream::{ByteSink, Chunk, StreamError};
use qfs_core::wire::{MAX_HOLES, MIN_HOLE_BYTES, StatusCode};
use qfs_store::blocking_threads;
use qfs_store::local::LocalStore;
use qfs_store::mem::MemStore;
use qfs_testkit::fault_store::{FaultStore, Operation};

fn path() -> RemotePath {
    RemotePath::parse("file").unwrap()
}

fn spec(size: usize) -> StageSpec {
    StageSpec { size: Some(size as u64), etag: "v1".parse().unwrap() }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// What a peer says of a file, true or not.
#[derive(Debug, Clone)]
enum Act {
    /// That there is a hole.
    Hole(Range<usize>),
    /// These bytes, in pieces of this length and in this order.
    Bytes { range: Range<usize>, byte: u8, piece: usize, is_reversed: bool },
    /// The client ends and comes back.
    Resume,
    /// The server goes on with digests of the other kind.
    Rehash,
}

const SIZE: usize = 400_000;

fn act() -> impl Strategy<Value = Act> {
    let range = || (0..SIZE, 1..150_000usize).prop_map(|(start, length)| start..(start + length).min(SIZE));
    prop_oneof![
        3 => range().prop_map(Act::Hole),
        4 => (range(), 0..3u8, 1_000..80_000usize, any::<bool>())
            .prop_map(|(range, byte, piece, is_reversed)| Act::Bytes { range, byte, piece, is_reversed }),
        1 => Just(Act::Resume),
        1 => Just(Act::Rehash),
    ]
}

fn assembly(store: &impl WriteStore) -> Assembly {
    assembly_of(HashKind::Sha256, store)
}

fn assembly_of(kind: HashKind, store: &impl WriteStore) -> Assembly {
    let staged = store.stage(&path(), &spec(SIZE)).unwrap();
    Assembly::of_kind(kind, staged, SIZE as u64, blocking_threads()).unwrap()
}

fn pieces(range: Range<usize>, byte: u8, piece: usize, is_reversed: bool) -> Vec<Chunk> {
    let mut pieces: Vec<_> = range
        .clone()
        .step_by(piece)
        .map(|start| {
            let length = piece.min(range.end - start);
            Chunk { offset: start as u64, bytes: Bytes::from(vec![byte; length]) }
        })
        .collect();
    if is_reversed {
        pieces.reverse();
    }
    pieces
}

/// Does what `acts` say, then whatever is missing, and commits. Nothing may stand under the name but what the digest is of.
fn is_what_was_hashed(kind: HashKind, store: &impl WriteStore, acts: &[Act]) -> Result<(), TestCaseError> {
    let mut kind = kind;
    let mut assembly = assembly_of(kind, store);
    for act in acts {
        match act.clone() {
            Act::Hole(range) => {
                let hole = Holes::new(vec![range.start as u64..range.end as u64]).unwrap();
                assembly.write_holes(&hole).unwrap();
                prop_assert_eq!(assembly.write_holes(&hole).unwrap(), 0, "a second time there is nothing new");
            }
            // Each piece by itself: they are on their way at different times.
            Act::Bytes { range, byte, piece, is_reversed } => {
                for piece in pieces(range, byte, piece, is_reversed) {
                    assembly.write(vec![piece]).unwrap();
                }
            }
            Act::Resume => {
                assembly.record().unwrap();
                drop(assembly);
                assembly = assembly_of(kind, store);
            }
            Act::Rehash => {
                kind = if kind == HashKind::Sha256 { HashKind::Blake3 } else { HashKind::Sha256 };
                assembly.hash_as(kind).unwrap();
                prop_assert_eq!(assembly.kind(), kind);
            }
        }
    }
    for part in assembly.missing() {
        prop_assert_eq!(assembly.missing_in(&part), vec![part.clone()]);
        let length = (part.end - part.start) as usize;
        assembly.write(vec![Chunk { offset: part.start, bytes: Bytes::from(vec![9; length]) }]).unwrap();
    }
    prop_assert!(assembly.missing().is_empty());
    assembly.finish().unwrap();
    let digest = assembly.digest();
    let commit = CommitSpec {
        modified: jiff::Timestamp::UNIX_EPOCH,
        executable: None,
        condition: Condition::Any,
        durable: false,
    };
    assembly.stage().commit(&commit).unwrap();
    drop(assembly);
    let (_, content) = store.open(&path(), SIZE).unwrap();
    prop_assert_eq!(content.len(), SIZE);
    prop_assert_eq!(digest, Some(Digest::of_kind(kind, &content)), "another file than the one that was hashed");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever a server says of holes and bytes, once this and once that, in any order, across runs: the digest is that of the
    /// file that is committed, so that a wrong file never has the right one.
    ///
    /// Fails when: bytes overwrite what was taken for a hole, or a hole is hashed where bytes are; stale bytes of a former run shine
    /// through; what lies beyond the frontier is counted twice.
    #[test]
    fn what_is_committed_is_what_was_hashed(acts in prop::collection::vec(act(), 0..14)) {
        for kind in HashKind::ALL {
            is_what_was_hashed(kind, &MemStore::new(), &acts)?;
            let root = tempfile::tempdir().unwrap();
            is_what_was_hashed(kind, &LocalStore::open_root(root.path()).unwrap(), &acts)?;
            is_what_was_hashed(kind, &LocalStore::open_root(root.path()).unwrap().sparse(false), &acts)?;
        }
    }
}

/// Fails when: gaps with a hole between them are two parts to ask for, or the hole is missing by itself.
#[test]
fn gaps_with_only_a_hole_between_them_are_one() {
    let assembly = assembly(&MemStore::new());
    let holes = [50_000..100_000, 150_000..200_000, 300_000..400_000];
    let filled = assembly.write_holes(&Holes::new(holes.to_vec()).unwrap()).unwrap();
    assert_eq!((filled, assembly.missing()), (200_000, vec![0..300_000]));
    assembly.write(pieces(120_000..130_000, 1, 10_000, false)).unwrap();
    assert_eq!(assembly.missing(), [0..120_000, 130_000..300_000]);
    assert_eq!(assembly.missing_in(&(60_000..90_000)), []);
    assert_eq!(assembly.missing_in(&(60_000..160_000)), [100_000..120_000, 130_000..150_000]);
    assembly.write(pieces(0..50_000, 1, 50_000, false)).unwrap();
    assert_eq!((assembly.frontier(), assembly.missing()), (100_000, vec![100_000..120_000, 130_000..300_000]));
}

/// A hole is hashed in steps while bytes come, and the rest when everything is there.
///
/// Fails when: `finish` is forgotten, or a write waits for all of a hole.
#[test]
fn long_holes_are_hashed_in_the_end() {
    HashKind::ALL.into_iter().for_each(long_holes_as);
}

fn long_holes_as(kind: HashKind) {
    const MIB: u64 = 1 << 20;
    let root = tempfile::tempdir().unwrap();
    let store = LocalStore::open_root(root.path()).unwrap();
    let staged = store.stage_sparse(&path(), &spec(300 << 20), 299 << 20).unwrap();
    let assembly = Assembly::of_kind(kind, staged, 300 * MIB, blocking_threads()).unwrap();
    assembly.write_holes(&Holes::new(vec![0..299 * MIB]).unwrap()).unwrap();
    let (begun, missing) = (assembly.frontier(), assembly.missing());
    assert!(begun < 100 * MIB && missing == [299 * MIB..300 * MIB], "{begun}");
    assembly.write(vec![Chunk { offset: 299 * MIB, bytes: Bytes::from(vec![1; 1 << 20]) }]).unwrap();
    assert!(assembly.frontier() < 100 * MIB && assembly.digest().is_none() && assembly.missing().is_empty());
    assembly.finish().unwrap();
    let mut hasher = qfs_core::model::Hasher::of_kind(kind);
    hasher.update_zeros(299 * MIB);
    hasher.update(&vec![1; 1 << 20]);
    assert_eq!(assembly.digest(), Some(hasher.finish()));
}

#[derive(Default)]
struct Sent(Vec<u8>);

impl ByteSink for Sent {
    async fn send(&mut self, bytes: Bytes) -> Result<(), StreamError> {
        self.0.extend_from_slice(&bytes);
        Ok(())
    }

    fn finish(&mut self) {}

    fn reset(&mut self, _: StatusCode) {}

    fn set_priority(&mut self, _: i32) {}

    async fn stopped(&mut self) {
        std::future::pending().await
    }
}

/// A file of 40 blocks with data in three of them, and whether the file system has holes.
fn sparse_file(root: &tempfile::TempDir) -> (Vec<u8>, bool) {
    let block = BLOCK_BYTES as usize;
    let mut content = vec![0; 40 * block + 77];
    for at in [5, 3 * block - 100, 30 * block + 9] {
        content[at..at + 70_000].fill(7);
    }
    let file = std::fs::File::create(root.path().join("file")).unwrap();
    file.set_len(content.len() as u64).unwrap();
    for at in [5, 3 * block - 100, 30 * block + 9] {
        file.write_all_at(&content[at..at + 70_000], at as u64).unwrap();
    }
    let allocated = std::os::unix::fs::MetadataExt::blocks(&file.metadata().unwrap()) * 512;
    (content, allocated < 2 << 20)
}

/// Fails when: a hole is read or sent; a part is cut at the wrong place; the digest of what is not read is not that of zeros; or
/// anything of it stays reserved.
#[test]
fn only_data_is_read_and_sent() {
    let root = tempfile::tempdir().unwrap();
    let (content, has_holes) = sparse_file(&root);
    if !has_holes {
        return;
    }
    let size = content.len() as u64;
    let ranges =
        [0..size, 1..size, 100_000..size - 1, 6 * BLOCK_BYTES..20 * BLOCK_BYTES, BLOCK_BYTES + 1..31 * BLOCK_BYTES];
    for (range, kind) in ranges.into_iter().flat_map(|range| HashKind::ALL.map(|kind| (range.clone(), kind))) {
        let store = FaultStore::new(LocalStore::open_root(root.path()).unwrap());
        let versions = Arc::new(Versions::new(store.clone(), Arc::default(), blocking_threads()));
        let budget = qfs_core::body::Budget::new(8 << 20);
        let (share, mut sink) = (budget.share(), Sent::default());
        block_on(async {
            let opened = open_as(&versions, path(), kind).await.unwrap();
            let holes = opened.version.holes(&range, MIN_HOLE_BYTES, MAX_HOLES).unwrap();
            assert!(holes.are_within(&range) && !holes.is_empty());
            send_around(&mut sink, &opened.version, range.clone(), &holes, &share, None).await.unwrap();
            let layout = Layout::new(&range, &holes);
            let expected: Vec<u8> = layout
                .place(0, u64::MAX)
                .flat_map(|part| content[part.start as usize..part.end as usize].to_vec())
                .collect();
            assert!(sink.0 == expected, "{range:?}");
            assert!(sink.0.len() < 600_000, "{range:?}: {} sent", sink.0.len());
            let reads = store.count(Operation::Read);
            assert!(reads <= 6, "{range:?}: {reads} reads");
            let version = Arc::clone(&opened.version);
            let digest = qfs_store::blocking(move || version.digest()).await.unwrap();
            assert_eq!(digest, Digest::of_kind(kind, &content), "{range:?}");
            assert!(store.count(Operation::Read) <= reads + 6, "zeros are hashed without being read");
        });
        drop(share);
        assert_eq!(budget.free_bytes(), 8 << 20);
    }
    // Nobody asked: everything is sent.
    let versions =
        Arc::new(Versions::new(LocalStore::open_root(root.path()).unwrap(), Arc::default(), blocking_threads()));
    let mut sink = Sent::default();
    block_on(async {
        let opened = open_as(&versions, path(), HashKind::Sha256).await.unwrap();
        send_around(&mut sink, &opened.version, 0..size, &Holes::default(), &Share::unlimited(), None).await.unwrap();
    });
    assert!(sink.0 == content);
}

/// Fails when: a hole is taken for granted although the file has changed since it was looked for.
#[test]
fn a_hole_that_is_filled_meanwhile_is_a_change() {
    let root = tempfile::tempdir().unwrap();
    let (content, _) = sparse_file(&root);
    let versions =
        Arc::new(Versions::new(LocalStore::open_root(root.path()).unwrap(), Arc::default(), blocking_threads()));
    block_on(async {
        let opened = open_as(&versions, path(), HashKind::Sha256).await.unwrap();
        let range = 0..content.len() as u64;
        let holes = opened.version.holes(&range, MIN_HOLE_BYTES, MAX_HOLES).unwrap();
        let file = std::fs::File::options().write(true).open(root.path().join("file")).unwrap();
        file.write_all_at(b"x", 10 * BLOCK_BYTES).unwrap();
        let sent = send_around(&mut Sent::default(), &opened.version, range, &holes, &Share::unlimited(), None).await;
        assert!(matches!(sent, Err(qfs_core::body::SendError::Store(StoreError::Changed))));
        let version = Arc::clone(&opened.version);
        assert!(matches!(qfs_store::blocking(move || version.digest()).await, Err(StoreError::Changed)));
    });
}

/// Many readers of parts, with and without holes, end with the one digest.
#[test]
fn readers_with_and_without_holes_share_a_version() {
    let root = tempfile::tempdir().unwrap();
    let (content, _) = sparse_file(&root);
    for _ in 0..10 {
        let store = LocalStore::open_root(root.path()).unwrap();
        let versions = Versions::new(store, Arc::default(), blocking_threads());
        std::thread::scope(|scope| {
            for reader in 0..12u64 {
                let kind = HashKind::ALL[(reader / 6) as usize];
                let (versions, content) = (&versions, &content);
                scope.spawn(move || {
                    let version = versions.open_as(&path(), kind).unwrap();
                    if reader % 2 == 0 {
                        version.holes(&(0..content.len() as u64), MIN_HOLE_BYTES, MAX_HOLES).unwrap();
                    }
                    for index in (0..40).filter(|index| reader % 3 == 0 || index % 6 < 4) {
                        let block = version.block(index).unwrap();
                        let start = (index * BLOCK_BYTES) as usize;
                        assert!(block == content[start..start + block.len()]);
                    }
                    assert_eq!(version.digest().unwrap(), Digest::of_kind(kind, content));
                });
            }
        });
    }
}
