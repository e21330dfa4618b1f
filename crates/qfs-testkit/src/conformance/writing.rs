//! Putting, touching, and who is in whose way.

use std::ops::ControlFlow;

use bytes::Bytes;
use qfs_core::store::{CommitSpec, Condition, Entry, ListQuery, Store, StoreError, WriteStore};

use super::{Subject, content, keep, listing, path, put, replace, rows_of, stage, time, version};

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
                    let bytes = store.object(&name).and_then(|object| object.read_at(0, 1000)).expect("a whole object");
                    assert!(bytes.iter().all(|byte| *byte == bytes[0]), "a blend of two writers");
                }
                store.list(&ListQuery::default(), &mut |_, _| ControlFlow::Continue(())).expect("list");
            });
        }
    });
    assert_eq!((listing(subject).len(), subject.partials()), (2 * FILES, 0));
}

/// An executable object is listed and opened as one, however it was written.
pub fn executables_are_marked<S: Subject>(subject: &S) {
    for (name, executable) in [("no", None), ("off", Some(false)), ("on", Some(true))] {
        let spec = CommitSpec { executable, ..keep() };
        subject.store().put(&path(&format!("put-{name}")), &[Bytes::from_static(b"x")], &spec).expect("put");
        let staged = stage(subject, &format!("stage-{name}"), &version(0, "v"));
        assert_eq!(staged.commit(&spec).expect("commit").executable, executable == Some(true));
    }
    for (name, entry) in rows_of(subject, &ListQuery::default()) {
        let Entry::File(meta) = entry else { panic!("not asked for: {name}") };
        assert_eq!(meta.executable, name.ends_with("-on"), "{name}");
        assert_eq!(subject.store().object(&path(&name)).expect("open").meta().executable, meta.executable, "{name}");
    }
    // Where nobody says anything of it, it stays as it was, whatever is replaced, and however.
    let is_executable = |name: &str| subject.store().object(&path(name)).expect("open").meta().executable;
    for name in ["put-on", "stage-on", "put-off", "stage-off"] {
        let etag = subject.store().object(&path(name)).expect("open").meta().etag.clone();
        let seen = CommitSpec { condition: Condition::Matches(etag), ..keep() };
        subject.store().put(&path(name), &[Bytes::from_static(b"y")], &seen).expect("replaces what was seen");
        assert_eq!(is_executable(name), name.ends_with("-on"), "{name}");
        let staged = stage(subject, name, &version(0, "w"));
        assert_eq!(staged.commit(&replace()).expect("replaces").executable, name.ends_with("-on"), "{name}");
        assert_eq!(is_executable(name), name.ends_with("-on"), "{name}");
    }
}
