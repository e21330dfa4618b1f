//! CLI.md, "Where from": several servers of the same files.

use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use qfs_core::model::Digest;
use qfs_core::wire::{RemoteError, Request, StatusCode, Trailer, encode, frame};
use qfs_testkit::hostile_server::{HostileServer, Step};
use qfs_testkit::udp_proxy::{Faults, LinkSpec, PathFaults, UdpProxy};

use crate::support::{Done, Lab, finish, free_port, noise, run, slow_link, sums, wait_until};

/// The client of the first lab, told of these tickets.
fn client(lab: &Lab, tickets: &[String], args: &[&str]) -> Command {
    let mut command = lab.bare();
    for ticket in tickets {
        command.args(["--server", ticket]);
    }
    command.args(args);
    command
}

fn at(lab: &Lab) -> String {
    format!("qfs://{}", lab.server().address())
}

fn through(proxy: &UdpProxy) -> String {
    format!("qfs://{}", proxy.addr())
}

/// Server → state and bytes.
fn mirrors(done: &Done) -> BTreeMap<String, (String, u64)> {
    let json = done.json();
    let mirrors = json["mirrors"].as_array().unwrap_or_else(|| panic!("{done:?}"));
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let part = |mirror: &serde_json::Value| {
        assert!(mirror["seconds"].is_f64() || mirror["seconds"].is_u64(), "{done:?}");
        assert_eq!(mirror["state"] == "ok", mirror["reason"].is_null(), "{done:?}");
        (format!("qfs://{}", text(&mirror["server"])), (text(&mirror["state"]), mirror["bytes"].as_u64().unwrap()))
    };
    mirrors.iter().map(part).collect()
}

/// Fails when: a large file comes from one of them, a stripe lands where it does not belong, or small files are not spread.
#[test]
fn a_file_comes_from_all_that_have_it() {
    let large = noise(6 << 20);
    let mut files: Vec<(String, Vec<u8>)> = (0..40).map(|n| (format!("small/{n}"), noise(5000 + n))).collect();
    files.push(("large".to_owned(), large.clone()));
    let files: Vec<(&str, &[u8])> = files.iter().map(|(name, content)| (name.as_str(), &content[..])).collect();
    let labs = [Lab::new(&files), Lab::new(&files), Lab::new(&files)];
    let proxies = labs.each_ref().map(|lab| slow_link(lab.server().address()));
    let tickets: Vec<_> = proxies.iter().map(through).collect();
    for hash in ["sha256", "blake3"] {
        let place = format!("to-{hash}");
        let args = ["get", "large", "--json", "--hash", hash, "--save-dir", &place];
        let done = run(&mut client(&labs[0], &tickets, &args)).ends_with(0);
        assert!(std::fs::read(labs[0].home().join(&place).join("large")).unwrap() == large, "{done:?}");
        let mirrors = mirrors(&done);
        for ticket in &tickets {
            let (state, bytes) = &mirrors[ticket];
            assert!(state == "ok" && *bytes > 0, "{done:?}");
        }
        let sent: u64 = mirrors.values().map(|(_, bytes)| bytes).sum();
        assert!(sent < (6 << 20) * 5 / 4, "too much came twice: {done:?}");
    }
    // The second time the listing has the digests, and they share a stream.
    for place in ["first", "second"] {
        let args = ["get", "small", "--parallel", "--json", "--save-dir", place];
        let done = run(&mut client(&labs[0], &tickets, &args)).ends_with(0);
        assert_eq!(done.json()["files"].as_array().unwrap().len(), 40);
        for (name, content) in files.iter().filter(|(name, _)| *name != "large") {
            assert!(std::fs::read(labs[0].home().join(place).join(name)).unwrap() == *content, "{name}");
        }
        let asked = mirrors(&done).values().filter(|(_, bytes)| *bytes > 0).count();
        assert!(asked > 1 || place == "second", "{done:?}");
    }
}

/// Fails when a file of which another version is here comes from one of them though nothing of that version is used, or when what came
/// from one of them alone is not counted.
#[test]
fn another_version_here_is_replaced_from_all_that_have_it() {
    let large = noise(6 << 20);
    let labs = [Lab::new(&[("large", &large)]), Lab::new(&[("large", &large)])];
    let proxies = labs.each_ref().map(|lab| slow_link(lab.server().address()));
    let tickets: Vec<_> = proxies.iter().map(through).collect();
    let (smaller, as_large) = (noise(100_000), vec![7; 6 << 20]);
    for (old, args) in [(&smaller, &["--whole"][..]), (&as_large, &["--whole"]), (&as_large, &[])] {
        labs[0].put("large", old);
        let args = [&["get", "large", "--overwrite", "--json"], args].concat();
        let done = run(&mut client(&labs[0], &tickets, &args)).ends_with(0);
        assert!(labs[0].saved("large") == large, "{done:?}");
        let sent: Vec<u64> = mirrors(&done).values().map(|(_, bytes)| *bytes).collect();
        assert!(sent.iter().sum::<u64>() >= 6 << 20, "{done:?}");
        assert!(!args.contains(&"--whole") || sent.iter().all(|bytes| *bytes > 0), "{done:?}");
    }
    // What is the same is kept, and costs nothing.
    let done =
        run(&mut client(&labs[0], &tickets, &["get", "large", "--overwrite", "--whole", "--checksum", "--json"]));
    assert_eq!(done.json()["files"][0]["status"], "unchanged", "{done:?}");
}

/// Fails when a command for one server waits for one that says nothing, for as long as a connection may take, though another one answers.
#[test]
fn one_that_says_nothing_is_overtaken() {
    let lab = Lab::new(&[("f", b"here"), ("d/below", b"there")]);
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let _silent_too = UdpSocket::bind(silent.local_addr().unwrap()).unwrap();
    let tickets = [format!("qfs://{}", silent.local_addr().unwrap()), at(&lab)];
    // Longer than the test waits.
    for args in [&["list"][..], &["cat", "f"]] {
        let done = run(&mut client(&lab, &tickets, &[args, &["--connect-timeout", "100s"]].concat())).ends_with(0);
        assert!(done.out.contains("  f\n") || done.out == "here", "{done:?}");
        assert!(done.err.contains("could not be reached (it did not answer in time)"), "{done:?}");
    }
    // It might have a file of that name, but another one has a directory.
    for tickets in [&tickets, &[tickets[1].clone(), tickets[0].clone()]] {
        let args = ["get", "d", "--connect-timeout", "100s"];
        let done = run(&mut client(&lab, tickets, &args)).ends_with(0);
        assert!(lab.saved("d/below") == b"there" && done.err.contains("could not be reached"), "{done:?}");
        std::fs::remove_dir_all(lab.home().join("client_env")).unwrap();
    }
    // All that there are fail, and the last says how.
    let done = run(&mut client(&lab, &tickets[..1], &["list", "--connect-timeout", "1500ms"]));
    done.ends_with(3).complains("no answer", "of UDP or of TCP");
}

/// Fails when one server that is not there ends the run, or is not told of; or when none is there and the run does not end with 3.
#[test]
fn one_that_cannot_be_reached_costs_a_line() {
    let (large, labs) = (noise(2 << 20), [(); 2].map(|()| Lab::new(&[("f", &noise(2 << 20)), ("s", b"small")])));
    let nobody = format!("qfs://127.0.0.1:{}", free_port());
    for tickets in [vec![nobody.clone(), at(&labs[0]), at(&labs[1])], vec![at(&labs[0]), nobody.clone(), at(&labs[1])]]
    {
        let args = ["get", "f", "s", "--json", "--overwrite", "--whole", "--connect-timeout", "700ms"];
        let done = run(&mut client(&labs[0], &tickets, &args)).ends_with(0);
        assert!(labs[0].saved("f") == large && labs[0].saved("s") == b"small");
        assert_eq!(mirrors(&done)[&nobody].0, "unreachable", "{done:?}");
        let lines = done.err.lines().filter(|line| line.contains(nobody.trim_start_matches("qfs://")));
        assert_eq!(lines.count(), 1, "{done:?}");
        std::fs::remove_dir_all(labs[0].home().join("client_env")).unwrap();
    }
    let listed = run(&mut client(&labs[0], &[nobody.clone(), at(&labs[1])], &["list", "--connect-timeout", "700ms"]));
    assert!(listed.ends_with(0).out.contains("  f\n"));
    let other = format!("qfs://127.0.0.1:{}", free_port());
    for verb in [&["get", "f"][..], &["list"]] {
        let args = [verb, &["--connect-timeout", "700ms"]].concat();
        run(&mut client(&labs[0], &[nobody.clone(), other.clone()], &args)).ends_with(3);
    }
}

/// Fails when: the most, or the last, decide about a version; another version is a lie; what the first does not have is not
/// had; a name that nobody has is anything but not found.
#[test]
fn the_first_named_that_has_a_file_decides() {
    let (new, old) = (noise(2 << 20), noise((2 << 20) + 1)[1..].to_vec());
    let first = Lab::new(&[("f", &new), ("s", b"new")]);
    let second = Lab::new(&[("f", &old), ("s", b"old"), ("only", &new), ("dir/x", b"x")]);
    let third = Lab::new(&[("f", &old), ("s", b"old"), ("only", &new), ("dir/x", b"x")]);
    let tickets = [at(&first), at(&second), at(&third)];
    let done = run(&mut client(&first, &tickets, &["get", "f", "s", "only"])).ends_with(0);
    assert!(first.saved("f") == new && first.saved("s") == b"new" && first.saved("only") == new);
    assert_eq!(done.out, sums(&[("f", &new), ("s", b"new"), ("only", &new)]));
    assert!(done.err.contains("has another version of s") && !done.err.contains("lied"), "{done:?}");
    let tickets = [at(&second), at(&first)];
    run(&mut client(&first, &tickets, &["get", "f", "s", "--save-dir", "other"])).ends_with(0);
    assert!(std::fs::read(first.home().join("other/f")).unwrap() == old);
    run(&mut client(&first, &tickets, &["get", "nope"])).ends_with(5);
    run(&mut client(&first, &tickets, &["get", "dir", "--save-dir", "other"])).ends_with(0);
    assert_eq!(std::fs::read(first.home().join("other/dir/x")).unwrap(), b"x");
    // What is here already is as with one server.
    let again = run(&mut client(&first, &tickets, &["get", "f", "--save-dir", "other", "--json"])).ends_with(0);
    assert_eq!(again.json()["files"][0]["status"], "unchanged");
}

/// Fails when a ticket of several hosts is that of the first alone, or a key of one of them is not looked at.
#[test]
fn one_ticket_names_several_hosts() {
    let content = noise(3 << 20);
    let mut labs = [(); 2].map(|()| Lab::without_server(&[("f", &content)]));
    labs[0].start_server("127.0.0.1", 0);
    std::fs::create_dir_all(labs[1].path().join("certs")).unwrap();
    for name in ["server.key", "server.crt"] {
        std::fs::copy(labs[0].path().join("certs").join(name), labs[1].path().join("certs").join(name)).unwrap();
    }
    labs[1].start_server("127.0.0.1", 0);
    let proxies = labs.each_ref().map(|lab| slow_link(lab.server().address()));
    let pin = labs[0].server().fingerprint();
    let ticket = format!("qfs://{},{}#{pin}", proxies[0].addr(), proxies[1].addr());
    let done = run(&mut client(&labs[0], std::slice::from_ref(&ticket), &["get", "f", "--json"])).ends_with(0);
    assert!(labs[0].saved("f") == content);
    assert!(mirrors(&done).values().all(|(state, bytes)| state == "ok" && *bytes > 0), "{done:?}");
    // The same from a variable and from a file.
    let mut command = client(&labs[0], &[], &["get", "f", "--json", "--save-dir", "other"]);
    assert_eq!(mirrors(&run(command.env("QFS_SERVER", &ticket)).ends_with(0)).len(), 2);
    std::fs::write(labs[0].home().join("tickets"), &ticket).unwrap();
    let args = ["get", "f", "--json", "--save-dir", "third", "--server-file", "tickets"];
    assert_eq!(mirrors(&run(&mut client(&labs[0], &[], &args)).ends_with(0)).len(), 2);
    // Another key at the second.
    let stranger = Lab::new(&[("f", &content)]);
    let ticket = format!("qfs://{},{}#{pin}", proxies[0].addr(), stranger.server().address());
    let done = run(&mut client(&labs[0], &[ticket], &["list"])).ends_with(0);
    assert!(done.out.contains("  f\n"), "the first alone is asked: {done:?}");
    let pinned = [format!("{}#{pin}", at(&stranger)), at(&labs[0])];
    run(&mut client(&labs[0], &pinned, &["get", "f", "--save-dir", "fourth"])).ends_with(4);
    assert!(!labs[0].home().join("fourth/f").exists());
}

/// Fails when: a server with another key that answers late passes unnoticed, or costs what the others brought.
#[test]
fn a_key_that_changed_ends_in_code_4_however_late() {
    let content = noise(12 << 20);
    let labs = [Lab::new(&[("f", &content)]), Lab::new(&[("f", &content)])];
    let near = slow_link(labs[0].server().address());
    let far = LinkSpec { delay: Duration::from_millis(700), ..LinkSpec::default() };
    let path = PathFaults { link: far, ..PathFaults::default() };
    let far = UdpProxy::start(labs[1].server().address(), Faults { to_client: path, ..Faults::default() }).unwrap();
    let tickets = [through(&near), format!("{}#{}", through(&far), labs[0].server().fingerprint())];
    let done = run(&mut client(&labs[0], &tickets, &["get", "f", "--json", "--transport", "udp"])).ends_with(4);
    assert!(done.err.contains(labs[1].server().fingerprint()), "{done:?}");
    assert!(labs[0].saved("f") == content);
    assert_eq!(mirrors(&done)[&tickets[0]].0, "ok", "{done:?}");
}

/// Fails when something is written to one of several servers, or to all.
#[test]
fn writing_takes_one_server() {
    let labs = [(); 2].map(|()| Lab::new(&[("f", b"x")]));
    let tickets = labs.each_ref().map(at);
    std::fs::write(labs[0].home().join("up"), "up").unwrap();
    for verb in [&["put", "up"][..], &["push", "."], &["rm", "f"]] {
        let what = format!("{} takes one server", verb[0]);
        run(&mut client(&labs[0], &tickets, verb)).ends_with(2).complains(&what, "give one --server");
    }
    let many: Vec<_> = (1..=17).map(|port| format!("qfs://127.0.0.1:{port}")).collect();
    run(&mut client(&labs[0], &many, &["list"])).ends_with(2).complains("more than 16 servers", "fewer");
    // Named twice it is one.
    run(&mut client(&labs[0], &[tickets[0].clone(), tickets[0].clone()], &["rm", "nope"])).ends_with(5);
}

/// Fails when: the one that decided what a file is, and is gone, keeps an honest one from being asked again.
#[test]
fn who_is_gone_decides_nothing() {
    let lab = Lab::without_server(&[]);
    let head = |end: usize, etag: &str| {
        let json = format!(
            r#"{{"code":0,"size":5,"modified":"2026-11-23T08:00:00Z","etag":"{etag}","range":{{"start":0,"end":{end}}}}}"#
        );
        Step::Send(frame(json.as_bytes()).unwrap())
    };
    let trailer = |content: &[u8]| Step::Send(encode(&Trailer::new(Digest::of(content))).unwrap());
    let none = || vec![Step::Send(encode(&RemoteError::new(StatusCode::UNKNOWN_COMMAND, "")).unwrap()), Step::Finish];

    let (is_named, is_told) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (named, told) = (Arc::clone(&is_named), Arc::clone(&is_told));
    // It says what the file is, and sends nothing of it.
    let first = HostileServer::start(move |request| match request {
        Request::Download(download) if download.range.is_some() => {
            named.store(true, Ordering::Relaxed);
            vec![head(0, "a"), trailer(b"other"), Step::Finish]
        }
        Request::Download(_) => vec![Step::Hang],
        _ => none(),
    });
    let first = first.unwrap();
    let second = HostileServer::start(move |request| match request {
        Request::Download(download) => {
            let content = if download.range.is_some() { &b""[..] } else { b"hello" };
            told.store(true, Ordering::Relaxed);
            let body = (!content.is_empty()).then(|| Step::Send(content.into()));
            [vec![head(content.len(), "b")], body.into_iter().collect(), vec![trailer(b"hello"), Step::Finish]].concat()
        }
        _ => none(),
    });
    let second = second.unwrap();
    let tickets = [&first, &second].map(|at| format!("qfs://{}#{}", at.address(), at.fingerprint()));
    let mut command = client(&lab, &tickets, &["get", "f", "--retry-timeout", "1s"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_until("what both say", || is_named.load(Ordering::Relaxed) && is_told.load(Ordering::Relaxed));
    // Time for the client to take it in; where that is too short, the run ends well in either case.
    std::thread::sleep(Duration::from_millis(500));
    drop(first);
    finish(child).ends_with(0);
    assert_eq!(lab.saved("f"), b"hello");
}

/// Fails when: it depends on how quick the first of several servers is whether the run fails because of the key of another one.
#[test]
fn a_slow_first_one_is_waited_for_whoever_else_has_the_wrong_key() {
    let (lab, other) = (Lab::new(&[("a", b"first")]), Lab::new(&[("a", b"first")]));
    let link = LinkSpec { delay: Duration::from_millis(700), ..LinkSpec::default() };
    let far = Faults::both(PathFaults { link, ..PathFaults::default() });
    let slow = UdpProxy::start(lab.server().address(), far);
    let slow = slow.unwrap();
    let wrong = format!("{}#sha256:{}", at(&other), "0".repeat(64));
    for (first, code) in [(through(&slow), 0), (format!("qfs://127.0.0.1:{}", free_port()), 4)] {
        let mut command = client(&lab, &[first, wrong.clone()], &["list", "--connect-timeout", "15s"]);
        let done = run(&mut command).ends_with(code);
        assert_eq!(done.out.lines().count(), usize::from(code == 0), "{done:?}");
    }
}
