//! The next identity beside the current one: made, announced, and put into its place.
//!
//! Two files cannot be renamed at once, so the order of the steps makes every state in between readable. The key is written
//! first and the certificate last: a next certificate has its key, and only it is announced. When the pair moves, the
//! certificate moves first: a next key that stands alone and fits the current certificate is such a move, half done.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;

use qfs_core::model::Fingerprint;
use qfs_transport::{Identity, IdentityError, IdentityPem};
use rustix::fs::renameat;

use super::{CERTIFICATE_FILE, IdentityDir, IdentityDirError, KEY_FILE, NEXT_KEY_FILE, io_error, read_all};

/// The next certificate's file name.
pub const NEXT_CERTIFICATE_FILE: &str = "next.crt";

/// The keys of a server, as clients know them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keys {
    /// The one that a server starts with.
    pub current: Fingerprint,
    /// The one that comes after it, where one is pending.
    pub next: Option<Fingerprint>,
}

impl IdentityDir {
    /// The keys kept here. Blocks, as everything here does.
    ///
    /// # Errors
    /// [`IdentityDirError`].
    pub fn keys(&self) -> Result<Keys, IdentityDirError> {
        let directory = self.lock()?;
        let current = self.present(&directory)?;
        Ok(Keys { current, next: self.certificate(NEXT_CERTIFICATE_FILE)? })
    }

    /// Makes a next identity. With `replace`, in place of one that is pending.
    ///
    /// # Errors
    /// [`IdentityDirError::Pending`] when there is one; [`IdentityDirError`].
    pub fn rotate(&self, replace: bool) -> Result<Keys, IdentityDirError> {
        let directory = self.lock()?;
        let current = self.present(&directory)?;
        if !replace && let Some(next) = self.certificate(NEXT_CERTIFICATE_FILE)? {
            return Err(IdentityDirError::Pending { next });
        }
        // In this order: while the key stands alone nothing is announced. One that stood alone before was never announced.
        for name in [NEXT_CERTIFICATE_FILE, NEXT_KEY_FILE] {
            self.remove(name)?;
        }
        let failed = |source| IdentityDirError::Unusable { directory: self.path.clone(), source };
        let pem = IdentityPem::generate().map_err(failed)?;
        self.write(&directory, NEXT_KEY_FILE, 0o600, pem.key.as_bytes())?;
        self.write(&directory, NEXT_CERTIFICATE_FILE, 0o644, pem.certificate.as_bytes())?;
        let next = Identity::fingerprint_of_pem(pem.certificate.as_bytes()).map_err(failed)?;
        Ok(Keys { current, next: Some(next) })
    }

    /// Makes the next identity the current one, whose key is gone then; finishes the move where it was interrupted. Returns the
    /// key that the directory has now.
    ///
    /// # Errors
    /// [`IdentityDirError::NothingPending`]; [`IdentityDirError::UnusableNext`], and nothing is changed; [`IdentityDirError`].
    pub fn activate(&self) -> Result<Fingerprint, IdentityDirError> {
        let directory = self.lock()?;
        if let Some(finished) = self.finish_activation(&directory)? {
            return Ok(finished);
        }
        let Some(certificate) = self.open(NEXT_CERTIFICATE_FILE)? else {
            return Err(IdentityDirError::NothingPending);
        };
        let unusable = |reason: String| IdentityDirError::UnusableNext { directory: self.path.clone(), reason };
        let Some(key) = self.open(NEXT_KEY_FILE)? else {
            return Err(unusable(format!("{NEXT_KEY_FILE} is missing")));
        };
        let identity = self.next_identity(key, certificate)?.map_err(|e| unusable(e.to_string()))?;
        self.rename(&directory, NEXT_CERTIFICATE_FILE, CERTIFICATE_FILE)?;
        self.rename(&directory, NEXT_KEY_FILE, KEY_FILE)?;
        Ok(identity.fingerprint())
    }

    /// What a running server with the key `current` announces: the key that its next start brings, or one after it.
    ///
    /// Takes no lock: it would make a server wait for whoever holds it. Read in this order, a pair that moves meanwhile is seen
    /// where it was, where it is, or both, and never nowhere.
    ///
    /// # Errors
    /// [`IdentityDirError`] when that cannot be told.
    pub fn announced(&self, current: Fingerprint) -> Result<Option<Fingerprint>, IdentityDirError> {
        let next = self.certificate(NEXT_CERTIFICATE_FILE)?;
        let at_next_start = self.certificate(CERTIFICATE_FILE)?;
        Ok(at_next_start.filter(|key| *key != current).or(next.filter(|key| *key != current)))
    }

    /// Moves the key after its certificate, if that is what is left to do; returns the key that the directory has now.
    pub(super) fn finish_activation(&self, directory: &File) -> Result<Option<Fingerprint>, IdentityDirError> {
        if self.open(NEXT_CERTIFICATE_FILE)?.is_some() {
            return Ok(None);
        }
        let (Some(key), Some(certificate)) = (self.open(NEXT_KEY_FILE)?, self.open(CERTIFICATE_FILE)?) else {
            return Ok(None);
        };
        // One that does not fit is of a `rotate` that was interrupted, and of no use.
        let Ok(identity) = self.next_identity(key, certificate)? else { return Ok(None) };
        self.rename(directory, NEXT_KEY_FILE, KEY_FILE)?;
        Ok(Some(identity.fingerprint()))
    }

    /// The identity of a next key and a certificate, when they belong together. A key that others can read makes none.
    fn next_identity(&self, key: File, certificate: File) -> Result<Result<Identity, IdentityError>, IdentityDirError> {
        let path = self.path.join(NEXT_KEY_FILE);
        let failed = |source| io_error(&path, source);
        let mode = key.metadata().map_err(failed)?.mode() & 0o7777;
        let (key, certificate) = (read_all(key).map_err(failed)?, read_all(certificate).map_err(failed)?);
        match Identity::from_pem(&key, &certificate) {
            Ok(_) if mode & 0o077 != 0 => Err(IdentityDirError::Exposed { path, mode }),
            read => Ok(read),
        }
    }

    /// The current key, of an identity that must be there.
    pub(super) fn present(&self, directory: &File) -> Result<Fingerprint, IdentityDirError> {
        self.finish_activation(directory)?;
        let current = self.load()?.ok_or_else(|| IdentityDirError::Absent { directory: self.path.clone() })?;
        Ok(current.fingerprint())
    }

    /// The key of a certificate file, if that is there.
    fn certificate(&self, name: &str) -> Result<Option<Fingerprint>, IdentityDirError> {
        let Some(file) = self.open(name)? else { return Ok(None) };
        let pem = read_all(file).map_err(|source| io_error(&self.path.join(name), source))?;
        let read = Identity::fingerprint_of_pem(&pem);
        read.map(Some).map_err(|source| match name {
            NEXT_CERTIFICATE_FILE => {
                IdentityDirError::UnusableNext { directory: self.path.clone(), reason: source.to_string() }
            }
            _ => IdentityDirError::Unusable { directory: self.path.clone(), source },
        })
    }

    /// Renames within the directory, for good.
    fn rename(&self, directory: &File, from: &str, to: &str) -> Result<(), IdentityDirError> {
        renameat(directory.as_fd(), from, directory, to)
            .map_err(io::Error::from)
            .and_then(|()| directory.sync_all())
            .map_err(|source| io_error(&self.path.join(to), source))
    }

    fn remove(&self, name: &str) -> Result<(), IdentityDirError> {
        let path = self.path.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error(&path, error)),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn directory() -> (tempfile::TempDir, IdentityDir, Fingerprint) {
        let temporary = tempfile::tempdir().unwrap();
        let directory = IdentityDir::new(temporary.path().join("certs"));
        let first = directory.load_or_create().unwrap().fingerprint();
        (temporary, directory, first)
    }

    fn files(directory: &IdentityDir) -> Vec<String> {
        let entries = fs::read_dir(&directory.path).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    // Fails when `activate` moves one of the files only, or `rotate` touches the current pair.
    #[test]
    fn a_next_identity_is_made_and_becomes_the_current_one() {
        let (_temporary, directory, first) = directory();
        assert_eq!(directory.keys().unwrap(), Keys { current: first, next: None });
        let keys = directory.rotate(false).unwrap();
        let next = keys.next.unwrap();
        assert!(keys.current == first && next != first);
        assert_eq!(directory.keys().unwrap(), keys);
        assert_eq!(files(&directory), ["next.crt", "next.key", "server.crt", "server.key"]);
        assert_eq!(fs::metadata(directory.path.join(NEXT_KEY_FILE)).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(directory.load_or_create().unwrap().fingerprint(), first, "a start before it is activated");

        assert_eq!(directory.activate().unwrap(), next);
        assert_eq!(files(&directory), ["server.crt", "server.key"]);
        assert_eq!(directory.load_or_create().unwrap().fingerprint(), next);
        assert!(matches!(directory.activate(), Err(IdentityDirError::NothingPending)));
    }

    // Fails when one that clients may have learnt is thrown away unasked.
    #[test]
    fn a_pending_one_is_replaced_only_when_asked() {
        let (_temporary, directory, first) = directory();
        let next = directory.rotate(false).unwrap().next.unwrap();
        assert!(matches!(directory.rotate(false), Err(IdentityDirError::Pending { next: found }) if found == next));
        let other = directory.rotate(true).unwrap();
        assert!(other.current == first && other.next != Some(next));
        assert_eq!(directory.activate().ok(), other.next);
    }

    // Fails when what is announced follows the next certificate alone: between `activate` and the restart, and while the pair
    // moves, it would be withdrawn, and clients would forget it.
    #[test]
    fn a_running_server_announces_it_until_it_has_it() {
        let (_temporary, directory, first) = directory();
        assert_eq!(directory.announced(first).unwrap(), None);
        let next = directory.rotate(false).unwrap().next;
        assert_eq!(directory.announced(first).unwrap(), next);
        directory.activate().unwrap();
        assert_eq!(directory.announced(first).unwrap(), next);
        assert_eq!(directory.announced(next.unwrap()).unwrap(), None);
        // One more before the restart: the restart comes first.
        let last = directory.rotate(false).unwrap().next;
        assert_eq!((directory.announced(first).unwrap(), directory.announced(next.unwrap()).unwrap()), (next, last));
        fs::write(directory.path.join(NEXT_CERTIFICATE_FILE), "rubbish").unwrap();
        assert!(directory.announced(first).is_err(), "not the same as none");
    }

    /// Moves the certificate of a next identity only.
    fn half_activated() -> (tempfile::TempDir, IdentityDir, Fingerprint) {
        let (temporary, directory, _) = directory();
        let next = directory.rotate(false).unwrap().next.unwrap();
        fs::rename(directory.path.join(NEXT_CERTIFICATE_FILE), directory.path.join(CERTIFICATE_FILE)).unwrap();
        (temporary, directory, next)
    }

    // Fails when a start or `activate` does not look for it: then the pair does not belong together.
    #[test]
    fn a_half_done_move_is_finished_by_whoever_comes_next() {
        type Visit = fn(&IdentityDir) -> Fingerprint;
        let visits: [Visit; 4] = [
            |directory| directory.load_or_create().unwrap().fingerprint(),
            |directory| directory.activate().unwrap(),
            |directory| directory.keys().unwrap().current,
            |directory| directory.rotate(false).unwrap().current,
        ];
        for visit in visits {
            let (_temporary, directory, next) = half_activated();
            assert_eq!(visit(&directory), next);
            assert_eq!(directory.load_or_create().unwrap().fingerprint(), next);
        }
        let (_temporary, directory, next) = half_activated();
        assert_eq!(directory.announced(next).unwrap(), None);
    }

    #[test]
    fn what_an_interrupted_rotate_leaves_is_in_nobodys_way() {
        let (_temporary, directory, first) = directory();
        directory.rotate(false).unwrap();
        fs::remove_file(directory.path.join(NEXT_CERTIFICATE_FILE)).unwrap();
        assert_eq!(directory.load_or_create().unwrap().fingerprint(), first);
        assert_eq!(directory.announced(first).unwrap(), None);
        assert!(matches!(directory.activate(), Err(IdentityDirError::NothingPending)));
        let next = directory.rotate(false).unwrap().next;
        assert_eq!(directory.activate().ok(), next);
    }

    // Fails when the current pair is touched before the next one was found to be good.
    #[test]
    fn a_next_identity_that_cannot_be_used_changes_nothing() {
        let (_temporary, directory, first) = directory();
        let path = |name: &str| directory.path.join(name);
        directory.rotate(false).unwrap();
        fs::set_permissions(path(NEXT_KEY_FILE), fs::Permissions::from_mode(0o644)).unwrap();
        let error = directory.activate().unwrap_err();
        assert!(matches!(error, IdentityDirError::Exposed { mode: 0o644, .. }) && error.hint().contains("--replace"));
        fs::remove_file(path(NEXT_KEY_FILE)).unwrap();
        assert!(matches!(directory.activate(), Err(IdentityDirError::UnusableNext { .. })));
        fs::write(path(NEXT_KEY_FILE), IdentityPem::generate().unwrap().key).unwrap();
        fs::set_permissions(path(NEXT_KEY_FILE), fs::Permissions::from_mode(0o600)).unwrap();
        assert!(matches!(directory.activate(), Err(IdentityDirError::UnusableNext { .. })));
        fs::write(path(NEXT_CERTIFICATE_FILE), "rubbish").unwrap();
        assert!(matches!(directory.rotate(false), Err(IdentityDirError::UnusableNext { .. })));
        assert_eq!(directory.load_or_create().unwrap().fingerprint(), first);
        let next = directory.rotate(true).unwrap().next;
        assert_eq!(directory.activate().ok(), next);
    }

    #[test]
    fn without_an_identity_there_is_nothing_to_renew() {
        let temporary = tempfile::tempdir().unwrap();
        for path in [temporary.path().to_owned(), temporary.path().join("none")] {
            let directory = IdentityDir::new(path);
            assert!(matches!(directory.rotate(false), Err(IdentityDirError::Absent { .. })));
            assert!(matches!(directory.keys(), Err(IdentityDirError::Absent { .. })));
            assert!(directory.activate().is_err());
        }
        assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 0);
    }
}
