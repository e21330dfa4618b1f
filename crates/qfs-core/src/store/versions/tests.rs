//! Tests of sharing: how often is read, how often hashed.

use super::shared::{KEPT_BLOCKS, RECENT_BLOCKS};
use super::*;
use std::sync::atomic::AtomicU64;

struct Counted {
    content: Vec<u8>,
    meta: ObjectMeta,
    reads: AtomicU64,
    changed: std::sync::atomic::AtomicBool,
}

impl Object for Counted {
    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }

    fn read_at(&self, offset: u64, length: usize) -> Result<Bytes, StoreError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let start = usize::try_from(offset).unwrap();
        Ok(Bytes::copy_from_slice(&self.content[start..start + length]))
    }

    fn ensure_unchanged(&self) -> Result<(), StoreError> {
        if self.changed.load(Ordering::Relaxed) { Err(StoreError::Changed) } else { Ok(()) }
    }
}

/// Every call of these tests blocks.
struct Unused;

impl crate::offload::Offload for Unused {
    fn run(&self, _: Box<dyn FnOnce() + Send>) {
        unreachable!("nothing here is asynchronous")
    }
}

/// Holds one object under every name.
struct One(Arc<Counted>);

impl Store for One {
    fn open(&self, _: &RemotePath, first: usize) -> Result<(Arc<dyn Object>, Bytes), StoreError> {
        let length = self.0.content.len();
        let content = if length <= first { self.0.read_at(0, length)? } else { Bytes::new() };
        Ok((self.0.clone(), content))
    }

    fn list(&self, _: &ListQuery, _: &mut Visit<'_>) -> Result<(), StoreError> {
        Ok(())
    }
}

fn versions(blocks: u64) -> (Versions<One>, Arc<Counted>, RemotePath) {
    let content: Vec<u8> = (0..blocks * BLOCK_BYTES - 5).map(|i| (i % 251) as u8).collect();
    let meta = ObjectMeta {
        size: content.len() as u64,
        modified: jiff::Timestamp::UNIX_EPOCH,
        etag: "v1".parse().unwrap(),
        unsettled: false,
        executable: false,
    };
    let object = Arc::new(Counted { content, meta, reads: AtomicU64::new(0), changed: false.into() });
    let versions = Versions::new(One(Arc::clone(&object)), Arc::default(), Threads::new(Unused));
    (versions, object, RemotePath::parse("x").unwrap())
}

/// A store whose first answer ends before the object does.
struct Short(One);

impl Store for Short {
    fn open(&self, path: &RemotePath, first: usize) -> Result<(Arc<dyn Object>, Bytes), StoreError> {
        let (object, content) = self.0.open(path, first)?;
        Ok((object, content.slice(..content.len() / 2)))
    }

    fn list(&self, query: &ListQuery, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        self.0.list(query, visit)
    }
}

/// Fails when: part of a file is given out as all of it, and its digest remembered.
#[test]
fn less_than_all_of_a_small_file_is_refused_and_not_hashed() {
    let (versions, object, path) = versions(1);
    let versions = Versions::new(Short(versions.store), Arc::default(), Threads::new(Unused));
    let read = versions.read_whole(&path, BLOCK_BYTES, HashKind::Sha256);
    assert!(matches!(read, Err(StoreError::Changed)));
    assert_eq!(versions.digests.recall(&object.meta.etag, HashKind::Sha256), None);
}

#[test]
fn readers_side_by_side_share_one_read_and_one_hash() {
    let (versions, object, path) = versions(20);
    let readers: Vec<_> = (0..10).map(|_| versions.open(&path).unwrap()).collect();
    for index in 0..20 {
        std::thread::scope(|scope| {
            for reader in &readers {
                scope.spawn(move || reader.block(index).unwrap());
            }
        });
    }
    assert_eq!(object.reads.load(Ordering::Relaxed), 20);
    assert_eq!(readers[9].known_digest(), Some(Digest::of(&object.content)));
}

// Fails when a part of a hashed version costs more than itself, or one of a version that is not hashed yet keeps it from being hashed.
#[test]
fn a_part_is_read_alone_once_the_whole_is_hashed() {
    let (versions, object, path) = versions(3);
    let reader = versions.open(&path).unwrap();
    let block = BLOCK_BYTES as usize;
    let part = |index: u64, place: Range<usize>| {
        let start = usize::try_from(index).unwrap() * block;
        let read = reader.part(index, place.clone()).unwrap();
        assert_eq!(read, object.content[start + place.start..start + place.end]);
    };
    part(0, 7..1000);
    part(1, 0..block);
    part(2, block - 15..block - 5);
    assert_eq!(reader.known_digest(), Some(Digest::of(&object.content)));
    let before = object.reads.load(Ordering::Relaxed);
    part(1, 100..130);
    part(0, 5..5);
    assert_eq!(object.reads.load(Ordering::Relaxed), before + 1);
}

// Fails when readers that drift apart read again, when more is kept than is allowed, or what is forgotten stays counted.
#[test]
fn readers_that_drift_apart_share_reads_within_what_is_kept() {
    let (versions, object, path) = versions(KEPT_BLOCKS as u64 + 20);
    let (first, second) = (versions.open(&path).unwrap(), versions.open(&path).unwrap());
    (0..KEPT_BLOCKS as u64).for_each(|index| drop(first.block(index).unwrap()));
    (0..KEPT_BLOCKS as u64).for_each(|index| drop(second.block(index).unwrap()));
    assert_eq!(object.reads.load(Ordering::Relaxed), KEPT_BLOCKS as u64);
    (KEPT_BLOCKS as u64..).take(20).for_each(|index| drop(first.block(index).unwrap()));
    assert_eq!(
        (versions.kept.load(Ordering::Relaxed), lock(&first.shared.blocks).recent.len()),
        (KEPT_BLOCKS, KEPT_BLOCKS)
    );
    drop(second);
    assert_eq!(versions.kept.load(Ordering::Relaxed), 0);
    drop(first);
    // When others keep all that may be kept, a version still has its few.
    versions.kept.store(KEPT_BLOCKS, Ordering::Relaxed);
    let (first, second) = (versions.open(&path).unwrap(), versions.open(&path).unwrap());
    (0..20).for_each(|index| drop(first.block(index).unwrap()));
    assert_eq!(lock(&first.shared.blocks).recent.len(), RECENT_BLOCKS);
    drop((first, second));
    assert_eq!(versions.kept.load(Ordering::Relaxed), KEPT_BLOCKS);
}

#[test]
fn a_digest_asked_for_early_is_finished_by_whoever_needs_it() {
    let (versions, object, path) = versions(12);
    let reader = versions.open(&path).unwrap();
    reader.block(0).unwrap();
    reader.block(5).unwrap();
    reader.block(1).unwrap();
    assert_eq!(reader.known_digest(), None);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_eq!(reader.digest().unwrap(), Digest::of(&object.content)));
        }
    });
}

#[test]
fn a_remembered_digest_needs_no_pass() {
    let (versions, object, path) = versions(3);
    let digest = versions.open(&path).unwrap().digest().unwrap();
    let reads = object.reads.load(Ordering::Relaxed);
    assert_eq!(versions.open(&path).unwrap().digest().unwrap(), digest);
    assert_eq!(object.reads.load(Ordering::Relaxed), reads);
}

// Fails when a file above the limit is read, a digest is computed twice, or one of a changed file is kept.
#[test]
fn a_small_file_is_read_whole_and_hashed_once() {
    let (versions, object, path) = versions(1);
    let size = object.meta.size;
    assert_eq!(versions.read_whole(&path, size - 1, HashKind::Sha256).unwrap(), None);
    assert_eq!(object.reads.load(Ordering::Relaxed), 0);
    let whole = versions.read_whole(&path, size, HashKind::Sha256).unwrap().unwrap();
    assert_eq!((&whole.content[..], whole.digest), (&object.content[..], Digest::of(&object.content)));
    assert_eq!(versions.digests().recall(&object.meta.etag, HashKind::Sha256), Some(whole.digest));
    let other = Digest::of(b"remembered");
    versions.digests().remember(&object.meta.etag, other);
    assert_eq!(versions.read_whole(&path, size, HashKind::Sha256).unwrap().unwrap().digest, other);
    object.changed.store(true, Ordering::Relaxed);
    assert!(matches!(versions.read_whole(&path, size, HashKind::Sha256), Err(StoreError::Changed)));
}

#[test]
fn a_change_leaves_no_digest() {
    let (versions, object, path) = versions(3);
    let reader = versions.open(&path).unwrap();
    object.changed.store(true, Ordering::Relaxed);
    assert!(matches!(reader.digest(), Err(StoreError::Changed)));
    assert_eq!(reader.known_digest(), None);
    assert_eq!(versions.digests().recall(&object.meta.etag, HashKind::Sha256), None);
}

#[test]
fn a_lone_reader_keeps_no_blocks() {
    let (versions, object, path) = versions(4);
    let reader = versions.open(&path).unwrap();
    reader.block(3).unwrap();
    assert!(lock(&reader.shared.blocks).recent.is_empty());
    let second = versions.open(&path).unwrap();
    reader.block(3).unwrap();
    second.block(3).unwrap();
    assert_eq!(object.reads.load(Ordering::Relaxed), 2);
    drop(second);
    assert!(lock(&reader.shared.blocks).recent.is_empty());
}

/// Fails when: a block that comes out of order, or twice, is hashed wrongly or read again for the digest; one kind is taken for the
/// other, or hashed where nobody wants it.
#[test]
fn a_tree_takes_blocks_in_any_order_and_reads_none_twice() {
    let (versions, object, path) = versions(9);
    let reader = versions.open_as(&path, HashKind::Blake3).unwrap();
    for index in [8, 3, 0, 1, 3, 7, 5] {
        reader.block(index).unwrap();
    }
    let reads = object.reads.load(Ordering::Relaxed);
    assert_eq!((reads, reader.known_digest()), (7, None));
    let expected = Digest::of_kind(HashKind::Blake3, &object.content);
    assert_eq!(reader.digest().unwrap(), expected);
    assert_eq!(object.reads.load(Ordering::Relaxed), reads + 3);
    assert_eq!(versions.digests().recall(&object.meta.etag, HashKind::Blake3), Some(expected));
    let other = versions.open(&path).unwrap();
    assert_eq!((other.kind(), other.known_digest()), (HashKind::Sha256, None));
    assert_eq!(other.digest().unwrap(), Digest::of(&object.content));
    drop((reader, other));
    // Both are remembered.
    let reads = object.reads.load(Ordering::Relaxed);
    for kind in HashKind::ALL {
        let digest = versions.open_as(&path, kind).unwrap().digest().unwrap();
        assert_eq!(digest, Digest::of_kind(kind, &object.content));
        let whole = versions.read_whole(&path, u64::MAX, kind).unwrap().unwrap();
        assert_eq!(whole.digest, digest);
    }
    assert_eq!(object.reads.load(Ordering::Relaxed), reads + 2);
}

#[test]
fn readers_of_both_kinds_side_by_side_share_every_read() {
    let (versions, object, path) = versions(20);
    let readers: Vec<_> = (0..6).map(|n| versions.open_as(&path, HashKind::ALL[n % 2]).unwrap()).collect();
    for index in 0..20 {
        std::thread::scope(|scope| {
            for reader in &readers {
                scope.spawn(move || reader.block(index).unwrap());
            }
        });
    }
    assert_eq!(object.reads.load(Ordering::Relaxed), 20);
    for reader in &readers {
        assert_eq!(reader.known_digest(), Some(Digest::of_kind(reader.kind(), &object.content)));
    }
}

#[test]
fn a_tree_of_a_changed_object_is_not_remembered() {
    let (versions, object, path) = versions(3);
    let reader = versions.open_as(&path, HashKind::Blake3).unwrap();
    object.changed.store(true, Ordering::Relaxed);
    assert!(matches!(reader.digest(), Err(StoreError::Changed)));
    assert!(reader.known_digest().is_none());
}
