//! The same trees given to `rsync -a --delete` and `rclone sync`: what comes out has to be the same.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use fastrand::Rng;

use super::grove::{census, change, copy, grow, things};
use crate::lab::Lab;
use crate::tally::{Tally, count, seed};

/// Fails when: `pull` or `push` brings over what neither of the others does, or leaves something out that they carry.
#[test]
fn the_same_comes_out_as_with_rsync_and_rclone() {
    let total = count("alike_peers", 20);
    let mut random = Rng::with_seed(seed() ^ 0x9ee5);
    let mut tally = Tally::new("alike_peers", total);
    for round in 0..total {
        let mut lab = Lab::new();
        let (verb, source, target) = match round % 2 {
            0 => ("pull", lab.root(), lab.home().join("d")),
            _ => ("push", lab.home().join("d"), lab.root()),
        };
        // rclone's links are files of its own kind, so half of the trees have none.
        let links = round % 4 < 2;
        std::fs::create_dir_all(&source).unwrap();
        std::fs::write(source.join("something"), "something").unwrap();
        grow(&source, &mut random, links);
        // The target is what the source was before some changes, and has things of its own.
        std::fs::remove_dir_all(&target).ok();
        copy(&source, &target);
        change(&source, &mut random, links);
        change(&target, &mut random, links);
        std::fs::write(source.join("always"), "something else").unwrap();
        let (by_rsync, by_rclone) = (lab.home().join("by-rsync"), lab.home().join("by-rclone"));
        copy(&target, &by_rsync);
        copy(&target, &by_rclone);
        lab.start_with(&["--allow", "read,write,delete"]);
        lab.run(&[verb, "d", "--links", "--delete", "--max-delete=100%"]).ends_with(0);
        let ours = census(&target);
        assert_eq!(ours, census(&source), "{verb}");
        rsync(&source, &by_rsync);
        assert_eq!(ours, census(&by_rsync), "{verb}, rsync");
        if !links {
            clear_other_kinds(&source, &by_rclone);
            rclone(&source, &by_rclone);
            assert_eq!(contents(ours), contents(census(&by_rclone)), "{verb}, rclone");
        }
        tally.note(if links { "as rsync" } else { "as rsync and rclone" });
    }
    tally.end("");
}

fn rsync(from: &Path, to: &Path) {
    let mut from = from.as_os_str().to_owned();
    from.push("/");
    // Its quick check compares whole seconds otherwise.
    let mut command = Command::new("rsync");
    run(command.args(["-a", "--delete", "--modify-window=-1"]).arg(from).arg(to));
}

fn rclone(from: &Path, to: &Path) {
    let mut command = Command::new("rclone");
    command.args(["sync", "--create-empty-src-dirs", "--config", "/dev/null", "-q"]);
    run(command.arg(from).arg(to));
}

fn run(command: &mut Command) {
    let done = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; .ci/run installs it"));
    assert!(done.status.success(), "{command:?}: {done:?}");
}

/// Takes away what is of another kind than in `source`: rclone fails where a file is to become a directory.
fn clear_other_kinds(source: &Path, target: &Path) {
    for path in things(source) {
        let there = target.join(path.strip_prefix(source).unwrap());
        let Ok(meta) = std::fs::symlink_metadata(&there) else { continue };
        match (path.is_dir(), meta.is_dir()) {
            (true, false) => std::fs::remove_file(&there).unwrap(),
            (false, true) => std::fs::remove_dir_all(&there).unwrap(),
            _ => {}
        }
    }
}

/// What rclone carries: no bits, and no times of directories.
fn contents(census: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let carried = |what: String| match what.split_once(' ') {
        Some(("file", rest)) => rest[2..].to_owned(),
        Some((kind, _)) => kind.to_owned(),
        None => what,
    };
    census.into_iter().map(|(name, what)| (name, carried(what))).collect()
}
