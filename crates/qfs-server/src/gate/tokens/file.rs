//! The token file: locked, read, and replaced in one step.

#![expect(clippy::disallowed_methods, reason = "the token file is the server's own, and not published")]

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use qfs_core::model::{Digest, Token};
use ring::rand::{SecureRandom, SystemRandom};
use rustix::fs::{FlockOperation, flock};

use super::document::{Document, FormatError, MAX_FILE_BYTES, MAX_NAME_BYTES, MAX_TOKENS, Record, TokenId, check_name};
use super::scope::Scope;
use crate::gate::rights::Rights;

/// The file's name, in the directory of the identity. Mode 0600.
pub const TOKENS_FILE: &str = "tokens";

/// How the text of a token begins, so that people and scanners for leaked secrets know one when they see it.
const TOKEN_PREFIX: &str = "qfs_";

/// The tokens on disk. Read anew at every use: other processes change them.
#[derive(Debug, Clone)]
pub struct TokenFile {
    path: PathBuf,
}

/// What a new token is to be.
#[derive(Debug, Clone, Default)]
pub struct Issue {
    /// From when on it is worth nothing.
    pub expires: Option<Timestamp>,
    /// What it reaches; None: everything.
    pub scope: Option<Scope>,
    /// What its holder may do; None: read.
    pub can: Option<Rights>,
    /// Whom or what it is for.
    pub name: Option<String>,
}

/// Why the token file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenFileError {
    /// It is there and cannot be understood.
    #[error("{} is malformed: {source}", .path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: FormatError,
    },
    /// Others than its owner may read or write it.
    #[error("{} can be used by others (mode {mode:04o})", .path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Not a file.
    #[error("{} is not a regular file", .path.display())]
    NotAFile {
        /// The file.
        path: PathBuf,
    },
    /// The operating system refused something.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No more tokens fit.
    #[error("{} has {MAX_TOKENS} tokens already", .path.display())]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// A name nobody could tell apart.
    #[error("the name of a token has 1 to {MAX_NAME_BYTES} bytes")]
    Name,
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    Random,
}

impl TokenFileError {
    /// What a person may do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Format { .. } => {
                "mend or remove that line; until then nobody would be let in, so nothing is started".to_owned()
            }
            Self::Exposed { path, .. } => format!("chmod 600 {}", path.display()),
            Self::NotAFile { path } => format!("move {} away", path.display()),
            Self::Io { .. } => "--certs names a directory that this user can read and write".to_owned(),
            Self::Full { .. } => "revoke those that are no longer needed: qfs-server token list".to_owned(),
            Self::Name => "choose another --name".to_owned(),
            Self::Random => "is /dev/urandom there?".to_owned(),
        }
    }
}

impl TokenFile {
    /// The token file in `directory`, which need not exist.
    #[must_use]
    pub fn in_directory(directory: &Path) -> Self {
        Self { path: directory.join(TOKENS_FILE) }
    }

    /// Where it is, or will be.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What stands in it; nothing when it is not there. Blocks.
    ///
    /// # Errors
    /// [`TokenFileError`] when it is not to be used.
    pub fn read(&self) -> Result<Document, TokenFileError> {
        self.parse(&self.bytes()?)
    }

    /// Makes a token. The secret is returned and kept nowhere. Blocks.
    ///
    /// # Errors
    /// [`TokenFileError`]; nothing is changed then.
    pub fn create(&self, issue: Issue) -> Result<(Token, Record), TokenFileError> {
        if issue.name.as_deref().is_some_and(|name| !check_name(name)) {
            return Err(TokenFileError::Name);
        }
        let secret = Digest::from_bytes(random()?);
        let text = format!("{TOKEN_PREFIX}{secret}");
        // What is made here is made of legal characters.
        let token: Token = text.parse().map_err(|_| TokenFileError::Random)?;
        let record = self.change(|document| {
            if document.records().len() >= MAX_TOKENS {
                return Err(TokenFileError::Full { path: self.path.clone() });
            }
            let mut id = TokenId::from_bytes(random()?);
            while document.with_id(&id).is_some() {
                id = TokenId::from_bytes(random()?);
            }
            let Issue { expires, scope, can, name } = issue;
            let created = whole_seconds(Timestamp::now());
            let record = Record { id, sha256: token.digest(), created, expires, scope, can, name };
            document.push(record.clone());
            Ok(record)
        })?;
        Ok((token, record))
    }

    /// A token that stands in no file, with what would stand there.
    ///
    /// # Errors
    /// [`TokenFileError::Random`].
    pub(crate) fn unwritten(expires: Option<Timestamp>) -> Result<(Token, Document), TokenFileError> {
        let token: Token =
            format!("{TOKEN_PREFIX}{}", Digest::from_bytes(random()?)).parse().map_err(|_| TokenFileError::Random)?;
        let (id, created) = (TokenId::from_bytes(random()?), whole_seconds(Timestamp::now()));
        let mut document = Document::default();
        document.push(Record { id, sha256: token.digest(), created, expires, scope: None, can: None, name: None });
        Ok((token, document))
    }

    /// Forgets these tokens; returns those that were not there. Blocks.
    ///
    /// # Errors
    /// [`TokenFileError`]; nothing is changed then.
    pub fn revoke<'a>(&self, ids: &'a [TokenId]) -> Result<Vec<&'a TokenId>, TokenFileError> {
        self.change(|document| {
            let known: Vec<_> = ids.iter().filter(|id| document.with_id(id).is_none()).collect();
            for id in ids {
                document.remove(id);
            }
            Ok(known)
        })
    }

    /// What stands in the file, after a look at who else may touch it.
    pub(crate) fn bytes(&self) -> Result<Vec<u8>, TokenFileError> {
        let io_error = |source| self.io_error(source);
        // A pipe in its place must not hold anybody up.
        let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
        let file = match OpenOptions::new().read(true).custom_flags(flags).open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            opened => opened.map_err(io_error)?,
        };
        let meta = file.metadata().map_err(io_error)?;
        if !meta.is_file() {
            return Err(TokenFileError::NotAFile { path: self.path.clone() });
        }
        let mode = meta.mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(TokenFileError::Exposed { path: self.path.clone(), mode });
        }
        let mut bytes = Vec::new();
        file.take(MAX_FILE_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(io_error)?;
        Ok(bytes)
    }

    pub(crate) fn parse(&self, bytes: &[u8]) -> Result<Document, TokenFileError> {
        Document::parse(bytes).map_err(|source| TokenFileError::Format { path: self.path.clone(), source })
    }

    /// Reads, changes and replaces the file while no other process does.
    fn change<T>(&self, change: impl FnOnce(&mut Document) -> Result<T, TokenFileError>) -> Result<T, TokenFileError> {
        let io_error = |source| self.io_error(source);
        let parent = self.path.parent().unwrap_or(Path::new("."));
        DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(io_error)?;
        let directory = File::open(parent).map_err(io_error)?;
        // Held until the file is replaced: no change is lost to another made at the same time.
        flock(&directory, FlockOperation::LockExclusive).map_err(|e| io_error(e.into()))?;
        let old = self.read()?;
        let mut new = old.clone();
        let done = change(&mut new)?;
        if new != old {
            let text = new.to_string();
            // What could not be read back must not be written: it would lock everybody out.
            self.parse(text.as_bytes())?;
            self.replace(text.as_bytes(), &directory).map_err(io_error)?;
        }
        Ok(done)
    }

    /// Puts `content` in the file's place: a reader sees the old or the new, also after a crash.
    fn replace(&self, content: &[u8], directory: &File) -> io::Result<()> {
        let temporary = self.path.with_file_name(format!(".{TOKENS_FILE}.{}", std::process::id()));
        let written = (|| {
            // Of a process that had this number and was killed in between; the directory is locked.
            match fs::remove_file(&temporary) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
            file.write_all(content)?;
            file.sync_all()?;
            fs::rename(&temporary, &self.path)?;
            directory.sync_all()
        })();
        if written.is_err() {
            // Whether or not it was made, it must not stay.
            let _ = fs::remove_file(&temporary);
        }
        written
    }

    fn io_error(&self, source: io::Error) -> TokenFileError {
        TokenFileError::Io { path: self.path.clone(), source }
    }
}

fn random<const N: usize>() -> Result<[u8; N], TokenFileError> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| TokenFileError::Random)?;
    Ok(bytes)
}

/// Nobody needs the nanosecond, and everybody reads the line.
fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn tokens() -> (tempfile::TempDir, TokenFile) {
        let directory = tempfile::tempdir().unwrap();
        let file = TokenFile::in_directory(&directory.path().join("certs"));
        (directory, file)
    }

    #[test]
    fn made_found_and_revoked() {
        let (_directory, file) = tokens();
        assert_eq!(file.read().unwrap(), Document::default());
        let (token, record) = file.create(Issue { name: Some("Ann".to_owned()), ..Issue::default() }).unwrap();
        let (other, _) = file.create(Issue::default()).unwrap();
        assert_ne!(token, other);
        let digits = token.reveal().strip_prefix("qfs_").unwrap();
        assert!(digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit()), "256 bits");
        assert_eq!(file.read().unwrap().find(&token), Some(&record));
        let text = fs::read_to_string(file.path()).unwrap();
        assert!(!text.contains(digits), "the secret is not kept");
        assert_eq!(fs::metadata(file.path()).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(fs::read_dir(file.path().parent().unwrap()).unwrap().count(), 1, "nothing is left beside it");

        let unknown: TokenId = "00000000".parse().unwrap();
        assert_eq!(file.revoke(&[unknown.clone(), record.id.clone()]).unwrap(), [&unknown]);
        let left = file.read().unwrap();
        assert!(left.find(&token).is_none() && left.find(&other).is_some());
    }

    #[test]
    fn a_file_that_others_can_use_or_nobody_understands_is_neither_used_nor_changed() {
        let (_directory, file) = tokens();
        let (_, record) = file.create(Issue::default()).unwrap();
        for mode in [0o640, 0o604, 0o620] {
            fs::set_permissions(file.path(), fs::Permissions::from_mode(mode)).unwrap();
            assert!(matches!(file.read(), Err(TokenFileError::Exposed { mode: found, .. }) if found == mode));
            assert!(file.create(Issue::default()).is_err());
        }
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(file.path(), "nonsense\n").unwrap();
        assert!(matches!(file.create(Issue::default()), Err(TokenFileError::Format { .. })));
        assert!(matches!(file.revoke(&[record.id]), Err(TokenFileError::Format { .. })));
        assert_eq!(fs::read(file.path()).unwrap(), b"nonsense\n");
        fs::remove_file(file.path()).unwrap();
        fs::create_dir(file.path()).unwrap();
        assert!(matches!(file.read(), Err(TokenFileError::NotAFile { .. })));
    }

    // Fails when the lock is not held from reading to replacing.
    #[test]
    fn changes_made_at_once_are_all_kept() {
        let (_directory, file) = tokens();
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| file.create(Issue::default()).unwrap());
            }
        });
        assert_eq!(file.read().unwrap().records().len(), 16);
    }
}
