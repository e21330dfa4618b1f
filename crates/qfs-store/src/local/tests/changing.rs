//! Replacing one version, removing, directories and links: attacks and races.

use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::AtomicBool;

use super::*;
use qfs_core::store::Condition::{Any, Matches};

/// A root with links to a directory and a file outside, and a hidden file.
fn furnished() -> (TempDir, TempDir, LocalStore) {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("victim"), "victim").unwrap();
    fs::create_dir(outside.path().join("empty")).unwrap();
    let (root, store) = store();
    symlink(outside.path(), root.path().join("way")).unwrap();
    symlink(outside.path().join("victim"), root.path().join("link")).unwrap();
    symlink(outside.path().join("empty"), root.path().join("to-empty")).unwrap();
    fs::create_dir(root.path().join(".git")).unwrap();
    fs::write(root.path().join(".git/config"), "config").unwrap();
    fs::write(root.path().join(".a.0123.qfs-part"), "partial").unwrap();
    (root, outside, store)
}

fn is_refused<T>(done: Result<T, StoreError>) -> bool {
    matches!(done, Err(StoreError::NotRegular | StoreError::Conflict))
}

#[test]
fn nothing_is_removed_or_made_through_a_link() {
    let (root, outside, store) = furnished();
    let victim = Matches(store.object(&path("link")).map_or_else(|_| etag("x"), |object| object.meta().etag.clone()));
    assert!(is_refused(store.remove(&path("way/victim"), &Any, false)));
    assert!(is_refused(store.remove(&path("way/victim"), &victim, false)));
    assert!(is_refused(store.remove(&path("link"), &victim, false)));
    assert!(is_refused(store.remove_directory(&path("to-empty"), false)));
    assert!(is_refused(store.remove_directory(&path("way/empty"), false)));
    assert!(is_refused(store.make_directory(&path("way/new"), None, false)));
    assert!(is_refused(store.make_directory(&path("way"), Some(time(1)), false)));
    assert!(is_refused(store.make_link(&path("way/new"), "x", false)));
    assert!(is_refused(store.put(&path("link"), &bytes("x"), &CommitSpec { condition: victim, ..keep() })));
    store.remove(&path("link"), &Any, false).unwrap();
    assert_eq!(names_in(outside.path()), ["empty", "victim"]);
    assert_eq!(fs::read(outside.path().join("victim")).unwrap(), b"victim");
    assert_eq!(names_in(root.path()), [".a.0123.qfs-part", ".git", "to-empty", "way"]);
}

#[test]
fn hidden_names_are_touched_only_by_a_store_that_has_them_and_partial_files_by_none() {
    let (root, _outside, store) = furnished();
    let all = store.clone().hidden(Hidden::Included);
    let every = |store: &LocalStore, name: &str| {
        let path = path(name);
        let ends = [
            store.remove(&path, &Any, false).err(),
            store.make_directory(&path, None, false).err(),
            store.remove_directory(&path, false).err(),
            store.make_link(&path, "x", false).err(),
            store.put(&path, &bytes("x"), &replace()).err(),
            store.stage(&path, &spec(1)).err(),
            store.existing(&path).err(),
            store.existing_all(&[&path]).remove(0).err(),
            store.touch(&path, time(1)).err(),
        ];
        ends.iter().all(|end| matches!(end, Some(StoreError::Reserved)))
    };
    for name in [".git", ".git/config", ".new", "d/.new"] {
        assert!(every(&store, name), "{name}");
    }
    for store in [&store, &all] {
        assert!(every(store, ".a.0123.qfs-part") && every(store, "d/.1-2.qfs-part/x"));
        assert!(matches!(store.object(&path(".a.0123.qfs-part")), Err(StoreError::NotFound)));
    }
    assert_eq!(listing(&all), [".git/config"]);
    assert_eq!(fs::read(root.path().join(".git/config")).unwrap(), b"config");
    all.remove(&path(".git/config"), &Any, false).unwrap();
    all.remove_directory(&path(".git"), false).unwrap();
    assert!(!root.path().join(".git").exists() && !root.path().join("d").exists());
    let query = ListQuery { prefix: Some(path(".git")), ..ListQuery::default() };
    assert!(matches!(store.list(&query, &mut |_, _| ControlFlow::Continue(())), Err(StoreError::NotFound)));
}

/// Fails when: what came under the name of a link meanwhile is removed in its place.
#[test]
fn a_file_that_takes_the_place_of_a_link_is_not_removed() {
    let (root, store) = store();
    symlink("old", root.path().join("link")).unwrap();
    let at = root.path().join("link");
    *lock(&store.shared.meanwhile.0) = Some(Box::new(move || {
        fs::remove_file(&at).unwrap();
        fs::write(&at, "precious").unwrap();
    }));
    assert!(matches!(store.remove_link(&path("link"), Some("old"), false), Err(StoreError::Conflict)));
    assert_eq!(fs::read(root.path().join("link")).unwrap(), b"precious");
    assert_eq!(names_in(root.path()), ["link"]);
}

#[test]
fn devices_and_pipes_are_not_removed() {
    let (root, store) = store();
    rustix::fs::mkfifoat(CWD, root.path().join("fifo"), Mode::from_raw_mode(0o644)).unwrap();
    let _listener = UnixListener::bind(root.path().join("socket")).unwrap();
    for name in ["fifo", "socket"] {
        assert!(is_refused(store.remove(&path(name), &Any, false)), "{name}");
        assert!(is_refused(store.remove(&path(name), &Matches(etag("x")), false)), "{name}");
    }
    assert_eq!(names_in(root.path()), ["fifo", "socket"]);
}

#[test]
fn a_directory_with_only_a_partial_file_is_not_empty() {
    let (root, store) = store();
    fs::create_dir(root.path().join("d")).unwrap();
    fs::write(root.path().join("d/.x.1.qfs-part"), "").unwrap();
    assert!(matches!(store.remove_directory(&path("d"), false), Err(StoreError::NotEmpty)));
    fs::remove_file(root.path().join("d/.x.1.qfs-part")).unwrap();
    store.remove_directory(&path("d"), false).unwrap();
}

#[test]
fn executables_are_as_the_umask_lets_by_every_method() {
    let (root, store) = store();
    let mode = |name: &str| fs::metadata(root.path().join(name)).unwrap().permissions().mode() & 0o7777;
    let on = CommitSpec { executable: Some(true), ..replace() };
    for method in [Method::ByHandle, Method::ByProc, Method::Named] {
        store.shared.put_method.store(method as u8, Ordering::Relaxed);
        store.put(&path("plain"), &bytes("x"), &replace()).unwrap();
        store.put(&path("put"), &bytes("x"), &on).unwrap();
        assert_eq!((mode("plain"), mode("put")), (0o666 & !store.shared.umask, 0o777 & !store.shared.umask));
    }
    let staged = store.stage(&path("staged"), &spec(1)).unwrap();
    staged.write_at(0, &bytes("x")).unwrap();
    assert!(staged.commit(&on).unwrap().executable);
    assert_eq!(mode("staged"), mode("put"));
    let off = CommitSpec { executable: Some(false), ..replace() };
    for method in [Method::ByHandle, Method::ByProc, Method::Named] {
        store.shared.put_method.store(method as u8, Ordering::Relaxed);
        store.put(&path("put"), &bytes("x"), &replace()).unwrap();
        assert_eq!(mode("put"), mode("staged"), "who says nothing of it changes nothing");
        store.put(&path("put"), &bytes("x"), &off).unwrap();
        assert_eq!(mode("put"), mode("plain"));
        store.put(&path("put"), &bytes("x"), &on).unwrap();
    }
}

/// Fails when a partial file keeps the mode of what it could not replace: with that of a file that nobody may write to, only root would find
/// it again.
#[test]
fn what_was_not_committed_can_be_opened_again() {
    let (root, store) = store();
    let file = root.path().join("file");
    let seen = store.put_described(&path("file"), &bytes("base"), &keep()).unwrap().etag;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o444)).unwrap();
    let staged = store.stage(&path("file"), &spec(4)).unwrap();
    staged.write_at(0, &bytes("ours")).unwrap();
    let place = file.clone();
    *lock(&store.shared.meanwhile.0) = Some(Box::new(move || {
        fs::remove_file(&place).unwrap();
        fs::write(&place, "theirs").unwrap();
    }));
    let seen = CommitSpec { condition: Matches(seen), ..keep() };
    assert!(matches!(staged.commit(&seen), Err(StoreError::Conflict)));
    drop(staged);
    let partial = names_in(root.path()).into_iter().find(|name| name != "file").unwrap();
    assert_eq!(fs::metadata(root.path().join(partial)).unwrap().permissions().mode() & 0o200, 0o200);
    assert_eq!(store.stage(&path("file"), &spec(4)).unwrap().recorded_frontier(), 4);
}

/// Fails when: a version is looked at first and replaced or removed afterwards, without another look at what came out.
#[test]
fn what_happens_between_the_look_and_the_step_is_noticed() {
    type Act = fn(&Path);
    let acts: [(&str, Act, Option<&str>); 6] = [
        ("replaced", |root| fs::rename(root.join("theirs"), root.join("file")).unwrap(), Some("theirs")),
        ("rewritten", |root| fs::write(root.join("file"), "again").unwrap(), Some("again")),
        ("cut short", |root| fs::write(root.join("file"), "b").unwrap(), Some("b")),
        ("removed", |root| fs::remove_file(root.join("file")).unwrap(), None),
        (
            "made a link",
            |root| {
                fs::remove_file(root.join("file")).unwrap();
                symlink("theirs", root.join("file")).unwrap();
            },
            Some("theirs"),
        ),
        (
            "made a directory",
            |root| {
                fs::remove_file(root.join("file")).unwrap();
                fs::create_dir(root.join("file")).unwrap();
            },
            None,
        ),
    ];
    for (what, act, left) in acts {
        for way in ["put", "commit", "remove"] {
            let (root, store) = store();
            fs::write(root.path().join("theirs"), "theirs").unwrap();
            let seen = store.put_described(&path("file"), &bytes("base"), &keep()).unwrap().etag;
            let staged = store.stage(&path("file"), &spec(4)).unwrap();
            staged.write_at(0, &bytes("ours")).unwrap();
            let place = root.path().to_path_buf();
            *lock(&store.shared.meanwhile.0) = Some(Box::new(move || act(&place)));
            let spec = CommitSpec { condition: Matches(seen), ..keep() };
            let end = match way {
                "put" => store.put(&path("file"), &bytes("ours"), &spec),
                "commit" => staged.commit(&spec).map(drop),
                _ => store.remove(&path("file"), &spec.condition, false),
            };
            assert!(matches!(end, Err(StoreError::Conflict)), "{what}, {way}: {end:?}");
            assert_eq!(fs::read_to_string(root.path().join("file")).ok().as_deref(), left, "{what}, {way}");
            assert_eq!(root.path().join("file").exists(), what != "removed", "{what}, {way}");
            // What was refused can still be committed.
            let _ = fs::remove_dir(root.path().join("file"));
            staged.commit(&replace()).unwrap();
            assert_eq!(fs::read(root.path().join("file")).unwrap(), b"ours", "{what}, {way}");
            drop(staged);
            let rest: Vec<_> = names_in(root.path()).into_iter().filter(|name| name != "theirs").collect();
            assert_eq!(rest, ["file"], "{what}, {way}");
        }
    }
}

/// The same as it happens, with another program that publishes a version while this one replaces or removes another.
#[test]
fn what_another_program_puts_there_meanwhile_is_not_lost() {
    let (root, store) = store();
    let target = root.path().join("file");
    let (mut refused, mut replaced, mut round) = (0, 0, 0u32);
    let begun = std::time::Instant::now();
    let goes_on = |both: bool| begun.elapsed() < Duration::from_millis(if both { 400 } else { 20_000 });
    while goes_on(refused > 0 && replaced > 0) {
        round += 1;
        let seen = store.put_described(&path("file"), &bytes("base"), &keep()).unwrap().etag;
        let theirs = format!("theirs {round}");
        fs::write(root.path().join("theirs"), &theirs).unwrap();
        let together = std::sync::Barrier::new(2);
        let ours = std::thread::scope(|scope| {
            let other = scope.spawn(|| {
                together.wait();
                (0..(round % 97) * 20).for_each(|_| std::hint::spin_loop());
                fs::rename(root.path().join("theirs"), &target).unwrap();
            });
            let spec = CommitSpec { condition: Matches(seen), ..keep() };
            together.wait();
            (0..(round % 89) * 20).for_each(|_| std::hint::spin_loop());
            let ours = match round.is_multiple_of(2) {
                true => store.remove(&path("file"), &spec.condition, false),
                false => store.put(&path("file"), &bytes("ours"), &spec),
            };
            other.join().unwrap();
            ours
        });
        match ours {
            Ok(()) => replaced += 1,
            Err(StoreError::Conflict) => refused += 1,
            Err(error) => panic!("{error}"),
        }
        assert_eq!(fs::read_to_string(&target).unwrap(), theirs, "round {round}");
        assert_eq!(names_in(root.path()), ["file"], "round {round}");
        fs::remove_file(&target).unwrap();
    }
    assert!(refused > 0 && replaced > 0, "{refused} refused, {replaced} replaced");
}

/// Fails when: a directory is resolved by its path each time, or through a link.
#[test]
fn directories_swapped_with_links_while_things_are_removed() {
    let outside = tempfile::tempdir().unwrap();
    let (root, store) = store();
    let inner = root.path().join("d");
    fs::create_dir(&inner).unwrap();
    symlink(outside.path(), root.path().join("evil")).unwrap();
    for name in ["file", "other"] {
        fs::write(outside.path().join(name), "victim").unwrap();
    }
    fs::create_dir(outside.path().join("sub")).unwrap();
    let stop = AtomicBool::new(false);
    let (mut done, mut refused) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let evil = root.path().join("evil");
            while !stop.load(Ordering::Relaxed) {
                rustix::fs::renameat_with(CWD, &inner, CWD, &evil, rustix::fs::RenameFlags::EXCHANGE).unwrap();
            }
        });
        let begun = std::time::Instant::now();
        let goes_on = |both: bool| begun.elapsed() < Duration::from_millis(if both { 400 } else { 20_000 });
        while goes_on(done > 0 && refused > 0) {
            store.shared.directories.forget("d");
            let ends = [
                store.make_directory(&path("d/sub"), Some(time(3)), false),
                store.remove_directory(&path("d/sub"), false),
                store.put(&path("d/file"), &bytes("x"), &replace()),
                store.remove(&path("d/file"), &Any, false),
                store.make_link(&path("d/other"), "file", false),
                store.remove(&path("d/other"), &Any, false),
            ];
            for end in ends {
                match end {
                    Ok(()) => done += 1,
                    Err(StoreError::NotRegular | StoreError::NotFound | StoreError::Exists) => refused += 1,
                    Err(error) => panic!("{error}"),
                }
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(done > 0 && refused > 0, "{done} {refused}");
    assert_eq!(names_in(outside.path()), ["file", "other", "sub"]);
    assert_eq!(fs::read(outside.path().join("file")).unwrap(), b"victim");
    assert_ne!(fs::metadata(outside.path().join("sub")).unwrap().mtime(), 3);
}
