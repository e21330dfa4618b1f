//! Removing, directories and links.

use qfs_core::store::{Condition, ListQuery, Store, StoreError, WriteStore};

use super::{Subject, content, keep, link, listing, path, put, replace, rows_of, time};

/// `remove` takes files and links away, and nothing else.
pub fn files_and_links_are_removed_and_nothing_else<S: Subject>(subject: &S) {
    let store = subject.store();
    put(subject, "d/file", "x");
    put(subject, "d/kept", "kept");
    store.remove(&path("d/file"), &Condition::Any, false).expect("a file");
    if link(subject, "d/link", "kept") {
        store.remove(&path("d/link"), &Condition::Any, false).expect("a link");
        store.make_link(&path("d/link"), "kept", false).expect("link");
        assert!(matches!(store.remove_link(&path("d/link"), Some("other"), false), Err(StoreError::Conflict)));
        store.remove_link(&path("d/link"), Some("kept"), false).expect("this link");
    }
    assert!(matches!(store.remove_link(&path("d/kept"), None, false), Err(StoreError::NotRegular)));
    assert!(matches!(store.remove_link(&path("d"), None, false), Err(StoreError::NotRegular)));
    assert!(matches!(store.remove_link(&path("d/link"), None, false), Err(StoreError::NotFound)));
    assert_eq!(content(subject, "d/kept"), "kept");
    for (name, error) in
        [("d", "not regular"), ("d/kept/x", "not regular"), ("none", "not found"), ("none/x", "not found")]
    {
        match (store.remove(&path(name), &Condition::Any, false), error) {
            (Err(StoreError::NotRegular), "not regular") | (Err(StoreError::NotFound), "not found") => {}
            (end, _) => panic!("{name}: {end:?}"),
        }
    }
    assert_eq!(listing(subject), [("d/kept".to_owned(), 4)]);
}

/// Directories come with those above them, and go when nothing is in them.
pub fn directories_are_made_and_removed_when_empty<S: Subject>(subject: &S) {
    let store = subject.store();
    store.make_directory(&path("a/b/c"), Some(time(9)), true).expect("make");
    store.make_directory(&path("a/b/c"), Some(time(10)), true).expect("one that is there");
    let query = ListQuery { directories: true, ..ListQuery::default() };
    let names: Vec<_> = rows_of(subject, &query).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["a", "a/b", "a/b/c"]);
    put(subject, "file", "x");
    for name in ["file", "file/x"] {
        assert!(matches!(store.make_directory(&path(name), None, false), Err(StoreError::NotRegular)), "{name}");
        assert!(matches!(store.remove_directory(&path(name), false), Err(StoreError::NotRegular)), "{name}");
    }
    assert!(matches!(store.remove_directory(&path("a"), false), Err(StoreError::NotEmpty)));
    assert!(matches!(store.remove_directory(&path("a/none"), false), Err(StoreError::NotFound)));
    for name in ["a/b/c", "a/b", "a"] {
        store.remove_directory(&path(name), true).expect("an empty one");
        assert!(matches!(store.remove_directory(&path(name), true), Err(StoreError::NotFound)), "{name}");
    }
    store.sync_directories().expect("sync");
    // What was removed is made again, in spite of whatever is remembered of it.
    put(subject, "a/b/c/file", "x");
    assert_eq!(rows_of(subject, &query).len(), 5);
}

/// Links lead to what is inside, are not followed, and replace nothing.
pub fn links_are_made_inside_only<S: Subject>(subject: &S) {
    let store = subject.store();
    put(subject, "d/file", "content");
    for target in ["/etc/passwd", "../../x", "file/..", ""] {
        assert!(matches!(store.make_link(&path("d/bad"), target, false), Err(StoreError::Outside)), "{target}");
    }
    if !link(subject, "d/link", "file") {
        return;
    }
    store.make_link(&path("new/up"), "../d", true).expect("link");
    store.sync_directories().expect("sync");
    assert!(matches!(store.make_link(&path("d/file"), "x", false), Err(StoreError::Exists)));
    for name in ["d", "d/link", "d/file/x", "new/up/x"] {
        assert!(matches!(store.make_link(&path(name), "x", false), Err(StoreError::NotRegular)), "{name}");
    }
    for name in ["d/link", "new/up", "new/up/file"] {
        assert!(matches!(store.object(&path(name)), Err(StoreError::NotFound)), "{name}");
        assert!(matches!(store.existing(&path(name)), Err(StoreError::NotRegular)), "{name}");
    }
    assert!(matches!(store.put(&path("new/up/x"), &[], &replace()), Err(StoreError::NotRegular)));
    assert!(matches!(store.put(&path("d/link"), &[], &keep()), Err(StoreError::NotRegular)));
    assert!(matches!(store.remove(&path("new/up/file"), &Condition::Any, false), Err(StoreError::NotRegular)));
    assert!(matches!(store.remove_directory(&path("new/up"), false), Err(StoreError::NotRegular)));
    store.put(&path("d/link"), &[], &replace()).expect("a link is replaced, not followed");
    assert_eq!((content(subject, "d/file").len(), content(subject, "d/link").len()), (7, 0));
}
