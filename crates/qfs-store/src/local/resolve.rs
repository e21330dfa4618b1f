//! How a name becomes a handle without ever leaving the directory it starts from.
//!
//! One system call, openat2, where the kernel has it; else a walk that opens one component after the other. Both refuse
//! symbolic links at every step. The path is a valid [`RemotePath`](qfs_core::model::RemotePath) or a prefix of one: no
//! empty, `.` or `..` component.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::{Errno, retry_on_intr};

/// How often openat2 is tried when a rename elsewhere made the kernel lose its way.
const RACE_ATTEMPTS: usize = 32;

/// What every handle is opened with: a pipe or terminal in the tree neither blocks nor becomes ours.
const ALWAYS: OFlags = OFlags::NONBLOCK.union(OFlags::NOCTTY).union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW);

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY);

/// Opens `path` below `start`.
///
/// # Errors
/// `ELOOP` or `ENOTDIR` for a symbolic link on the way; what the system call failed with otherwise.
pub(super) fn open(start: impl AsFd, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    let start = start.as_fd();
    let flags = flags | ALWAYS;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_SYMLINKS;
    for _ in 0..RACE_ATTEMPTS {
        match rustix::fs::openat2(start, path, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            // An old kernel, a seccomp filter that knows no openat2, or a path of 4096 bytes: legal for us, one byte
            // too long for one system call.
            Err(Errno::NOSYS | Errno::PERM | Errno::NAMETOOLONG) => return walk(start, path, flags),
            done => return done,
        }
    }
    Err(Errno::AGAIN)
}

/// Opens the directory `path` below `start`; `start` itself, anew, when `path` is empty.
///
/// # Errors
/// As [`open`].
pub(super) fn open_directory(start: impl AsFd, path: &str) -> Result<OwnedFd, Errno> {
    if path.is_empty() {
        return retry_on_intr(|| rustix::fs::openat(&start, ".", DIRECTORY | ALWAYS, Mode::empty()));
    }
    open(start, path, DIRECTORY)
}

/// As [`open_directory`], making what is missing.
///
/// # Errors
/// As [`open`], and what mkdir failed with.
pub(super) fn make_directory(start: impl AsFd, path: &str) -> Result<OwnedFd, Errno> {
    match open_directory(&start, path) {
        Err(Errno::NOENT) => {}
        done => return done,
    }
    let mut directory = open_directory(&start, "")?;
    for component in path.split('/') {
        directory = match open_component(&directory, component, DIRECTORY) {
            Err(Errno::NOENT) => {
                match rustix::fs::mkdirat(&directory, component, Mode::from_raw_mode(0o777)) {
                    // Another thread or process may have been faster; what it made is looked at like anything else.
                    Ok(()) | Err(Errno::EXIST) => open_component(&directory, component, DIRECTORY)?,
                    Err(error) => return Err(error),
                }
            }
            opened => opened?,
        };
    }
    Ok(directory)
}

/// What [`open`] does where there is no openat2.
fn walk(start: impl AsFd, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    let Some((parents, name)) = path.rsplit_once('/') else {
        return open_component(start, path, flags);
    };
    let mut directory: Option<OwnedFd> = None;
    for component in parents.split('/') {
        let from = directory.as_ref().map_or(start.as_fd(), AsFd::as_fd);
        directory = Some(open_component(from, component, OFlags::PATH | OFlags::DIRECTORY)?);
    }
    open_component(directory.as_ref().map_or(start.as_fd(), AsFd::as_fd), name, flags)
}

/// Opens `name`, a single component, in `directory`. Without a slash and with `O_NOFOLLOW` this cannot leave it.
fn open_component(directory: impl AsFd, name: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    debug_assert!(!name.contains('/') && name != ".." && !name.is_empty());
    retry_on_intr(|| rustix::fs::openat(&directory, name, flags | ALWAYS, Mode::empty()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    type Opener = fn(&OwnedFd, &str) -> Result<OwnedFd, Errno>;

    const OPENERS: [(&str, Opener); 2] = [
        ("openat2", |root, path| open(root, path, OFlags::RDONLY)),
        ("walk", |root, path| walk(root, path, OFlags::RDONLY)),
    ];

    fn root(path: &std::path::Path) -> OwnedFd {
        rustix::fs::open(path, DIRECTORY, Mode::empty()).unwrap()
    }

    #[test]
    fn both_ways_open_what_is_inside_and_nothing_through_a_link() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret"), "secret").unwrap();
        let inside = tempfile::tempdir().unwrap();
        fs::create_dir_all(inside.path().join("a/b")).unwrap();
        fs::write(inside.path().join("a/b/c"), "fine").unwrap();
        symlink(outside.path(), inside.path().join("out")).unwrap();
        symlink(outside.path().join("secret"), inside.path().join("a/link")).unwrap();
        symlink("b", inside.path().join("a/inner")).unwrap();
        symlink("..", inside.path().join("a/up")).unwrap();
        symlink("/proc/self/root", inside.path().join("magic")).unwrap();
        let root = root(inside.path());
        for (way, open) in OPENERS {
            assert!(open(&root, "a/b/c").is_ok(), "{way}");
            assert!(open(&root, "a").is_ok(), "{way}");
            for path in ["out/secret", "a/link", "a/inner/c", "a/up/a/b/c", "magic/etc/passwd", "out", "a/b/c/d"] {
                let error = open(&root, path).err();
                assert!(matches!(error, Some(Errno::LOOP | Errno::NOTDIR | Errno::XDEV)), "{way} {path}: {error:?}");
            }
            assert_eq!(open(&root, "a/none").err(), Some(Errno::NOENT), "{way}");
        }
    }

    #[test]
    fn paths_that_climb_or_are_absolute_do_not_leave_the_root_even_unvalidated() {
        let parent = tempfile::tempdir().unwrap();
        fs::write(parent.path().join("secret"), "secret").unwrap();
        fs::create_dir(parent.path().join("root")).unwrap();
        let root = root(&parent.path().join("root"));
        for path in ["../secret", "/etc/passwd", "..", "x/../../secret"] {
            assert!(open(&root, path, OFlags::RDONLY).is_err(), "{path}");
        }
    }

    #[test]
    fn the_longest_legal_path_opens() {
        let directory = tempfile::tempdir().unwrap();
        let root = root(directory.path());
        let path = vec!["d"; 2048].join("/");
        let (parent, name) = path.rsplit_once('/').unwrap();
        let made = make_directory(&root, parent).unwrap();
        rustix::fs::openat(&made, name, OFlags::CREATE | OFlags::WRONLY, Mode::from_raw_mode(0o600)).unwrap();
        assert!(open(&root, &path, OFlags::RDONLY).is_ok());
        assert!(open(&root, &format!("{path}x"), OFlags::RDONLY).is_err());
    }

    #[test]
    fn directories_are_made_but_not_through_links() {
        let outside = tempfile::tempdir().unwrap();
        let inside = tempfile::tempdir().unwrap();
        symlink(outside.path(), inside.path().join("out")).unwrap();
        fs::write(inside.path().join("file"), "").unwrap();
        let root = root(inside.path());
        assert!(make_directory(&root, "x/y/z").is_ok());
        assert!(make_directory(&root, "x/y/z").is_ok());
        assert!(inside.path().join("x/y/z").is_dir());
        for path in ["out/new", "out", "file/new", "file"] {
            let error = make_directory(&root, path).err();
            assert!(matches!(error, Some(Errno::LOOP | Errno::NOTDIR)), "{path}: {error:?}");
        }
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    }
}
