//! Nothing is replaced or removed but under its condition.

use bytes::Bytes;
use qfs_core::model::ETag;
use qfs_core::store::{CommitSpec, Condition, Store, StoreError, WriteStore};

use super::{Subject, content, etag, keep, listing, path, put, replace, stage, time, version};

fn only(etag: ETag) -> CommitSpec {
    CommitSpec { condition: Condition::Matches(etag), ..keep() }
}

/// Puts or stages and commits `content`.
fn write<S: Subject>(
    subject: &S,
    staged: bool,
    name: &str,
    content: &[u8],
    spec: &CommitSpec,
) -> Result<(), StoreError> {
    let chunks = [Bytes::copy_from_slice(content)];
    if !staged {
        return subject.store().put(&path(name), &chunks, spec);
    }
    let stage = stage(subject, name, &version(content.len() as u64, "v"));
    stage.write_at(0, &chunks)?;
    stage.commit(spec).map(drop)
}

/// Time and bit are set where the version is the one named, and leave the content alone.
pub fn metadata_is_set_on_one_version_and_no_other<S: Subject>(subject: &S) {
    let store = subject.store();
    put(subject, "d/file", "content");
    let before = etag(subject, "d/file");
    let other: ETag = "another".parse().expect("an etag");
    let refused = store.set_metadata(&path("d/file"), Some(&other), Some(time(7)), Some(true));
    assert!(matches!(refused, Err(StoreError::Conflict)));
    assert_eq!(etag(subject, "d/file"), before);
    let meta = store.set_metadata(&path("d/file"), Some(&before), Some(time(7)), Some(true)).expect("this version");
    let found = store.object(&path("d/file")).expect("open").meta().clone();
    assert_eq!((found.modified, found.executable, &found.etag), (time(7), true, &meta.etag));
    assert!(found.etag != before && content(subject, "d/file") == b"content"[..]);
    store.set_metadata(&path("d/file"), None, None, Some(false)).expect("any version");
    let found = store.object(&path("d/file")).expect("open").meta().clone();
    assert_eq!((found.modified, found.executable), (time(7), false));
    assert!(matches!(store.set_metadata(&path("none"), None, Some(time(1)), None), Err(StoreError::NotFound)));
}

/// What a commit or a put tells is what an opening finds.
pub fn what_was_committed_is_described<S: Subject>(subject: &S) {
    let store = subject.store();
    let staged = stage(subject, "staged", &version(3, "v"));
    staged.write_at(0, &[Bytes::from_static(b"abc")]).expect("write");
    let metas = [
        ("staged", staged.commit(&keep()).expect("commit")),
        ("put", store.put_described(&path("put"), &[Bytes::from_static(b"abc")], &keep()).expect("put")),
    ];
    for (name, meta) in metas {
        let found = store.object(&path(name)).expect("open").meta().clone();
        assert_eq!((&meta.etag, meta.size, meta.modified), (&found.etag, 3, found.modified), "{name}");
        let spec = only(meta.etag);
        let replaced = store.put_described(&path(name), &[Bytes::from_static(b"abcd")], &spec).expect("replace");
        assert_eq!(etag(subject, name), replaced.etag, "{name}");
    }
}

/// A condition that names a version lets that one be replaced, once.
pub fn one_version_is_replaced_and_no_other<S: Subject>(subject: &S) {
    for staged in [false, true] {
        let name = if staged { "staged" } else { "put" };
        let write = |content: &[u8], spec: &CommitSpec| write(subject, staged, name, content, spec);
        put(subject, "other", "other");
        assert!(matches!(write(b"new", &only(etag(subject, "other"))), Err(StoreError::Conflict)), "nothing is there");
        assert!(matches!(subject.store().object(&path(name)), Err(StoreError::NotFound)));
        write(b"first", &keep()).expect("absent");
        let first = etag(subject, name);
        write(b"second", &only(first.clone())).expect("the version that is there");
        assert_eq!(content(subject, name), "second");
        for stale in [first, etag(subject, "other")] {
            assert!(matches!(write(b"third", &only(stale)), Err(StoreError::Conflict)));
            assert_eq!(content(subject, name), "second");
        }
        let second = etag(subject, name);
        subject.mutate(&path(name), b"SECOND");
        assert!(matches!(write(b"third", &only(second)), Err(StoreError::Conflict)));
        assert_eq!(content(subject, name), "SECOND");
        put(subject, &format!("{name}-dir/x"), "x");
        let directory = subject.store().put(&path(&format!("{name}-dir")), &[], &only(etag(subject, name)));
        assert!(matches!(directory, Err(StoreError::NotRegular)));
        subject.store().remove(&path("other"), &Condition::Any, false).expect("remove");
    }
    // What was refused is a partial object that another run may commit, or nothing.
    assert!(subject.partials() <= 1, "{}", subject.partials());
    assert_eq!(listing(subject).len(), 4);
}

/// The same of a removal.
pub fn one_version_is_removed_and_no_other<S: Subject>(subject: &S) {
    put(subject, "d/a", "first");
    let remove = |condition: &Condition| subject.store().remove(&path("d/a"), condition, true);
    let first = etag(subject, "d/a");
    subject.store().put(&path("d/a"), &[Bytes::from_static(b"second")], &replace()).expect("replace");
    assert!(matches!(remove(&Condition::Matches(first)), Err(StoreError::Conflict)));
    assert!(matches!(remove(&Condition::Absent), Err(StoreError::Exists)));
    assert_eq!(content(subject, "d/a"), "second");
    remove(&Condition::Matches(etag(subject, "d/a"))).expect("the version that is there");
    assert!(matches!(remove(&Condition::Any), Err(StoreError::NotFound)));
    assert!(matches!(remove(&Condition::Absent), Err(StoreError::NotFound)));
    assert!(listing(subject).is_empty());
    subject.store().sync_directories().expect("sync");
    assert_eq!(subject.partials(), 0);
}

/// Writers that all saw the same version: one replaces it, and the others are told.
pub fn of_many_writers_of_one_version_one_wins<S: Subject>(subject: &S) {
    const WRITERS: u8 = 4;
    const ROUNDS: usize = 30;
    put(subject, "a", "none");
    for round in 0..ROUNDS {
        let seen = etag(subject, "a");
        let won: Vec<u8> = std::thread::scope(|scope| {
            let (seen, store) = (&seen, subject.store());
            let writers: Vec<_> = (0..WRITERS)
                .map(|n| {
                    scope.spawn(move || (n, store.put(&path("a"), &[Bytes::from(vec![n; 9])], &only(seen.clone()))))
                })
                .collect();
            let ends = writers.into_iter().map(|writer| writer.join().expect("no panic"));
            ends.filter_map(|(n, end)| match end {
                Ok(()) => Some(n),
                Err(StoreError::Conflict) => None,
                Err(error) => panic!("{error}"),
            })
            .collect()
        });
        let [winner] = won[..] else { panic!("round {round}: {won:?} won") };
        assert_eq!(content(subject, "a"), vec![winner; 9], "round {round}");
    }
    assert_eq!((listing(subject).len(), subject.partials()), (1, 0));
}
