//! Holes: found in what is read, left in what is written. Where the file system has none, nothing is checked of them.

use std::os::unix::fs::FileExt;

use super::*;
use qfs_core::model::Holes;

const MIB: u64 = 1 << 20;

/// Whether the file system of `root` stores no holes.
fn has_holes(root: &TempDir) -> bool {
    let file = File::create(root.path().join("probe")).unwrap();
    file.set_len(MIB).unwrap();
    file.write_all_at(b"x", MIB - 1).unwrap();
    let has = file.metadata().unwrap().blocks() * 512 < MIB / 2;
    fs::remove_file(root.path().join("probe")).unwrap();
    if !has {
        eprintln!("SKIPPED: no holes on this file system");
    }
    has
}

fn allocated(root: &TempDir, name: &str) -> u64 {
    fs::metadata(root.path().join(name)).unwrap().blocks() * 512
}

fn holes_of(store: &LocalStore, name: &str) -> Holes {
    store.object(&path(name)).unwrap().holes().unwrap()
}

#[test]
fn holes_of_a_file_are_found() {
    let (root, store) = store();
    if !has_holes(&root) {
        return;
    }
    let file = File::create(root.path().join("mixed")).unwrap();
    file.set_len(10 * MIB).unwrap();
    for at in [0, 4 * MIB, 7 * MIB] {
        file.write_all_at(&[1; 4096], at).unwrap();
    }
    let holes = holes_of(&store, "mixed");
    assert_eq!(holes.len(), 3);
    assert!(holes.bytes() > 9 * MIB && !holes.cover(&(0..1)) && holes.cover(&(5 * MIB..7 * MIB)), "{holes:?}");
    assert!(holes.cover(&(8 * MIB..10 * MIB)));
    let empty = File::create(root.path().join("empty")).unwrap();
    empty.set_len(3 * MIB).unwrap();
    assert_eq!(holes_of(&store, "empty"), Holes::new(vec![0..3 * MIB]).unwrap());
    fs::write(root.path().join("full"), vec![0; 300_000]).unwrap();
    assert!(holes_of(&store, "full").is_empty(), "zeros that are stored are no hole");
    fs::write(root.path().join("nothing"), "").unwrap();
    assert!(holes_of(&store, "nothing").is_empty());
    // A hole that is filled is a change like any other.
    let object = store.object(&path("empty")).unwrap();
    assert_eq!(object.holes().unwrap().bytes(), 3 * MIB);
    settle();
    empty.write_all_at(b"x", MIB).unwrap();
    assert!(matches!(object.ensure_unchanged(), Err(StoreError::Changed)));
}

#[test]
fn the_holes_of_a_file_that_is_all_holes_are_bounded() {
    let (root, store) = store();
    if !has_holes(&root) {
        return;
    }
    let file = File::create(root.path().join("comb")).unwrap();
    for tooth in 0..20_000 {
        file.write_all_at(b"x", tooth * 8192).unwrap();
    }
    let holes = holes_of(&store, "comb");
    assert!(holes.len() <= 16_384 && holes.len() > 1000, "{}", holes.len());
}

#[test]
fn long_runs_of_zeros_are_not_stored_unless_asked_for() {
    let (root, store) = store();
    if !has_holes(&root) {
        return;
    }
    let mut content = vec![0; 4 << 20];
    content[1 << 20..(1 << 20) + 10].fill(1);
    content[(4 << 20) - 70_000..(4 << 20) - 69_000].fill(2);
    let pieces: Vec<Bytes> = content.chunks(1452).map(Bytes::copy_from_slice).collect();
    let dense = store.clone().sparse(false);
    for (store, name, most) in [(&store, "sparse", 100_000), (&dense, "dense", u64::MAX)] {
        for method in [Method::ByHandle, Method::ByProc, Method::Named] {
            store.shared.put_method.store(method as u8, Ordering::Relaxed);
            store.put(&path(name), &pieces, &replace()).unwrap();
            assert!(fs::read(root.path().join(name)).unwrap() == content, "{name} {method:?}");
            assert_eq!(allocated(&root, name) < most, name == "sparse" || most == u64::MAX, "{name} {method:?}");
        }
        let name = &format!("staged-{name}");
        let staged = store.stage(&path(name), &spec(4 << 20)).unwrap();
        for (number, batch) in pieces.chunks(350).enumerate().rev() {
            staged.write_at(number as u64 * 350 * 1452, batch).unwrap();
        }
        staged.commit(&keep()).unwrap();
        assert!(fs::read(root.path().join(name)).unwrap() == content, "{name}");
        // What lies across two batches is stored.
        assert!(allocated(&root, name) < most.saturating_mul(3), "{name}: {}", allocated(&root, name));
    }
    assert!(allocated(&root, "dense") >= 4 << 20 && allocated(&root, "staged-dense") >= 4 << 20);
}

#[test]
fn a_hole_over_stale_bytes_gives_their_room_back() {
    let (root, store) = store();
    if !has_holes(&root) {
        return;
    }
    let former = store.stage(&path("file"), &spec(4 * MIB)).unwrap();
    former.write_at(0, &[Bytes::from(vec![5; 4 << 20])]).unwrap();
    former.record_frontier(MIB).unwrap();
    drop(former);
    let staged = store.stage(&path("file"), &spec(4 * MIB)).unwrap();
    staged.write_zeros(MIB..3 * MIB).unwrap();
    staged.write_at(3 * MIB, &[Bytes::from(vec![0; 1 << 20])]).unwrap();
    staged.commit(&keep()).unwrap();
    let content = fs::read(root.path().join("file")).unwrap();
    assert!(content[..1 << 20].iter().all(|byte| *byte == 5) && content[1 << 20..].iter().all(|byte| *byte == 0));
    assert!(allocated(&root, "file") < MIB + 100_000, "{}", allocated(&root, "file"));
}

/// Fails when: what a stage needs is counted with its holes, or what it needs besides is not.
#[test]
fn holes_need_no_room() {
    let (_root, store) = store();
    let huge = StageSpec { size: Some(1 << 42), etag: etag("huge") };
    assert!(matches!(store.stage(&path("huge"), &huge), Err(StoreError::NoSpace { .. })));
    let staged = store.stage_sparse(&path("huge"), &huge, (1 << 42) - MIB).unwrap();
    staged.write_at(0, &bytes("x")).unwrap();
    let dense = store.clone().sparse(false);
    assert!(matches!(dense.stage_sparse(&path("other"), &huge, 1 << 42), Err(StoreError::NoSpace { .. })));
    assert!(matches!(store.stage_sparse(&path("other"), &huge, 0), Err(StoreError::NoSpace { .. })));
}
