//! One suite of tests for every store: what `Store` and `WriteStore` promise, whatever is behind them.
//!
//! Implement [`Subject`] for a way of making a store, then write `qfs_testkit::store_conformance!(module, Subject);` in a
//! test: each case becomes a test of its own.

use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use qfs_core::model::{ETag, RemotePath};
use qfs_core::store::{CommitSpec, StageSpec, StagedObject, Store, StoreError, WriteStore};

/// A store under test, and what the suite must do behind its back.
pub trait Subject: Sized {
    /// The store.
    type Store: WriteStore;

    /// A new, empty one.
    fn new() -> Self;

    /// The store.
    fn store(&self) -> &Self::Store;

    /// Another store on the same objects, as a later run or another process has it.
    fn another(&self) -> Self::Store;

    /// Rewrites an existing object in place.
    fn mutate(&self, path: &RemotePath, content: &[u8]);

    /// Removes an existing object.
    fn remove(&self, path: &RemotePath);

    /// How many partial objects lie there.
    fn partials(&self) -> usize;
}

/// Makes a module of tests, one for each case of the suite, for a [`Subject`].
#[macro_export]
macro_rules! store_conformance {
    ($module:ident, $subject:ty) => {
        mod $module {
            use super::*;

            $crate::store_conformance!(@cases $subject:
                puts_are_opened_and_listed,
                listing_is_sorted_by_full_name_and_can_be_ended,
                missing_objects_are_not_found,
                reads_are_exact,
                changes_in_place_are_noticed,
                replaced_and_removed_objects_are_read_to_their_end,
                etags_name_versions,
                existing_targets_are_described_and_touched,
                put_replaces_only_when_told,
                files_are_not_directories,
                stages_are_invisible_until_committed,
                stages_are_written_in_any_order,
                stages_are_checked,
                cut_off_stages_are_continued,
                other_versions_start_over,
                discarded_stages_start_over,
                concurrent_stages_do_not_mix,
                a_refused_commit_keeps_the_content,
                empty_objects_are_objects,
                many_threads_use_one_store,
            );
        }
    };
    (@cases $subject:ty: $($case:ident,)+) => {
        $(
            #[test]
            fn $case() {
                $crate::conformance::$case(&<$subject as $crate::conformance::Subject>::new());
            }
        )+
    };
}

fn path(text: &str) -> RemotePath {
    RemotePath::parse(text).expect("a valid name")
}

fn time(second: i64) -> Timestamp {
    Timestamp::new(second, 120_000_000).expect("a time within range")
}

fn keep() -> CommitSpec {
    CommitSpec { modified: time(1_600_000_000), replace: false, durable: false }
}

fn replace() -> CommitSpec {
    CommitSpec { replace: true, durable: true, ..keep() }
}

fn version(size: u64, etag: &str) -> StageSpec {
    StageSpec { size, etag: etag.parse().expect("a valid etag") }
}

fn put<S: Subject>(subject: &S, name: &str, content: &'static str) {
    subject.store().put(&path(name), &[Bytes::from_static(content.as_bytes())], &keep()).expect("put");
}

fn stage<S: Subject>(subject: &S, name: &str, spec: &StageSpec) -> Arc<dyn StagedObject> {
    subject.store().stage(&path(name), spec).expect("stage")
}

fn content<S: Subject>(subject: &S, name: &str) -> Bytes {
    let object = subject.store().open(&path(name)).expect("open");
    object.read_at(0, usize::try_from(object.meta().size).expect("a small object")).expect("read")
}

fn listing<S: Subject>(subject: &S) -> Vec<(String, u64)> {
    let mut rows = Vec::new();
    let visit = &mut |path: RemotePath, meta: qfs_core::store::ObjectMeta| {
        rows.push((path.as_str().to_owned(), meta.size));
        ControlFlow::Continue(())
    };
    subject.store().list(visit).expect("list");
    rows
}

fn etag<S: Subject>(subject: &S, name: &str) -> ETag {
    subject.store().open(&path(name)).expect("open").meta().etag.clone()
}

/// What was put is there under its name, with its size and time.
pub fn puts_are_opened_and_listed<S: Subject>(subject: &S) {
    put(subject, "a", "one");
    put(subject, "sub/dir/b", "three");
    assert_eq!(content(subject, "sub/dir/b"), "three");
    assert_eq!(listing(subject), [("a".to_owned(), 3), ("sub/dir/b".to_owned(), 5)]);
    let object = subject.store().open(&path("a")).expect("open");
    assert_eq!((object.meta().size, object.meta().modified), (3, time(1_600_000_000)));
    subject.store().sync_directories().expect("sync");
}

/// Rows come in ascending byte order of full names, across directories.
pub fn listing_is_sorted_by_full_name_and_can_be_ended<S: Subject>(subject: &S) {
    assert!(listing(subject).is_empty());
    for name in ["a0", "b", "a/x", "a.b", "a/b/c", "a-/z", "é", "a/b.c", "Z", "a/b0"] {
        put(subject, name, "x");
    }
    let names: Vec<_> = listing(subject).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["Z", "a-/z", "a.b", "a/b.c", "a/b/c", "a/b0", "a/x", "a0", "b", "é"]);
    let mut seen = 0;
    let visit = &mut |_, _| {
        seen += 1;
        if seen == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    subject.store().list(visit).expect("list");
    assert_eq!(seen, 3);
}

/// What is not there is not found, and a directory is nothing to open.
pub fn missing_objects_are_not_found<S: Subject>(subject: &S) {
    put(subject, "dir/file", "x");
    for name in ["none", "dir", "dir/none", "dir/file/none", "none/none"] {
        let opened = subject.store().open(&path(name));
        assert!(matches!(opened, Err(StoreError::NotFound)), "{name}");
    }
}

/// A read gives exactly what was asked for, or says that the object is shorter.
pub fn reads_are_exact<S: Subject>(subject: &S) {
    put(subject, "a", "0123456789");
    let object = subject.store().open(&path("a")).expect("open");
    for (offset, length) in [(0, 10), (0, 0), (3, 4), (9, 1), (10, 0)] {
        let bytes = object.read_at(offset as u64, length).expect("within the object");
        assert_eq!(bytes, "0123456789"[offset..offset + length]);
    }
    for (offset, length) in [(0, 11), (10, 1), (11, 0), (u64::MAX, 1), (1, usize::MAX)] {
        let read = object.read_at(offset, length);
        assert!(matches!(read, Err(StoreError::Changed)), "{offset} {length}");
    }
    object.ensure_unchanged().expect("nothing changed");
}

/// An opened object tells that it was rewritten, longer, shorter or of the same length.
pub fn changes_in_place_are_noticed<S: Subject>(subject: &S) {
    for (number, new) in ["0123456789x", "012345", "", "abcdefghij", "0123456789"].into_iter().enumerate() {
        let name = format!("file{number}");
        put(subject, &name, "0123456789");
        let object = subject.store().open(&path(&name)).expect("open");
        object.ensure_unchanged().expect("nothing changed yet");
        subject.mutate(&path(&name), new.as_bytes());
        assert!(matches!(object.ensure_unchanged(), Err(StoreError::Changed)), "{new}");
        if new.len() < 10 {
            assert!(matches!(object.read_at(0, 10), Err(StoreError::Changed)), "{new}");
        }
    }
}

/// An opened object outlives its name.
pub fn replaced_and_removed_objects_are_read_to_their_end<S: Subject>(subject: &S) {
    put(subject, "a", "first");
    let first = subject.store().open(&path("a")).expect("open");
    subject.store().put(&path("a"), &[Bytes::from_static(b"second")], &replace()).expect("replace");
    let second = subject.store().open(&path("a")).expect("open");
    subject.remove(&path("a"));
    for (object, expected) in [(first, "first"), (second, "second")] {
        assert_eq!(object.read_at(0, expected.len()).expect("read"), expected);
        object.ensure_unchanged().expect("its content is what it was");
    }
    assert!(matches!(subject.store().open(&path("a")), Err(StoreError::NotFound)));
}

/// The same version has the same etag, another version another.
pub fn etags_name_versions<S: Subject>(subject: &S) {
    put(subject, "a", "content");
    put(subject, "b", "content");
    let first = etag(subject, "a");
    assert_eq!(etag(subject, "a"), first);
    assert_ne!(etag(subject, "b"), first);
    let listed = &mut None;
    let visit = &mut |_, meta: qfs_core::store::ObjectMeta| {
        *listed = Some(meta.etag);
        ControlFlow::Break(())
    };
    subject.another().list(visit).expect("list");
    assert_eq!(listed.as_ref(), Some(&first));
    subject.mutate(&path("a"), b"CONTENT");
    let second = etag(subject, "a");
    assert_ne!(second, first);
    subject.store().put(&path("a"), &[Bytes::from_static(b"CONTENT")], &replace()).expect("replace");
    assert_ne!(etag(subject, "a"), second);
}

/// `existing` and `touch` agree with what was put.
pub fn existing_targets_are_described_and_touched<S: Subject>(subject: &S) {
    put(subject, "d/a", "123");
    let found = subject.store().existing(&path("d/a")).expect("existing").expect("there is one");
    assert_eq!((found.size, found.modified), (3, time(1_600_000_000)));
    subject.store().touch(&path("d/a"), time(5)).expect("touch");
    let found = subject.store().existing(&path("d/a")).expect("existing").expect("there is one");
    assert_eq!((found.size, found.modified), (3, time(5)));
    for name in ["none", "d/none", "none/none"] {
        assert_eq!(subject.store().existing(&path(name)).expect("existing"), None, "{name}");
    }
    assert!(subject.store().touch(&path("none"), time(5)).is_err());
}

/// An existing target is replaced when told to, and only then.
pub fn put_replaces_only_when_told<S: Subject>(subject: &S) {
    put(subject, "a", "old");
    let new = [Bytes::from_static(b"n"), Bytes::new(), Bytes::from_static(b"ew")];
    assert!(matches!(subject.store().put(&path("a"), &new, &keep()), Err(StoreError::Exists)));
    assert_eq!(content(subject, "a"), "old");
    subject.store().put(&path("a"), &new, &replace()).expect("replace");
    assert_eq!(content(subject, "a"), "new");
    subject.store().put(&path("b"), &new, &replace()).expect("nothing to replace");
    subject.store().sync_directories().expect("sync");
    assert_eq!(listing(subject).len(), 2);
    assert_eq!(subject.partials(), 0);
}

/// A name is a file or a directory, never both.
pub fn files_are_not_directories<S: Subject>(subject: &S) {
    put(subject, "file", "x");
    put(subject, "dir/file", "x");
    for (name, spec) in [("dir", keep()), ("dir", replace()), ("file/x", keep()), ("file/x", replace())] {
        let done = subject.store().put(&path(name), &[Bytes::from_static(b"y")], &spec);
        assert!(matches!(done, Err(StoreError::NotRegular)), "{name}: {done:?}");
        assert!(matches!(subject.store().existing(&path(name)), Err(StoreError::NotRegular)), "{name}");
    }
    assert!(matches!(subject.store().stage(&path("file/x"), &version(1, "v")), Err(StoreError::NotRegular)));
    assert_eq!(listing(subject), [("dir/file".to_owned(), 1), ("file".to_owned(), 1)]);
}

/// Nothing appears under a target's name before the commit.
pub fn stages_are_invisible_until_committed<S: Subject>(subject: &S) {
    let staged = stage(subject, "d/a", &version(4, "v"));
    staged.write_at(0, &[Bytes::from_static(b"abcd")]).expect("write");
    staged.record_frontier(4).expect("record");
    assert!(listing(subject).is_empty());
    assert!(matches!(subject.store().open(&path("d/a")), Err(StoreError::NotFound)));
    assert_eq!(subject.store().existing(&path("d/a")).expect("existing"), None);
    staged.commit(&replace()).expect("commit");
    subject.store().sync_directories().expect("sync");
    assert_eq!(content(subject, "d/a"), "abcd");
    let object = subject.store().open(&path("d/a")).expect("open");
    assert_eq!(object.meta().modified, time(1_600_000_000));
    drop(staged);
    assert_eq!((listing(subject).len(), subject.partials()), (1, 0));
}

/// Chunks land at their offsets, in whatever order they come.
pub fn stages_are_written_in_any_order<S: Subject>(subject: &S) {
    let whole: Vec<u8> = (0..50_000u32).map(|n| (n % 251) as u8).collect();
    let pieces: Vec<Bytes> = whole.chunks(7).map(Bytes::copy_from_slice).collect();
    let staged = stage(subject, "a", &version(whole.len() as u64, "v"));
    let half = pieces.len() / 2;
    staged.write_at(half as u64 * 7, &pieces[half..]).expect("write the second half");
    staged.write_at(0, &[]).expect("write nothing");
    staged.write_at(0, &pieces[..half]).expect("write the first half");
    assert_eq!(staged.read_at(100, 900).expect("read back"), whole[100..1000]);
    staged.commit(&keep()).expect("commit");
    assert_eq!(content(subject, "a"), whole);
}

/// What is outside the announced size is refused, and so is an object that is not whole.
pub fn stages_are_checked<S: Subject>(subject: &S) {
    let staged = stage(subject, "a", &version(4, "v"));
    let three = [Bytes::from_static(b"abc")];
    for offset in [2, 4, u64::MAX - 1] {
        assert!(staged.write_at(offset, &three).is_err(), "{offset}");
    }
    assert!(staged.record_frontier(5).is_err());
    staged.write_at(0, &three).expect("write");
    for (offset, length) in [(0, 5), (4, 1), (u64::MAX, 1)] {
        assert!(matches!(staged.read_at(offset, length), Err(StoreError::Changed)), "{offset} {length}");
    }
    assert!(matches!(staged.commit(&keep()), Err(StoreError::Changed)));
    assert!(listing(subject).is_empty());
}

/// A dropped stage with a recorded frontier is continued by the next one of the same version.
pub fn cut_off_stages_are_continued<S: Subject>(subject: &S) {
    let spec = version(6, "v");
    let staged = stage(subject, "a", &spec);
    assert_eq!(staged.recorded_frontier(), 0);
    staged.write_at(0, &[Bytes::from_static(b"abc")]).expect("write");
    staged.record_frontier(2).expect("record");
    staged.record_frontier(3).expect("record again");
    drop(staged);
    assert_eq!(subject.partials(), 1);
    let staged = subject.another().stage(&path("a"), &spec).expect("stage again");
    assert_eq!(staged.recorded_frontier(), 3);
    assert_eq!(staged.read_at(0, 3).expect("read back"), "abc");
    staged.write_at(3, &[Bytes::from_static(b"def")]).expect("write the rest");
    staged.commit(&keep()).expect("commit");
    drop(staged);
    assert_eq!(content(subject, "a"), "abcdef");
    assert_eq!(subject.partials(), 0);
    assert_eq!(stage(subject, "a", &spec).recorded_frontier(), 0, "what was committed is no longer a partial object");
}

/// A partial object of another version is of no use.
pub fn other_versions_start_over<S: Subject>(subject: &S) {
    let staged = stage(subject, "a", &version(6, "v"));
    staged.write_at(0, &[Bytes::from_static(b"abc")]).expect("write");
    staged.record_frontier(3).expect("record");
    drop(staged);
    let other = stage(subject, "a", &version(6, "w"));
    assert_eq!(other.recorded_frontier(), 0);
    assert!(matches!(other.read_at(0, 3), Err(StoreError::Changed)));
    assert_eq!(stage(subject, "b", &version(6, "v")).recorded_frontier(), 0);
}

/// Discarding forgets everything.
pub fn discarded_stages_start_over<S: Subject>(subject: &S) {
    let staged = stage(subject, "a", &version(3, "v"));
    staged.write_at(0, &[Bytes::from_static(b"bad")]).expect("write");
    staged.record_frontier(3).expect("record");
    staged.discard().expect("discard");
    staged.discard().expect("twice is fine");
    let again = stage(subject, "a", &version(3, "v"));
    assert_eq!(again.recorded_frontier(), 0);
    drop(staged);
    again.write_at(0, &[Bytes::from_static(b"new")]).expect("write");
    again.commit(&keep()).expect("commit");
    drop(again);
    assert_eq!((content(subject, "a"), subject.partials()), (Bytes::from_static(b"new"), 0));
}

/// Two stages of the same version of the same target never write into one another.
pub fn concurrent_stages_do_not_mix<S: Subject>(subject: &S) {
    let spec = version(3, "v");
    let one = stage(subject, "a", &spec);
    let two = subject.another().stage(&path("a"), &spec).expect("a stage beside it");
    one.write_at(0, &[Bytes::from_static(b"111")]).expect("write");
    two.write_at(0, &[Bytes::from_static(b"222")]).expect("write");
    two.record_frontier(3).expect("record");
    one.record_frontier(3).expect("record");
    assert_eq!(one.read_at(0, 3).expect("read back"), "111");
    two.commit(&keep()).expect("commit the second");
    assert_eq!(content(subject, "a"), "222");
    assert!(matches!(one.commit(&keep()), Err(StoreError::Exists)));
    one.commit(&replace()).expect("replace");
    assert_eq!(content(subject, "a"), "111");
    drop((one, two));
    assert_eq!(subject.partials(), 0);
}

/// A commit that may not replace loses nothing.
pub fn a_refused_commit_keeps_the_content<S: Subject>(subject: &S) {
    put(subject, "a", "old");
    let staged = stage(subject, "a", &version(3, "v"));
    staged.write_at(0, &[Bytes::from_static(b"new")]).expect("write");
    assert!(matches!(staged.commit(&keep()), Err(StoreError::Exists)));
    assert_eq!(content(subject, "a"), "old");
    drop(staged);
    let staged = stage(subject, "a", &version(3, "v"));
    assert_eq!(staged.recorded_frontier(), 3);
    staged.commit(&replace()).expect("replace");
    assert_eq!(content(subject, "a"), "new");
}

/// Nothing is special about an object of no bytes.
pub fn empty_objects_are_objects<S: Subject>(subject: &S) {
    subject.store().put(&path("a"), &[], &keep()).expect("put");
    let staged = stage(subject, "b", &version(0, "v"));
    staged.commit(&keep()).expect("commit");
    drop(staged);
    assert_eq!(listing(subject), [("a".to_owned(), 0), ("b".to_owned(), 0)]);
    assert_eq!((content(subject, "a").len(), content(subject, "b").len(), subject.partials()), (0, 0, 0));
}

/// Threads that write, list and read at once do not disturb each other.
pub fn many_threads_use_one_store<S: Subject>(subject: &S) {
    const THREADS: usize = 4;
    const FILES: usize = 50;
    let store = subject.store();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            scope.spawn(move || {
                for number in 0..FILES {
                    // Every other thread writes the same names: exactly one of the two wins.
                    let name = path(&format!("d{}/{number}", thread % 2));
                    let content = Bytes::from(vec![thread as u8; 1000]);
                    match store.put(&name, &[content], &keep()) {
                        Ok(()) | Err(StoreError::Exists) => {}
                        Err(error) => panic!("{error}"),
                    }
                    let bytes = store.open(&name).and_then(|object| object.read_at(0, 1000)).expect("a whole object");
                    assert!(bytes.iter().all(|byte| *byte == bytes[0]), "a blend of two writers");
                }
                store.list(&mut |_, _| ControlFlow::Continue(())).expect("list");
            });
        }
    });
    assert_eq!((listing(subject).len(), subject.partials()), (2 * FILES, 0));
}
