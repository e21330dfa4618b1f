//! Power loss: what the real client does to the disk with `--fsync=full`, replayed on a model file system that is cut off
//! behind every step.
//!
//! The model is harsher than any real file system: what was not synced may be on the disk or not, write by write and rename
//! by rename, in the order in which it was done. The old file or the whole new one is what must be found, only.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::process::Command;

use qfs_testkit::binaries::client_bin;

use crate::lab::{Lab, noise, run};
use crate::tally::{Tally, seed};

/// A step as strace saw it. Files and directories are paths.
#[derive(Debug, Clone)]
enum Op {
    /// A write of so many bytes, or a change of length.
    Change {
        file: String,
        bytes: u64,
    },
    Sync {
        path: String,
    },
    /// A file gets its final name.
    Name {
        from: String,
        directory: String,
        to: String,
    },
}

/// Reads strace's lines, with the files behind the descriptors seen so far.
#[derive(Default)]
struct Reader {
    files: HashMap<String, String>,
}

impl Reader {
    /// The paths of the save directory in `7</…/a>, "b", 8</…/c>`, in order.
    fn paths(&mut self, arguments: &str) -> Vec<String> {
        let mut paths = Vec::new();
        for piece in arguments.split(", ") {
            let Some((descriptor, path)) = piece.split_once('<') else { continue };
            let path = path.rsplit_once('>').map_or(path, |(path, _)| path).trim_end_matches(" (deleted)");
            if path.contains("/client_env") {
                self.files.insert(descriptor.to_owned(), path.to_owned());
                paths.push(path.to_owned());
            }
        }
        paths
    }

    fn parse(&mut self, line: &str) -> Option<Op> {
        let (_pid, line) = line.split_once(' ')?;
        let (call, rest) = line.trim_start().split_once('(')?;
        let (arguments, result) = rest.rsplit_once(" = ")?;
        let result: i64 = result.split_whitespace().next()?.parse().ok()?;
        let result = u64::try_from(result).ok()?;
        let arguments = arguments.trim_end().trim_end_matches(')');
        // The data of a write may look like anything: only what stands before it is read.
        let before_text = arguments.split_once(['"', '[']).map_or(arguments, |(before, _)| before);
        match call {
            "pwrite64" | "pwritev" | "pwritev2" | "write" | "writev" => {
                Some(Op::Change { file: self.paths(before_text).pop()?, bytes: result })
            }
            "ftruncate" => Some(Op::Change { file: self.paths(arguments).pop()?, bytes: 0 }),
            "fdatasync" | "fsync" => Some(Op::Sync { path: self.paths(arguments).pop()? }),
            _ => {
                let mut names = arguments.split('"').skip(1).step_by(2);
                let (from, to) = (names.next()?, names.next()?.to_owned());
                let directory = self.paths(arguments).pop()?;
                let from = match from.strip_prefix("/proc/self/fd/") {
                    Some(descriptor) => self.files.get(descriptor)?.clone(),
                    None => format!("{directory}/{from}"),
                };
                Some(Op::Name { from, directory, to })
            }
        }
    }
}

/// What is not on the disk for certain after some steps.
#[derive(Debug, Default)]
struct Disk {
    /// Changes of a file since it was last synced.
    unsynced: HashMap<String, u64>,
    /// Final path → the file as it was called before, and its directory.
    named: BTreeMap<String, (String, String)>,
    /// Final paths whose directory was synced since.
    certain: BTreeSet<String>,
}

impl Disk {
    fn after(ops: &[Op]) -> Self {
        let mut disk = Self::default();
        for op in ops {
            match op {
                // A change of length is a change too.
                Op::Change { file, bytes } => *disk.unsynced.entry(file.clone()).or_default() += bytes.max(&1),
                Op::Sync { path } => {
                    disk.unsynced.remove(path);
                    let here = disk.named.iter().filter(|(_, (_, directory))| directory == path);
                    disk.certain.extend(here.map(|(name, _)| name.clone()));
                }
                Op::Name { from, directory, to } => {
                    disk.named.insert(format!("{directory}/{to}"), (from.clone(), directory.clone()));
                }
            }
        }
        disk
    }

    /// Names under which a crash now can leave a file that is neither the old nor the new one.
    fn torn(&self) -> Vec<&String> {
        // A name may reach the disk at once: what counts is the content it then shows.
        self.named.iter().filter(|(_, (file, _))| self.unsynced.contains_key(file)).map(|(name, _)| name).collect()
    }
}

/// Promise: at every crash point the old file or the new file, only; after exit 0, the new one.
///
/// Fails when: `Staged::complete` or `put` leaves out fdatasync, or does it before the record is cut off; the rename comes first;
/// `fetch` leaves out `sync_directories`.
#[test]
fn every_crash_point_leaves_the_old_file_or_the_new_one() {
    let large = noise(seed() ^ 16, 3 << 20);
    let lab =
        Lab::serving(&[("large", &large), ("sub/large", &large[1..]), ("small", &large[..900]), ("sub/small", b"x")]);
    let trace = lab.home().join("trace");
    let mut command = Command::new("strace");
    lab.prepare(&mut command, lab.address());
    let calls = "trace=pwrite64,pwritev,pwritev2,write,writev,ftruncate,fdatasync,fsync,renameat,renameat2,linkat";
    command.args(["-f", "-y", "-qq", "-s", "4096", "-e", "signal=none", "-e", calls, "-o"]).arg(&trace);
    command.arg("--").arg(client_bin()).args(["get", "--all", "--fsync=full", "--json"]);
    if !Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]).status().is_ok_and(|status| status.success()) {
        eprintln!("torture: power_loss skipped: no strace, or it may not trace");
        return;
    }
    run(&mut command).ends_with(0);
    let text = joined(&std::fs::read_to_string(&trace).unwrap());
    let mut reader = Reader::default();
    let ops: Vec<_> = text.iter().filter_map(|line| reader.parse(line)).collect();
    let mut tally = Tally::new("power_loss", ops.len() as u64 + 1);
    for steps in 0..=ops.len() {
        let disk = Disk::after(&ops[..steps]);
        assert!(disk.torn().is_empty(), "cut off behind step {steps}, {:?} can be torn: {ops:?}", disk.torn());
        tally.note("old or new");
    }
    let end = Disk::after(&ops);
    assert_eq!((end.named.len(), end.certain.len()), (4, 4), "not all on the disk at the end: {ops:?}");
    tally.end("fdatasync before each rename, directories last");
}

/// strace splits a call during which another thread made one; this puts the halves together, where the call ended.
fn joined(trace: &str) -> Vec<String> {
    let mut begun: HashMap<&str, &str> = HashMap::new();
    let mut lines = Vec::new();
    for line in trace.lines() {
        let Some((pid, rest)) = line.split_once(' ') else { continue };
        let rest = rest.trim_start();
        if let Some(first) = rest.strip_suffix("<unfinished ...>") {
            begun.insert(pid, first.trim_end());
        } else if let Some((_, second)) = rest.split_once("resumed>").filter(|_| rest.starts_with("<...")) {
            lines.push(format!("{pid} {}{second}", begun.remove(pid).unwrap_or_default()));
        } else {
            lines.push(line.to_owned());
        }
    }
    lines
}
