//! `--delete` and each of its guards: nothing is removed on a doubt.

use std::os::unix::fs::symlink;

use super::{census, noise, writable, write};
use crate::support::{Lab, run};

/// A source of three files and a target with two more, one of them in a directory of its own; the name of the source first.
fn pair(verb: &str) -> (Lab, std::path::PathBuf, std::path::PathBuf) {
    let lab = writable(&[]);
    let (source, target) = match verb {
        "pull" => (lab.root(), lab.here("d")),
        _ => (lab.here("d"), lab.root()),
    };
    for name in ["a", "b/c", "e"] {
        write(source.join(name), name.as_bytes());
    }
    lab.run([verb, "d"]).ends_with(0);
    write(target.join("extra"), b"1");
    write(target.join("x/y/z"), b"2");
    (lab, source, target)
}

#[test]
fn what_the_source_lacks_is_removed_after_everything_else() {
    for verb in ["pull", "push"] {
        let (lab, source, target) = pair(verb);
        write(source.join("new"), b"n");
        assert!(!lab.run([verb, "d"]).ends_with(0).out.contains("remove"));
        let done = lab.run([verb, "d", "--delete"]).ends_with(0);
        assert_eq!(done.lines(), ["remove x/y/z", "remove x/y/", "remove x/", "remove extra"]);
        assert!(done.err.contains("4 removed"), "{done:?}");
        assert_eq!(census(&target), census(&source));
        assert_eq!(lab.run([verb, "d", "--delete"]).ends_with(0).out, "");
    }
}

/// Fails when: the check comes too late, or counts wrongly.
#[test]
fn more_than_may_be_is_not_removed() {
    for verb in ["pull", "push"] {
        let (lab, _, target) = pair(verb);
        let before = census(&target);
        for args in [&["--max-delete", "3"][..], &["--max-delete=39%"], &["--max-delete", "0"]] {
            let done = lab.run([verb, "d", "--delete"].iter().chain(args)).ends_with(8);
            let done = done.complains("nothing was done: ", "--max-delete");
            assert_eq!((done.out.as_str(), census(&target)), ("", before.clone()));
        }
        lab.run([verb, "d", "--delete", "--max-delete=x"]).ends_with(2);
        // By default half of the files: two of five are less, and four of seven are not.
        write(target.join("p"), b"p");
        write(target.join("q"), b"q");
        let before = census(&target);
        let refused = lab.run([verb, "d", "--delete", "--json"]).ends_with(8).json();
        assert_eq!(refused["error"]["code"], "too_many_removals");
        assert_eq!(census(&target), before);
        // A dry run refuses alike.
        lab.run([verb, "d", "--delete", "-n"]).ends_with(8);
        lab.run([verb, "d", "--delete", "--max-delete", "6"]).ends_with(0);
    }
}

#[test]
fn an_empty_source_removes_nothing() {
    for verb in ["pull", "push"] {
        let (lab, source, target) = pair(verb);
        for name in ["a", "e", "b/c"] {
            std::fs::remove_file(source.join(name)).unwrap();
        }
        let before = census(&target);
        for args in [&[][..], &["--max-delete=100%"], &["--exclude", "nothing"]] {
            let done = lab.run([verb, "d", "--delete"].iter().chain(args)).ends_with(8);
            done.complains("the source is empty", "check the names");
        }
        // Directories alone are no content either; and none at all.
        std::fs::remove_dir(source.join("b")).unwrap();
        lab.run([verb, "d", "--delete", "--max-delete=100%"]).ends_with(8);
        assert_eq!(census(&target), before);
    }
}

/// Fails when: a wrong place is taken for an empty one.
#[test]
fn a_wrong_place_removes_nothing() {
    let (lab, _, target) = pair("pull");
    let before = census(&target);
    lab.run(["pull", "b/none", "d", "--delete", "--max-delete=100%"]).ends_with(5);
    lab.run(["pull", "a", "d", "--delete", "--max-delete=100%"]).ends_with(5);
    assert_eq!(census(&target), before);
    let (lab, _, target) = pair("push");
    let before = census(&target);
    lab.run(["push", "none", "--delete", "--max-delete=100%"]).ends_with(7);
    lab.run(["push", "d/a", "--delete", "--max-delete=100%"]).ends_with(7);
    assert_eq!(census(&target), before);
}

/// Fails when: a step that failed does not keep everything from being removed.
#[test]
fn nothing_is_removed_after_a_failure() {
    for verb in ["pull", "push"] {
        let (lab, source, target) = pair(verb);
        // Where there is a file, no directory can be made; without a removal that name fails, and so removing is withheld.
        std::fs::remove_file(source.join("e")).unwrap();
        write(source.join("e/inside"), b"i");
        std::fs::remove_file(target.join("e")).unwrap();
        symlink("elsewhere", target.join("e")).unwrap();
        let done = lab.run([verb, "d", "--delete"]).ends_with(if verb == "pull" { 7 } else { 5 });
        assert!(done.err.contains("it is not to be touched") && done.err.contains("nothing is removed"), "{done:?}");
        assert!(target.join("extra").exists() && target.join("x/y/z").exists());
    }
    // A step that fails while it is carried out: the source is denied the second time.
    let (lab, source, target) = pair("push");
    write(source.join("large"), &noise(9 << 20));
    let mut lab = lab;
    lab.start_server_with("127.0.0.1", 0, &["--allow", "read,write,delete", "--max-upload", "1M"]);
    let done = lab.run(["push", "d", "--delete"]).ends_with(5);
    assert!(done.err.contains("large") && done.err.contains("4 were not begun"), "{done:?}");
    assert!(!done.out.contains("remove"), "{done:?}");
    assert!(target.join("extra").exists() && target.join("x/y/z").exists());
    let json = lab.run(["push", "d", "--delete", "--json"]).ends_with(5).json();
    let steps = json["steps"].as_array().unwrap();
    assert_eq!(steps.iter().filter(|step| step["status"] == "not_done").count(), 4, "{json}");
    // What failed is out of the way: now it is.
    std::fs::remove_file(source.join("large")).unwrap();
    lab.run(["push", "d", "--delete"]).ends_with(0);
    assert_eq!(census(&target), census(&source));
}

/// Fails when: what could not be listed is taken for absent.
#[test]
fn what_could_not_be_listed_is_not_removed() {
    let deep = vec!["d"; 300].join("/");
    // The source here: a directory that cannot be listed, as one that lies too deep.
    let (lab, source, target) = pair("push");
    std::fs::create_dir_all(source.join(&deep)).unwrap();
    let done = lab.run(["push", "d", "--delete"]).ends_with(7);
    assert!(done.err.contains("it cannot be read") && done.err.contains("listing of the source"), "{done:?}");
    assert!(target.join("extra").exists() && target.join("x/y/z").exists() && !done.out.contains("remove"));
    // Not when nobody wants to know. What was made on the server would be too deep for it as well.
    std::fs::remove_dir_all(target.join("d")).unwrap();
    lab.run(["push", "d", "--delete", "--exclude", "d/"]).ends_with(0);
    assert!(!target.join("extra").exists());
    // The source there, and the target there.
    let (lab, source, target) = pair("pull");
    std::fs::create_dir_all(source.join(&deep)).unwrap();
    let done = lab.run(["pull", "d", "--delete"]).ends_with(5);
    assert!(done.err.contains("could not list everything") && !done.out.contains("remove"), "{done:?}");
    assert!(target.join("extra").exists() && target.join("x/y/z").exists());
    let (lab, _, target) = pair("push");
    std::fs::create_dir_all(target.join(&deep)).unwrap();
    lab.run(["push", "d", "--delete"]).ends_with(5);
    assert!(target.join("extra").exists() && target.join("x/y/z").exists());
}

/// Fails when: what takes no part is removed, or a directory with such a thing in it.
#[test]
fn what_takes_no_part_is_not_removed() {
    for verb in ["pull", "push"] {
        let (lab, _, target) = pair(verb);
        write(target.join("x/.hidden"), b"h");
        write(target.join("x/y/keep.log"), b"k");
        symlink("a", target.join("x/link")).unwrap();
        let done = lab.run([verb, "d", "--delete", "--exclude", "*.log"]).ends_with(0);
        assert_eq!(done.lines()[..2], ["remove x/y/z", "remove extra"], "{done:?}");
        let left: Vec<_> = census(&target).into_keys().filter(|name| name.starts_with('x')).collect();
        assert_eq!(left, ["x", "x/.hidden", "x/link", "x/y", "x/y/keep.log"]);
    }
}

/// A server that lets nothing be removed: everything else is done, and the removal is refused.
#[test]
fn removing_needs_the_right() {
    let mut lab = Lab::without_server(&[("old", b"1"), ("same", b"2")]);
    lab.start_server_with("127.0.0.1", 0, &["--allow", "read,write"]);
    write(lab.here("d/same"), b"two");
    let done = lab.run(["push", "d", "--delete"]).ends_with(5);
    assert!(done.err.contains("old: delete is not allowed here"), "{done:?}");
    assert_eq!(done.out, "transfer same (size, 3 bytes)\n");
    assert!(lab.root().join("old").exists());
    // The variable is as good as the flag.
    lab.start_server_with("127.0.0.1", 0, &["--allow", "read,write,delete"]);
    run(lab.client(["push", "d"]).env("QFS_DELETE", "1")).ends_with(0);
    assert!(!lab.root().join("old").exists());
}
