//! Taking back a next identity that was made and is not wanted.
//!
//! The certificate goes first: from then on nothing is announced, and a key that a crash leaves alone is in nobody's way. A file
//! goes only if it is the one that was looked at: it is renamed, looked at again under a name that nobody else knows, and put
//! back where it is another.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use qfs_core::model::Fingerprint;
use qfs_transport::Identity;
use rustix::fs::{AtFlags, RenameFlags, fstat, renameat_with, statat, unlinkat};
use rustix::io::Errno;

use super::NEXT_KEY_FILE;
use super::next::NEXT_CERTIFICATE_FILE;
use super::{IdentityDir, IdentityDirError, io_error, read_all};

/// What a withdrawal left, and took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Withdrawn {
    /// The key that the server has, and goes on having.
    pub current: Fingerprint,
    /// The key that is announced no more, and gone.
    pub withdrawn: Fingerprint,
}

impl IdentityDir {
    /// Removes the next identity: its certificate, then its key. One whose key others can read goes like any other. Blocks.
    ///
    /// # Errors
    /// [`IdentityDirError::NothingPending`]; [`IdentityDirError::UnusableNext`] when what is there is no certificate with its key,
    /// or becomes another meanwhile, and then it stays; [`IdentityDirError`].
    pub fn withdraw(&self) -> Result<Withdrawn, IdentityDirError> {
        let directory = self.lock()?;
        let current = self.present(&directory)?;
        let Some(certificate) = self.open(NEXT_CERTIFICATE_FILE)? else {
            return Err(IdentityDirError::NothingPending);
        };
        let pem = self.content(&certificate, NEXT_CERTIFICATE_FILE)?;
        let unusable = |reason: String| IdentityDirError::UnusableNext { directory: self.path.clone(), reason };
        let withdrawn = Identity::fingerprint_of_pem(&pem).map_err(|e| unusable(e.to_string()))?;
        let key = self.open(NEXT_KEY_FILE)?;
        if let Some(key) = &key {
            Identity::from_pem(&self.content(key, NEXT_KEY_FILE)?, &pem).map_err(|e| unusable(e.to_string()))?;
        }
        for (name, file) in [(NEXT_CERTIFICATE_FILE, Some(&certificate)), (NEXT_KEY_FILE, key.as_ref())] {
            let Some(file) = file else { continue };
            let is_gone =
                remove_if(&directory, name, file).map_err(|source| io_error(&self.path.join(name), source))?;
            if !is_gone {
                return Err(unusable(format!("{name} was replaced meanwhile, and stays")));
            }
        }
        Ok(Withdrawn { current, withdrawn })
    }

    fn content(&self, file: &File, name: &str) -> Result<Vec<u8>, IdentityDirError> {
        let read = file.try_clone().and_then(read_all);
        read.map_err(|source| io_error(&self.path.join(name), source))
    }
}

/// Removes `name` for good, if it is `file`; returns whether it was.
fn remove_if(directory: &File, name: &str, file: &File) -> io::Result<bool> {
    let passing = format!(".{name}.withdrawn.{}", std::process::id());
    let rename = |from: &str, to: &str| renameat_with(directory.as_fd(), from, directory, to, RenameFlags::NOREPLACE);
    match rename(name, &passing) {
        Err(Errno::NOENT) => return Ok(false),
        renamed => renamed?,
    }
    let (wanted, found) = (fstat(file)?, statat(directory, &passing, AtFlags::SYMLINK_NOFOLLOW)?);
    if (wanted.st_dev, wanted.st_ino) != (found.st_dev, found.st_ino) {
        rename(&passing, name)?;
        return Ok(false);
    }
    unlinkat(directory, &passing, AtFlags::empty())?;
    directory.sync_all()?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use qfs_transport::IdentityPem;

    use super::*;

    fn directory() -> (tempfile::TempDir, IdentityDir, Fingerprint) {
        let temporary = tempfile::tempdir().unwrap();
        let directory = IdentityDir::new(temporary.path());
        let first = directory.load_or_create().unwrap().fingerprint();
        (temporary, directory, first)
    }

    fn files(path: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    const PAIR: [&str; 2] = ["server.crt", "server.key"];

    #[test]
    fn what_is_pending_is_gone_and_the_current_pair_stays() {
        let (temporary, directory, first) = directory();
        assert!(matches!(directory.withdraw(), Err(IdentityDirError::NothingPending)));
        for mode in [0o600, 0o644] {
            let next = directory.rotate(false).unwrap().next.unwrap();
            let key = temporary.path().join(NEXT_KEY_FILE);
            fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(directory.withdraw().unwrap(), Withdrawn { current: first, withdrawn: next });
            assert_eq!(files(temporary.path()), PAIR);
            assert_eq!(directory.announced(first).unwrap(), None);
        }
        // Without its key it was announced too.
        let next = directory.rotate(false).unwrap().next.unwrap();
        fs::remove_file(temporary.path().join(NEXT_KEY_FILE)).unwrap();
        assert_eq!(directory.withdraw().unwrap().withdrawn, next);
        assert_eq!(files(temporary.path()), PAIR);
    }

    // Fails when the current certificate loses its key, because a half done activation looks like a pending key.
    #[test]
    fn a_half_done_activation_is_finished_first() {
        let (temporary, directory, _) = directory();
        let next = directory.rotate(false).unwrap().next.unwrap();
        fs::rename(temporary.path().join(NEXT_CERTIFICATE_FILE), temporary.path().join("server.crt")).unwrap();
        assert!(matches!(directory.withdraw(), Err(IdentityDirError::NothingPending)));
        assert_eq!(directory.load_or_create().unwrap().fingerprint(), next);
    }

    #[test]
    fn what_is_no_next_identity_stays() {
        let (temporary, directory, _) = directory();
        directory.rotate(false).unwrap();
        let path = |name: &str| temporary.path().join(name);
        for (name, content) in [
            (NEXT_KEY_FILE, IdentityPem::generate().unwrap().key),
            (NEXT_KEY_FILE, "mine".to_owned()),
            (NEXT_CERTIFICATE_FILE, "mine".to_owned()),
        ] {
            fs::write(path(name), content).unwrap();
            assert!(matches!(directory.withdraw(), Err(IdentityDirError::UnusableNext { .. })), "{name}");
            assert!(path(NEXT_KEY_FILE).exists() && path(NEXT_CERTIFICATE_FILE).exists());
        }
    }

    // Fails when a name is removed, whatever it stands for by then.
    #[test]
    fn another_file_under_the_name_stays() {
        let (temporary, _, _) = directory();
        let path = temporary.path().join("x");
        fs::write(&path, "looked at").unwrap();
        let (looked_at, handle) = (File::open(&path).unwrap(), File::open(temporary.path()).unwrap());
        fs::rename(&path, temporary.path().join("elsewhere")).unwrap();
        assert!(!remove_if(&handle, "x", &looked_at).unwrap());
        fs::write(&path, "new").unwrap();
        assert!(!remove_if(&handle, "x", &looked_at).unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"new");
        fs::rename(temporary.path().join("elsewhere"), &path).unwrap();
        assert!(remove_if(&handle, "x", &looked_at).unwrap());
        assert_eq!(files(temporary.path()), PAIR);
    }
}
