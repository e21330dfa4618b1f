//! CLI.md, "Writing": `pull` and `push` through the real programs.

mod census;
mod cut_off;
mod delete;
mod delta;
mod names;

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::support::{Done, Lab, noise};
use census::census;

/// A server at which anything may be done.
fn writable(files: &[(&str, &[u8])]) -> Lab {
    let mut lab = Lab::without_server(files);
    lab.start_server_with("127.0.0.1", 0, &["--allow", "read,write,delete"]);
    lab
}

impl Lab {
    fn root(&self) -> PathBuf {
        self.path().join("root")
    }

    /// A path where the client runs.
    fn here(&self, name: &str) -> PathBuf {
        self.home().join(name)
    }
}

fn write(path: impl AsRef<Path>, content: &[u8]) {
    std::fs::create_dir_all(path.as_ref().parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

/// Sets the time of a file or directory to so many seconds ago.
fn age(path: impl AsRef<Path>, seconds: u64) {
    let time = SystemTime::now() - Duration::from_secs(seconds);
    std::fs::File::open(path).unwrap().set_modified(time).unwrap();
}

fn allow_execution(path: impl AsRef<Path>) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

impl Done {
    /// The lines of stdout, and that nothing was transferred.
    #[track_caller]
    fn moves_nothing(self) -> Self {
        assert!(self.err.contains(" time: ") && self.err.contains(", 0 bytes, 0 B/s)"), "{self:?}");
        self
    }

    fn lines(&self) -> Vec<&str> {
        self.out.lines().collect()
    }
}

/// A bit of everything that a tree is made of.
fn furnish(root: &Path) {
    write(root.join("a/b/small"), b"small");
    write(root.join("a/tool"), b"#!/bin/sh\n");
    allow_execution(root.join("a/tool"));
    write(root.join("empty file"), b"");
    write(root.join("big"), &noise(1_700_000));
    std::fs::create_dir_all(root.join("none/at/all")).unwrap();
    symlink("../a/tool", root.join("none/to-tool")).unwrap();
    for n in 0..300 {
        write(root.join(format!("many/{n}")), format!("the content of {n}").as_bytes());
    }
    for (name, seconds) in [("a/b/small", 1_000_000), ("big", 5_000), ("none/at/all", 77), ("none/at", 78), ("a", 79)] {
        age(root.join(name), seconds);
    }
}

/// Fails when: something is not carried (content, time, bit, empty directory, link), a second run moves or changes anything, or a
/// dry run says something else than what is done, or does it.
#[test]
fn pull_makes_a_directory_like_the_server() {
    let lab = writable(&[]);
    furnish(&lab.root());
    let dry = lab.run(["pull", "mirror", "--links", "--dry-run"]).ends_with(0);
    assert!(!lab.here("mirror").exists());
    assert!(dry.err.contains("nothing was changed"), "{dry:?}");
    let done = lab.run(["pull", "mirror", "--links"]).ends_with(0);
    assert_eq!(done.out, dry.out);
    assert!(done.lines().contains(&"transfer a/tool (missing, 10 bytes)"), "{done:?}");
    assert!(done.err.contains("total pull time: ") && done.err.contains("(304 files, 1 linked, "), "{done:?}");
    assert_eq!(census(&lab.here("mirror")), census(&lab.root()));
    let again = lab.run(["pull", "mirror", "--links"]).ends_with(0).moves_nothing();
    assert_eq!(again.out, "");
    // And from there to the server: nothing either.
    let back = lab.run(["push", "mirror", "--links"]).ends_with(0).moves_nothing();
    assert_eq!(back.out, "");
    assert_eq!(census(&lab.here("mirror")), census(&lab.root()));
}

#[test]
fn push_makes_the_server_like_a_directory() {
    let lab = writable(&[("other/stays", b"as it is")]);
    furnish(&lab.here("tree"));
    let dry = lab.run(["push", "tree", "in/tree", "--links", "-n"]).ends_with(0);
    assert!(!lab.root().join("in").exists());
    let done = lab.run(["push", "tree", "in/tree", "--links"]).ends_with(0);
    assert_eq!(done.out, dry.out);
    assert!(done.err.contains("total push time: ") && done.err.contains("(304 files, 1 linked, "), "{done:?}");
    assert_eq!(census(&lab.root().join("in/tree")), census(&lab.here("tree")));
    lab.run(["push", "tree", "in/tree/", "--links"]).ends_with(0).moves_nothing();
    assert_eq!(lab.run(["pull", "in/tree", "tree", "--links"]).ends_with(0).moves_nothing().out, "");
    assert_eq!(std::fs::read(lab.root().join("other/stays")).unwrap(), b"as it is");
    assert_eq!(census(&lab.root().join("in/tree")), census(&lab.here("tree")));
}

/// The same changes, in either direction: what is done about each is a line of its own.
#[test]
fn what_changed_is_brought_over_and_nothing_else() {
    for verb in ["pull", "push"] {
        let lab = writable(&[]);
        let (source, target) = match verb {
            "pull" => (lab.root(), lab.here("d")),
            _ => (lab.here("d"), lab.root()),
        };
        for (name, content) in
            [("grows", &b"1"[..]), ("turns", b"before"), ("touched", b"same"), ("mode", b"x"), ("same", b"same")]
        {
            write(source.join(name), content);
            age(source.join(name), 500);
        }
        write(source.join("large"), &noise(400_000));
        lab.run([verb, "d"]).ends_with(0);
        write(source.join("grows"), b"12");
        write(source.join("turns"), b"behind");
        age(source.join("touched"), 300);
        allow_execution(source.join("mode"));
        let mut large = noise(400_000);
        large[200_000] ^= 1;
        write(source.join("large"), &large);
        write(source.join("new/one"), b"n");
        let done = lab.run([verb, "d"]).ends_with(0);
        let lines = done.lines();
        for line in [
            "make new/",
            "transfer grows (size, 2 bytes)",
            "transfer large (time, 400000 bytes)",
            "transfer turns (time, 6 bytes)",
            "transfer new/one (missing, 1 bytes)",
            "set mode (+x)",
        ] {
            assert!(lines.contains(&line), "{line}: {done:?}");
        }
        assert!(lines.iter().any(|line| line.starts_with("set touched (")), "{done:?}");
        assert!(!done.out.contains("same"), "{done:?}");
        assert_eq!(census(&target), census(&source));
        lab.run([verb, "d"]).ends_with(0).moves_nothing();
        // A bit that is gone is taken away.
        std::fs::set_permissions(source.join("mode"), std::fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(lab.run([verb, "d"]).ends_with(0).out, "set mode (-x)\n");
        assert_eq!(census(&target), census(&source));
    }
}

/// Fails when a file that changed in part is transferred whole, in either direction, or what is put together of it is wrong.
#[test]
fn of_a_large_file_only_what_changed_is_transferred() {
    let old = noise(8 << 20);
    let lab = writable(&[("d/f", &old)]);
    lab.run(["pull", "here"]).ends_with(0);
    let (there, here) = (lab.root().join("d/f"), lab.here("here/d/f"));
    let bytes = |done: Done| done.ends_with(0).json()["bytes"].as_u64().unwrap();
    let in_front = [b"in front", &old[..]].concat();
    write(&there, &in_front);
    let moved = bytes(lab.run(["pull", "here", "--json"]));
    assert!(std::fs::read(&here).unwrap() == in_front && moved < 1 << 20, "{moved}");
    let behind = [&in_front[..], b"behind"].concat();
    write(&here, &behind);
    let moved = bytes(lab.run(["push", "here", "--json"]));
    assert!(std::fs::read(&there).unwrap() == behind && moved < 1 << 20, "{moved}");
    write(&there, &old);
    let moved = bytes(lab.run(["pull", "here", "--json", "--whole"]));
    assert!(std::fs::read(&here).unwrap() == old && moved == 8 << 20, "{moved}");
}

#[test]
fn how_files_are_compared_can_be_said() {
    for verb in ["pull", "push"] {
        let lab = writable(&[]);
        let (source, target) = match verb {
            "pull" => (lab.root(), lab.here("d")),
            _ => (lab.here("d"), lab.root()),
        };
        write(source.join("f"), b"one");
        age(source.join("f"), 100);
        write(target.join("f"), b"two");
        age(target.join("f"), 200);
        assert_eq!(lab.run([verb, "d", "--size-only"]).ends_with(0).out, "");
        // Newer here than there.
        age(target.join("f"), 50);
        let done = lab.run([verb, "d", "--update"]).ends_with(0);
        assert!(done.out.is_empty() && done.err.contains("1 newer"), "{done:?}");
        // The same size and time, and another content.
        let time = std::fs::metadata(source.join("f")).unwrap().modified().unwrap();
        std::fs::File::open(target.join("f")).unwrap().set_modified(time).unwrap();
        assert_eq!(lab.run([verb, "d"]).ends_with(0).out, "");
        assert_eq!(lab.run([verb, "d", "--checksum"]).ends_with(0).out, "transfer f (digest, 3 bytes)\n");
        assert_eq!(std::fs::read(target.join("f")).unwrap(), b"one");
        assert_eq!(lab.run([verb, "d", "--checksum"]).ends_with(0).moves_nothing().out, "");
        // The bit, and leaving it out.
        allow_execution(source.join("f"));
        assert_eq!(lab.run([verb, "d", "--no-perms"]).ends_with(0).out, "");
        assert_eq!(lab.run([verb, "d", "--fsync=full"]).ends_with(0).out, "set f (+x)\n");
    }
}

/// Fails when: a file that was only renamed is transferred, its old name stays, or its content is lost on the way.
#[test]
fn a_renamed_file_is_not_transferred() {
    for verb in ["pull", "push"] {
        let lab = writable(&[]);
        let (source, target) = match verb {
            "pull" => (lab.root(), lab.here("d")),
            _ => (lab.here("d"), lab.root()),
        };
        write(source.join("old/name"), &noise(900_000));
        write(source.join("stays"), b"s");
        age(source.join("old/name"), 4_000);
        allow_execution(source.join("old/name"));
        lab.run([verb, "d"]).ends_with(0);
        std::fs::create_dir(source.join("new")).unwrap();
        std::fs::rename(source.join("old/name"), source.join("new/name")).unwrap();
        std::fs::remove_dir(source.join("old")).unwrap();
        let done = lab.run([verb, "d", "--delete"]).ends_with(0).moves_nothing();
        assert_eq!(done.lines()[..4], ["make new/", "copy old/name -> new/name", "remove old/name", "remove old/"]);
        assert_eq!(census(&target), census(&source));
    }
}

#[test]
fn machine_output_is_one_object() {
    let lab = writable(&[("f", b"1"), ("gone", b"2")]);
    write(lab.here("d/f"), b"one");
    write(lab.here("d/.hidden"), b"h");
    symlink("/etc/passwd", lab.here("d/out")).unwrap();
    let dry = lab.run(["push", "d", "--delete", "--links", "--dry-run", "--json"]).ends_with(0).json();
    assert_eq!((&dry["dry_run"], &dry["hidden"]), (&true.into(), &1.into()));
    let steps: Vec<_> =
        dry["steps"].as_array().unwrap().iter().map(|s| (&s["step"], &s["name"], &s["status"])).collect();
    let expected: [[serde_json::Value; 3]; 2] =
        [["transfer", "f", "planned"], ["remove_file", "gone", "planned"]].map(|row| row.map(Into::into));
    assert_eq!(steps, expected.each_ref().map(|[step, name, status]| (step, name, status)));
    assert_eq!(dry["skipped"][0]["name"], "out");
    let done = lab.run(["push", "d", "--delete", "--links", "--json"]).ends_with(0).json();
    assert_eq!((&done["steps"][0]["why"], &done["steps"][0]["status"]), (&"size".into(), &"done".into()));
    assert_eq!((&done["bytes"], &done["withheld"]), (&3.into(), &serde_json::Value::Null));
    let refused = lab.run(["pull", "nowhere", "d", "--json"]).ends_with(5).json();
    assert_eq!(refused["error"]["code"], "not_found");
}

/// Fails when: a wrong place is taken for an empty one.
#[test]
fn a_place_that_is_not_there_is_an_error() {
    let lab = writable(&[("f", b"1")]);
    lab.run(["pull", "nowhere", "d"]).ends_with(5).complains("no such directory", "");
    assert!(!lab.here("d").exists());
    lab.run(["push", "nowhere"]).ends_with(7).complains("cannot read nowhere", "name a directory");
    lab.run(["pull", "f", "d"]).ends_with(5);
    write(lab.here("file"), b"x");
    lab.run(["pull", "file"]).ends_with(7);
    for wrong in [&["pull"][..], &["push"], &["pull", "a", "b", "c"], &["pull", "../x", "d"], &["push", ".", "/abs"]] {
        lab.run(wrong).ends_with(2);
    }
    // Without the right, nothing is written.
    let lab = Lab::new(&[("f", b"1")]);
    write(lab.here("d/g"), b"2");
    lab.run(["push", "d"]).ends_with(5).complains("write is not allowed here", "--allow read,write");
    assert!(!lab.root().join("g").exists());
}

/// Fails when: a file that is gone when it is asked for counts as an error of another kind, or keeps others away, or anything is
/// removed after it.
#[test]
fn a_file_that_vanishes_is_told_by_a_code_of_its_own() {
    // What is listed and cannot be opened: a server sees a file vanish so between listing and opening.
    let lab = writable(&[]);
    for n in 0..20 {
        write(lab.here(&format!("d/{n}")), b"x");
    }
    write(lab.root().join("extra"), b"e");
    std::fs::write(lab.here("d/away"), noise(200_000)).unwrap();
    // strace holds the client before it opens the file a second time; by then it is gone.
    let mut command = std::process::Command::new("strace");
    let client = lab.client(["push", "d", "--delete", "--max-delete=100%"]);
    command.args([
        "-f",
        "-qq",
        "-o",
        "/dev/null",
        "-P",
        "away",
        "-e",
        "trace=openat2",
        "-e",
        "inject=openat2:error=ENOENT",
    ]);
    command.arg(client.get_program()).args(client.get_args()).current_dir(lab.home());
    for (name, value) in client.get_envs() {
        if let Some(value) = value {
            command.env(name, value);
        }
    }
    let done = crate::support::run(&mut command).ends_with(9);
    assert!(done.err.contains("away: the file vanished"), "{done:?}");
    assert_eq!(std::fs::read_dir(lab.root()).unwrap().count(), 21);
    assert!(lab.root().join("extra").exists() && !lab.root().join("away").exists());
}
