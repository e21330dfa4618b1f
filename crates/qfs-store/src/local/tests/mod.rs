//! Attacks, races and odd files, on a real directory.

#![allow(clippy::print_stderr, reason = "a test that cannot run here must say so")]

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::net::UnixListener;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustix::fs::{CWD, FileType, FlockOperation};
use tempfile::TempDir;

use super::put::Method;
use super::*;
use crate::sync::lock;
use qfs_core::model::ETag;
use qfs_core::store::{Entry, Omission};

/// What another program does between a look at a version and the step that replaces or removes it; once.
#[derive(Default)]
pub(super) struct Meanwhile(Mutex<Option<Box<dyn FnOnce() + Send>>>);

impl std::fmt::Debug for Meanwhile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Meanwhile")
    }
}

impl Shared {
    pub(super) fn meanwhile(&self) {
        if let Some(act) = lock(&self.meanwhile.0).take() {
            act();
        }
    }
}

fn store() -> (TempDir, LocalStore) {
    let directory = tempfile::tempdir().unwrap();
    let store = LocalStore::open_root(directory.path()).unwrap();
    (directory, store)
}

fn path(text: &str) -> RemotePath {
    RemotePath::parse(text).unwrap()
}

fn time(second: i64) -> Timestamp {
    Timestamp::new(second, 123_456_789).unwrap()
}

fn keep() -> CommitSpec {
    CommitSpec { modified: time(1_700_000_000), executable: None, condition: Condition::Absent, durable: false }
}

fn replace() -> CommitSpec {
    CommitSpec { condition: Condition::Any, ..keep() }
}

fn spec(size: u64) -> StageSpec {
    StageSpec { size: Some(size), etag: etag("0123456789abcdef0123456789abcdef") }
}

fn etag(text: &str) -> ETag {
    text.parse().unwrap()
}

fn bytes(text: &'static str) -> [Bytes; 1] {
    [Bytes::from_static(text.as_bytes())]
}

fn listing(store: &LocalStore) -> Vec<String> {
    let mut names = Vec::new();
    let visit = &mut |path: RemotePath, _| {
        names.push(path.as_str().to_owned());
        ControlFlow::Continue(())
    };
    store.list(&ListQuery::default(), visit).unwrap();
    names
}

fn names_in(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(directory).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Makes the file old enough that no time stamp of it is in doubt.
fn settle() {
    std::thread::sleep(Duration::from_millis(25));
}

mod reading;

mod writing;

mod staging;

mod changing;

mod links;

mod sparse;
