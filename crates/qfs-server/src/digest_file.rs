//! Digests remembered between runs, one file for each published directory, outside of it.
//!
//! Nothing depends on the file: a digest that is lost costs another pass over its file.

#![expect(clippy::disallowed_methods, reason = "remembered digests are the server's own file, and not published")]

use std::fs;
use std::io::{self, BufReader, BufWriter};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use qfs_core::model::Digest;
use qfs_core::store::DigestCache;

/// The file for one published directory.
#[derive(Debug, Clone)]
pub struct DigestFile {
    path: PathBuf,
}

impl DigestFile {
    /// The file in `directory` for the published directory `root`, whose path is canonical.
    #[must_use]
    pub fn new(directory: &Path, root: &Path) -> Self {
        let digest = Digest::of(root.as_os_str().as_encoded_bytes()).to_string();
        Self { path: directory.join(format!("digests-{}", &digest[..32])) }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the directory it is in, for its owner alone, where it is missing. Blocks.
    ///
    /// # Errors
    /// What making it failed with.
    pub fn make_directory(&self) -> io::Result<()> {
        match self.path.parent() {
            Some(directory) => fs::DirBuilder::new().recursive(true).mode(0o700).create(directory),
            None => Ok(()),
        }
    }

    /// Fills `digests` from the file, if there is one. Blocks.
    ///
    /// # Errors
    /// What reading failed with.
    pub fn load(&self, digests: &DigestCache) -> io::Result<()> {
        match fs::File::open(&self.path) {
            Ok(file) => digests.read_from(BufReader::new(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Replaces the file by one with everything in `digests`, by a rename. Blocks.
    ///
    /// # Errors
    /// What writing failed with; the former file is whole then.
    pub fn save(&self, digests: &DigestCache) -> io::Result<()> {
        self.make_directory()?;
        // Servers that publish one directory may save at once: each has a name of its own, and the last rename wins.
        let temporary = self.path.with_extension(format!("tmp-{}", std::process::id()));
        let written = write_file(&temporary, digests).and_then(|()| fs::rename(&temporary, &self.path));
        if written.is_err() {
            // Whether or not it was made, it is of no use.
            let _ = fs::remove_file(&temporary);
        }
        written
    }
}

fn write_file(path: &Path, digests: &DigestCache) -> io::Result<()> {
    let file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    digests.write_to(BufWriter::new(file))
}

#[cfg(test)]
mod tests {
    use qfs_core::model::HashKind;

    use super::*;

    #[test]
    fn what_is_saved_is_loaded() {
        let directory = tempfile::tempdir().unwrap();
        let file = DigestFile::new(&directory.path().join("a/b"), Path::new("/srv/data"));
        let digests = DigestCache::default();
        file.load(&digests).unwrap();
        let etag = "v1".parse().unwrap();
        digests.remember(&etag, Digest::of(b"x"));
        file.save(&digests).unwrap();
        let again = DigestCache::default();
        file.load(&again).unwrap();
        assert_eq!(again.recall(&etag, HashKind::Sha256), Some(Digest::of(b"x")));
        assert_eq!(fs::read_dir(file.path().parent().unwrap()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn each_directory_has_its_own() {
        let path = |root: &str| DigestFile::new(Path::new("/c"), Path::new(root)).path().to_owned();
        assert_ne!(path("/srv/a"), path("/srv/b"));
        assert_eq!(path("/srv/a"), path("/srv/a"));
    }
}
