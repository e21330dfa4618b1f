//! A full disk, and system calls that fail at the Nth time.

use std::path::{Path, PathBuf};
use std::process::Command;

use qfs_testkit::binaries::client_bin;

use crate::lab::{Done, Lab, noise, run};
use crate::tally::{Tally, count, seed};

/// A small file system of its own at a directory; unmounted when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// None where this process may not mount.
    fn mount(at: &Path, size: &str) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let options = format!("size={size},mode=700");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "qfs-torture"]).arg(at).output();
        mounted.is_ok_and(|output| output.status.success()).then(|| Self(at.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a failed test may leave a client that has it open.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn files(lab: &Lab) -> Vec<(String, Vec<u8>)> {
    let sizes = [100, 0, 1500 << 10, 40_000, 700 << 10, 900];
    let files: Vec<_> =
        sizes.iter().enumerate().map(|(i, size)| (format!("f{i}"), noise(seed() ^ (100 + i as u64), *size))).collect();
    for (name, content) in &files {
        lab.publish(name, content);
    }
    files
}

/// What failed, as name and code; everything else must be whole, and nothing that failed may be there.
#[track_caller]
fn failures(lab: &Lab, files: &[(String, Vec<u8>)], done: &Done) -> Vec<(String, String)> {
    let json = done.json();
    let mut failed = Vec::new();
    for file in json["files"].as_array().unwrap() {
        let name = file["name"].as_str().unwrap().to_owned();
        let content = &files.iter().find(|(known, _)| *known == name).unwrap().1;
        let saved = lab.saved_file(&name);
        if file["status"] == "failed" {
            assert!(saved.is_none_or(|saved| saved == *content), "{name} is wrong: {done:?}");
            failed.push((name, file["error"]["code"].as_str().unwrap().to_owned()));
        } else {
            assert!(saved.as_ref() == Some(content), "{name} is not whole: {done:?}");
        }
    }
    failed
}

/// Promise: a full disk is a typed error on the file that does not fit; the others finish.
///
/// Fails when: ENOSPC is not told from other errors (`write_error`); one failed file ends the run; `ensure_space` is left out
/// (the disk is filled to the brim first, and the small files behind fail too).
#[test]
fn a_full_disk() {
    let mut lab = Lab::new();
    let files = files(&lab);
    lab.start();
    let Some(_disk) = SmallDisk::mount(&lab.saved(), "1m") else {
        eprintln!("torture: full_disk skipped: no right to mount");
        return;
    };
    let mut tally = Tally::new("full_disk", 2);
    for args in [&["get", "--all", "--json"][..], &["get", "--all", "--json", "--parallel"]] {
        let done = lab.run(args).ends_with(7);
        let failed = failures(&lab, &files, &done);
        assert_eq!(failed, [("f2".to_owned(), "no_space".to_owned())], "{done:?}");
        assert!(lab.partials().is_empty(), "{:?}", lab.partials());
        for (name, _) in &files {
            // The mount point stays.
            let _ = std::fs::remove_file(lab.saved().join(name));
        }
        tally.note("typed error on one file, the others whole");
    }
    tally.end("");
}

pub(crate) fn has_strace() -> bool {
    Command::new("strace").args(["-f", "-qq", "-o", "/dev/null", "true"]).status().is_ok_and(|status| status.success())
}

/// Runs the client under strace, with `inject` done to it.
pub(crate) fn run_injected(lab: &Lab, calls: &str, inject: &str, args: &[&str]) -> Done {
    let mut command = Command::new("strace");
    lab.prepare(&mut command, lab.address());
    command.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={calls}"), "-e"]);
    command.arg(format!("inject={calls}:{inject}")).arg("--").arg(client_bin()).args(args);
    run(&mut command)
}

/// Calls that touch the files being saved, and errors they are made to fail with.
const SWEEPS: &[(&str, &str)] = &[
    ("pwrite64,pwritev", "ENOSPC"),
    ("pwrite64,pwritev", "EIO"),
    ("pwrite64,pwritev", "EDQUOT"),
    ("renameat,renameat2,linkat", "EACCES"),
    ("renameat,renameat2,linkat", "EIO"),
    ("openat2", "EACCES"),
    ("openat2", "EMFILE"),
    ("openat2", "EIO"),
    ("ftruncate", "EIO"),
    ("utimensat", "EPERM"),
    ("fdatasync,fsync", "EIO"),
    ("flock", "EIO"),
    ("mkdirat", "EACCES"),
];

/// Promise: whatever call fails, at whatever time: a typed error on that file, the others finish, nothing hangs.
///
/// Fails when: an error of `commit` is swallowed (a file is reported and not there); EMFILE is not `Busy`; a failed write is
/// counted as written. The watchdog of the lab is what notices a hang.
#[test]
fn system_calls_that_fail() {
    if !has_strace() {
        eprintln!("torture: failing_calls skipped: no strace, or it may not trace");
        return;
    }
    let deepest = count("sweep_depth", 1);
    let mut lab = Lab::new();
    let files = files(&lab);
    lab.start();
    let mut tally = Tally::new("failing_calls", deepest * SWEEPS.len() as u64);
    for (calls, error) in SWEEPS {
        for nth in 1..=deepest {
            lab.clear();
            let args = ["get", "--all", "--json", "--fsync=full", "--retry-timeout", "5s"];
            let done = run_injected(&lab, calls, &format!("error={error}:when={nth}"), &args);
            let what = format!("{error} at call {nth} of {calls}");
            assert!(matches!(done.code, Some(0 | 1 | 7)), "{what}: {done:?}");
            if !done.out.is_empty() {
                let failed = failures(&lab, &files, &done);
                // The count is kept for each thread, so that a few files may be met.
                assert!(failed.len() < files.len() || done.code == Some(7), "{what}: {done:?}");
                assert!(failed.iter().all(|(_, code)| code == "local" || code == "no_space"), "{what}: {done:?}");
            } else {
                assert!(done.err.contains("error: "), "{what}: {done:?}");
            }
            // And once the disk is well again, the same command finishes.
            let again = lab.run(&["get", "--all", "--json"]).ends_with(0);
            assert_eq!(failures(&lab, &files, &again), [], "{what}: {again:?}");
            assert!(lab.partials().is_empty(), "{what}: {:?}", lab.partials());
            tally.note(if done.code == Some(0) { "went on" } else { "typed error" });
        }
    }
    tally.end("no hang, nothing wrong");
}

/// The server's reading fails: the client is told, or asks again where that helps.
#[test]
fn system_calls_that_fail_on_the_server() {
    if !has_strace() {
        return;
    }
    let deepest = count("server_sweep_depth", 1);
    let mut lab = Lab::new();
    let files = files(&lab);
    lab.start();
    let sweeps =
        [("pread64", "EIO"), ("openat2", "EMFILE"), ("openat2", "EACCES"), ("getdents64", "EIO"), ("fstat", "EIO")];
    let mut tally = Tally::new("failing_calls_server", deepest * sweeps.len() as u64);
    for (calls, error) in sweeps {
        for nth in 1..=deepest {
            lab.clear();
            let mut tracer = trace_server(&lab, calls, error, nth);
            let names: Vec<_> = files.iter().map(|(name, _)| name.as_str()).collect();
            let args = [&["get", "--json", "--retry-timeout", "5s"][..], &names].concat();
            let done = lab.run(&args);
            let what = format!("{error} at call {nth} of {calls}");
            assert!(matches!(done.code, Some(0 | 1 | 5 | 6)), "{what}: {done:?}");
            let failed = failures(&lab, &files, &done);
            tracer.stop();
            let again = lab.run(&["get", "--all", "--json"]).ends_with(0);
            assert_eq!(failures(&lab, &files, &again), [], "{what}: {again:?}");
            tally.note(if failed.is_empty() { "went on" } else { "typed error" });
        }
    }
    tally.end("no hang, nothing wrong");
}

pub(crate) struct Tracer(std::process::Child);

impl Tracer {
    /// Lets go of the server, which goes on.
    pub(crate) fn stop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
        self.0.wait().unwrap();
    }
}

/// Attaches strace to the lab's server and waits until it says that it has.
pub(crate) fn trace_server(lab: &Lab, calls: &str, error: &str, nth: u64) -> Tracer {
    use std::io::{BufRead as _, BufReader};
    let mut command = Command::new("strace");
    command.args([
        "-f",
        "-o",
        "/dev/null",
        "-p",
        &lab.server().id().to_string(),
        "-e",
        &format!("trace={calls}"),
        "-e",
    ]);
    command.arg(format!("inject={calls}:error={error}:when={nth}")).stderr(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    stderr.read_line(&mut line).unwrap();
    assert!(line.contains("attached"), "{line:?}");
    std::thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
    Tracer(child)
}
