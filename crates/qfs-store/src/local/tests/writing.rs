//! Small objects, directories, times.

use super::*;

fn methods() -> [Method; 3] {
    [Method::ByHandle, Method::ByProc, Method::Named]
}

#[test]
fn put_makes_directories_and_sets_the_time_by_every_method() {
    for method in methods() {
        let (root, store) = store();
        store.shared.put_method.store(method as u8, Ordering::Relaxed);
        let parts = [Bytes::from_static(b"he"), Bytes::new(), Bytes::from_static(b"llo")];
        store.put(&path("x/y/file"), &parts, &keep()).unwrap();
        store.put(&path("empty"), &[], &keep()).unwrap();
        let file = root.path().join("x/y/file");
        assert_eq!(fs::read(&file).unwrap(), b"hello");
        let meta = fs::metadata(&file).unwrap();
        assert_eq!((meta.mtime(), meta.mtime_nsec(), meta.mode() & 0o133), (1_700_000_000, 123_456_789, 0));
        let found = store.existing(&path("x/y/file")).unwrap().unwrap();
        assert_eq!(found, TargetMeta { size: 5, modified: time(1_700_000_000), executable: false });
        assert_eq!(names_in(&root.path().join("x/y")), ["file"], "{method:?}");
        assert_eq!(names_in(root.path()), ["empty", "x"], "{method:?}");
    }
}

#[test]
fn put_never_replaces_unless_told_and_follows_no_link() {
    for method in methods() {
        let (root, store) = store();
        store.shared.put_method.store(method as u8, Ordering::Relaxed);
        let outside = tempfile::tempdir().unwrap();
        let victim = outside.path().join("victim");
        fs::write(&victim, "victim").unwrap();
        fs::write(root.path().join("file"), "old").unwrap();
        fs::create_dir(root.path().join("directory")).unwrap();
        symlink(&victim, root.path().join("link")).unwrap();
        symlink(outside.path(), root.path().join("way")).unwrap();
        let put = |name, spec| store.put(&path(name), &bytes("new"), &spec);
        assert!(matches!(put("file", keep()), Err(StoreError::Exists)), "{method:?}");
        assert!(matches!(put("link", keep()), Err(StoreError::NotRegular)), "{method:?}");
        for spec in [keep(), replace()] {
            assert!(matches!(put("directory", spec.clone()), Err(StoreError::NotRegular)), "{method:?}");
            assert!(matches!(put("way/new", spec.clone()), Err(StoreError::NotRegular)), "{method:?}");
            assert!(matches!(put("file/new", spec), Err(StoreError::NotRegular)), "{method:?}");
        }
        assert_eq!(fs::read(root.path().join("file")).unwrap(), b"old");
        put("file", replace()).unwrap();
        put("link", replace()).unwrap();
        assert_eq!(fs::read(root.path().join("file")).unwrap(), b"new");
        assert!(fs::symlink_metadata(root.path().join("link")).unwrap().is_file());
        assert_eq!(fs::read(&victim).unwrap(), b"victim");
        assert_eq!(names_in(outside.path()), ["victim"]);
        assert_eq!(names_in(root.path()), ["directory", "file", "link", "way"], "{method:?}");
    }
}

#[test]
fn a_directory_removed_or_renamed_meanwhile_is_made_again() {
    let (root, store) = store();
    for method in methods() {
        store.shared.put_method.store(method as u8, Ordering::Relaxed);
        store.put(&path("d/one"), &bytes("1"), &keep()).unwrap();
        fs::remove_dir_all(root.path().join("d")).unwrap();
        store.put(&path("d/two"), &bytes("2"), &keep()).unwrap();
        assert_eq!(names_in(&root.path().join("d")), ["two"], "{method:?}");
        fs::remove_dir_all(root.path().join("d")).unwrap();
    }
    // As far as a removed directory allows: the staged partial is gone with it.
    let staged = store.stage(&path("d/three"), &spec(1)).unwrap();
    staged.write_at(0, &bytes("3")).unwrap();
    fs::remove_dir_all(root.path().join("d")).unwrap();
    assert!(matches!(staged.commit(&keep()), Err(StoreError::Io(_))));
    assert!(store.stage(&path("d/three"), &spec(1)).is_ok());
}

#[test]
fn existing_tells_files_from_everything_else() {
    let (root, store) = store();
    let store = store.hidden(Hidden::Included);
    fs::write(root.path().join(".hidden"), "12").unwrap();
    fs::create_dir(root.path().join("directory")).unwrap();
    symlink(".hidden", root.path().join("link")).unwrap();
    assert_eq!(store.existing(&path(".hidden")).unwrap().unwrap().size, 2);
    assert_eq!(store.existing(&path("none")).unwrap(), None);
    assert_eq!(store.existing(&path("none/at/all")).unwrap(), None);
    for name in ["directory", "link", "link/x"] {
        assert!(matches!(store.existing(&path(name)), Err(StoreError::NotRegular)), "{name}");
    }
    assert_eq!(names_in(root.path()), [".hidden", "directory", "link"]);
    // In any order of directories; fails when one directory's answer is taken for another's.
    let names =
        ["none", "none/at/all", "none/a", ".hidden", "none/b", "directory/none", ".hidden", "none/at/a", "directory"];
    let paths: Vec<_> = names.iter().map(|name| path(name)).collect();
    let singly: Vec<_> = paths.iter().map(|path| format!("{:?}", store.existing(path))).collect();
    assert_eq!(
        store
            .existing_all(&paths.iter().collect::<Vec<_>>())
            .iter()
            .map(|found| format!("{found:?}"))
            .collect::<Vec<_>>(),
        singly
    );
}

#[test]
fn touch_sets_the_time_of_a_file_and_of_nothing_behind_a_link() {
    let (root, store) = store();
    fs::write(root.path().join("file"), "").unwrap();
    symlink("file", root.path().join("link")).unwrap();
    store.touch(&path("file"), time(1000)).unwrap();
    assert_eq!(store.existing(&path("file")).unwrap().unwrap().modified, time(1000));
    assert!(matches!(store.touch(&path("link"), time(2000)), Err(StoreError::NotRegular)));
    assert!(matches!(store.touch(&path("none"), time(2000)), Err(StoreError::NotFound)));
    assert_eq!(fs::metadata(root.path().join("file")).unwrap().mtime(), 1000);
}

#[test]
fn durable_commits_sync_every_directory_on_the_way() {
    let base = tempfile::tempdir().unwrap();
    let store = LocalStore::create_root(&base.path().join("made/root")).unwrap();
    let durable = CommitSpec { durable: true, ..keep() };
    for number in 0..300 {
        store.put(&path(&format!("a/{number}/file")), &bytes("x"), &durable).unwrap();
    }
    store.sync_directories().unwrap();
    store.sync_directories().unwrap();
    assert_eq!(listing(&store).len(), 300);
}
