//! Which names take part, and which cannot: filters, links, collisions.

use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;

use super::{census, writable, write};

fn names(directory: &std::path::Path) -> Vec<String> {
    census(directory).into_keys().collect()
}

#[test]
fn filters_say_what_takes_part() {
    for verb in ["pull", "push"] {
        let lab = writable(&[]);
        let (source, target) = match verb {
            "pull" => (lab.root(), lab.here("d")),
            _ => (lab.here("d"), lab.root()),
        };
        for name in ["a.csv", "b.txt", "cache/x.csv", "sub/c.csv", "sub/d.log", "sub/keep.log"] {
            write(source.join(name), name.as_bytes());
        }
        write(target.join("only.log"), b"there");
        write(lab.here("rules"), b"# none of these\n*.log\n!keep.log\ncache/\n");
        lab.run([verb, "d", "--filter-from", "rules", "--exclude", "b.*", "--delete"]).ends_with(0);
        assert_eq!(names(&target), ["a.csv", "only.log", "sub", "sub/c.csv", "sub/keep.log"]);
        let done = lab.run([verb, "d", "--include", "*.txt"]).ends_with(0);
        assert_eq!(done.out, "transfer b.txt (missing, 5 bytes)\n");
        write(lab.here("rules"), b"ok\n[z-a]\n");
        lab.run([verb, "d", "--filter-from", "rules"]).ends_with(2).complains("in line 2 of rules", "gitignore");
        lab.run([verb, "d", "--filter-from", "none"]).ends_with(7).complains("cannot read none", "");
    }
}

/// Fails when: a link that leads outside is carried, one is followed, or one that ends inside is not carried as it is.
#[test]
fn links_are_carried_as_they_are_if_they_end_inside() {
    for verb in ["pull", "push"] {
        let lab = writable(&[]);
        let (source, target) = match verb {
            "pull" => (lab.root(), lab.here("d")),
            _ => (lab.here("d"), lab.root()),
        };
        write(source.join("real/file"), b"f");
        for (text, name) in [
            ("real/file", "good"),
            ("../good", "real/up"),
            ("missing", "dangling"),
            ("/etc/passwd", "absolute"),
            ("../outside", "out"),
            ("real/../real", "winding"),
            ("./good", "roundabout"),
        ] {
            symlink(text, source.join(name)).unwrap();
        }
        let done = lab.run([verb, "d"]).ends_with(0);
        assert!(done.err.contains("and 6 more: each a symbolic link; --links carries it"), "{done:?}");
        assert_eq!(names(&target), ["real", "real/file"]);
        let done = lab.run([verb, "d", "--links"]).ends_with(0);
        assert_eq!(names(&target), ["dangling", "good", "real", "real/file", "real/up"]);
        for said in ["absolute and 1 more: each a symbolic link that leads outside", "winding: ", "roundabout: "] {
            assert!(done.err.contains(said), "{said}: {done:?}");
        }
        assert_eq!(lab.run([verb, "d", "--links"]).ends_with(0).out, "");
        // Another text, another kind, and gone.
        std::fs::remove_file(source.join("good")).unwrap();
        symlink("real", source.join("good")).unwrap();
        std::fs::remove_file(source.join("dangling")).unwrap();
        write(source.join("dangling"), b"a file now");
        std::fs::remove_file(source.join("real/up")).unwrap();
        let failed = lab.run([verb, "d", "--links"]).ends_with(if verb == "pull" { 7 } else { 5 });
        assert!(failed.err.contains("there is a link where the source has a file"), "{failed:?}");
        assert_eq!(failed.lines()[0], "link good -> real");
        let done = lab.run([verb, "d", "--links", "--delete", "--max-delete=100%"]).ends_with(0);
        assert_eq!(done.lines()[..3], ["remove real/up", "remove dangling", "transfer dangling (missing, 10 bytes)"]);
        assert_eq!(std::fs::read_link(target.join("good")).unwrap().to_str(), Some("real"));
        assert_eq!(std::fs::read(target.join("dangling")).unwrap(), b"a file now");
    }
}

/// Fails when: one of the two is lost, or anything is written before the collision is found.
#[test]
fn names_that_collide_are_an_error_before_anything_is_written() {
    for verb in ["pull", "push"] {
        let lab = writable(&[]);
        let (source, target) = match verb {
            "pull" => (lab.root(), lab.here("d")),
            _ => (lab.here("d"), lab.root()),
        };
        write(source.join("Readme"), b"1");
        write(source.join("README"), b"2");
        write(source.join("other"), b"3");
        let done = lab.run([verb, "d", "--fold-case"]).ends_with(7);
        assert!(done.err.contains("Readme: on the target it is the same name as README"), "{done:?}");
        assert!(done.err.contains("nothing was done: 1 name cannot be had on the target"), "{done:?}");
        assert!(!target.exists() || names(&target).is_empty());
        lab.run([verb, "d"]).ends_with(0);
        assert_eq!(names(&target), ["README", "Readme", "other"]);
        // With one that is there already.
        std::fs::remove_file(source.join("Readme")).unwrap();
        let done = lab.run([verb, "d", "--fold-case"]).ends_with(7);
        assert!(done.err.contains("Readme is there, which differs in case only"), "{done:?}");
    }
}

/// Fails when: a name that no server can have is left out without a word, or anything is written beside it.
#[test]
fn names_that_cannot_be_carried_are_an_error_before_anything_is_written() {
    let lab = writable(&[("root", b"r")]);
    write(lab.here("d/fine"), b"1");
    write(lab.here("d/back\\slash"), b"2");
    std::fs::write(lab.here("d").join(std::ffi::OsStr::from_bytes(b"caf\xe9")), b"3").unwrap();
    let done = lab.run(["push", "d"]).ends_with(7);
    assert!(done.err.contains("error: back\\\\slash: no published file can have this name"), "{done:?}");
    assert!(done.err.contains("nothing was done: 2 names cannot be had"), "{done:?}");
    assert_eq!(names(&lab.root()), ["root"]);
    lab.run(["push", "d", "--exclude", "back*", "--exclude", "caf*"]).ends_with(0);
    assert_eq!(names(&lab.root()), ["fine", "root"]);
    // Names that are too long below a prefix.
    let long = vec!["n".repeat(200); 19].join("/");
    lab.run(["push", "d", &long, "--exclude", "back*", "--exclude", "caf*"]).ends_with(0);
    write(lab.here("d").join("m".repeat(250)).join("m".repeat(250)), b"x");
    let done = lab.run(["push", "d", &long, "--exclude", "back*", "--exclude", "caf*"]).ends_with(7);
    assert!(done.err.contains("the name is too long for the target"), "{done:?}");
}

/// Fails when: what is hidden here goes to the server, or what the server publishes does not come, or something hidden is removed.
#[test]
fn hidden_names_come_where_they_are_published_and_never_go() {
    let mut lab = writable(&[(".profile", b"theirs"), ("f", b"1")]);
    write(lab.here("d/.git/config"), b"mine");
    write(lab.here("d/f"), b"1");
    lab.run(["pull", "d", "--delete"]).ends_with(0);
    let done = lab.run(["push", "d", "--delete"]).ends_with(0);
    assert!(done.err.contains(" hidden"), "{done:?}");
    assert_eq!(names(&lab.root()), [".profile", "f"]);
    assert_eq!(names(&lab.here("d")), [".git", ".git/config", "f"]);
    lab.start_server_with("127.0.0.1", 0, &["--allow", "read,write,delete", "--hidden"]);
    lab.run(["pull", "d", "--delete"]).ends_with(0);
    assert_eq!(names(&lab.here("d")), [".git", ".git/config", ".profile", "f"]);
    std::fs::remove_file(lab.root().join(".profile")).unwrap();
    assert_eq!(lab.run(["pull", "d", "--delete"]).ends_with(0).out, "");
    assert!(lab.here("d/.profile").exists());
}

/// Special files take no part, on either side.
#[test]
fn pipes_are_left_alone() {
    let lab = writable(&[("f", b"1"), ("pipe", b"a file here"), ("there/x", b"2")]);
    std::fs::create_dir_all(lab.here("d/there")).unwrap();
    write(lab.here("d/f"), b"1");
    let mkfifo = |name: &str| {
        let made = std::process::Command::new("mkfifo").arg(lab.here(name)).status().unwrap();
        assert!(made.success());
    };
    mkfifo("d/pipe");
    let done = lab.run(["push", "d", "--delete", "--max-delete=100%"]).ends_with(0);
    assert!(done.err.contains("left out: pipe: neither file, directory nor symbolic link"), "{done:?}");
    assert_eq!(std::fs::read(lab.root().join("pipe")).unwrap(), b"a file here");
    assert!(!lab.root().join("there/x").exists());
    let done = lab.run(["pull", "d", "--delete"]).ends_with(7);
    assert!(done.err.contains("pipe: there is a special file where the source has a file"), "{done:?}");
}
