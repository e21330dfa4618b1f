//! Opening, reading and listing.

use std::ops::ControlFlow;

use bytes::Bytes;
use qfs_core::store::{Entry, ListQuery, Store, StoreError, WriteStore};

use super::{Subject, content, etag, link, listing, path, put, replace, rows_of, time};

/// What was put is there under its name, with its size and time.
pub fn puts_are_opened_and_listed<S: Subject>(subject: &S) {
    put(subject, "a", "one");
    put(subject, "sub/dir/b", "three");
    assert_eq!(content(subject, "sub/dir/b"), "three");
    assert_eq!(listing(subject), [("a".to_owned(), 3), ("sub/dir/b".to_owned(), 5)]);
    let object = subject.store().object(&path("a")).expect("open");
    assert_eq!((object.meta().size, object.meta().modified), (3, time(1_600_000_000)));
    subject.store().sync_directories().expect("sync");
}

/// What is not there is not found, and a directory is nothing to open.
pub fn missing_objects_are_not_found<S: Subject>(subject: &S) {
    put(subject, "dir/file", "x");
    for name in ["none", "dir", "dir/none", "dir/file/none", "none/none"] {
        let opened = subject.store().object(&path(name));
        assert!(matches!(opened, Err(StoreError::NotFound)), "{name}");
    }
}

/// A read gives exactly what was asked for, or says that the object is shorter.
pub fn reads_are_exact<S: Subject>(subject: &S) {
    put(subject, "a", "0123456789");
    let object = subject.store().object(&path("a")).expect("open");
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
        let object = subject.store().object(&path(&name)).expect("open");
        object.ensure_unchanged().expect("nothing changed yet");
        subject.mutate(&path(&name), new.as_bytes());
        if !S::OUTLIVES {
            let read = object.read_at(0, 10);
            assert!(matches!(&read, Err(StoreError::Changed)) || new == "0123456789", "{new}: {read:?}");
            assert!(read.is_err() || read.is_ok_and(|bytes| bytes == "0123456789"), "{new}");
            continue;
        }
        assert!(matches!(object.ensure_unchanged(), Err(StoreError::Changed)), "{new}");
        if new.len() < 10 {
            assert!(matches!(object.read_at(0, 10), Err(StoreError::Changed)), "{new}");
        }
    }
}

/// An opened object outlives its name.
pub fn replaced_and_removed_objects_are_read_to_their_end<S: Subject>(subject: &S) {
    put(subject, "a", "first");
    let first = subject.store().object(&path("a")).expect("open");
    subject.store().put(&path("a"), &[Bytes::from_static(b"second")], &replace()).expect("replace");
    let second = subject.store().object(&path("a")).expect("open");
    subject.remove(&path("a"));
    for (object, expected) in [(first, "first"), (second, "second")] {
        match object.read_at(0, expected.len()) {
            Ok(bytes) => assert_eq!(bytes, expected),
            Err(StoreError::Changed | StoreError::NotFound) if !S::OUTLIVES => {}
            Err(error) => panic!("{expected}: {error}"),
        }
        object.ensure_unchanged().expect("its content is what it was");
    }
    assert!(matches!(subject.store().object(&path("a")), Err(StoreError::NotFound)));
}

/// The same version has the same etag, another version another.
pub fn etags_name_versions<S: Subject>(subject: &S) {
    put(subject, "a", "content");
    put(subject, "b", "content");
    let first = etag(subject, "a");
    assert_eq!(etag(subject, "a"), first);
    assert_ne!(etag(subject, "b"), first);
    let listed = &mut None;
    let visit = &mut |_, entry| {
        if let Entry::File(meta) = entry {
            *listed = Some(meta.etag);
        }
        ControlFlow::Break(())
    };
    subject.another().list(&ListQuery::default(), visit).expect("list");
    assert_eq!(listed.as_ref(), Some(&first));
    subject.mutate(&path("a"), b"CONTENT");
    let second = etag(subject, "a");
    assert_ne!(second, first);
    subject.store().put(&path("a"), &[Bytes::from_static(b"CONTENT")], &replace()).expect("replace");
    assert_ne!(etag(subject, "a"), second);
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
    subject.store().list(&ListQuery::default(), visit).expect("list");
    assert_eq!(seen, 3);
}

/// Opening reads what is small enough, and only all of it.
pub fn small_objects_come_with_their_opening<S: Subject>(subject: &S) {
    put(subject, "a", "0123456789");
    put(subject, "empty", "");
    for first in [10, 11, usize::MAX] {
        let (object, content) = subject.store().open(&path("a"), first).expect("open");
        assert_eq!((content, object.meta().size), (Bytes::from_static(b"0123456789"), 10), "{first}");
    }
    for first in [0, 1, 9] {
        let (object, content) = subject.store().open(&path("a"), first).expect("open");
        assert!(content.len() <= first && b"0123456789".starts_with(&content), "{first}");
        assert_eq!(object.read_at(0, 10).expect("read"), "0123456789");
    }
    assert!(subject.store().open(&path("empty"), 7).expect("open").1.is_empty());
    assert!(matches!(subject.store().open(&path("none"), 7), Err(StoreError::NotFound)));
}

/// A prefix and a name to go on behind leave out exactly the rows that they say.
pub fn listings_begin_anywhere<S: Subject>(subject: &S) {
    for name in ["Z", "a-/z", "a.b", "a/b.c", "a/b/c", "a/b/d/e", "a/b0", "a/x", "a0", "b"] {
        put(subject, name, "x");
    }
    subject.store().make_directory(&path("a/empty"), None, false).expect("make");
    let has_link = link(subject, "a/link", "b");
    for (directories, links) in [(false, false), (true, false), (true, true)] {
        let every = ListQuery { directories, links, ..ListQuery::default() };
        let all: Vec<_> = rows_of(subject, &every).into_iter().map(|(name, _)| name).collect();
        assert!(all.is_sorted() && all.len() >= 10, "{all:?}");
        let behind = [None, Some("a"), Some("a/"), Some("a/b"), Some("a/b/"), Some("a/b/zzz"), Some("a/a"), Some("zz")];
        let names = all.iter().map(|name| Some(name.as_str()));
        for after in behind.into_iter().chain(names) {
            // A slash at the end is no name; one letter more behaves alike here.
            let after = after.map(|text| text.strip_suffix('/').map_or(text.to_owned(), |text| format!("{text}/!")));
            for prefix in [None, Some("a"), Some("a/b"), Some("a-"), Some("a/empty")] {
                if prefix == Some("a/empty") && !directories {
                    continue;
                }
                let query = ListQuery { prefix: prefix.map(path), after: after.as_deref().map(path), ..every.clone() };
                let found: Vec<_> = rows_of(subject, &query).into_iter().map(|(name, _)| name).collect();
                let wanted = all.iter().filter(|name| {
                    prefix.is_none_or(|prefix| name.starts_with(&format!("{prefix}/")))
                        && after.as_ref().is_none_or(|after| *name > after)
                });
                assert_eq!(found, wanted.cloned().collect::<Vec<_>>(), "{query:?}");
            }
        }
    }
    // Of each directory alone what is directly in it.
    for (prefix, wanted) in [
        (None, &["Z", "a", "a-", "a.b", "a0", "b"][..]),
        (
            Some("a"),
            if has_link {
                &["a/b", "a/b.c", "a/b0", "a/empty", "a/link", "a/x"]
            } else {
                &["a/b", "a/b.c", "a/b0", "a/empty", "a/x"]
            },
        ),
        (Some("a/b"), &["a/b/c", "a/b/d"]),
        (Some("a/empty"), &[]),
    ] {
        let query = ListQuery {
            prefix: prefix.map(path),
            directories: true,
            links: true,
            shallow: true,
            ..ListQuery::default()
        };
        let found: Vec<_> = rows_of(subject, &query).into_iter().map(|(name, _)| name).collect();
        assert_eq!(found, wanted, "{prefix:?}");
    }
    for (prefix, after, wanted) in [
        (Some("a"), None, &["a/b.c", "a/b0", "a/x"][..]),
        (Some("a"), Some("a/b/zzz"), &["a/b0", "a/x"]),
        (Some("a"), Some("a/b.c"), &["a/b0", "a/x"]),
        (None, Some("a/x"), &["a0", "b"]),
        (None, Some("Z"), &["a.b", "a0", "b"]),
    ] {
        let prefix = prefix.map(path);
        let query = ListQuery { prefix, after: after.map(path), shallow: true, ..ListQuery::default() };
        let found: Vec<_> = rows_of(subject, &query).into_iter().map(|(name, _)| name).collect();
        assert_eq!(found, wanted, "{query:?}");
    }
    for prefix in ["none", "b", "b/none", "a/link"] {
        let query = ListQuery { prefix: Some(path(prefix)), ..ListQuery::default() };
        let listed = subject.store().list(&query, &mut |_, _| ControlFlow::Continue(()));
        assert!(matches!(listed, Err(StoreError::NotFound)), "{prefix}: {listed:?}");
    }
}

/// Kinds that were not asked for are no rows; those that were are described.
pub fn directories_and_links_are_rows_when_asked_for<S: Subject>(subject: &S) {
    put(subject, "d/file", "123");
    subject.store().make_directory(&path("d/sub"), Some(time(7)), false).expect("make");
    if !link(subject, "d/link", "../d/file") {
        return directories_alone_are_rows(subject);
    }
    subject.store().make_directory(&path("d"), Some(time(8)), false).expect("make");
    assert_eq!(listing(subject), [("d/file".to_owned(), 3)]);
    let query = ListQuery { directories: true, links: true, ..ListQuery::default() };
    let rows = rows_of(subject, &query);
    let names: Vec<_> = rows.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["d", "d/file", "d/link", "d/sub"]);
    assert!(matches!(&rows[0].1, Entry::Directory(meta) if meta.modified == time(8)));
    assert!(matches!(&rows[1].1, Entry::File(meta) if meta.size == 3 && !meta.executable));
    assert!(matches!(&rows[2].1, Entry::Link(meta) if meta.target == "../d/file"));
    assert!(matches!(&rows[3].1, Entry::Directory(meta) if meta.modified == time(7)));
    let files_and = |query: ListQuery| rows_of(subject, &query).len();
    assert_eq!(files_and(ListQuery { directories: true, ..ListQuery::default() }), 3);
    assert_eq!(files_and(ListQuery { links: true, ..ListQuery::default() }), 2);
}

/// The same where there are no links.
fn directories_alone_are_rows<S: Subject>(subject: &S) {
    subject.store().make_directory(&path("d"), Some(time(8)), false).expect("make");
    let rows = rows_of(subject, &ListQuery { directories: true, links: true, ..ListQuery::default() });
    let names: Vec<_> = rows.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["d", "d/file", "d/sub"]);
    assert!(matches!(&rows[0].1, Entry::Directory(meta) if meta.modified == time(8)));
    assert!(matches!(&rows[2].1, Entry::Directory(meta) if meta.modified == time(7)));
}
