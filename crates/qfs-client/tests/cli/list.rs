//! CLI.md, `list [PATTERN...]`.

use std::time::{Duration, SystemTime};

use qfs_core::model::Digest;

use crate::support::Lab;

fn set_time(lab: &Lab, name: &str, time: SystemTime) {
    std::fs::File::options().write(true).open(lab.path().join("root").join(name)).unwrap().set_modified(time).unwrap();
}

fn names(out: &str) -> Vec<&str> {
    out.lines().map(|line| &line[15 + 2 + 19 + 2..]).collect()
}

#[test]
fn columns_are_aligned_and_the_last_line_counts() {
    let lab = Lab::new(&[("a b", b"12345"), ("sub/c", &[0; 1234]), ("été", b"")]);
    for name in ["a b", "sub/c", "été"] {
        set_time(&lab, name, SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_421_364_900));
    }
    let done = lab.run(["list"]).ends_with(0);
    let expected = "              5  2026-11-23 08:09:24  a b
           1234  2026-11-23 08:09:24  sub/c
              0  2026-11-23 08:09:24  été
";
    assert_eq!(done.out, expected);
    assert_eq!(done.err.trim_end(), "3 files, 1239 bytes = 1.21 KiB");
}

#[test]
fn rows_are_sorted_by_name() {
    let files = ["b", "a/z", "a-", "C", "a/b/c", "10", "9"].map(|name| (name, &b""[..]));
    let done = Lab::new(&files).run(["list"]).ends_with(0);
    assert_eq!(names(&done.out), ["10", "9", "C", "a-", "a/b/c", "a/z", "b"]);
}

#[test]
fn patterns_names_and_directories_filter() {
    let files = ["a.csv", "b.txt", "sub/c.csv", "sub/d/e.csv", "[x]"].map(|name| (name, &b"1"[..]));
    let lab = Lab::new(&files);
    for (patterns, expected) in [
        (&["*.csv"][..], &["a.csv"][..]),
        (&["**/*.csv"], &["a.csv", "sub/c.csv", "sub/d/e.csv"]),
        (&["sub", "b.txt"], &["b.txt", "sub/c.csv", "sub/d/e.csv"]),
        (&["[x]"], &["[x]"]),
        (&["none"], &[]),
    ] {
        let done = lab.run(["list"].iter().chain(patterns)).ends_with(0);
        assert_eq!(names(&done.out), expected, "{patterns:?}");
        assert!(done.err.starts_with(&format!("{} file", expected.len())), "{done:?}");
    }
}

#[test]
fn json_is_one_object_of_name_to_size_time_and_digest() {
    let lab = Lab::new(&[("sub/a", b"abc"), ("b\n\"", b"")]);
    set_time(&lab, "sub/a", SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_421_364));
    let done = lab.run(["list", "--json"]).ends_with(0);
    let value = done.json();
    assert_eq!(value.as_object().unwrap().keys().collect::<Vec<_>>(), ["b\n\"", "sub/a"]);
    let row = value["sub/a"].as_object().unwrap();
    assert_eq!(row.keys().collect::<Vec<_>>(), ["modified", "sha256", "size"]);
    assert_eq!((row["size"].as_u64(), row["modified"].as_str()), (Some(3), Some("2026-11-23T08:09:24Z")));
    // The server may know the digest already, or not yet.
    assert!(row["sha256"].is_null() || row["sha256"] == Digest::of(b"abc").to_string());
    assert_eq!(lab.run(["list", "--json", "none"]).ends_with(0).json().as_object().unwrap().len(), 0);
}

#[test]
fn json_tells_a_digest_that_the_server_knows() {
    let lab = Lab::new(&[("a", b"abc")]);
    lab.run(["get", "a"]).ends_with(0);
    let done = lab.run(["list", "--json"]).ends_with(0);
    assert_eq!(done.json()["a"]["sha256"], Digest::of(b"abc").to_string());
}

#[test]
fn a_server_without_files() {
    let lab = Lab::new(&[]);
    let done = lab.run(["list"]).ends_with(0);
    assert_eq!((done.out.as_str(), done.err.trim_end()), ("", "0 files, 0 bytes"));
    assert_eq!(lab.run(["list", "--json"]).ends_with(0).out, "{}\n");
}

#[test]
fn many_pages_arrive_whole_and_in_order() {
    let names_made: Vec<_> = (0..5000).map(|n| format!("d{:02}/{n:05}", n % 100)).collect();
    let files: Vec<_> = names_made.iter().map(|name| (name.as_str(), &b"x"[..])).collect();
    let done = Lab::new(&files).run(["list"]).ends_with(0);
    let listed = names(&done.out);
    assert!(listed.is_sorted() && listed.len() == 5000);
    assert!(done.err.starts_with("5000 files, 5000 bytes"), "{}", done.err);
}
