//! Random trees: made, changed, copied and told apart, without any of the code under test.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use fastrand::Rng;
use qfs_core::model::Digest;
use qfs_testkit::tree::ODD_NAMES;

/// Most things in a tree that is made.
const MOST_THINGS: usize = 40;

/// Adds up to [`MOST_THINGS`] files, directories and, with `links`, links that end inside.
pub(crate) fn grow(root: &Path, random: &mut Rng, links: bool) {
    for _ in 0..random.usize(1..MOST_THINGS) {
        add(root, random, links);
    }
    set_times(root, random);
}

/// Changes a tree in some places: contents, sizes, times, bits, names, kinds; things come and go.
pub(crate) fn change(root: &Path, random: &mut Rng, links: bool) {
    for _ in 0..random.usize(0..12) {
        let all = things(root);
        if all.is_empty() {
            add(root, random, links);
            continue;
        }
        let path = &all[random.usize(0..all.len())];
        let meta = fs::symlink_metadata(path).unwrap();
        match random.u8(0..8) {
            0 => remove(path),
            1 if meta.is_file() => write(path, random),
            2 if meta.is_file() => {
                fs::set_permissions(path, fs::Permissions::from_mode(0o644 ^ (meta.mode() & 0o111 ^ 0o111))).unwrap();
            }
            3 => rename(root, path, random),
            4 => {
                // Something of another kind.
                remove(path);
                if meta.is_dir() { write(path, random) } else { fs::create_dir(path).unwrap() }
            }
            5 if meta.is_file() => set_time(path, random),
            _ => add(root, random, links),
        }
    }
}

/// A copy of all that matters. Hidden names are none.
pub(crate) fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").args(["-a", "--"]).arg(from).arg(to).status().unwrap();
    assert!(status.success());
}

/// Everything below `root` by name: content, time and bit of files, time of directories, text of links.
pub(crate) fn census(root: &Path) -> BTreeMap<String, String> {
    let describe = |path: &PathBuf| {
        let meta = fs::symlink_metadata(path).unwrap();
        let time = format!("{}.{:09}", meta.mtime(), meta.mtime_nsec());
        let what = if meta.is_symlink() {
            format!("link {}", fs::read_link(path).unwrap().display())
        } else if meta.is_dir() {
            format!("directory {time}")
        } else {
            let bit = if meta.mode() & 0o100 == 0 { "-" } else { "x" };
            format!("file {bit} {time} {}", Digest::of(&fs::read(path).unwrap()))
        };
        (path.strip_prefix(root).unwrap().to_str().unwrap().to_owned(), what)
    };
    things(root).iter().map(describe).collect()
}

/// What is below `root`, directories before what is in them.
pub(crate) fn things(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        let mut entries: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        for path in entries {
            if fs::symlink_metadata(&path).unwrap().is_dir() {
                directories.push(path.clone());
            }
            found.push(path);
        }
    }
    found
}

/// A name that may be taken: an odd one that is not hidden, or one of few, so that things meet.
fn name(random: &mut Rng) -> String {
    if random.u8(0..3) > 0 {
        return random.lowercase().to_string();
    }
    let odd: Vec<_> = ODD_NAMES.iter().flat_map(|name| name.split('/')).filter(|name| !name.starts_with('.')).collect();
    odd[random.usize(0..odd.len())].to_owned()
}

fn place(root: &Path, random: &mut Rng) -> PathBuf {
    let directories: Vec<_> =
        things(root).into_iter().filter(|path| fs::symlink_metadata(path).unwrap().is_dir()).collect();
    let directory = match directories.len() {
        0 => root,
        _ if random.u8(0..3) == 0 => root,
        many => directories[random.usize(0..many)].as_path(),
    };
    directory.join(name(random))
}

fn add(root: &Path, random: &mut Rng, links: bool) {
    let path = place(root, random);
    if fs::symlink_metadata(&path).is_ok() {
        return;
    }
    match random.u8(0..10) {
        0..3 => fs::create_dir(&path).unwrap(),
        3 if links => {
            let climbs = path.strip_prefix(root).unwrap().components().count() - 1;
            let text = format!("{}{}", "../".repeat(random.usize(0..=climbs)), name(random));
            symlink(text, &path).unwrap();
        }
        4 => {
            write(&path, random);
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        _ => write(&path, random),
    }
}

/// Most files are small; some are larger than what is read, sent or hashed in one piece.
fn write(path: &Path, random: &mut Rng) {
    let length = match random.u8(0..20) {
        0 => 0,
        1 => random.usize(60_000..70_000),
        2 => random.usize(250_000..600_000),
        _ => random.usize(1..5_000),
    };
    let mut content = vec![0; length];
    random.fill(&mut content);
    fs::write(path, content).unwrap();
    set_time(path, random);
}

fn rename(root: &Path, path: &Path, random: &mut Rng) {
    let to = place(root, random);
    if fs::symlink_metadata(&to).is_err() && !to.starts_with(path) {
        // A link that climbs may lead outside from there.
        let is_link = fs::symlink_metadata(path).unwrap().is_symlink();
        let has_link = things(path.parent().unwrap()).iter().any(|thing| thing.starts_with(path) && thing.is_symlink());
        if !is_link && !has_link {
            fs::rename(path, to).unwrap();
        }
    }
}

fn remove(path: &Path) {
    if fs::symlink_metadata(path).unwrap().is_dir() {
        fs::remove_dir_all(path).unwrap();
    } else {
        fs::remove_file(path).unwrap();
    }
}

/// Between 1970 and now, to the nanosecond; no two in the same second, if one can help it.
fn set_time(path: &Path, random: &mut Rng) {
    let time = SystemTime::UNIX_EPOCH + Duration::new(random.u64(1..1_700_000_000), random.u32(0..1_000_000_000));
    fs::File::open(path).unwrap().set_modified(time).unwrap();
}

fn set_times(root: &Path, random: &mut Rng) {
    // What is in a directory changes its time, so the deepest come first.
    for path in things(root).iter().rev().filter(|path| fs::symlink_metadata(path).unwrap().is_dir()) {
        set_time(path, random);
    }
}
