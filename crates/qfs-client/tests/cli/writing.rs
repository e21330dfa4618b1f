//! CLI.md, "Writing": `put`, `rm`, `cat` and `verify` through the real programs.

use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use qfs_core::model::Digest;

use crate::support::{Lab, finish, noise, run, slow_link, sums, wait, wait_until};

/// A server at which anything may be done.
fn writable(files: &[(&str, &[u8])]) -> Lab {
    allowing("read,write,delete", files)
}

fn allowing(rights: &str, files: &[(&str, &[u8])]) -> Lab {
    let mut lab = Lab::without_server(files);
    lab.start_server_with("127.0.0.1", 0, &["--allow", rights]);
    lab
}

impl Lab {
    fn published(&self, name: &str) -> PathBuf {
        self.path().join("root").join(name)
    }

    fn at_home(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.home().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }
}

/// Names in `directory`, hidden ones included: what is left of uploads would be among them.
fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn what_put_prints_is_what_sha256sum_checks() {
    let lab = writable(&[]);
    let big = noise(700_000);
    for (name, content) in [("data/a", &b"first"[..]), ("data/sub/b c", b"second"), ("data/big", &big), ("e", b"")] {
        lab.at_home(name, content);
    }
    std::fs::set_permissions(lab.home().join("data/a"), std::fs::Permissions::from_mode(0o755)).unwrap();
    for mode in [&[][..], &["--parallel"]] {
        let lab = if mode.is_empty() { &lab } else { &writable(&[]) };
        let home = lab.home();
        if !home.join("e").exists() {
            for (name, content) in
                [("data/a", &b"first"[..]), ("data/sub/b c", b"second"), ("data/big", &big), ("e", b"")]
            {
                lab.at_home(name, content);
            }
        }
        let done = lab.run(["put", "data", "e"].iter().chain(mode)).ends_with(0);
        assert!(done.err.contains("total upload time: ") && done.err.contains("(4 files, "), "{done:?}");
        let mut check =
            Command::new("sha256sum").args(["-c", "--quiet"]).current_dir(&home).stdin(Stdio::piped()).spawn().unwrap();
        check.stdin.take().unwrap().write_all(done.out.as_bytes()).unwrap();
        assert!(check.wait().unwrap().success(), "{done:?}");
        assert_eq!(std::fs::read(lab.published("data/big")).unwrap(), big);
        assert_eq!(std::fs::read(lab.published("e")).unwrap(), b"");
        let times = |path: &Path| std::fs::metadata(path).unwrap().modified().unwrap();
        assert_eq!(times(&lab.published("data/sub/b c")), times(&home.join("data/sub/b c")));
        // Once more: nothing moves.
        let done = lab.run(["put", "data", "e"].iter().chain(mode)).ends_with(0);
        assert!(done.err.contains("4 unchanged, 0 bytes"), "{done:?}");
    }
    let mode = std::fs::metadata(lab.published("data/a")).unwrap().permissions().mode();
    assert_eq!(mode & 0o111, 0o111, "{mode:o}");
    assert_eq!(std::fs::metadata(lab.published("data/sub/b c")).unwrap().permissions().mode() & 0o111, 0);
}

#[test]
fn names_on_the_server_are_what_to_and_as_say() {
    let lab = writable(&[]);
    lab.at_home("x/one", b"1");
    lab.at_home("two", b"2");
    assert_eq!(lab.run(["put", "two", "--as", "in/new name"]).ends_with(0).out, sums(&[("in/new name", b"2")]));
    assert_eq!(
        lab.run(["put", "x", "two", "--to", "in/"]).ends_with(0).out,
        sums(&[("in/x/one", b"1"), ("in/two", b"2")])
    );
    assert_eq!(lab.run(["put", "x", "--as", "y"]).ends_with(0).out, sums(&[("y/one", b"1")]));
    for wrong in [&["put", "two", "x", "--as", "n"][..], &["put", "two", "--as", "../up"], &["put", "-"], &["put"]] {
        lab.run(wrong).ends_with(2);
    }
    lab.run(["put", "nope"]).ends_with(7).complains("nope", "name files");
    // Two of them would be one.
    lab.at_home("other/two", b"3");
    lab.run(["put", "two", "other/two"]).ends_with(2).complains("two", "--to");
}

/// Fails when: something is replaced that the command does not allow, or the same content is taken for another.
#[test]
fn another_content_is_replaced_only_when_told_to() {
    let lab = writable(&[("f", b"theirs"), ("same", b"equal")]);
    lab.at_home("f", b"mine");
    lab.at_home("same", b"equal");
    lab.run(["put", "f"]).ends_with(7).complains("f: the file exists", "--overwrite");
    assert_eq!(std::fs::read(lab.published("f")).unwrap(), b"theirs");
    let done = lab.run(["put", "--json", "same", "f"]).ends_with(7);
    let statuses: Vec<_> = done.json()["files"].as_array().unwrap().iter().map(|f| f["status"].clone()).collect();
    assert_eq!(statuses, ["unchanged", "failed"]);
    assert_eq!(done.json()["files"][1]["error"]["code"], "exists");
    assert_eq!(lab.run(["put", "--if-unchanged", "f"]).ends_with(0).out, sums(&[("f", b"mine")]));
    lab.publish("f", b"theirs again");
    let json = lab.run(["put", "--overwrite", "f", "--json"]).ends_with(0).json();
    assert_eq!((&json["files"][0]["status"], &json["files"][0]["path"]), (&"uploaded".into(), &"f".into()));
    assert_eq!(std::fs::read(lab.published("f")).unwrap(), b"mine");
    assert_eq!(names(&lab.path().join("root")), ["f", "same"]);
}

/// Fails when: a server that only hands out can be written to in any way.
#[test]
fn a_server_that_only_hands_out_takes_nothing() {
    let lab = Lab::new(&[("f", b"old")]);
    // Another size: written within one tick of the clock, the two would look the same otherwise.
    lab.at_home("f", b"newer");
    lab.at_home("many/a", b"1");
    lab.at_home("many/b", b"2");
    lab.run(["put", "f", "--overwrite"]).ends_with(5).complains("write is not allowed here", "--allow read,write");
    lab.run(["put", "many"]).ends_with(5);
    lab.run(["rm", "f"]).ends_with(5).complains("delete is not allowed here", "--allow");
    let mut stdin = lab
        .client(["put", "-", "--as", "x"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let _ = stdin.stdin.take().unwrap().write_all(b"text");
    finish(stdin).ends_with(5);
    assert_eq!(names(&lab.path().join("root")), ["f"]);
    assert_eq!(std::fs::read(lab.published("f")).unwrap(), b"old");
    // Who may only write can put and not look.
    let lab = allowing("write", &[("secret", b"s")]);
    lab.at_home("letter", b"dear");
    lab.run(["put", "letter"]).ends_with(0);
    lab.run(["list"]).ends_with(5);
    lab.run(["get", "secret"]).ends_with(5);
    lab.run(["put", "letter", "--as", "secret"]).ends_with(7);
    assert_eq!(std::fs::read(lab.published("secret")).unwrap(), b"s");
}

/// Fails when: a token's rights or its scope do not hold for writing, or the sandbox keeps out what the token lets in.
#[test]
fn a_token_writes_what_it_may_and_where() {
    let mut lab = Lab::without_server(&[("out/f", b"1")]);
    let certs = lab.path().join("certs");
    let server = qfs_testkit::binaries::server_bin();
    let create = |args: &[&str]| {
        let made = Command::new(&server)
            .args(["--certs", certs.to_str().unwrap(), "token", "create"])
            .args(args)
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        String::from_utf8(made.stdout).unwrap().trim().to_owned()
    };
    std::fs::create_dir_all(&certs).unwrap();
    std::fs::set_permissions(&certs, std::fs::Permissions::from_mode(0o700)).unwrap();
    let writer = create(&["--can", "read,write", "--under", "incoming/**"]);
    let reader = create(&[]);
    lab.start_server_with("127.0.0.1", 0, &["--auth", "tokens"]);
    lab.at_home("f", b"new");
    let with = |token: &str, args: &[&str]| run(lab.client(args).env("QFS_TOKEN", token));
    with(&writer, &["put", "f", "--to", "incoming"]).ends_with(0);
    with(&writer, &["put", "f", "--to", "out", "--overwrite"]).ends_with(5);
    with(&writer, &["rm", "incoming/f"]).ends_with(5);
    lab.at_home("f", b"newer");
    with(&reader, &["put", "f", "--to", "incoming", "--overwrite"]).ends_with(5);
    lab.run(["put", "f"]).ends_with(5);
    assert_eq!(std::fs::read(lab.published("incoming/f")).unwrap(), b"new");
    assert_eq!(std::fs::read(lab.published("out/f")).unwrap(), b"1");
}

#[test]
fn standard_input_is_a_file_of_any_length() {
    let lab = writable(&[("there", b"x")]);
    let content = noise(1_300_001);
    let pour = |args: &[&str], content: &[u8]| {
        let mut child =
            lab.client(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // A refusal closes the pipe before all of it was taken.
        let _ = stdin.write_all(content);
        drop(stdin);
        finish(child)
    };
    assert_eq!(pour(&["put", "-", "--as", "s/big"], &content).ends_with(0).out, sums(&[("s/big", &content)]));
    assert_eq!(std::fs::read(lab.published("s/big")).unwrap(), content);
    assert_eq!(pour(&["put", "-", "--as", "none"], b"").ends_with(0).out, sums(&[("none", b"")]));
    pour(&["put", "-", "--as", "there"], &content).ends_with(7);
    assert_eq!(std::fs::read(lab.published("there")).unwrap(), b"x");
    pour(&["put", "-", "--as", "there", "--overwrite"], &content).ends_with(0);
    assert_eq!(std::fs::read(lab.published("there")).unwrap(), content);
    assert_eq!(names(&lab.path().join("root")), ["none", "s", "there"]);
}

/// Fails when: what the server holds is sent again, is believed without a look, or somebody else's is continued.
#[test]
fn an_upload_that_was_cut_off_is_continued() {
    let lab = writable(&[]);
    let content = noise(24 << 20);
    lab.at_home("big", &content);
    let link = slow_link(lab.server().address());
    let mut child =
        lab.through(link.addr().port(), &["put", "big"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let partial = |least: u64| {
        let found = names(&lab.path().join("root")).into_iter().find(|name| name != "big");
        found.filter(|name| std::fs::metadata(lab.published(name)).is_ok_and(|meta| meta.len() > least))
    };
    wait_until("half of it is there", || partial(10 << 20).is_some());
    // Interrupted, so that the server learns at once that the client is gone; it keeps what it has, and nobody sees it.
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::INT).unwrap();
    assert_eq!(wait(&mut child), Some(130));
    let held = lab.published(&partial(10 << 20).unwrap());
    wait_until("the server lets go of it", || {
        let file = std::fs::File::open(&held).unwrap();
        rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_ok()
    });
    assert!(!lab.published("big").exists());
    assert_eq!(lab.run(["list", "--json"]).ends_with(0).out.trim(), "{}");
    let json = lab.run(["put", "big", "--json"]).ends_with(0).json();
    assert_eq!(json["files"][0]["status"], "resumed");
    assert!(json["bytes"].as_u64().unwrap() < content.len() as u64 - (8 << 20), "{json}");
    assert_eq!(std::fs::read(lab.published("big")).unwrap(), content);
    assert_eq!(names(&lab.path().join("root")), ["big"]);
}

/// A client that is killed and run again is there before the server knows that the first is gone.
///
/// Fails when: what the first one left lies beside the whole file for days.
#[test]
fn what_an_upload_left_goes_when_another_brought_all_of_it() {
    let lab = writable(&[]);
    let content = noise(24 << 20);
    lab.at_home("big", &content);
    let link = slow_link(lab.server().address());
    let mut first = lab.through(link.addr().port(), &["put", "big"]).stdout(Stdio::null()).spawn().unwrap();
    wait_until("something of it is there", || !names(&lab.path().join("root")).is_empty());
    lab.run(["put", "big"]).ends_with(0);
    assert!(std::fs::read(lab.published("big")).unwrap() == content);
    assert_eq!(names(&lab.path().join("root")).len(), 2);
    rustix::process::kill_process(rustix::process::Pid::from_child(&first), rustix::process::Signal::INT).unwrap();
    wait(&mut first);
    wait_until("nothing is left of it", || names(&lab.path().join("root")) == ["big"]);
}

#[test]
fn cat_pours_out_what_is_asked_for() {
    let content = noise(900_000);
    let lab = Lab::new(&[("f", &content), ("text", b"0123456789"), ("empty", b"")]);
    let bytes = |args: &[&str]| {
        let done = lab.client(args).output().unwrap();
        assert_eq!(done.status.code(), Some(0), "{done:?}");
        done.stdout
    };
    assert_eq!(Digest::of(&bytes(&["cat", "f"])), Digest::of(&content));
    assert_eq!(bytes(&["cat", "empty"]), b"");
    assert_eq!(bytes(&["cat", "text", "--range", "2-4"]), b"234");
    assert_eq!(bytes(&["cat", "text", "--range", "7-"]), b"789");
    assert_eq!(bytes(&["cat", "text", "--range", "-3"]), b"789");
    assert_eq!(bytes(&["cat", "text", "--range", "8-100"]), b"89");
    lab.run(["cat", "nope"]).ends_with(5);
    lab.run(["cat", "text", "--range", "5-2"]).ends_with(2);
    lab.run(["cat", "text", "--range", "50-60"]).ends_with(5);
    // A reader that has had enough ends it quietly.
    let mut child = lab.client(["cat", "f"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let done = finish(child).ends_with(0);
    assert_eq!(done.err, "");
}

#[test]
fn verify_names_what_is_not_the_same_and_touches_nothing() {
    let lab = Lab::new(&[("p/a", b"1"), ("p/b", b"22"), ("p/sub/c", b"333"), ("q", b"other")]);
    for (name, content) in [("d/a", &b"1"[..]), ("d/b", b"2X"), ("d/e\x1b[2J", b"5")] {
        lab.at_home(name, content);
    }
    let done = lab.run(["verify", "p", "d"]).ends_with(6);
    assert_eq!(done.out, "differs b\nextra e\\u{1b}[2J\nmissing sub/c\n");
    assert!(done.err.contains("1 the same, 1 missing, 1 differ, 1 extra"), "{done:?}");
    let json = lab.run(["verify", "p/", "d", "--json"]).ends_with(6).json();
    assert_eq!((&json["same"], &json["missing"][0]), (&1.into(), &"sub/c".into()));
    lab.at_home("d/b", b"22");
    lab.at_home("d/sub/c", b"333");
    std::fs::remove_file(lab.home().join("d/e\x1b[2J")).unwrap();
    assert_eq!(lab.run(["verify", "p", "d"]).ends_with(0).out, "");
    lab.run(["verify", "d"]).ends_with(6);
    lab.run(["verify", "p", "nowhere"]).ends_with(7);
}

#[test]
fn rm_removes_what_is_named_and_nothing_else() {
    let lab = writable(&[("a", b"1"), ("logs/x.gz", b"2"), ("logs/y.gz", b"3"), ("logs/z", b"4"), ("keep", b"5")]);
    symlink("../keep", lab.published("logs/link")).unwrap();
    lab.run(["rm", "a", "logs/*.gz"]).ends_with(0);
    lab.run(["rm", "a"]).ends_with(5).complains("a: no such file", "");
    lab.run(["rm", "logs"]).ends_with(5);
    assert_eq!(names(&lab.published("logs")), ["link", "z"]);
    lab.run(["rm", "--recursive", "logs"]).ends_with(0);
    assert_eq!(names(&lab.path().join("root")), ["keep"]);
    assert_eq!(std::fs::read(lab.published("keep")).unwrap(), b"5");
}

/// Fails when: the server writes where its root, a hidden name or a link on the way should stop it.
#[test]
fn nothing_is_written_but_where_it_may_be() {
    let lab = writable(&[("f", b"inside")]);
    let outside = lab.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    symlink(&outside, lab.published("way-out")).unwrap();
    symlink(outside.join("target"), lab.published("file-out")).unwrap();
    lab.at_home("mine", b"new");
    for name in ["way-out/x", "file-out", ".hidden", "sub/.git/config", "f/below"] {
        let done = lab.run(["put", "mine", "--as", name, "--overwrite"]);
        // A link itself may be replaced, and then is one no more; what it leads to stays.
        assert!(done.code != Some(0) || name == "file-out", "{name}: {done:?}");
    }
    assert_eq!(names(&outside), [""; 0]);
    assert_eq!(std::fs::read(lab.published("f")).unwrap(), b"inside");
    assert!(!lab.published(".hidden").exists() && !lab.published("sub/.git").exists());
}

/// Fails when: the disk is filled beyond what is to stay free, or a file larger than allowed is taken.
#[test]
fn uploads_leave_room() {
    let mut lab = Lab::without_server(&[]);
    lab.at_home("small", b"1");
    lab.at_home("large", &noise(3 << 20));
    lab.start_server_with("127.0.0.1", 0, &["--allow", "read,write", "--max-upload", "1M"]);
    lab.run(["put", "small"]).ends_with(0);
    lab.run(["put", "large"]).ends_with(5).complains("larger than this server takes", "");
    lab.start_server_with("127.0.0.1", 0, &["--allow", "read,write", "--keep-free", "900T"]);
    let done = lab.run(["put", "large", "--json"]).ends_with(5);
    assert_eq!(done.json()["files"][0]["error"]["code"], "no_space");
    lab.run(["put", "small", "--as", "another"]).ends_with(5);
    assert_eq!(names(&lab.path().join("root")), ["small"]);
}
