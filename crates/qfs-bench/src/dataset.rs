//! Data sets that the bench makes itself. The same seed gives the same data.
//!
//! Contents cannot be compressed, so that a program that compresses has no advantage.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::verify::{Copy, read_tree};

/// Bytes that are made and written at once.
const CHUNK_BYTES: usize = 256 * 1024;

/// What a data set looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub struct Shape {
    /// Files in all, at least 1.
    pub files: u32,
    /// Size of each, bytes.
    pub file_bytes: u64,
    /// Directories they are spread over; 0 puts them at the top.
    pub directories: u32,
}

impl Shape {
    /// Bytes in all.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        u64::from(self.files) * self.file_bytes
    }

    /// The name of file `index`.
    #[must_use]
    pub fn name(&self, index: u32) -> String {
        match self.directories {
            0 => format!("file-{index:05}.bin"),
            n => format!("dir-{:03}/file-{index:05}.bin", index % n),
        }
    }

    /// All names.
    pub fn names(&self) -> impl Iterator<Item = String> + '_ {
        (0..self.files).map(|index| self.name(index))
    }
}

/// A data set on disk.
#[derive(Debug, Clone)]
pub struct DataSet {
    /// Its directory; nothing else is in it.
    pub root: PathBuf,
    /// What it looks like.
    pub shape: Shape,
    /// What every copy must contain.
    pub contents: Vec<(PathBuf, Copy)>,
}

impl DataSet {
    /// Makes it in `root`, which must not exist, and reads it back once.
    ///
    /// # Errors
    /// What the system says; `Interrupted` once `stopped` says so.
    pub fn make(root: &Path, shape: Shape, seed: u64, stopped: &(dyn Fn() -> bool + Sync)) -> io::Result<Self> {
        fs::create_dir(root)?;
        for directory in 0..shape.directories {
            fs::create_dir(root.join(format!("dir-{directory:03}")))?;
        }
        let mut random = fastrand::Rng::with_seed(seed);
        for name in shape.names() {
            if stopped() {
                return Err(io::ErrorKind::Interrupted.into());
            }
            fill(&root.join(name), shape.file_bytes, &mut random)?;
        }
        let contents = read_tree(root, stopped)?;
        Ok(Self { root: root.to_owned(), shape, contents })
    }

    /// The names of its files.
    pub fn names(&self) -> impl Iterator<Item = String> + '_ {
        self.shape.names()
    }

    /// Gives one file in a hundred of the copy in `dir` another content of the same size.
    ///
    /// # Errors
    /// What the system says.
    pub fn change(&self, dir: &Path) -> io::Result<()> {
        let size = usize::try_from(self.shape.file_bytes).map_err(io::Error::other)?;
        for index in (0..self.shape.files).step_by(100) {
            fs::write(dir.join(self.shape.name(index)), vec![0; size])?;
        }
        Ok(())
    }

    /// What is wrong with the copy in `dir`, read back whole; `None` when it is right.
    ///
    /// # Errors
    /// What the system says; `Interrupted` once `stopped` says so.
    pub fn difference(&self, dir: &Path, stopped: &(dyn Fn() -> bool + Sync)) -> io::Result<Option<String>> {
        let copy = read_tree(dir, stopped)?;
        if copy.len() != self.contents.len() {
            return Ok(Some(format!("{} files instead of {}", copy.len(), self.contents.len())));
        }
        let wrong = self.contents.iter().zip(&copy).find(|(right, copy)| right != copy);
        Ok(wrong.map(|((name, _), _)| format!("{} is missing or differs", name.display())))
    }
}

fn fill(path: &Path, bytes: u64, random: &mut fastrand::Rng) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    let mut chunk = vec![0; CHUNK_BYTES.min(usize::try_from(bytes).unwrap_or(CHUNK_BYTES))];
    let mut left = bytes;
    while left > 0 {
        random.fill(&mut chunk);
        let n = chunk.len().min(usize::try_from(left).unwrap_or(chunk.len()));
        file.write_all(&chunk[..n])?;
        left -= n as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_data() {
        let dir = tempfile::tempdir().unwrap();
        let shape = Shape { files: 5, file_bytes: 300_000, directories: 2 };
        let make = |name: &str, seed| DataSet::make(&dir.path().join(name), shape, seed, &|| false).unwrap();
        let (one, two, other) = (make("1", 7), make("2", 7), make("3", 8));
        assert_eq!(one.contents, two.contents);
        assert_ne!(one.contents, other.contents);
        assert_eq!(one.contents.len(), 5);
        assert!(one.contents.iter().all(|(_, copy)| copy.size == 300_000));
        assert_eq!(one.difference(&two.root, &|| false).unwrap(), None);
        assert!(one.difference(&other.root, &|| false).unwrap().is_some());
        two.change(&two.root).unwrap();
        assert!(one.difference(&two.root, &|| false).unwrap().is_some_and(|wrong| wrong.ends_with("differs")));
        fs::remove_file(two.root.join(shape.name(0))).unwrap();
        assert_eq!(one.difference(&two.root, &|| false).unwrap().as_deref(), Some("4 files instead of 5"));
    }

    #[test]
    fn names_and_sizes() {
        let shape = Shape { files: 10_000, file_bytes: 4096, directories: 100 };
        assert_eq!(shape.bytes(), 40_960_000);
        assert_eq!(shape.name(199), "dir-099/file-00199.bin");
        assert_eq!(Shape { directories: 0, ..shape }.name(0), "file-00000.bin");
    }
}
