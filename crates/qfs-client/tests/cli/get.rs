//! CLI.md, `get NAME...` and the options that go with it.

use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use qfs_core::model::Digest;

use crate::support::{Lab, noise, run, sums};

const FILES: &[(&str, &[u8])] = &[("a", b"first"), ("b", b"second"), ("sub/deep/c", b"third"), ("empty", b"")];

fn modified(path: &Path) -> (i64, i64) {
    let meta = std::fs::metadata(path).unwrap();
    (meta.mtime(), meta.mtime_nsec())
}

fn age(path: &Path) {
    let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    std::fs::File::options().write(true).open(path).unwrap().set_modified(old).unwrap();
}

fn statuses(done: &crate::support::Done) -> Vec<String> {
    let files = done.json()["files"].as_array().unwrap().clone();
    files.iter().map(|file| file["status"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_line_for_every_file_as_sha256sum_prints_it() {
    let lab = Lab::new(FILES);
    let done = lab.run(["get", "b", "sub/deep/c", "empty", "a"]).ends_with(0);
    // One after another, in the order named.
    assert_eq!(done.out, sums(&[FILES[1], FILES[2], FILES[3], FILES[0]]));
    for (name, content) in FILES {
        assert_eq!(lab.saved(name), *content);
    }
}

/// Fails when: a directory is asked for as a file only; a slash at the end makes a name illegal; a directory that is here already
/// is in the way; what lies below is not told in the usual way.
#[test]
fn a_directory_stands_for_everything_below_it() {
    let lab = Lab::new(&[("a", b"1"), ("sub/b", b"2"), ("sub/deep/c", b"3"), ("subx", b"4"), ("sub.d/e", b"5")]);
    let below = sums(&[("sub/b", b"2"), ("sub/deep/c", b"3")]);
    for (n, names) in [&["sub"][..], &["sub/"], &["sub", "sub/"], &["sub", "sub/deep/c"]].into_iter().enumerate() {
        for mode in [&[][..], &["--parallel"]] {
            let place = format!("{n}{}", mode.len());
            let done = lab.run(["get", "--save-dir", &place].iter().chain(names).chain(mode)).ends_with(0);
            let mut lines: Vec<_> = done.out.lines().collect();
            lines.sort_by_key(|line| line[66..].to_owned());
            assert_eq!(lines.join("\n") + "\n", below, "{names:?}");
            assert!(done.err.contains("(2 files, 2 bytes"), "{done:?}");
            // Once more: the directory is here now.
            assert_eq!(
                lab.run(["get", "--save-dir", &place].iter().chain(names)).ends_with(0).err.matches("error").count(),
                0
            );
            assert_eq!(std::fs::read_dir(lab.home().join(&place)).unwrap().count(), 1);
        }
    }
    // Behind what was named, which does not wait for the listing.
    let done = lab.run(["get", "sub/deep", "subx", "nope", "a"]).ends_with(5);
    assert_eq!(done.out, sums(&[("subx", b"4"), ("a", b"1"), ("sub/deep/c", b"3")]));
    assert_eq!(done.err.matches("error: ").count(), 1, "{done:?}");
    done.complains("nope: no such file", "qfs-client list");
}

#[test]
fn a_literal_name_wins_over_a_pattern_and_both_over_a_directory() {
    let lab = Lab::new(&[("a1", b"1"), ("a[1]", b"2"), ("b[1]/x", b"3"), ("b1", b"4"), ("c[1]/x", b"5")]);
    for (name, files) in [("a[1]", &[("a[1]", &b"2"[..])]), ("b[1]", &[("b1", b"4")]), ("c[1]", &[("c[1]/x", b"5")])] {
        assert_eq!(lab.run(["get", name]).ends_with(0).out, sums(files));
    }
}

/// Fails when: nothing fetched is told as a download of nothing.
#[test]
fn names_that_are_all_wrong_have_no_total() {
    let lab = Lab::new(FILES);
    for names in [&["nope"][..], &["nope/"], &["nope", "*.iso", "../a"], &["nope", "-v"]] {
        let done = lab.run(["get"].iter().chain(names)).ends_with(5);
        assert!(!done.err.contains("total download time") && done.err.contains("error: nope"), "{done:?}");
    }
    assert!(lab.run(["get", "nope", "a"]).ends_with(5).err.contains("total download time"));
}

#[test]
fn sha256sum_checks_what_get_printed_odd_names_too() {
    let odd: &[(&str, &[u8])] = &[
        ("plain", b"1"),
        ("two words", b"2"),
        ("new\nline", b"3"),
        ("c\rr", b"4"),
        ("été/日本", b"5"),
        ("\x1b[1m", b"6"),
        ("-n", b"7"),
    ];
    let lab = Lab::new(odd);
    let done = lab.run(["get", "--all"]).ends_with(0);
    let mut check = Command::new("sha256sum");
    check.args(["--check", "--strict", "--quiet"]).current_dir(lab.home().join("client_env"));
    let mut check = check.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    check.stdin.take().unwrap().write_all(done.out.as_bytes()).unwrap();
    let output = check.wait_with_output().unwrap();
    assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
    assert_eq!(done.out.lines().count(), odd.len());
}

#[test]
fn the_save_directory_is_made_and_subdirectories_below_it() {
    let lab = Lab::new(FILES);
    lab.run(["get", "sub/deep/c", "--save-dir", "new/dir"]).ends_with(0);
    assert_eq!(std::fs::read(lab.home().join("new/dir/sub/deep/c")).unwrap(), b"third");
}

#[test]
fn all_fetches_everything_and_the_times_of_the_server() {
    let lab = Lab::new(FILES);
    age(&lab.path().join("root/b"));
    let done = lab.run(["get", "--all"]).ends_with(0);
    assert_eq!(done.out, sums(&[FILES[0], FILES[1], FILES[3], FILES[2]]));
    for (name, _) in FILES {
        let (there, here) = (lab.path().join("root").join(name), lab.home().join("client_env").join(name));
        assert_eq!(modified(&there), modified(&here), "{name}");
    }
}

#[test]
fn names_may_be_patterns() {
    let lab = Lab::new(&[("a.csv", b"1"), ("b.csv", b"2"), ("c.txt", b"3"), ("sub/d.csv", b"4"), ("[1]", b"5")]);
    assert_eq!(lab.run(["get", "*.csv"]).ends_with(0).out, sums(&[("a.csv", b"1"), ("b.csv", b"2")]));
    assert_eq!(lab.run(["get", "sub/**"]).ends_with(0).out, sums(&[("sub/d.csv", b"4")]));
    assert_eq!(lab.run(["get", "[1]"]).ends_with(0).out, sums(&[("[1]", b"5")]));
    lab.run(["get", "*.iso"]).ends_with(5).complains("*.iso: ", "qfs-client list");
}

#[test]
fn parallel_fetches_the_same() {
    let many: Vec<_> = (0..300).map(|n| (format!("{n:03}"), noise(n * 97))).collect();
    let files: Vec<_> = many.iter().map(|(name, content)| (name.as_str(), &content[..])).collect();
    let lab = Lab::new(&files);
    for (flag, directory) in [("--parallel", "a"), ("--parallel=1", "b"), ("--parallel=512", "c")] {
        let done = lab.run(["get", "--all", flag, "--save-dir", directory]).ends_with(0);
        let mut lines: Vec<_> = done.out.lines().collect();
        lines.sort_by_key(|line| line[66..].to_owned());
        assert_eq!(lines.join("\n") + "\n", sums(&files));
        for (name, content) in &files {
            assert_eq!(std::fs::read(lab.home().join(directory).join(name)).unwrap(), *content);
        }
    }
}

#[test]
fn an_existing_file_with_the_same_content_is_kept_and_reported_unchanged() {
    let lab = Lab::new(FILES);
    lab.run(["get", "a"]).ends_with(0);
    let path = lab.home().join("client_env/a");
    let before = std::fs::metadata(&path).unwrap();
    let again = lab.run(["get", "--json", "a"]).ends_with(0);
    assert_eq!(statuses(&again), ["unchanged"]);
    assert_eq!(std::fs::metadata(&path).unwrap().ino(), before.ino());
    // The server has hashed it and remembers: the line is there without reading the file again.
    assert_eq!(lab.run(["get", "a"]).ends_with(0).out, sums(&FILES[..1]));
    assert_eq!(lab.run(["get", "a", "--checksum"]).ends_with(0).out, sums(&FILES[..1]));
}

#[test]
fn where_only_the_time_differs_the_content_decides() {
    let lab = Lab::new(FILES);
    lab.put("a", b"first");
    age(&lab.home().join("client_env/a"));
    let done = lab.run(["get", "--json", "a"]).ends_with(0);
    assert_eq!(statuses(&done), ["unchanged"]);
    assert_eq!(done.json()["files"][0]["sha256"], Digest::of(b"first").to_string());
    assert_eq!(modified(&lab.home().join("client_env/a")), modified(&lab.path().join("root/a")));
}

#[test]
fn checksum_finds_what_size_and_time_hide() {
    let lab = Lab::new(FILES);
    lab.run(["get", "a"]).ends_with(0);
    let path = lab.home().join("client_env/a");
    let time = std::fs::metadata(&path).unwrap().modified().unwrap();
    std::fs::write(&path, b"FIRST").unwrap();
    std::fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
    assert_eq!(statuses(&lab.run(["get", "--json", "a"]).ends_with(0)), ["unchanged"]);
    lab.run(["get", "a", "--checksum"]).ends_with(7).complains("a: ", "--overwrite");
    assert_eq!(lab.run(["get", "a", "--checksum", "--overwrite"]).ends_with(0).out, sums(&FILES[..1]));
    assert_eq!(lab.saved("a"), b"first");
}

#[test]
fn other_content_is_not_replaced_without_overwrite() {
    let lab = Lab::new(FILES);
    lab.put("a", b"mine, and longer");
    let done = lab.run(["get", "a", "b"]).ends_with(7);
    assert_eq!(done.out, sums(&FILES[1..2]));
    let done = done.complains("a: ", "--overwrite");
    assert!(!done.err.contains("error: b"), "{done:?}");
    assert_eq!(lab.saved("a"), b"mine, and longer");
    lab.run(["get", "a", "--overwrite"]).ends_with(0);
    assert_eq!(lab.saved("a"), b"first");
}

#[test]
fn fsync_full_and_none() {
    let lab = Lab::new(FILES);
    lab.run(["get", "--all", "--fsync=full"]).ends_with(0);
    lab.run(["get", "--all", "--fsync", "none", "--save-dir", "other"]).ends_with(0);
    assert_eq!(lab.saved("sub/deep/c"), b"third");
}

#[test]
fn the_total_time_is_told_at_the_end_with_files_bytes_and_rate() {
    let lab = Lab::new(FILES);
    let err = lab.run(["get", "--all"]).ends_with(0).err;
    let line = err.lines().last().unwrap();
    let (seconds, rest) = line.strip_prefix("total download time: ").unwrap().split_once(" s").unwrap();
    let (whole, thousandths) = seconds.split_once('.').unwrap();
    assert!(whole.parse::<u32>().is_ok() && thousandths.len() == 3 && thousandths.parse::<u32>().is_ok(), "{line}");
    assert!(rest.contains("4 files") && rest.contains("16 bytes") && rest.contains("B/s"), "{line}");
}

#[test]
fn json_is_one_object() {
    let lab = Lab::new(FILES);
    lab.put("b", b"mine, and longer");
    let done = lab.run(["get", "--json", "a", "b", "nope", "sub/deep/c"]).ends_with(1);
    let value = done.json();
    let keys = |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&value), ["bytes", "bytes_per_second", "files", "limited_by", "seconds"]);
    let files = value["files"].as_array().unwrap();
    assert_eq!(
        files.iter().map(|file| file["name"].as_str().unwrap()).collect::<Vec<_>>(),
        ["a", "b", "nope", "sub/deep/c"]
    );
    for file in files {
        assert_eq!(keys(file), ["error", "name", "path", "seconds", "sha256", "size", "status"]);
        assert!(file["seconds"].is_number());
    }
    assert_eq!((&files[0]["status"], &files[0]["error"]), (&"downloaded".into(), &serde_json::Value::Null));
    assert_eq!(files[0]["sha256"], Digest::of(b"first").to_string());
    assert_eq!((files[0]["size"].as_u64(), files[3]["path"].as_str()), (Some(5), Some("client_env/sub/deep/c")));
    assert_eq!((&files[1]["status"], &files[1]["error"]["code"]), (&"failed".into(), &"exists".into()));
    assert_eq!((&files[2]["status"], &files[2]["error"]["code"]), (&"failed".into(), &"not_found".into()));
    assert!(files[2]["error"]["message"].is_string());
    assert_eq!(value["bytes"].as_u64(), Some(10));
    assert!(value["seconds"].as_f64().unwrap() > 0.0 && value["bytes_per_second"].as_f64().unwrap() > 0.0);
    assert!(done.err.contains("total download time: "), "{done:?}");
}

#[test]
fn json_without_a_server_is_the_object_all_the_same() {
    let lab = Lab::without_server(&[]);
    let port = crate::support::free_port().to_string();
    let done = run(lab.bare().args(["get", "--json", "a", "/b", "--port", &port])).ends_with(3);
    assert_eq!(statuses(&done), ["failed", "failed"]);
    assert_eq!(done.json()["files"][0]["error"]["code"], "cannot_connect");
    assert_eq!(done.json()["files"][1]["path"], "client_env/b");
}

#[test]
fn a_file_that_fails_does_not_stop_the_others() {
    let lab = Lab::new(FILES);
    for mode in [&[][..], &["--parallel"]] {
        let done = lab.run(["get", "nope", "a", "../b", "b", "-q"].iter().chain(mode)).ends_with(5);
        let mut lines: Vec<_> = done.out.lines().collect();
        lines.sort_by_key(|line| line[66..].to_owned());
        assert_eq!(lines.join("\n") + "\n", sums(&FILES[..2]));
        assert!(done.err.contains("error: nope: ") && done.err.contains("error: ../b: "), "{done:?}");
        assert!(done.err.contains("error: 2 of 4 files failed: 2 not_found"), "{done:?}");
    }
}

#[test]
fn a_name_given_twice_is_fetched_once() {
    let lab = Lab::new(FILES);
    assert_eq!(lab.run(["get", "a", "a"]).ends_with(0).out, sums(&FILES[..1]));
}

#[test]
fn nothing_is_left_beside_what_was_fetched() {
    let lab = Lab::new(FILES);
    lab.run(["get", "a", "b", "nope"]).ends_with(5);
    let mut names: Vec<_> =
        std::fs::read_dir(lab.home().join("client_env")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["a", "b"]);
}
