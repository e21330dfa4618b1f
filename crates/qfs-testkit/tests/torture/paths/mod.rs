//! Names and links that lead outside: against the names' own rules, against the store, for reading and for writing, and through the
//! wire (`names`); and links that are swapped in while files are opened (`races`).

mod names;
mod races;

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bytes::Bytes;
use jiff::Timestamp;
use qfs_core::model::RemotePath;
use qfs_core::store::{CommitSpec, Condition, StageSpec, Store as _, StoreError, WriteStore as _};
use qfs_store::local::{FollowLinks, Hidden, LocalStore};
use rustix::fs::{CWD, Mode, mknodat};
use tempfile::TempDir;

use crate::lab::files_below;

/// What every published file begins with, and no other on this machine.
const PUBLISHED: &[u8] = b"published by this test: ";

/// The sandbox would keep a server from what is outside even if it opened it. Here it is not to help.
const ALONE: &str = "--sandbox=off";

/// What is followed, in the store and on the server's command line.
const MODES: [(FollowLinks, &str); 3] = [
    (FollowLinks::None, "--follow-links=none"),
    (FollowLinks::Inside, "--follow-links=inside"),
    (FollowLinks::Any, "--follow-links=any"),
];

/// Links in a [`furnish`]ed root that lead to all of this machine. A server that follows them looks through all of it first.
const LINKS_TO_EVERYTHING: [&str; 3] = ["abs", "proc", "selfroot"];

/// Fills `root` with files, and with links and other things that lead out of it to `outside`.
fn furnish(root: &Path, outside: &Path) {
    std::fs::create_dir_all(outside.join("deep")).unwrap();
    for secret in ["secret", "deep/secret"] {
        std::fs::write(outside.join(secret), "not published").unwrap();
    }
    for name in ["a/inner", "a/b/inner", "deep/inner", ".hidden", ".git/config", "..a", "a/.hidden/inner", "secret"] {
        let path = root.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, [PUBLISHED, name.as_bytes()].concat()).unwrap();
    }
    let links: &[(&str, &Path)] = &[
        ("link", outside),
        ("deep/link", outside),
        ("up", Path::new("..")),
        ("deep/up", Path::new("../..")),
        ("abs", Path::new("/")),
        ("loop", Path::new("loop")),
        ("chain", Path::new("link")),
        ("dangling", Path::new("nowhere")),
        ("proc", Path::new("/proc")),
        ("selfroot", Path::new("/proc/self/root")),
        ("fdlink", Path::new("/proc/self/fd/3")),
        ("linkfile", &outside.join("secret")),
        ("absfile", Path::new("/etc/passwd")),
        ("within", Path::new("a/inner")),
        ("within-dir", Path::new("a/b")),
    ];
    for (name, target) in links {
        symlink(target, root.join(name)).unwrap();
    }
    mknodat(CWD, root.join("fifo"), rustix::fs::FileType::Fifo, Mode::RUSR, 0).unwrap();
    drop(UnixListener::bind(root.join("socket")).unwrap());
}

/// Everything outside: names, contents and when they were changed.
fn surroundings(place: &Path, inside: &Path) -> BTreeMap<PathBuf, (Vec<u8>, SystemTime)> {
    let outside = files_below(place).into_iter().filter(|path| !path.starts_with(inside));
    outside
        .map(|path| {
            let meta = path.symlink_metadata().unwrap();
            // A pipe would be waited at for ever, and what a link leads to is not here.
            let content = if meta.is_file() { std::fs::read(&path).unwrap() } else { Vec::new() };
            (path, (content, meta.modified().unwrap()))
        })
        .collect()
}

/// A root for reading and one for writing, with the same traps in both.
struct Trap {
    place: TempDir,
    source: LocalStore,
    target: LocalStore,
    follow: FollowLinks,
}

impl Trap {
    /// Where the source follows any link, what is outside is what no link may lead to.
    fn new(follow: FollowLinks) -> Self {
        let place = tempfile::tempdir().unwrap();
        let [source, target, outside] = ["root", "target", "outside"].map(|name| place.path().join(name));
        for root in [&source, &target] {
            std::fs::create_dir(root).unwrap();
            furnish(root, &outside);
        }
        let source = LocalStore::open_root(&source).unwrap().hidden(Hidden::Included).follow_links(follow);
        let source = match follow {
            FollowLinks::Any => source.never_by_link(&[&outside]),
            FollowLinks::None | FollowLinks::Inside => source,
        };
        let target = LocalStore::open_root(&target).unwrap().hidden(Hidden::Included);
        Self { place, source, target, follow }
    }

    /// Opens `name` if it is one; whether it was there. Nothing but what is published may be read.
    fn read(&self, name: &str) -> bool {
        let Ok(path) = RemotePath::parse(name) else { return false };
        match self.source.object(&path) {
            Ok(object) => {
                let length = usize::try_from(object.meta().size).unwrap();
                let content = object.read_at(0, length).unwrap();
                let published = content.starts_with(PUBLISHED);
                let is_secret = content.starts_with(b"not published");
                assert!(published || (self.follow == FollowLinks::Any && !is_secret), "{name:?} is {content:?}");
                published
            }
            Err(StoreError::NotFound) => false,
            Err(error) => panic!("{name:?} tells of this machine: {error:?}"),
        }
    }

    /// As [`write_to`], into the root for writing.
    fn write(&self, name: &str) -> bool {
        write_to(&self.target, name)
    }
}

/// Writes under `name` in every way, if it is one; whether anything was written.
fn write_to(target: &LocalStore, name: &str) -> bool {
    let Ok(path) = RemotePath::parse(name) else { return false };
    let commit =
        CommitSpec { modified: Timestamp::UNIX_EPOCH, executable: None, condition: Condition::Any, durable: false };
    let _ = target.existing(&path);
    let put = target.put(&path, &[Bytes::from_static(PUBLISHED)], &commit).is_ok();
    let spec = StageSpec { size: Some(PUBLISHED.len() as u64), etag: "0123".parse().unwrap() };
    let staged = target.stage(&path, &spec).and_then(|staged| {
        staged.write_at(0, &[Bytes::from_static(PUBLISHED)])?;
        staged.commit(&commit)
    });
    let _ = target.touch(&path, Timestamp::UNIX_EPOCH);
    put || staged.is_ok()
}
