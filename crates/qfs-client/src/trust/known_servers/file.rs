//! The store's file: found, locked, read, and replaced in one step.
#![allow(clippy::disallowed_methods, reason = "the store of known servers is no published or downloaded file")]

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use qfs_core::model::Fingerprint;

use super::document::{Document, FormatError, MAX_STORE_BYTES, Record};
use crate::config::ServerAddress;
use crate::small_file;
use crate::trust::Known;

/// Name of the store in the configuration directory.
const FILE_NAME: &str = "known_servers";

/// Longest wait for another process that is changing the store. A change takes milliseconds.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);

/// The store on disk. Read anew at every use: other processes change it too.
#[derive(Debug, Clone)]
pub struct KnownServers {
    path: Option<PathBuf>,
}

/// What a change did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The server is known now.
    Added,
    /// It was known with this key already.
    AlreadyThere,
    /// It has another key now; this was the old one.
    Replaced(Fingerprint),
}

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KnownServersError {
    /// There is no place for it.
    #[error("no configuration directory is known: neither QFS_CONFIG_DIR nor XDG_CONFIG_HOME nor HOME is set")]
    NoPlace,
    /// It is there and cannot be understood.
    #[error("{} is malformed: {source}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: FormatError,
    },
    /// Others than its owner could have changed it.
    #[error("{} can be written by everybody", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process holds the lock.
    #[error("{}: another process has been changing it for {} s", path.display(), LOCK_PATIENCE.as_secs())]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// The server is known with another key, which only a replacement may change.
    #[error("{server} is known with another key: {known}")]
    OtherKey {
        /// Which server.
        server: ServerAddress,
        /// Its key in the store.
        known: Fingerprint,
    },
    /// The server is not known.
    #[error("{server} is not known")]
    NotKnown {
        /// Which server.
        server: ServerAddress,
    },
}

/// Where the store is, from the environment: `$QFS_CONFIG_DIR`, else `$XDG_CONFIG_HOME/qfs`, else `$HOME/.config/qfs`.
#[must_use]
pub fn store_path(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let set = |name| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let directory = set("QFS_CONFIG_DIR")
        // A relative path in this variable is to be ignored (XDG Base Directory Specification).
        .or_else(|| set("XDG_CONFIG_HOME").filter(|path| path.is_absolute()).map(|path| path.join("qfs")))
        .or_else(|| set("HOME").map(|home| home.join(".config").join("qfs")))?;
    Some(directory.join(FILE_NAME))
}

impl KnownServers {
    /// The store at `path`; None when there is no place for one: it is empty then, and takes nothing.
    #[must_use]
    pub fn at(path: Option<PathBuf>) -> Self {
        Self { path }
    }

    /// The file, which need not exist.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Every record, in the order of the file.
    ///
    /// # Errors
    /// [`KnownServersError`] when the file is there and cannot be read or understood.
    pub fn records(&self) -> Result<Vec<Record>, KnownServersError> {
        Ok(self.read()?.records().cloned().collect())
    }

    /// The key of `server`, if it is known.
    ///
    /// # Errors
    /// As [`Self::records`].
    pub fn fingerprint(&self, server: &ServerAddress) -> Result<Option<Fingerprint>, KnownServersError> {
        Ok(self.read()?.fingerprint(server))
    }

    /// What is known of `server`.
    ///
    /// # Errors
    /// As [`Self::records`].
    pub fn known(&self, server: &ServerAddress) -> Result<Option<Known>, KnownServersError> {
        Ok(self.read()?.known(server))
    }

    /// As [`Document::announce`].
    ///
    /// # Errors
    /// As [`Self::records`]; when writing fails.
    pub fn announce(&self, server: &ServerAddress, found: Known) -> Result<bool, KnownServersError> {
        self.change(|document| Ok(document.announce(server, found)))
    }

    /// As [`Document::promote`].
    ///
    /// # Errors
    /// As [`Self::announce`].
    pub fn promote(
        &self,
        server: &ServerAddress,
        old: Fingerprint,
        new: Fingerprint,
    ) -> Result<bool, KnownServersError> {
        self.change(|document| Ok(document.promote(server, old, new)))
    }

    /// Makes `server` known.
    ///
    /// # Errors
    /// [`KnownServersError::OtherKey`] when it is known with another key; as [`Self::records`]; when writing fails.
    pub fn add(&self, server: &ServerAddress, fingerprint: Fingerprint) -> Result<Change, KnownServersError> {
        self.change(|document| match document.fingerprint(server) {
            Some(known) if known == fingerprint => Ok(Change::AlreadyThere),
            Some(known) => Err(KnownServersError::OtherKey { server: server.clone(), known }),
            None => {
                document.set(server, fingerprint);
                Ok(Change::Added)
            }
        })
    }

    /// Gives a known server another key.
    ///
    /// # Errors
    /// [`KnownServersError::NotKnown`]; as [`Self::records`]; when writing fails.
    pub fn replace(&self, server: &ServerAddress, fingerprint: Fingerprint) -> Result<Change, KnownServersError> {
        self.change(|document| match document.fingerprint(server) {
            None => Err(KnownServersError::NotKnown { server: server.clone() }),
            Some(known) if known == fingerprint => Ok(Change::AlreadyThere),
            Some(known) => {
                document.set(server, fingerprint);
                Ok(Change::Replaced(known))
            }
        })
    }

    /// Forgets a server; returns the key it had.
    ///
    /// # Errors
    /// As [`Self::replace`].
    pub fn remove(&self, server: &ServerAddress) -> Result<Fingerprint, KnownServersError> {
        self.change(|document| {
            document.remove(server).ok_or_else(|| KnownServersError::NotKnown { server: server.clone() })
        })
    }

    fn read(&self) -> Result<Document, KnownServersError> {
        match &self.path {
            Some(path) => read(path),
            None => Ok(Document::default()),
        }
    }

    /// Reads, changes and replaces the file while no other process does.
    fn change<T>(
        &self,
        change: impl FnOnce(&mut Document) -> Result<T, KnownServersError>,
    ) -> Result<T, KnownServersError> {
        let path = self.path.as_deref().ok_or(KnownServersError::NoPlace)?;
        let directory = path.parent().unwrap_or(Path::new("."));
        small_file::make_directory(directory).map_err(at(directory))?;
        let _lock = lock(&path.with_extension("lock"))?;
        let old = read(path)?;
        let mut new = old.clone();
        let done = change(&mut new)?;
        if new != old {
            let text = new.to_string();
            // What could not be read back must not be written: it would lock the user out of every server.
            Document::parse(text.as_bytes())
                .map_err(|source| KnownServersError::Format { path: path.to_owned(), source })?;
            small_file::replace(path, text.as_bytes()).map_err(at(path))?;
        }
        Ok(done)
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> KnownServersError {
    let path = path.to_owned();
    move |source| KnownServersError::Io { path, source }
}

fn read(path: &Path) -> Result<Document, KnownServersError> {
    let file = match File::open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Document::default()),
        opened => opened.map_err(at(path))?,
    };
    let meta = file.metadata().map_err(at(path))?;
    if meta.permissions().mode() & 0o002 != 0 {
        return Err(KnownServersError::Exposed { path: path.to_owned() });
    }
    let mut bytes = Vec::new();
    file.take(MAX_STORE_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(at(path))?;
    Document::parse(&bytes).map_err(|source| KnownServersError::Format { path: path.to_owned(), source })
}

fn lock(path: &Path) -> Result<File, KnownServersError> {
    let held = small_file::lock(path, LOCK_PATIENCE).map_err(at(path))?;
    held.ok_or_else(|| KnownServersError::Locked { path: path.to_owned() })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::document::parse_address;
    use super::*;

    fn key(seed: &str) -> Fingerprint {
        Fingerprint::of_public_key(seed.as_bytes())
    }

    fn store() -> (tempfile::TempDir, KnownServers) {
        let directory = tempfile::tempdir().unwrap();
        let store = KnownServers::at(Some(directory.path().join("a/qfs").join(FILE_NAME)));
        (directory, store)
    }

    #[test]
    fn the_place_follows_the_variables() {
        let with = |set: &'static [(&str, &str)]| {
            store_path(move |name| set.iter().find(|(n, _)| *n == name).map(|(_, value)| value.into()))
        };
        let path = |text: &str| Some(PathBuf::from(text));
        assert_eq!(with(&[("QFS_CONFIG_DIR", "/q"), ("HOME", "/h")]), path("/q/known_servers"));
        assert_eq!(with(&[("XDG_CONFIG_HOME", "/x"), ("HOME", "/h")]), path("/x/qfs/known_servers"));
        assert_eq!(with(&[("XDG_CONFIG_HOME", "x"), ("HOME", "/h")]), path("/h/.config/qfs/known_servers"));
        assert_eq!(with(&[("QFS_CONFIG_DIR", ""), ("HOME", "/h")]), path("/h/.config/qfs/known_servers"));
        assert_eq!(with(&[]), None);
    }

    #[test]
    fn add_replace_remove_and_their_modes() {
        let (directory, store) = store();
        let server = parse_address("Host:1").unwrap();
        assert_eq!(store.fingerprint(&server).unwrap(), None);
        assert!(matches!(store.replace(&server, key("a")), Err(KnownServersError::NotKnown { .. })));
        assert_eq!(store.add(&server, key("a")).unwrap(), Change::Added);
        assert_eq!(store.add(&server, key("a")).unwrap(), Change::AlreadyThere);
        assert!(
            matches!(store.add(&server, key("b")), Err(KnownServersError::OtherKey { known, .. }) if known == key("a"))
        );
        assert_eq!(store.replace(&server, key("b")).unwrap(), Change::Replaced(key("a")));
        assert_eq!(store.fingerprint(&server).unwrap(), Some(key("b")));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let path = store.path().unwrap();
        assert_eq!((mode(path), mode(path.parent().unwrap())), (0o600, 0o700));
        assert_eq!(store.remove(&server).unwrap(), key("b"));
        assert!(matches!(store.remove(&server), Err(KnownServersError::NotKnown { .. })));
        let left: Vec<_> = fs::read_dir(path.parent().unwrap()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left.len(), 2, "the store and its lock, no temporary file: {left:?}");
        drop(directory);
    }

    #[test]
    fn a_malformed_store_is_neither_used_nor_changed() {
        let (_directory, store) = store();
        let path = store.path().unwrap();
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "nonsense\n").unwrap();
        let server = parse_address("h:1").unwrap();
        assert!(store.fingerprint(&server).unwrap_err().to_string().contains("line 1"));
        assert!(matches!(store.add(&server, key("a")), Err(KnownServersError::Format { .. })));
        assert_eq!(fs::read(path).unwrap(), b"nonsense\n");
    }

    #[test]
    fn one_that_everybody_can_write_is_not_believed() {
        let (_directory, store) = store();
        let server = parse_address("h:1").unwrap();
        store.add(&server, key("a")).unwrap();
        fs::set_permissions(store.path().unwrap(), fs::Permissions::from_mode(0o666)).unwrap();
        assert!(matches!(store.fingerprint(&server), Err(KnownServersError::Exposed { .. })));
    }

    #[test]
    fn a_linked_store_stays_linked() {
        let (directory, store) = store();
        let real = directory.path().join("real");
        fs::write(&real, "# kept\n").unwrap();
        fs::create_dir_all(store.path().unwrap().parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(&real, store.path().unwrap()).unwrap();
        store.add(&parse_address("h:1").unwrap(), key("a")).unwrap();
        assert_eq!(fs::read_to_string(&real).unwrap(), format!("# kept\nh:1 {}\n", key("a")));
        assert!(fs::symlink_metadata(store.path().unwrap()).unwrap().is_symlink());
    }

    #[test]
    fn concurrent_changes_are_all_kept() {
        let (_directory, store) = store();
        std::thread::scope(|scope| {
            for n in 1..=16 {
                let store = &store;
                scope.spawn(move || store.add(&parse_address(&format!("h:{n}")).unwrap(), key("a")).unwrap());
            }
        });
        assert_eq!(store.records().unwrap().len(), 16);
    }
}
