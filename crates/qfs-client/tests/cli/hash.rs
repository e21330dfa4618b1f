//! CLI.md, `--hash`: digests of the kind that was chosen, in lines, in JSON, for every command; and servers that know SHA-256 only.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::process::Stdio;

use qfs_core::model::{Digest, HashKind};
use qfs_core::wire::{Request, frame};
use qfs_testkit::hostile_server::{HostileServer, Step};
use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Done, Lab, finish, lossy_link, noise, run, slow_link, wait_until};

fn blake3(content: &[u8]) -> Digest {
    Digest::of_kind(HashKind::Blake3, content)
}

/// What b3sum prints for plain names.
fn b3sums(files: &[(&str, &[u8])]) -> String {
    files.iter().map(|(name, content)| format!("{}  {name}\n", blake3(content))).collect()
}

fn writable(files: &[(&str, &[u8])]) -> Lab {
    let mut lab = Lab::without_server(files);
    lab.start_server_with("127.0.0.1", 0, &["--allow", "read,write"]);
    lab
}

/// Fails when: one of the ways that a file can come (alone, small, large, in a batch, in stripes) keeps to SHA-256; a line is not
/// as b3sum prints it.
#[test]
fn lines_are_those_of_b3sum_however_a_file_comes() {
    let large = noise(9_000_000);
    let files: &[(&str, &[u8])] =
        &[("a", b"first"), ("b", b"second"), ("empty", b""), ("sub/one chunk", &[7; 1024]), ("large", &large)];
    let lab = Lab::new(files);
    let names: Vec<&str> = files.iter().map(|(name, _)| *name).collect();
    for mode in [&[][..], &["--parallel"], &["--connections", "3"], &["--transport", "tcp"]] {
        let place = format!("p{}", mode.concat());
        let args = ["get", "--hash", "blake3", "--save-dir", &place];
        let done = lab.run(args.iter().chain(&names).chain(mode)).ends_with(0);
        let sorted = |text: &str| text.lines().map(str::to_owned).collect::<std::collections::BTreeSet<_>>();
        assert_eq!(sorted(&done.out), sorted(&b3sums(files)), "{mode:?}");
        for (name, content) in files {
            assert!(std::fs::read(lab.home().join(&place).join(name)).unwrap() == *content, "{mode:?} {name}");
        }
    }
    // By a variable, which a flag beats.
    let done = run(lab.client(["get", "a", "--save-dir", "v"]).env("QFS_HASH", "blake3")).ends_with(0);
    assert_eq!(done.out, b3sums(&files[..1]));
    let args = ["get", "a", "--hash", "sha256", "--save-dir", "w"];
    let done = run(lab.client(args).env("QFS_HASH", "blake3")).ends_with(0);
    assert_eq!(done.out, format!("{}  a\n", Digest::of(b"first")));
    // What is here is compared by the kind that is asked for, whatever it was fetched with.
    let done = lab.run(["get", "a", "large", "--save-dir", "w", "--hash", "blake3"]).ends_with(0);
    assert_eq!(done.out.lines().last().unwrap(), format!("{}  large", blake3(&large)), "{done:?}");
    let done = lab.run(["get", "large", "--save-dir", "w", "--hash", "blake3", "--checksum"]).ends_with(0);
    assert_eq!((done.out.as_str(), done.err.contains("1 unchanged")), (&*b3sums(&files[4..]), true), "{done:?}");
    lab.run(["get", "a", "--hash", "md5"]).ends_with(2).complains("--hash", "");
}

#[test]
fn keys_in_json_say_the_kind() {
    let large = noise(2_000_000);
    let lab = Lab::new(&[("a", b"first"), ("large", &large)]);
    let done = lab.run(["get", "--json", "--hash", "blake3", "a", "large", "nope"]).ends_with(5);
    let value = done.json();
    for (n, content) in [(0, &b"first"[..]), (1, &large)] {
        assert_eq!(value["files"][n]["blake3"], blake3(content).to_string(), "{done:?}");
        assert!(value["files"][n].get("sha256").is_none(), "{done:?}");
    }
    assert!(value["files"][2]["blake3"].is_null() && value["files"][2].get("sha256").is_none(), "{done:?}");
    let listed = lab.run(["list", "--json", "--hash", "blake3"]).ends_with(0).json();
    let known = &listed["large"]["blake3"];
    assert!(known.is_null() || *known == blake3(&large).to_string(), "{listed}");
    assert!(listed["large"].get("sha256").is_none() && listed["large"].get("blake3").is_some(), "{listed}");
    // Whoever does not ask gets what there always was.
    let listed = lab.run(["list", "--json"]).ends_with(0).json();
    assert!(listed["a"].get("sha256").is_some() && listed["a"].get("blake3").is_none(), "{listed}");
}

/// Fails when: an upload in a batch, alone or of unknown length is verified by another digest than was asked for.
#[test]
fn put_verify_and_cat_go_by_the_kind_that_was_chosen() {
    let lab = writable(&[]);
    let large = noise(700_000);
    let files: &[(&str, &[u8])] = &[("data/a", b"first"), ("data/b c", b"second"), ("data/large", &large)];
    for (name, content) in files {
        let path = lab.home().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    let done = lab.run(["put", "data", "--hash", "blake3"]).ends_with(0);
    assert_eq!(done.out, b3sums(files));
    let done = lab.run(["put", "data", "--hash", "blake3", "--checksum"]).ends_with(0);
    assert!(done.out == b3sums(files) && done.err.contains("3 unchanged"), "{done:?}");
    let mut command = lab.client(["put", "-", "--as", "stream", "--hash", "blake3", "--json"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&large).unwrap();
    let done = finish(child).ends_with(0);
    assert_eq!(done.json()["files"][0]["blake3"], blake3(&large).to_string(), "{done:?}");

    let compared = |code| lab.run(["verify", "data", "data", "--hash", "blake3"]).ends_with(code);
    assert!(compared(0).err.starts_with("3 the same"));
    // Of the same size, so that only the content tells.
    std::fs::write(lab.home().join("data/a"), b"fIrst").unwrap();
    assert_eq!(compared(6).out, "differs a\n");
    let poured = lab.run(["cat", "data/b c", "--hash", "blake3"]).ends_with(0);
    assert_eq!(poured.out, "second");
}

/// Fails when digests of both kinds meet: then nothing is the same, a copy on the server counts as a wrong one, and a file that was only
/// renamed is sent again.
#[test]
fn pull_and_push_compare_by_the_kind_that_was_chosen() {
    let mut lab = Lab::without_server(&[]);
    lab.start_server_with("127.0.0.1", 0, &["--allow", "read,write,delete"]);
    let large = noise(400_000);
    for (name, content) in [("d/a", &b"first"[..]), ("d/old", &large), ("d/sub/b", b"second")] {
        let path = lab.home().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    let push = |more: &[&str]| lab.run(["push", "d", "in", "--hash", "blake3"].iter().chain(more)).ends_with(0);
    push(&[]);
    std::fs::rename(lab.home().join("d/old"), lab.home().join("d/new")).unwrap();
    let done = push(&["--delete", "--dry-run"]);
    assert!(done.out.contains("copy old -> new"), "{done:?}");
    push(&["--delete"]);
    assert!(std::fs::read(lab.path().join("root/in/new")).unwrap() == large);
    assert!(!lab.path().join("root/in/old").exists());
    assert_eq!(push(&["--checksum", "--dry-run"]).out, "");
    let pull = |more: &[&str]| lab.run(["pull", "in", "e", "--hash", "blake3"].iter().chain(more)).ends_with(0);
    pull(&[]);
    assert!(std::fs::read(lab.home().join("e/new")).unwrap() == large);
    assert_eq!(pull(&["--checksum", "--dry-run"]).out, "");
    assert_eq!(lab.run(["pull", "in", "e", "--checksum", "--dry-run"]).ends_with(0).out, "");
}

/// Fails when what is here of a file is not hashed for the kind that the second run asks for.
#[test]
fn a_download_is_continued_with_either_kind() {
    let content = noise(10 << 20);
    let lab = Lab::new(&[("large", &content)]);
    let proxy = slow_link(lab.server().address());
    for (first, second) in [("blake3", "blake3"), ("sha256", "blake3"), ("blake3", "sha256")] {
        let before = proxy.stats().to_client.forwarded_bytes;
        let child = lab.through(proxy.addr().port(), &["get", "large", "--hash", first]).spawn().unwrap();
        wait_until("a part of the file", || proxy.stats().to_client.forwarded_bytes - before > 3 << 20);
        kill_process(Pid::from_child(&child), Signal::INT).unwrap();
        finish(child).ends_with(130);
        let done =
            run(&mut lab.through(proxy.addr().port(), &["get", "large", "--json", "--hash", second])).ends_with(0);
        let file = &done.json()["files"][0];
        let kind: HashKind = second.parse().unwrap();
        assert_eq!(file["status"], "resumed", "{done:?}");
        assert_eq!(file[second], Digest::of_kind(kind, &content).to_string(), "{done:?}");
        assert!(lab.saved("large") == content);
        std::fs::remove_dir_all(lab.home().join("client_env")).unwrap();
    }
}

#[test]
fn losses_holes_and_growth_do_not_matter_to_the_digest() {
    let content = noise(3 << 20);
    let lab = Lab::new(&[("large", &content), ("log", &content[..1 << 20])]);
    let proxy = lossy_link(lab.server().address());
    let done = run(&mut lab.through(proxy.addr().port(), &["get", "large", "--hash", "blake3"])).ends_with(0);
    assert_eq!(done.out, b3sums(&[("large", &content)]));
    let done = lab.run(["get", "log", "--live", "--hash", "blake3"]).ends_with(0);
    assert_eq!(done.out, b3sums(&[("log", &content[..1 << 20])]));
    // Data in two places, both beside the borders of chunks.
    let size = 64u64 << 20;
    let file = File::create(lab.path().join("root/sparse")).unwrap();
    file.set_len(size).unwrap();
    let mut whole = vec![0; size as usize];
    for at in [1_000_001usize, 40_000_000] {
        file.write_all_at(&content[..200_000], at as u64).unwrap();
        whole[at..at + 200_000].copy_from_slice(&content[..200_000]);
    }
    for mode in [&[][..], &["--connections", "2"], &["--no-sparse"]] {
        let place = format!("s{}", mode.concat());
        let args = ["get", "sparse", "--hash", "blake3", "--save-dir", &place];
        let done = lab.run(args.iter().chain(mode)).ends_with(0);
        assert_eq!(done.out, b3sums(&[("sparse", &whole)]), "{mode:?}");
    }
}

/// A server that has never heard of `hash`, with two files: small and large.
fn before_hash(large: Vec<u8>) -> HostileServer {
    let script = move |request: &Request| {
        let send = |json: &str| Step::Send(frame(json.as_bytes()).unwrap());
        match request {
            Request::GetFilesList(_) => {
                let row = |size: usize| format!(r#"{{"size":{size},"modified":"2026-11-23T08:00:00Z","sha256":null}}"#);
                let page =
                    format!(r#"{{"files":{{"large":{},"small":{}}},"end":{{"count":2}}}}"#, row(large.len()), row(5));
                vec![send(r#"{"code":0}"#), send(&page), Step::Finish]
            }
            Request::Download(request) => {
                let content = if request.filename == "large" { large.clone() } else { b"hello".to_vec() };
                let size = content.len() as u64;
                let range = request.range.map_or(0..size, |range| range.within(size).unwrap());
                let head = format!(
                    r#"{{"code":0,"size":{size},"modified":"2026-11-23T08:00:00Z","etag":"1","range":{{"start":{},"end":{}}}}}"#,
                    range.start, range.end
                );
                let body = content[range.start as usize..range.end as usize].to_vec();
                let trailer = format!(r#"{{"code":0,"sha256":"{}"}}"#, Digest::of(&content));
                let body = (!body.is_empty()).then(|| Step::Send(body.into()));
                [vec![send(&head)], body.into_iter().collect(), vec![send(&trailer), Step::Finish]].concat()
            }
            _ => vec![send(r#"{"code":2,"message":"unknown command"}"#), Step::Finish],
        }
    };
    HostileServer::start(script).unwrap()
}

/// The note of it, once, whatever else is on stderr.
fn noted(done: Done) -> Done {
    let note = "note: the server does not know BLAKE3; going on with SHA-256\n";
    assert_eq!(done.err.matches(note).count(), 1, "{done:?}");
    done
}

/// Fails when: the client insists, is silent about it, says it for each file, or calls one kind by the name of the other.
#[test]
fn a_server_of_before_it_gives_sha256_and_the_client_says_so() {
    let large = noise(5_000_000);
    let server = before_hash(large.clone());
    let lab = Lab::without_server(&[]);
    let port = server.address().port().to_string();
    let run_it = |args: &[&str]| run(lab.bare().args(args).args(["--port", &port, "--hash", "blake3"]));
    let done = noted(run_it(&["get", "small", "large"]).ends_with(0));
    assert_eq!(done.out, format!("{}  small\n{}  large\n", Digest::of(b"hello"), Digest::of(&large)));
    for connections in ["1", "3"] {
        let args = ["get", "--all", "--json", "--save-dir", connections, "--connections", connections];
        let done = noted(run_it(&args).ends_with(0));
        let files = done.json()["files"].as_array().unwrap().clone();
        for file in files {
            assert!(file.get("blake3").is_none() && file["sha256"].is_string(), "{file}");
        }
    }
    assert_eq!(noted(run_it(&["cat", "small"]).ends_with(0)).out, "hello");
    std::fs::create_dir(lab.home().join("d")).unwrap();
    std::fs::write(lab.home().join("d/small"), b"hello").unwrap();
    assert_eq!(noted(run_it(&["verify", "d"]).ends_with(6)).out, "missing large\n");
    noted(run_it(&["list"]).ends_with(0));
    // Quiet is quiet, and nobody who did not ask is bothered.
    assert_eq!(run_it(&["-q", "get", "small", "--overwrite"]).ends_with(0).err, "");
    let done = run(lab.bare().args(["list", "--port", &port])).ends_with(0);
    assert!(!done.err.contains("BLAKE3"), "{done:?}");
}

/// Fails when a digest is believed, or one of another kind than was agreed on is taken for it.
#[test]
fn a_wrong_digest_is_a_failure_of_integrity() {
    let lab = Lab::without_server(&[]);
    for (key, digest) in [("blake3", blake3(b"other")), ("sha256", Digest::of(b"hello"))] {
        let server = HostileServer::start(move |request| {
            let Request::Download(_) = request else { return Vec::new() };
            let head = r#"{"code":0,"size":5,"modified":"2026-11-23T08:00:00Z","etag":"1","range":{"start":0,"end":5},"hash":"blake3"}"#;
            let trailer = format!(r#"{{"code":0,"{key}":"{digest}"}}"#);
            let send = |json: &str| Step::Send(frame(json.as_bytes()).unwrap());
            vec![send(head), Step::Send((&b"hello"[..]).into()), send(&trailer), Step::Finish]
        })
        .unwrap();
        let port = server.address().port().to_string();
        run(lab.bare().args(["get", "x", "--hash", "blake3", "--port", &port])).ends_with(6);
        // Nobody asked for it.
        let done = run(lab.bare().args(["get", "x", "--port", &port]));
        assert!(done.code != Some(0), "{done:?}");
        assert!(!lab.home().join("client_env/x").exists());
    }
}
