//! The server's identity on disk: `server.key` and `server.crt` in one directory, made once and kept.
//!
//! Knows files and their modes; what is in them is `qfs_transport`'s affair. `next` owns the pair that comes after it, `withdraw` takes that back.

#![expect(
    clippy::disallowed_methods,
    reason = "the identity is the one other thing on disk, and none of it is published"
)]

mod announcer;
mod next;
mod withdraw;

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use qfs_core::model::Fingerprint;
use qfs_transport::{Identity, IdentityError, IdentityPem};
use rustix::fs::{FlockOperation, RenameFlags, flock, renameat_with};

pub(crate) use announcer::Announcer;
pub use next::{Keys, NEXT_CERTIFICATE_FILE};
pub use withdraw::Withdrawn;

/// The private key's file name. Mode 0600.
pub const KEY_FILE: &str = "server.key";
/// The certificate's file name.
pub const CERTIFICATE_FILE: &str = "server.crt";
/// The next private key's file name. Mode 0600.
pub const NEXT_KEY_FILE: &str = "next.key";

/// A key or certificate longer than this many bytes is none.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// A directory with an identity, or for one.
#[derive(Debug, Clone)]
pub struct IdentityDir {
    path: PathBuf,
}

/// Why there is no identity to be had from a directory.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityDirError {
    /// Others than its owner may read the key.
    #[error("{} can be read by others (mode {mode:04o})", .path.display())]
    Exposed {
        /// The key file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// One of the two files is there and the other is not.
    #[error("{} is there, but {} is missing", .present.display(), .missing.display())]
    Incomplete {
        /// The file that is there.
        present: PathBuf,
        /// The file that is not.
        missing: PathBuf,
    },
    /// The files are there and make no identity.
    #[error("{}: {source}", .directory.display())]
    Unusable {
        /// The directory.
        directory: PathBuf,
        /// What is wrong.
        source: IdentityError,
    },
    /// There is none yet.
    #[error("there is none in {}", .directory.display())]
    Absent {
        /// The directory.
        directory: PathBuf,
    },
    /// A next one waits already.
    #[error("a next key is pending already: {next}")]
    Pending {
        /// Its key.
        next: Fingerprint,
    },
    /// No next one waits.
    #[error("no next key is pending")]
    NothingPending,
    /// The next one makes no identity.
    #[error("the next one in {} cannot be used: {reason}", .directory.display())]
    UnusableNext {
        /// The directory.
        directory: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The operating system refused something.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl IdentityDirError {
    /// What a person may do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Exposed { path, .. } if path.ends_with(NEXT_KEY_FILE) => format!(
                "chmod 600 {}; if somebody may have read it: qfs-server identity rotate --replace",
                path.display()
            ),
            Self::Exposed { path, .. } => format!(
                "chmod 600 {0}; if somebody may have read it, remove it and {1} to start with a new identity",
                path.display(),
                CERTIFICATE_FILE
            ),
            Self::Incomplete { present, .. } => format!(
                "restore the missing file, or remove {} to start with a new identity (clients that know the old one will \
                 refuse it)",
                present.display()
            ),
            Self::Unusable { directory, .. } => format!(
                "restore {KEY_FILE} and {CERTIFICATE_FILE}, or remove both from {} to start with a new identity (clients \
                 that know the old one will refuse it)",
                directory.display()
            ),
            Self::Absent { .. } => {
                "--certs names the server's own directory; the server makes its identity on its first start".to_owned()
            }
            Self::Pending { .. } => "qfs-server identity activate makes it the current one; --replace makes another, and \
                                     clients that have learnt this one will refuse the other unless they come by again before"
                .to_owned(),
            Self::NothingPending => "qfs-server identity rotate makes one".to_owned(),
            Self::UnusableNext { .. } => "qfs-server identity rotate --replace makes another".to_owned(),
            Self::Io { .. } => {
                "--certs names a directory that this user can read, and on the first start write".to_owned()
            }
        }
    }
}

impl IdentityDir {
    /// The identity in `path`.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where the key is, or will be.
    #[must_use]
    pub fn key_path(&self) -> PathBuf {
        self.path.join(KEY_FILE)
    }

    /// The identity kept here; makes directory and identity when neither of the two files is there. Several processes may
    /// do so at once and get the same. Blocks.
    ///
    /// # Errors
    /// [`IdentityDirError`]; what is there is never replaced.
    pub fn load_or_create(&self) -> Result<Identity, IdentityDirError> {
        fs::create_dir_all(&self.path).map_err(|source| io_error(&self.path, source))?;
        // Held until both files are read: nobody sees one of two.
        let directory = self.lock()?;
        self.finish_activation(&directory)?;
        match self.load()? {
            Some(identity) => Ok(identity),
            None => self.create(&directory),
        }
    }

    /// The directory, for this process alone until the handle is dropped.
    fn lock(&self) -> Result<File, IdentityDirError> {
        let directory = File::open(&self.path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => IdentityDirError::Absent { directory: self.path.clone() },
            _ => io_error(&self.path, source),
        })?;
        flock(&directory, FlockOperation::LockExclusive).map_err(|e| io_error(&self.path, e.into()))?;
        Ok(directory)
    }

    /// The identity, when neither of its files is missing; None when both are.
    fn load(&self) -> Result<Option<Identity>, IdentityDirError> {
        let (key, certificate) = (self.open(KEY_FILE)?, self.open(CERTIFICATE_FILE)?);
        match (key, certificate) {
            (Some(key), Some(certificate)) => self.read(key, certificate).map(Some),
            (None, None) => Ok(None),
            (Some(_), None) => Err(self.incomplete(KEY_FILE, CERTIFICATE_FILE)),
            (None, Some(_)) => Err(self.incomplete(CERTIFICATE_FILE, KEY_FILE)),
        }
    }

    fn open(&self, name: &str) -> Result<Option<File>, IdentityDirError> {
        let path = self.path.join(name);
        match File::open(&path) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(io_error(&path, source)),
        }
    }

    fn read(&self, key: File, certificate: File) -> Result<Identity, IdentityDirError> {
        let path = self.key_path();
        let mode = key.metadata().map_err(|source| io_error(&path, source))?.mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(IdentityDirError::Exposed { path, mode });
        }
        let key = read_all(key).map_err(|source| io_error(&path, source))?;
        let certificate =
            read_all(certificate).map_err(|source| io_error(&self.path.join(CERTIFICATE_FILE), source))?;
        self.parse(&key, &certificate)
    }

    fn parse(&self, key: &[u8], certificate: &[u8]) -> Result<Identity, IdentityDirError> {
        Identity::from_pem(key, certificate)
            .map_err(|source| IdentityDirError::Unusable { directory: self.path.clone(), source })
    }

    fn create(&self, directory: &File) -> Result<Identity, IdentityDirError> {
        let pem = IdentityPem::generate()
            .map_err(|source| IdentityDirError::Unusable { directory: self.path.clone(), source })?;
        // The certificate first: should the power fail in between, what is left holds no secret and may be removed.
        self.write(directory, CERTIFICATE_FILE, 0o644, pem.certificate.as_bytes())?;
        self.write(directory, KEY_FILE, 0o600, pem.key.as_bytes())?;
        self.parse(pem.key.as_bytes(), pem.certificate.as_bytes())
    }

    /// Writes a new file so that it is there whole and for good, or not at all.
    fn write(&self, directory: &File, name: &str, mode: u32, content: &[u8]) -> Result<(), IdentityDirError> {
        let temporary = format!(".{name}.{}", std::process::id());
        let path = self.path.join(&temporary);
        let written = write_new(&path, mode, content)
            .and_then(|()| Ok(renameat_with(directory.as_fd(), &temporary, directory, name, RenameFlags::NOREPLACE)?))
            .and_then(|()| directory.sync_all());
        written.map_err(|source| {
            // Whether or not it was made, it must not stay.
            let _ = fs::remove_file(&path);
            io_error(&self.path.join(name), source)
        })
    }

    fn incomplete(&self, present: &str, missing: &str) -> IdentityDirError {
        IdentityDirError::Incomplete { present: self.path.join(present), missing: self.path.join(missing) }
    }
}

fn write_new(path: &Path, mode: u32, content: &[u8]) -> io::Result<()> {
    // Of a process that had this number and was killed in between; the directory is locked.
    if let Err(error) = fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

fn read_all(file: File) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    file.take(MAX_FILE_BYTES).read_to_end(&mut content)?;
    Ok(content)
}

fn io_error(path: &Path, source: io::Error) -> IdentityDirError {
    IdentityDirError::Io { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn directory() -> (tempfile::TempDir, IdentityDir) {
        let temporary = tempfile::tempdir().unwrap();
        let identity = IdentityDir::new(temporary.path().join("certs"));
        (temporary, identity)
    }

    #[test]
    fn an_identity_is_made_once_and_kept() {
        let (_temporary, directory) = directory();
        let first = directory.load_or_create().unwrap().fingerprint();
        assert_eq!(directory.load_or_create().unwrap().fingerprint(), first);
        assert_eq!(fs::metadata(directory.key_path()).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(fs::read_dir(&directory.path).unwrap().count(), 2, "nothing else is left there");
    }

    #[test]
    fn many_at_once_get_one_identity() {
        let (_temporary, directory) = directory();
        let made: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..8).map(|_| scope.spawn(|| directory.load_or_create().unwrap().fingerprint())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(made.iter().all(|fingerprint| *fingerprint == made[0]));
    }

    #[test]
    fn an_exposed_key_is_refused() {
        for mode in [0o640, 0o604, 0o660] {
            let (_temporary, directory) = directory();
            directory.load_or_create().unwrap();
            fs::set_permissions(directory.key_path(), fs::Permissions::from_mode(mode)).unwrap();
            let error = directory.load_or_create().unwrap_err();
            assert!(matches!(error, IdentityDirError::Exposed { mode: found, .. } if found == mode));
            assert!(error.hint().contains("chmod 600"));
        }
    }

    #[test]
    fn what_is_incomplete_or_wrong_is_refused_and_kept() {
        for name in [KEY_FILE, CERTIFICATE_FILE] {
            let (_temporary, directory) = directory();
            directory.load_or_create().unwrap();
            let path = directory.path.join(name);
            let content = fs::read(&path).unwrap();

            fs::remove_file(&path).unwrap();
            assert!(matches!(directory.load_or_create(), Err(IdentityDirError::Incomplete { .. })));
            fs::write(&path, "rubbish").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            assert!(matches!(directory.load_or_create(), Err(IdentityDirError::Unusable { .. })));
            assert_eq!(fs::read(&path).unwrap(), b"rubbish");
            fs::write(&path, &content).unwrap();
            assert!(directory.load_or_create().is_ok());
        }
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let (_temporary, directory) = directory();
        directory.load_or_create().unwrap();
        fs::write(directory.path.join(CERTIFICATE_FILE), IdentityPem::generate().unwrap().certificate).unwrap();
        let error = directory.load_or_create().unwrap_err();
        assert!(matches!(error, IdentityDirError::Unusable { source: IdentityError::Mismatch(_), .. }));
    }
}
