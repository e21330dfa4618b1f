//! CLI.md, `put`: what is given to it that is no plain file, or not there.

use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::process::Stdio;

use crate::support::{Done, Lab, finish, sums};

/// A server at which anything may be done.
fn writable(files: &[(&str, &[u8])]) -> Lab {
    let mut lab = Lab::without_server(files);
    lab.start_server_with("127.0.0.1", 0, &["--allow", "read,write,delete"]);
    lab
}

fn write(lab: &Lab, name: &str, content: &[u8]) {
    let path = lab.home().join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

/// Fails when: a file that is not there keeps the others back, or its failure is not the run's.
#[test]
fn what_is_not_there_does_not_stop_the_others() {
    let lab = writable(&[]);
    write(&lab, "a", b"1");
    write(&lab, "b", b"2");
    let done = lab.run(["put", "a", "nosuch", "b"]).ends_with(7).complains("nosuch: No such file", "name files");
    assert_eq!(done.out, sums(&[("a", b"1"), ("b", b"2")]));
    let json = lab.run(["put", "--json", "nosuch"]).ends_with(7).json();
    assert_eq!((&json["files"][0]["name"], &json["files"][0]["path"]), (&"nosuch".into(), &"nosuch".into()));
    assert_eq!(json["files"][0]["error"]["code"], "local");
}

/// Fails when: a link that was named is not followed, what is no file is called missing, or a link in a directory goes without a word.
#[test]
fn links_and_pipes_are_called_what_they_are() {
    let lab = writable(&[]);
    write(&lab, "real/file", b"text");
    write(&lab, "d/f", b"f");
    symlink("real/file", lab.home().join("link")).unwrap();
    symlink("f", lab.home().join("d/one")).unwrap();
    symlink("f", lab.home().join("d/two")).unwrap();
    let pipe = lab.home().join("d/pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o644.into(), 0).unwrap();
    assert_eq!(lab.run(["put", "link"]).ends_with(0).out, sums(&[("link", b"text")]));
    for name in ["d/pipe", "/dev/null"] {
        lab.run(["put", name]).ends_with(7).complains("it is not a regular file", "put - --as NAME");
    }
    let done = lab.run(["put", "d"]).ends_with(0);
    assert_eq!(done.out, sums(&[("d/f", b"f")]));
    assert!(done.err.contains("note: left out: d/one and 1 more: each a symbolic link\n"), "{done:?}");
    assert!(done.err.contains("note: left out: d/pipe: neither file"), "{done:?}");
}

/// Fails when: the path that JSON tells is not that of the file.
#[test]
fn json_tells_where_a_renamed_file_lies() {
    let lab = writable(&[]);
    write(&lab, "c.txt", b"c");
    write(&lab, "d/e", b"e");
    for (args, path) in
        [(["put", "c.txt", "--as", "other", "--json"], "c.txt"), (["put", "d", "--as", "o", "--json"], "d/e")]
    {
        assert_eq!(lab.run(args).ends_with(0).json()["files"][0]["path"], path);
    }
}

fn published(lab: &Lab, name: &str) -> PathBuf {
    lab.path().join("root").join(name)
}

/// Runs the client with `content` as its standard input.
fn pour(lab: &Lab, args: &[&str], content: &[u8]) -> Done {
    let mut command = lab.client(args);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A refusal closes the pipe before all of it was taken.
    let _ = child.stdin.take().unwrap().write_all(content);
    finish(child)
}

/// Fails when: content that is there already is called another, or `--if-unchanged` does not know what was there at the beginning.
#[test]
fn standard_input_is_compared_with_what_is_there() {
    let lab = writable(&[("f", b"same")]);
    let json = pour(&lab, &["put", "-", "--as", "f", "--json"], b"same").ends_with(0).json();
    assert_eq!(json["files"][0]["status"], "unchanged");
    for other in [&b"diff"[..], b"s", b"same and more"] {
        pour(&lab, &["put", "-", "--as", "f"], other).ends_with(7).complains("f: the file exists", "--overwrite");
    }
    pour(&lab, &["put", "-", "--as", "f", "--if-unchanged"], b"new").ends_with(0);
    assert_eq!(std::fs::read(published(&lab, "f")).unwrap(), b"new");
    pour(&lab, &["put", "-", "--as", "g", "--if-unchanged"], b"first").ends_with(0);
    assert_eq!(std::fs::read(published(&lab, "g")).unwrap(), b"first");
}

/// Fails when: one name that is none, or is not there, keeps the others, or what was done goes untold.
#[test]
fn rm_goes_on_behind_what_fails() {
    let lab = writable(&[("k1", b"1"), ("k2", b"2"), ("d/x", b"x")]);
    let done = lab.run(["rm", "k1", "../x", "k2"]).ends_with(5);
    assert!(done.err.contains("error: ../x: ") && done.err.contains("2 removed"), "{done:?}");
    assert!(!published(&lab, "k1").exists() && !published(&lab, "k2").exists());
    let json = lab.run(["rm", "..", "--json"]).ends_with(5).json();
    assert_eq!((&json["files"][0]["name"], &json["files"][0]["status"]), (&"..".into(), &"failed".into()));
    lab.run(["rm", "d"]).ends_with(5).complains("d: it is a directory", "--recursive");
    assert!(published(&lab, "d/x").exists());
}

/// Fails when: only the content of a file that is there already counts.
#[test]
fn an_unchanged_file_gets_the_bit_and_the_time() {
    let lab = writable(&[]);
    let names = ["b0", "b1", "b2", "b3", "b4", "b5"];
    for name in names {
        write(&lab, name, name.as_bytes());
    }
    lab.run(["put"].iter().chain(&names)).ends_with(0);
    let there = |name| std::fs::metadata(published(&lab, name)).unwrap();
    let time = std::time::SystemTime::now() - std::time::Duration::from_secs(5_000);
    for mode in [0o755, 0o644] {
        for name in names {
            let path = lab.home().join(name);
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            std::fs::File::options().append(true).open(&path).unwrap().set_modified(time).unwrap();
        }
        // One is asked about by itself; for many the server is asked for a listing.
        for some in [&names[..1], &names] {
            let done = lab.run(["put"].iter().chain(some)).ends_with(0);
            assert!(done.err.contains(&format!("{} unchanged, 0 bytes", some.len())), "{done:?}");
            for name in some {
                let meta = there(name);
                assert_eq!(meta.permissions().mode() & 0o100, mode & 0o100, "{name}");
                assert_eq!(meta.modified().unwrap(), time, "{name}");
            }
        }
    }
    std::fs::set_permissions(lab.home().join("b0"), std::fs::Permissions::from_mode(0o755)).unwrap();
    lab.run(["put", "b0", "--no-perms"]).ends_with(0);
    assert_eq!(there("b0").permissions().mode() & 0o100, 0);
}

/// Fails when: it is not said what is in the way, or what would help.
#[test]
fn refusals_name_the_true_reason() {
    let lab = writable(&[("in/x", b"x")]);
    write(&lab, "f", b"f");
    write(&lab, ".zz", b"z");
    for args in [
        &["put", "f", "--as", "in"][..],
        &["put", "f", "--as", "in", "--overwrite"],
        &["put", "f", "--as", "in", "--if-unchanged"],
    ] {
        lab.run(args).ends_with(5).complains("in: it is a directory on the server", "--to DIR");
    }
    lab.run(["put", ".zz"]).ends_with(5).complains(".zz: hidden names", "");
    let mut lab = lab;
    lab.start_server_with("127.0.0.1", 0, &["--allow", "read,write"]);
    lab.run(["rm", "in/x"]).ends_with(5).complains("delete is not allowed", "--allow read,write,delete");
}

/// Fails when: a program that reads what is printed finds nothing where the run could not begin.
#[test]
fn json_tells_of_what_never_began() {
    let lab = writable(&[]);
    write(&lab, "f", b"f");
    let port = crate::support::free_port();
    let failed = |args: &[&str]| {
        let args = &[args, &["--json", "--connect-timeout", "1s"]].concat();
        crate::support::run(&mut lab.through(port, args)).ends_with(3).json()
    };
    for args in [&["put", "f"][..], &["rm", "f"]] {
        assert_eq!(failed(args)["files"][0]["error"]["code"], "cannot_connect");
    }
    assert_eq!(failed(&["verify", "."])["error"]["code"], "cannot_connect");
}

/// Fails when: `verify` looks at other files than `push` and `pull` do.
#[test]
fn verify_looks_at_what_push_and_pull_look_at() {
    let lab = writable(&[("else", b"1")]);
    write(&lab, "d/a", b"a");
    write(&lab, "d/skip.tmp", b"t");
    write(&lab, "d/.hidden", b"h");
    lab.run(["push", "d", "p", "--exclude", "*.tmp"]).ends_with(0);
    assert_eq!(lab.run(["verify", "p", "d", "--exclude", "*.tmp"]).ends_with(0).out, "");
    assert_eq!(lab.run(["verify", "p", "d"]).ends_with(6).out, "extra skip.tmp\n");
    std::fs::create_dir(lab.home().join("empty")).unwrap();
    lab.run(["verify", "nope", "empty"]).ends_with(5).complains("no such directory", "");
}
