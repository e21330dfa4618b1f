//! Large objects on their way.

use bytes::Bytes;
use qfs_core::store::{StageSpec, Store, StoreError, WriteStore};

use super::{Subject, content, keep, listing, path, put, replace, stage, time, version};

/// Nothing appears under a target's name before the commit.
pub fn stages_are_invisible_until_committed<S: Subject>(subject: &S) {
    let staged = stage(subject, "d/a", &version(4, "v"));
    staged.write_at(0, &[Bytes::from_static(b"abcd")]).expect("write");
    staged.record_frontier(4).expect("record");
    assert!(listing(subject).is_empty());
    assert!(matches!(subject.store().object(&path("d/a")), Err(StoreError::NotFound)));
    assert_eq!(subject.store().existing(&path("d/a")).expect("existing"), None);
    staged.commit(&replace()).expect("commit");
    subject.store().sync_directories().expect("sync");
    assert_eq!(content(subject, "d/a"), "abcd");
    let object = subject.store().object(&path("d/a")).expect("open");
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

/// Without a size the object ends behind the last byte written, wherever writing began.
pub fn objects_of_unknown_size_end_where_writing_ends<S: Subject>(subject: &S) {
    let spec = StageSpec { size: None, ..version(0, "v") };
    let staged = stage(subject, "a", &spec);
    let beside = stage(subject, "a", &spec);
    staged.write_at(3, &[Bytes::from_static(b"def")]).expect("write");
    beside.write_at(0, &[Bytes::from_static(b"other")]).expect("write");
    staged.write_at(0, &[Bytes::from_static(b"abc")]).expect("write");
    assert_eq!(staged.read_at(2, 2).expect("read back"), "cd");
    assert!(matches!(staged.read_at(3, 4), Err(StoreError::Changed)));
    assert!(staged.record_frontier(7).is_err());
    staged.record_frontier(6).expect("record");
    assert_eq!(staged.commit(&keep()).expect("commit").size, 6);
    drop((staged, beside));
    assert_eq!((content(subject, "a"), subject.partials()), (Bytes::from_static(b"abcdef"), 0));
    let again = stage(subject, "b", &spec);
    again.write_at(0, &[Bytes::from_static(b"abc")]).expect("write");
    again.record_frontier(3).expect("record");
    drop(again);
    assert_eq!((stage(subject, "b", &spec).recorded_frontier(), subject.partials() <= 1), (0, true));
}

/// A hole reads as zeros at once and in the end, in a new stage and in one that holds other bytes from a former run.
pub fn zeros_are_read_back_whatever_was_there<S: Subject>(subject: &S) {
    const SIZE: usize = 600_000;
    let stale = vec![7; SIZE];
    for (name, is_resumed) in [("new", false), ("resumed", true)] {
        let spec = version(SIZE as u64, "v");
        if is_resumed {
            // Written beyond what was recorded, as pieces that arrived early.
            let former = stage(subject, name, &spec);
            former.write_at(0, &[Bytes::from(stale.clone())]).expect("write");
            former.record_frontier(10).expect("record");
        }
        let staged = stage(subject, name, &spec);
        assert_eq!(staged.recorded_frontier(), if is_resumed { 10 } else { 0 });
        assert!(staged.write_zeros(0..SIZE as u64 + 1).is_err());
        let mut expected = stale.clone();
        for hole in [10..200_000, 300_001..300_002, 400_000..SIZE] {
            staged.write_zeros(hole.start as u64..hole.end as u64).expect("a hole");
            expected[hole].fill(0);
        }
        assert_eq!(staged.read_at(400_000, 200_000).expect("read back"), expected[400_000..]);
        assert_eq!(staged.read_at(100, 1000).expect("read back"), expected[100..1100]);
        for data in [0..10, 200_000..300_001, 300_002..400_000] {
            staged.write_at(data.start as u64, &[Bytes::copy_from_slice(&stale[data])]).expect("write");
        }
        assert_eq!(staged.commit(&keep()).expect("commit").size, SIZE as u64);
        assert!(content(subject, name) == expected, "{name}");
    }
}

/// Zeros that arrive as bytes are content like any other, wherever they stand.
pub fn long_runs_of_zeros_are_content<S: Subject>(subject: &S) {
    let mut whole = vec![0; 700_000];
    whole[100_000..100_010].fill(1);
    whole[300_000..301_000].fill(2);
    let pieces: Vec<Bytes> = whole.chunks(1_333).map(Bytes::copy_from_slice).collect();
    for (name, is_resumed) in [("staged", false), ("again", true)] {
        let spec = version(whole.len() as u64, "v");
        if is_resumed {
            let former = stage(subject, name, &spec);
            former.write_at(0, &[Bytes::from(vec![9; whole.len()])]).expect("write");
            former.record_frontier(0).expect("record");
            former.record_frontier(1).expect("record");
        }
        let staged = stage(subject, name, &spec);
        let half = pieces.len() / 2;
        staged.write_at(half as u64 * 1_333, &pieces[half..]).expect("write the second half");
        assert!(staged.read_at(600_000, 100_000).expect("read back") == whole[600_000..]);
        staged.write_at(0, &pieces[..half]).expect("write the first half");
        staged.commit(&keep()).expect("commit");
        assert!(content(subject, name) == whole, "{name}");
    }
    subject.store().put(&path("put"), &pieces, &keep()).expect("put");
    assert!(content(subject, "put") == whole);
    subject.store().put(&path("nothing"), &[Bytes::from(vec![0; 300_000])], &keep()).expect("put");
    assert!(content(subject, "nothing") == vec![0; 300_000]);
}
