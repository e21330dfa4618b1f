//! Directories full of files with seeded content, to be served, fetched and compared.

#![allow(clippy::disallowed_methods, reason = "makes the files that stores are tested with")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use qfs_core::model::{Digest, Hasher, RemotePath};
use tempfile::TempDir;

/// Bytes made, written or compared at once.
const PIECE_BYTES: usize = 1 << 20;

/// Names that have tripped programs up and that the wire carries.
pub const ODD_NAMES: &[&str] = &[
    "with space",
    " leading and trailing ",
    "été/日本語.txt",
    "emoji 🦀",
    "-rf",
    "--help",
    "~",
    "$HOME",
    "a;b&c|d",
    "quote'\"s",
    "star*?[x]",
    "new\nline",
    "tab\there",
    "C:colon",
    "percent%20%2e%2e",
    "...",
    "dots../x",
    "#hash",
    "CON",
    "trailing.",
    "\u{202e}reversed",
    "\u{1b}[31mred",
];

/// A directory of files, removed when dropped.
#[derive(Debug)]
pub struct Tree {
    directory: TempDir,
    seed: u64,
    files: BTreeMap<RemotePath, u64>,
}

impl Tree {
    /// An empty one; `seed` decides what will be in its files.
    ///
    /// # Errors
    /// When no temporary directory can be made.
    pub fn new(seed: u64) -> io::Result<Self> {
        Ok(Self { directory: tempfile::tempdir()?, seed, files: BTreeMap::new() })
    }

    /// Some of everything: empty, small and nested files, odd names, sizes about the powers of two that matter, and one of
    /// 5 MiB and a bit. Some 8 MiB in 80 files.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn mixed(seed: u64) -> io::Result<Self> {
        let mut tree = Self::new(seed)?;
        tree.add("empty", 0)?.add("one", 1)?.add("deep/empty", 0)?;
        tree.add_small(20, 1024)?.add_odd_names()?;
        tree.add("a/b/c/d/e/f/g/h/nested", 100)?;
        for power in [12, 16, 18, 20] {
            for size in [(1 << power) - 1, 1 << power, (1 << power) + 1] {
                tree.add(&format!("sizes/{size}"), size)?;
            }
        }
        tree.add("large", (5 << 20) + 12_345)?;
        Ok(tree)
    }

    /// Adds the file `name` of `size` bytes, with the directories it needs.
    ///
    /// # Errors
    /// When it cannot be written or the wire could not carry the name.
    pub fn add(&mut self, name: &str, size: u64) -> io::Result<&mut Self> {
        let path = RemotePath::parse(name).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let target = self.directory.path().join(name);
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent)?;
        }
        let mut file = File::create(target)?;
        for piece in content(self.seed, &path, size) {
            file.write_all(&piece)?;
        }
        self.files.insert(path, size);
        Ok(self)
    }

    /// Adds `count` files of `size` bytes in directories of a hundred: `small/00/0`, `small/00/1`, …
    ///
    /// # Errors
    /// As [`Self::add`].
    pub fn add_small(&mut self, count: usize, size: u64) -> io::Result<&mut Self> {
        for number in 0..count {
            self.add(&format!("small/{:02}/{number}", number / 100), size)?;
        }
        Ok(self)
    }

    /// Adds a small file for each of [`ODD_NAMES`], below `odd`.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub fn add_odd_names(&mut self) -> io::Result<&mut Self> {
        for (number, name) in ODD_NAMES.iter().enumerate() {
            self.add(&format!("odd/{name}"), number as u64 * 10)?;
        }
        Ok(self)
    }

    /// Where it is.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.directory.path()
    }

    /// Its files and their sizes in bytes, in ascending byte order of their names.
    pub fn files(&self) -> impl ExactSizeIterator<Item = (&RemotePath, u64)> {
        self.files.iter().map(|(path, size)| (path, *size))
    }

    /// What the file `path` was filled with; computed, not read from disk. None when there is no such file.
    #[must_use]
    pub fn content(&self, path: &RemotePath) -> Option<Vec<u8>> {
        let size = *self.files.get(path)?;
        Some(content(self.seed, path, size).flatten().collect())
    }

    /// SHA-256 of [`Self::content`].
    #[must_use]
    pub fn digest(&self, path: &RemotePath) -> Option<Digest> {
        let mut hasher = Hasher::new();
        for piece in content(self.seed, path, *self.files.get(path)?) {
            hasher.update(&piece);
        }
        Some(hasher.finish())
    }

    /// What keeps `copy` from being this tree, one line each: files that are missing, differ, or are too many (hidden ones
    /// and partial files included). Empty when it is an exact copy.
    ///
    /// # Errors
    /// When `copy` cannot be read.
    pub fn differences(&self, copy: &Path) -> io::Result<Vec<String>> {
        let mut found = Vec::new();
        for (path, size) in self.files() {
            match File::open(copy.join(path.as_str())) {
                Ok(file) if self.matches(path, size, &file)? => {}
                Ok(_) => found.push(format!("differs: {path}")),
                Err(error) => found.push(format!("missing: {path}: {error}")),
            }
        }
        let mut directories = vec![copy.to_owned()];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory)? {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    directories.push(entry.path());
                } else if !self.has(entry.path().strip_prefix(copy).unwrap_or(Path::new(""))) {
                    found.push(format!("too many: {}", entry.path().display()));
                }
            }
        }
        Ok(found)
    }

    fn has(&self, relative: &Path) -> bool {
        let path = relative.to_str().and_then(|text| RemotePath::parse(text).ok());
        path.is_some_and(|path| self.files.contains_key(&path))
    }

    fn matches(&self, path: &RemotePath, size: u64, mut file: &File) -> io::Result<bool> {
        if file.metadata()?.len() != size {
            return Ok(false);
        }
        let mut buffer = vec![0; PIECE_BYTES];
        for piece in content(self.seed, path, size) {
            let buffer = &mut buffer[..piece.len()];
            file.read_exact(buffer)?;
            if *buffer != piece {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// The bytes of a file, in pieces: the same for the same seed and name, and no two alike.
fn content(seed: u64, path: &RemotePath, size: u64) -> impl Iterator<Item = Vec<u8>> + use<> {
    let name = Digest::of(path.as_str().as_bytes());
    let salt = name.as_bytes().iter().take(8).fold(0, |salt, byte| salt << 8 | u64::from(*byte));
    let mut random = fastrand::Rng::with_seed(seed ^ salt);
    let mut left = size;
    std::iter::from_fn(move || {
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(PIECE_BYTES);
        if length == 0 {
            return None;
        }
        left -= length as u64;
        let mut piece = vec![0; length];
        random.fill(&mut piece);
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_what_it_says_and_a_copy_is_told_from_a_fake() {
        let tree = Tree::mixed(7).unwrap();
        assert!(tree.files().len() > 50);
        assert_eq!(tree.differences(tree.root()).unwrap(), Vec::<String>::new());
        let large = RemotePath::parse("large").unwrap();
        let content = tree.content(&large).unwrap();
        assert_eq!(content, fs::read(tree.root().join("large")).unwrap());
        assert_eq!(tree.digest(&large), Some(Digest::of(&content)));
        fs::write(tree.root().join("one"), "").unwrap();
        fs::write(tree.root().join("sizes/4096"), vec![0; 4096]).unwrap();
        fs::write(tree.root().join(".x.qfs-part"), "").unwrap();
        fs::remove_file(tree.root().join("empty")).unwrap();
        assert_eq!(tree.differences(tree.root()).unwrap().len(), 4);
    }

    #[test]
    fn the_seed_decides_the_content() {
        let path = RemotePath::parse("a").unwrap();
        let content = |seed| {
            let mut tree = Tree::new(seed).unwrap();
            tree.add("a", 100).unwrap().add("b", 100).unwrap();
            assert_ne!(tree.content(&path), tree.content(&RemotePath::parse("b").unwrap()));
            tree.content(&path)
        };
        assert_eq!(content(1), content(1));
        assert_ne!(content(1), content(2));
    }
}
