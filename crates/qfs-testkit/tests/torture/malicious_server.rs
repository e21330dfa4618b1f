//! A malicious server against the real client.
//!
//! Whatever it says: nothing is written outside the save directory, nothing wrong stands under a final name, nothing that acts
//! on a terminal is printed, nothing panics or hangs, and the exit code tells what happened.

use std::collections::BTreeSet;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use qfs_core::wire::Request;
use qfs_testkit::hostile_server::{HostileServer, Step};

use crate::lab::{Done, Lab, files_below, noise, run};
use crate::lies::{Lie, honest, lies, message, raw, silences, trailer};
use crate::tally::{Tally, seed};

/// Everything that lies around the save directory.
fn surroundings(lab: &Lab) -> BTreeSet<PathBuf> {
    let place = lab.home().parent().unwrap().to_owned();
    files_below(&place).into_iter().filter(|path| !path.starts_with(lab.saved())).collect()
}

#[track_caller]
fn is_harmless(lab: &Lab, before: &BTreeSet<PathBuf>, name: &str, exits: &[i32], done: &Done) {
    let after = surroundings(lab);
    assert_eq!(*before, after, "{name} wrote outside the save directory: {done:?}");
    for text in [&done.out, &done.err] {
        let acts = text.chars().find(|c| {
            (c.is_control() && *c != '\n')
                || ('\u{202a}'..='\u{202e}').contains(c)
                || ('\u{2066}'..='\u{2069}').contains(c)
        });
        assert_eq!(acts, None, "{name} is printed raw: {done:?}");
    }
    assert!(done.code.is_some_and(|code| exits.contains(&code)), "{name} should end with {exits:?}: {done:?}");
}

/// Promise: 30 behaviours, 0 writes outside, 0 raw escapes, 0 panics.
///
/// Fails when: the digest is not compared (`settle`, `fetch_small`); `announced_length` believes any length;
/// `split_off_tail` does not bound the tail; `RemoteError`'s text is not escaped; `ETag` takes any character.
#[test]
fn lies_about_a_file() {
    let contents = [noise(seed() ^ 7, 900), noise(seed() ^ 8, 3 << 20)];
    let total: usize = contents.iter().map(|content| lies(content).len()).sum();
    let mut tally = Tally::new("malicious_downloads", total as u64);
    for content in contents {
        for lie in lies(&content) {
            let exits = tell(&lie, &[&["get", "f", "--json"], &["get", "f", "--parallel"]]);
            tally.note(&format!("exit {exits:?}"));
        }
    }
    tally.end("0 writes outside, 0 raw escapes, 0 panics");
}

/// A server that keeps the connection and says no more, and one that closes every connection, are given up.
///
/// Fails when: nothing bounds the wait for an answer (`Patience`); every reconnect counts as progress (`Session::renew`).
#[test]
fn silent_servers_are_given_up() {
    let contents = [noise(seed() ^ 14, 900), noise(seed() ^ 15, 3 << 20)];
    let all: Vec<_> = contents.iter().flat_map(|content| silences(content)).collect();
    let mut tally = Tally::new("silent_servers", all.len() as u64);
    // All at once: each takes as long as patience lasts, twice.
    std::thread::scope(|scope| {
        let told: Vec<_> = all.iter().map(|lie| scope.spawn(|| tell(lie, &[&["get", "f", "--json"]]))).collect();
        for lie in told {
            tally.note(&format!("exit {:?}", lie.join().unwrap()));
        }
    });
    tally.end("0 hangs");
}

/// Holes that were not asked for are none, whatever the body looks like.
///
/// Fails when: a client that wants no holes takes them.
#[test]
fn holes_that_were_not_asked_for_are_refused() {
    let content = noise(seed() ^ 16, 3 << 20);
    let lab = Lab::new();
    let before = surroundings(&lab);
    let (head, rest) = (r#"{"code":0,"size":3145828,"modified":"2026-11-23T08:09:24Z","etag":"v""#, vec![0; 100]);
    let head = format!(r#"{head},"range":{{"start":0,"end":3145828}},"holes":[[3145728,3145828]]}}"#);
    let whole = [&content[..], &rest].concat();
    let steps = vec![message(&head), raw(&content), trailer(&whole), Step::Finish];
    let server = HostileServer::start(move |_| steps.clone()).unwrap();
    let done = run(&mut lab.client(server.address(), &["get", "f", "--no-sparse", "--json"]));
    is_harmless(&lab, &before, "holes that were not asked for", &[6], &done);
    assert_eq!(lab.saved_file("f"), None);
    // The same is no lie to who asked.
    let done = run(&mut lab.client(server.address(), &["get", "f", "--json"]));
    is_harmless(&lab, &before, "holes that were asked for", &[0], &done);
    assert!(lab.saved_file("f") == Some(whole));
}

/// Tells a lie to a client that wants `f`; returns the exit codes it may end with, and did.
fn tell(Lie { name, steps, exits }: &Lie, commands: &[&[&str]]) -> &'static [i32] {
    let lab = Lab::new();
    let before = surroundings(&lab);
    let script = steps.clone();
    let server = HostileServer::start(move |_| script.clone()).unwrap();
    for args in commands {
        let done = run(&mut lab.client(server.address(), &[args, &["--retry-timeout", "1s"][..]].concat()));
        is_harmless(&lab, &before, name, exits, &done);
        assert_eq!(lab.saved_file("f"), None, "{name}: {done:?}");
    }
    exits
}

fn page(rows: &[&str], end: Option<usize>) -> Step {
    let rows: Vec<_> =
        rows.iter().map(|name| format!(r#""{name}":{{"size":9,"modified":"2026-11-23T08:09:24Z"}}"#)).collect();
    let end = end.map(|count| format!(r#","end":{{"count":{count}}}"#)).unwrap_or_default();
    message(&format!(r#"{{"files":{{{}}}{end}}}"#, rows.join(",")))
}

fn listing(pages: Vec<Step>) -> Vec<Step> {
    let mut steps = vec![message(r#"{"code":0}"#)];
    steps.extend(pages);
    steps.push(Step::Finish);
    steps
}

/// A server that lists with `steps` and has something for every name.
fn lister(steps: Vec<Step>) -> HostileServer {
    HostileServer::start(move |request| match request {
        Request::Download(_) => honest(b"malicious"),
        _ => steps.clone(),
    })
    .unwrap()
}

/// Names as they stand in JSON, none of which is a name.
const ILLEGAL: &[&str] = &[
    "..",
    "../evil",
    "a/../../evil",
    "a/..",
    ".",
    "./evil",
    "/evil",
    "//evil",
    "a//b",
    "a/",
    "",
    r"..\\evil",
    r"a\\b",
    r"evil\u0000",
    r"\ud800",
    r"..\/evil",
    r"\u002e\u002e/evil",
];

/// Fails when: `RemotePath`'s deserialiser does not check; `ListPage::decode` lets any order pass; the listing's end is not
/// required or its count not compared; nothing bounds pages without rows.
#[test]
fn lies_in_a_listing() {
    let long = "x".repeat(300);
    let mut lies: Vec<(&str, Vec<Step>)> =
        ILLEGAL.iter().map(|name| (*name, listing(vec![page(&["!first", name], Some(2))]))).collect();
    lies.extend([
        ("a component too long", listing(vec![page(&[&long], Some(1))])),
        ("names that descend", listing(vec![page(&["b", "a"], Some(2))])),
        ("names that repeat", listing(vec![page(&["a", "a"], Some(2))])),
        ("pages that descend", listing(vec![page(&["b"], None), page(&["a"], Some(2))])),
        ("no end", listing(vec![page(&["a"], None)])),
        ("a wrong count", listing(vec![page(&["a"], Some(7))])),
        ("no page", listing(vec![])),
        ("a page that is no JSON", listing(vec![raw(b"\0\0\0\x02\xff\xff")])),
        ("a page of 4 GiB", listing(vec![raw([0xff; 4])])),
        ("a page of no length", listing(vec![raw([0; 4])])),
        (
            "sizes that are none",
            listing(vec![message(r#"{"files":{"a":{"size":-1,"modified":"2026-11-23T08:09:24Z"}}}"#)]),
        ),
        ("half a page", listing(vec![raw(b"\0\0\xff\xff{\"files\":{")])),
        ("pages without rows for ever", {
            let empty = qfs_core::wire::frame(br#"{"files":{}}"#).unwrap();
            vec![message(r#"{"code":0}"#), Step::Forever(empty)]
        }),
    ]);
    let mut tally = Tally::new("malicious_listings", lies.len() as u64);
    for (name, steps) in lies {
        let lab = Lab::new();
        let before = surroundings(&lab);
        let server = lister(steps);
        for args in [&["list"][..], &["list", "--json"], &["get", "--all", "--json"], &["get", "--all"]] {
            let args = [args, &["--retry-timeout", "1s"]].concat();
            let done = run(&mut lab.client(server.address(), &args));
            is_harmless(&lab, &before, name, &[6], &done);
        }
        tally.note("exit 6");
    }
    tally.end("0 writes outside, 0 raw escapes, 0 panics");
}

/// Fails when: names are printed as they are; `nesting` finds nothing (`file` or `file/below` is missing, as it happens);
/// `commit` replaces what is there; a symbolic link in the save directory is
/// followed (`resolve.rs` without `NO_SYMLINKS`).
#[test]
fn names_that_are_legal_and_meant_badly() {
    let lab = Lab::new();
    std::fs::create_dir(lab.saved()).unwrap();
    symlink("..", lab.saved().join("up")).unwrap();
    symlink("../stolen", lab.saved().join("wormhole")).unwrap();
    std::fs::write(lab.saved().join(".bashrc"), "mine").unwrap();
    let before = surroundings(&lab);
    let names =
        [".bashrc", r"\u001b[2Jclear", "file", "file/below", r"new\nline", "up/evil", "wormhole", r"\u202egnp.exe"];
    let mut sorted = names;
    sorted.sort_by_key(|name| serde_json::from_str::<String>(&format!("\"{name}\"")).unwrap());
    let server = lister(listing(vec![page(&sorted, Some(names.len()))]));
    for args in [&["list"][..], &["list", "--json"]] {
        let done = run(&mut lab.client(server.address(), args));
        is_harmless(&lab, &before, "list", &[0], &done);
    }
    for args in [&["get", "--all"][..], &["get", "--all", "--json"], &["get", "--all", "--parallel"]] {
        let mut done = run(&mut lab.client(server.address(), args));
        if !args.contains(&"--json") {
            // Lines for `sha256sum -c` hold the names that the files have; a pipe takes them as they are.
            done.out.clear();
        }
        is_harmless(&lab, &before, "get", &[7], &done);
        assert_eq!(lab.saved_file(".bashrc").as_deref(), Some(&b"mine"[..]));
        assert_eq!(lab.saved_file("file").as_deref(), Some(&b"malicious"[..]));
        assert!(lab.saved().join("wormhole").is_symlink());
    }
    for args in [&["get", "--json"][..], &["get", "--json", "--parallel"]] {
        // By hand, and the name below first.
        std::fs::remove_file(lab.saved().join("file")).unwrap();
        let done = run(&mut lab.client(server.address(), &[args, &["file/below", "file"]].concat()));
        is_harmless(&lab, &before, "get by hand", &[7], &done);
        let ends: Vec<_> =
            done.json()["files"].as_array().unwrap().iter().map(|file| file["error"]["code"].clone()).collect();
        assert!(ends.contains(&"below_file".into()) && ends.contains(&serde_json::Value::Null), "{done:?}");
        assert_eq!(lab.saved_file("file").as_deref(), Some(&b"malicious"[..]));
    }
    let done = run(&mut lab.client(server.address(), &["get", "--all", "--overwrite", "--json"]));
    is_harmless(&lab, &before, "get --overwrite", &[7], &done);
    assert!(!lab.home().join("evil").exists() && !lab.home().join("stolen").exists());
}
