//! An identity from two files that somebody else made: a PEM chain and its key.

#![allow(clippy::disallowed_methods, reason = "certificates and keys are neither published nor downloaded")]

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::identity::{Identity, IdentityError};

/// Longest key or certificate file that is read, in bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Why two files do not make an identity.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityFileError {
    /// The key can be read by others than its owner.
    #[error("{} can be read by others (mode {mode:04o})", .path.display())]
    Exposed {
        /// The key file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The contents do not make an identity.
    #[error("{} with {}: {source}", .certificate.display(), .key.display())]
    Unusable {
        /// The certificate file.
        certificate: PathBuf,
        /// The key file.
        key: PathBuf,
        /// What is wrong.
        source: IdentityError,
    },
    /// The operating system refused.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl IdentityFileError {
    /// What a person may do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Exposed { path, .. } => {
                format!("chmod 600 {}; if somebody may have read it, have another certificate made", path.display())
            }
            Self::Unusable { source: IdentityError::Mismatch(_), .. } => {
                "name the key of this very certificate; of a chain, the own certificate comes first".to_owned()
            }
            Self::Unusable { source: IdentityError::Unusable(_), .. } => {
                "have another certificate made for the key, of version 3 of X.509".to_owned()
            }
            Self::Unusable { .. } => "both must be PEM: the certificate's chain, its own first, and its key".to_owned(),
            Self::Io { .. } => "name files that this user can read".to_owned(),
        }
    }
}

impl Identity {
    /// Reads an identity from a PEM chain, the own certificate first, and the file of its key, which nobody but its
    /// owner may read. Blocks.
    ///
    /// # Errors
    /// [`IdentityFileError`].
    pub fn from_files(certificate: &Path, key: &Path) -> Result<Self, IdentityFileError> {
        let chain = read(certificate, false)?;
        let secret = read(key, true)?;
        Self::from_pem(&secret, &chain).map_err(|source| IdentityFileError::Unusable {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            source,
        })
    }
}

fn read(path: &Path, is_secret: bool) -> Result<Vec<u8>, IdentityFileError> {
    let failed = |source| IdentityFileError::Io { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o7777;
    if is_secret && mode & 0o077 != 0 {
        return Err(IdentityFileError::Exposed { path: path.to_owned(), mode });
    }
    let mut content = Vec::new();
    file.take(MAX_FILE_BYTES).read_to_end(&mut content).map_err(failed)?;
    Ok(content)
}
