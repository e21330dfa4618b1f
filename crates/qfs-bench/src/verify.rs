//! Reads copies back and says what they contain. It trusts neither exit codes nor printed digests.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Component, Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use sha2::{Digest as _, Sha256};

/// Bytes read at once. The number is small, because the bench's memory is the lower bound on its children's measured
/// peak.
const CHUNK_BYTES: usize = 256 * 1024;

/// A file read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// Bytes read.
    pub size: u64,
    /// SHA-256, 64 lower-case hexadecimal digits.
    pub sha256: String,
}

/// Size and digest of the file at `path`, read from its first byte to its last.
///
/// # Errors
/// What the system says; `Interrupted` once `stopped` says so.
pub fn read_back(path: &Path, stopped: &(dyn Fn() -> bool + Sync)) -> io::Result<Copy> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut size = 0;
    loop {
        let n = match file.read(&mut chunk) {
            Ok(0) => return Ok(Copy { size, sha256: hex(&hasher.finalize()) }),
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted && !stopped() => continue,
            Err(error) => return Err(error),
        };
        if stopped() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        hasher.update(&chunk[..n]);
        size += n as u64;
    }
}

/// Applies [`read_back`] to each of `paths`, on all cores.
pub fn read_back_all(paths: &[PathBuf], stopped: &(dyn Fn() -> bool + Sync)) -> Vec<io::Result<Copy>> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(HashMap::new());
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(paths.len());
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some((index, path)) = take(&next, paths) {
                    let copy = read_back(path, stopped);
                    if let Ok(mut done) = done.lock() {
                        done.insert(index, copy);
                    }
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_default();
    let lost = || Err(io::Error::other("not read back"));
    (0..paths.len()).map(|index| done.remove(&index).unwrap_or_else(lost)).collect()
}

/// The digest that most copies have; among equally frequent ones, the smallest.
#[must_use]
pub fn most_common<'a>(digests: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for digest in digests {
        *counts.entry(digest).or_default() += 1;
    }
    counts.into_iter().max_by(|a, b| a.1.cmp(&b.1).then(b.0.cmp(a.0))).map(|(digest, _)| digest)
}

/// Where a file called `name` is below `root`; `None` for a name that would lead out of it.
#[must_use]
pub fn below(root: &Path, name: &str) -> Option<PathBuf> {
    let path = Path::new(name);
    let inside = path.components().all(|part| matches!(part, Component::Normal(_)));
    (inside && !name.is_empty()).then(|| root.join(path))
}

/// Files of a tree and what is in them: relative path → size and digest, in the order of names.
///
/// # Errors
/// What the system says; `Interrupted` once `stopped` says so.
pub fn read_tree(root: &Path, stopped: &(dyn Fn() -> bool + Sync)) -> io::Result<Vec<(PathBuf, Copy)>> {
    let names = files_below(root)?;
    let paths: Vec<PathBuf> = names.iter().map(|name| root.join(name)).collect();
    let copies = read_back_all(&paths, stopped);
    names.into_iter().zip(copies).map(|(name, copy)| Ok((name, copy?))).collect()
}

/// Number of regular files below `root` and the sum of their sizes, bytes.
///
/// # Errors
/// What the system says.
pub fn count_tree(root: &Path) -> io::Result<(u64, u64)> {
    let mut bytes = 0;
    let names = files_below(root)?;
    for name in &names {
        bytes += fs::symlink_metadata(root.join(name))?.len();
    }
    Ok((names.len() as u64, bytes))
}

/// Bytes the regular files below `root` take on disk, holes not counted.
///
/// # Errors
/// What the system says.
pub fn disk_usage(root: &Path) -> io::Result<u64> {
    use std::os::unix::fs::MetadataExt as _;
    files_below(root)?.iter().map(|name| Ok(fs::symlink_metadata(root.join(name))?.blocks() * 512)).sum()
}

/// Paths of the regular files below `root`, relative to it, sorted. Links are not followed.
fn files_below(root: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![PathBuf::new()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(root.join(&dir))? {
            let entry = entry?;
            let kind = entry.file_type()?;
            let name = dir.join(entry.file_name());
            if kind.is_dir() {
                open.push(name);
            } else if kind.is_file() {
                found.push(name);
            }
        }
    }
    found.sort();
    Ok(found)
}

fn take<'a>(next: &AtomicUsize, paths: &'a [PathBuf]) -> Option<(usize, &'a PathBuf)> {
    let index = next.fetch_add(1, Ordering::Relaxed);
    paths.get(index).map(|path| (index, path))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).filter_map(|n| char::from_digit(n.into(), 16)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn reads_what_is_there() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("sub")).unwrap();
        fs::write(dir.path().join("sub/a"), "abc").unwrap();
        fs::write(dir.path().join("b"), "").unwrap();
        let tree = read_tree(dir.path(), &|| false).unwrap();
        assert_eq!(tree.len(), 2);
        assert_eq!(tree[1], (PathBuf::from("sub/a"), Copy { size: 3, sha256: ABC.into() }));
        assert_eq!(count_tree(dir.path()).unwrap(), (2, 3));
        assert!(disk_usage(dir.path()).unwrap() < 1_000_000);
        assert!(read_back(&dir.path().join("sub/a"), &|| true).is_err());
    }

    #[test]
    fn the_majority_is_right() {
        assert_eq!(most_common(["b", "a", "b"]), Some("b"));
        assert_eq!(most_common(["b", "a"]), Some("a"));
        assert_eq!(most_common([]), None);
    }

    #[test]
    fn names_stay_below() {
        let root = Path::new("/r");
        assert_eq!(below(root, "sub/a b"), Some(PathBuf::from("/r/sub/a b")));
        for name in ["", "/etc/passwd", "../x", "a/../../x"] {
            assert_eq!(below(root, name), None, "{name}");
        }
    }
}
