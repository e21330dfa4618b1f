//! Opening, reading and listing: attacks, changes under the reader, odd names and times.

use super::*;

#[test]
fn only_regular_files_are_opened_and_nothing_blocks() {
    let (root, store) = store();
    fs::write(root.path().join("file"), "content").unwrap();
    fs::create_dir(root.path().join("directory")).unwrap();
    rustix::fs::mkfifoat(CWD, root.path().join("fifo"), Mode::from_raw_mode(0o644)).unwrap();
    let _listener = UnixListener::bind(root.path().join("socket")).unwrap();
    fs::write(root.path().join(".hidden"), "").unwrap();
    fs::create_dir(root.path().join(".git")).unwrap();
    fs::write(root.path().join(".git/config"), "").unwrap();
    symlink("file", root.path().join("link")).unwrap();
    symlink("/dev/zero", root.path().join("zero")).unwrap();
    for name in
        ["directory", "fifo", "socket", ".hidden", ".git/config", "link", "zero", "none", "file/x", "directory/none"]
    {
        assert!(matches!(store.object(&path(name)), Err(StoreError::NotFound)), "{name}");
    }
    let object = store.object(&path("file")).unwrap();
    assert_eq!(object.read_at(0, 7).unwrap(), "content");
    assert_eq!(object.read_at(3, 2).unwrap(), "te");
    assert_eq!(object.read_at(7, 0).unwrap(), "");
    for (offset, length) in [(0, 8), (7, 1), (u64::MAX, 1), (0, usize::MAX)] {
        assert!(matches!(object.read_at(offset, length), Err(StoreError::Changed)), "{offset} {length}");
    }
    assert_eq!(listing(&store), ["file"]);
    let all = store.clone().hidden(Hidden::Included);
    assert!(all.object(&path(".hidden")).is_ok());
    assert_eq!(listing(&all), [".git/config", ".hidden", "file"]);
}

#[test]
fn devices_are_left_out() {
    let (root, store) = store();
    let device = root.path().join("null");
    let made = rustix::fs::mknodat(
        CWD,
        &device,
        FileType::CharacterDevice,
        Mode::from_raw_mode(0o666),
        rustix::fs::makedev(1, 3),
    );
    if made.is_err() {
        eprintln!("SKIPPED: no right to make device files here");
        return;
    }
    assert!(matches!(store.object(&path("null")), Err(StoreError::NotFound)));
    assert!(listing(&store).is_empty());
}

#[test]
fn a_swap_to_a_link_never_escapes() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("file"), "SECRET").unwrap();
    let (root, store) = store();
    let inner = root.path().join("d");
    fs::create_dir(&inner).unwrap();
    fs::write(inner.join("file"), "public").unwrap();
    symlink(outside.path(), root.path().join("link")).unwrap();
    // Wait out the clock tick once, so that opening is quick and many attempts fit.
    settle();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let (mut opened, mut refused) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                rustix::fs::renameat_with(
                    CWD,
                    &inner,
                    CWD,
                    root.path().join("link"),
                    rustix::fs::RenameFlags::EXCHANGE,
                )
                .unwrap();
            }
        });
        let start = std::time::Instant::now();
        let enough = |both: bool| start.elapsed() > Duration::from_millis(if both { 300 } else { 20_000 });
        while !enough(opened > 0 && refused > 0) {
            match store.object(&path("d/file")) {
                Ok(object) => {
                    assert_eq!(object.read_at(0, 6).unwrap(), "public");
                    opened += 1;
                }
                Err(StoreError::NotFound) => refused += 1,
                Err(error) => panic!("{error}"),
            }
            store
                .list(&ListQuery::default(), &mut |path, entry| {
                    assert!(path.as_str().ends_with("/file") && matches!(entry, Entry::File(meta) if meta.size == 6));
                    ControlFlow::Continue(())
                })
                .unwrap();
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(opened > 0 && refused > 0, "{opened} {refused}");
}

#[test]
fn every_way_a_file_changes_is_noticed() {
    type Change = fn(&Path);
    let changes: [(&str, Change); 5] = [
        ("append", |p| File::options().append(true).open(p).unwrap().write_all(b"x").unwrap()),
        ("truncate", |p| File::options().write(true).open(p).unwrap().set_len(3).unwrap()),
        ("rewrite", |p| fs::write(p, "CONTENT").unwrap()),
        ("one byte", |p| {
            let mut file = File::options().write(true).open(p).unwrap();
            file.seek(SeekFrom::Start(2)).unwrap();
            file.write_all(b"X").unwrap();
        }),
        ("rewrite and set the time back", |p| {
            let modified = fs::metadata(p).unwrap().modified().unwrap();
            fs::write(p, "CONTENT").unwrap();
            File::options().write(true).open(p).unwrap().set_modified(modified).unwrap();
        }),
    ];
    for (how, change) in changes {
        let (root, store) = store();
        let file = root.path().join("file");
        fs::write(&file, "content").unwrap();
        // No pause between opening and changing: opening waited out the clock tick of the first write.
        let object = store.object(&path("file")).unwrap();
        assert!(!object.meta().unsettled, "{how}");
        object.ensure_unchanged().unwrap();
        change(&file);
        assert!(matches!(object.ensure_unchanged(), Err(StoreError::Changed)), "{how}");
        assert_ne!(store.object(&path("file")).unwrap().meta().etag, object.meta().etag, "{how}");
    }
}

#[test]
fn a_replaced_or_removed_file_is_read_to_its_end() {
    let (root, store) = store();
    fs::write(root.path().join("file"), "content").unwrap();
    fs::write(root.path().join("new"), "another").unwrap();
    let object = store.object(&path("file")).unwrap();
    settle();
    fs::rename(root.path().join("new"), root.path().join("file")).unwrap();
    assert_eq!(object.read_at(0, 7).unwrap(), "content");
    object.ensure_unchanged().unwrap();
    let newer = store.object(&path("file")).unwrap();
    assert_ne!(newer.meta().etag, object.meta().etag);
    fs::remove_file(root.path().join("file")).unwrap();
    newer.ensure_unchanged().unwrap();
}

#[test]
fn a_file_cut_short_while_open_is_changed_not_short() {
    let (root, store) = store();
    fs::write(root.path().join("file"), vec![7; 100_000]).unwrap();
    let object = store.object(&path("file")).unwrap();
    File::options().write(true).open(root.path().join("file")).unwrap().set_len(50_000).unwrap();
    assert!(matches!(object.read_at(0, 100_000), Err(StoreError::Changed)));
    assert_eq!(object.read_at(0, 50_000).unwrap().len(), 50_000);
}

#[test]
fn odd_times_do_not_panic() {
    let (root, store) = store();
    for (name, seconds) in [("old", -5_000_000_000), ("before", -1), ("far", 16_000_000_000), ("end", i64::MAX)] {
        fs::write(root.path().join(name), "").unwrap();
        let times = rustix::fs::Timestamps {
            last_access: rustix::fs::Timespec { tv_sec: 0, tv_nsec: 0 },
            last_modification: rustix::fs::Timespec { tv_sec: seconds, tv_nsec: 999_999_999 },
        };
        rustix::fs::utimensat(CWD, root.path().join(name), &times, AtFlags::empty()).unwrap();
        let meta = store.object(&path(name)).unwrap().meta().clone();
        assert_eq!(meta.unsettled, name == "far" || name == "end", "{name}");
        assert_eq!(store.existing(&path(name)).unwrap().unwrap().modified, meta.modified);
    }
    assert_eq!(listing(&store).len(), 4);
}

#[test]
fn rows_come_in_byte_order_of_full_names() {
    let (root, store) = store();
    for name in ["a/x", "a/.h", "a.b", "a0", "a-", "b/c/d", "b/c.x", "b/c0/z", "é", "Z", "a b", "empty/.keep"] {
        let file = root.path().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, name).unwrap();
    }
    let names = listing(&store);
    let mut sorted = names.clone();
    sorted.sort();
    assert_eq!(names, sorted);
    assert_eq!(names, ["Z", "a b", "a-", "a.b", "a/x", "a0", "b/c.x", "b/c/d", "b/c0/z", "é"]);
    let mut first = Vec::new();
    let visit = &mut |path: RemotePath, entry: Entry| {
        let Entry::File(meta) = entry else { panic!("files only") };
        first.push((path.as_str().to_owned(), meta.size));
        if first.len() == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    store.list(&ListQuery::default(), visit).unwrap();
    assert_eq!(first, [("Z".to_owned(), 1), ("a b".to_owned(), 3)]);
}

#[test]
fn names_the_wire_cannot_carry_are_left_out() {
    let (root, store) = store();
    fs::write(root.path().join("fine"), "").unwrap();
    fs::write(root.path().join("back\\slash"), "").unwrap();
    fs::write(root.path().join("new\nline"), "").unwrap();
    let latin = std::ffi::OsStr::from_bytes(b"caf\xe9");
    fs::write(root.path().join(latin), "").unwrap();
    fs::create_dir(root.path().join("di\\r")).unwrap();
    fs::write(root.path().join("di\\r/inside"), "").unwrap();
    for _ in 0..2 {
        assert_eq!(listing(&store), ["fine", "new\nline"]);
    }
}

#[test]
fn a_tree_that_is_too_deep_is_cut_off_not_followed_for_ever() {
    let (root, store) = store();
    let deep = vec!["d"; 1000].join("/");
    fs::write(root.path().join("z"), "").unwrap();
    let bottom = resolve::make_directory(File::open(root.path()).unwrap(), &deep).unwrap();
    drop(rustix::fs::openat(bottom, "f", OFlags::CREATE | OFlags::WRONLY, Mode::from_raw_mode(0o600)).unwrap());
    assert_eq!(listing(&store), ["z"]);
    assert!(store.object(&path(&format!("{deep}/f"))).is_ok());
}

/// Fails when: what no row tells of is not told, or what is hidden is.
#[test]
fn what_a_listing_leaves_out_is_told_with_its_reason() {
    let (root, store) = store();
    fs::write(root.path().join("fine"), "").unwrap();
    fs::write(root.path().join(".hidden\\"), "").unwrap();
    fs::create_dir(root.path().join("d")).unwrap();
    fs::write(root.path().join("d/back\\slash"), "").unwrap();
    fs::write(root.path().join(std::ffi::OsStr::from_bytes(b"caf\xe9")), "").unwrap();
    rustix::fs::mkfifoat(CWD, root.path().join("fifo"), Mode::from_raw_mode(0o644)).unwrap();
    symlink(std::ffi::OsStr::from_bytes(b"\xe9"), root.path().join("link")).unwrap();
    let deep = vec!["d"; 300].join("/");
    resolve::make_directory(File::open(root.path()).unwrap(), &deep).unwrap();
    let mut told = Vec::new();
    let query = ListQuery { links: true, ..ListQuery::default() };
    let left_out = &mut |name: &str, why: Omission| told.push((name.to_owned(), why));
    store.without_warnings().list_telling(&query, &mut |_, _| ControlFlow::Continue(()), left_out).unwrap();
    told.sort_by(|a, b| a.0.cmp(&b.0));
    let expected = [
        ("caf\u{fffd}", Omission::Unnameable),
        ("d/back\\slash", Omission::Unnameable),
        (&deep[..2 * crate::local::links::MAX_DEPTH - 1], Omission::Unreadable),
        ("fifo", Omission::Special),
        ("link", Omission::Special),
    ];
    let mut expected = expected.map(|(name, why)| (name.to_owned(), why));
    expected.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(told, expected);
}

#[test]
fn a_root_that_is_missing_or_a_file_is_refused() {
    let (root, _) = store();
    fs::write(root.path().join("file"), "").unwrap();
    for name in ["none", "file"] {
        assert!(matches!(LocalStore::open_root(&root.path().join(name)), Err(StoreError::Io(_))), "{name}");
    }
}
