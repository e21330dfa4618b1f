//! CLI.md: what becomes of a run in which something cannot be read.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::support::{Done, Lab, bound_by_permissions, run};

/// A server at which anything may be done.
fn writable(files: &[(&str, &[u8])]) -> Lab {
    let mut lab = Lab::without_server(files);
    lab.start_server_with("127.0.0.1", 0, &["--allow", "read,write,delete"]);
    lab
}

fn write(path: impl AsRef<Path>, content: &[u8]) {
    std::fs::create_dir_all(path.as_ref().parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

/// Nobody may read it any more, until the guard is gone: who runs the tests could not remove it otherwise.
#[must_use]
struct Locked(std::path::PathBuf, u32);

fn lock(path: impl AsRef<Path>) -> Locked {
    let path = path.as_ref().to_owned();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).unwrap();
    Locked(path, mode)
}

impl Drop for Locked {
    fn drop(&mut self) {
        std::fs::set_permissions(&self.0, std::fs::Permissions::from_mode(self.1)).unwrap();
    }
}

/// What comes of a client for which permissions hold.
fn bound(lab: &Lab, args: &[&str]) -> Done {
    run(&mut bound_by_permissions(&lab.client(args)))
}

/// Fails when: a run that could not read a part of the directory ends as if all of it were on the server.
#[test]
fn put_fails_where_it_cannot_read_a_part_and_brings_the_rest() {
    let lab = writable(&[]);
    let home = lab.home();
    write(home.join("d/open"), b"open");
    write(home.join("d/sub/secret"), b"secret");
    write(home.join("d/locked"), b"locked");
    let _locked = [lock(home.join("d/sub")), lock(home.join("d/locked"))];
    let done = bound(&lab, &["put", "d"]);
    let done = done.ends_with(7);
    assert!(done.err.contains("error: d/sub: it cannot be read\n"), "{done:?}");
    assert!(done.err.contains("error: d/locked: Permission denied"), "{done:?}");
    assert_eq!(std::fs::read(lab.path().join("root/d/open")).unwrap(), b"open");
    let json = bound(&lab, &["put", "--json", "-q", "d"]).ends_with(7).json();
    let failed: Vec<_> = json["files"].as_array().unwrap().iter().filter(|file| file["status"] == "failed").collect();
    assert_eq!(failed.len(), 2, "{json}");
    assert_eq!((&failed[0]["name"], &failed[0]["error"]["code"]), (&"d/sub".into(), &"local".into()));
    let done = bound(&lab, &["put", "d/locked"]);
    done.ends_with(7).complains("d/locked: Permission denied", "can be read");
}

/// Fails when: a comparison that lacks a part of the directory is taken for one that is whole, or names what nobody could look at.
#[test]
fn verify_fails_where_it_cannot_read_a_part() {
    let files: [(&str, &[u8]); 3] = [("open", b"open"), ("sub/secret", b"secret"), ("locked", b"locked")];
    let lab = writable(&files);
    for (name, content) in files {
        write(lab.home().join("d").join(name), content);
    }
    let _locked = [lock(lab.home().join("d/sub")), lock(lab.home().join("d/locked"))];
    let done = bound(&lab, &["verify", "d"]);
    let done = done.ends_with(7);
    assert_eq!(done.out, "");
    for name in ["locked", "sub"] {
        assert!(done.err.contains(&format!("error: {name}: it cannot be read\n")), "{done:?}");
    }
    let json = bound(&lab, &["verify", "d", "--json"]).ends_with(7).json();
    assert_eq!(json["unreadable"], serde_json::json!(["locked", "sub"]));
}

/// Fails when: a file that cannot be read here is told, and counted, as one that vanished.
#[test]
fn push_does_not_call_vanished_what_it_may_not_read() {
    let lab = writable(&[]);
    write(lab.home().join("d/locked"), b"locked");
    write(lab.home().join("d/open"), b"open");
    let _locked = lock(lab.home().join("d/locked"));
    let done = bound(&lab, &["push", "d"]);
    let done = done.ends_with(7);
    assert!(done.err.contains("locked: Permission denied") && !done.err.contains("vanished"), "{done:?}");
}

/// A directory that lies too deep is one that the server cannot read.
///
/// Fails when: a server that cannot list everything does not say so, or its client ends as if it had all.
#[test]
fn what_the_server_cannot_list_is_missed() {
    let lab = Lab::new(&[("f", b"1")]);
    let deep = vec!["d"; 300].join("/");
    std::fs::create_dir_all(lab.path().join("root").join(deep)).unwrap();
    let done = lab.run(["list", "--json"]).ends_with(5);
    assert!(done.err.contains("could not list everything") && done.json()["f"]["size"] == 1, "{done:?}");
    let done = lab.run(["get", "--all"]).ends_with(5);
    assert!(done.err.contains("could not list everything"), "{done:?}");
    assert_eq!(lab.saved("f"), b"1");
    lab.run(["get", "f"]).ends_with(0);
}
