//! CLI.md, "Exit codes (client)", and how errors look.

use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::fake::{Fake, Manner};
use crate::support::{Lab, free_port, run};

const FILES: &[(&str, &[u8])] = &[("a", b"first"), ("b", b"second")];

#[test]
fn code_0_when_all_is_done() {
    let lab = Lab::new(FILES);
    for args in [&["list"][..], &["get", "a"], &["get", "--all"], &["trust", "list"]] {
        lab.run(args).ends_with(0);
    }
}

#[test]
fn code_1_when_several_files_failed_for_different_reasons() {
    let lab = Lab::new(FILES);
    lab.put("a", b"mine, and longer");
    let done = lab.run(["get", "a", "nope", "b"]).ends_with(1);
    assert!(done.err.contains("error: 2 of 3 files failed: 1 exists, 1 not_found"), "{done:?}");
}

#[test]
fn code_2_for_usage() {
    let lab = Lab::without_server(&[]);
    run(lab.bare().args(["get"])).ends_with(2);
}

#[test]
fn code_3_when_nobody_listens_within_5_seconds() {
    let lab = Lab::without_server(&[]);
    let begun = Instant::now();
    let port = free_port().to_string();
    for args in [&["list"][..], &["get", "a"]] {
        let done = run(lab.bare().args(args).args(["--port", &port])).ends_with(3);
        done.complains(&format!("cannot connect to 127.0.0.1:{port}: "), "qfs-server");
    }
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[test]
fn code_3_when_nobody_answers_within_5_seconds() {
    // Somebody has the port and says nothing.
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port().to_string();
    let lab = Lab::without_server(&[]);
    let begun = Instant::now();
    run(lab.bare().args(["list", "--port", &port])).ends_with(3).complains("no answer", "firewall");
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    let begun = Instant::now();
    run(lab.bare().args(["list", "--port", &port, "--connect-timeout", "200ms"])).ends_with(3);
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
}

#[test]
fn code_3_for_a_host_that_does_not_exist() {
    let lab = Lab::without_server(&[]);
    // RFC 6761: this top-level domain never resolves.
    run(lab.bare().args(["list", "--ip", "nobody.invalid"])).ends_with(3).complains("nobody.invalid", "--ip");
}

#[test]
fn code_4_when_the_key_is_not_the_expected_one() {
    let lab = Lab::new(FILES);
    let pin = format!("sha256:{}", "0".repeat(64));
    let done = lab.run(["list", "--fingerprint", &pin]).ends_with(4);
    assert!(done.err.contains(&pin) && done.err.contains(lab.server().fingerprint()), "{done:?}");
}

#[test]
fn code_5_when_the_server_refuses() {
    let lab = Lab::new(FILES);
    std::fs::create_dir(lab.path().join("root/directory")).unwrap();
    for name in ["nope", "../etc/passwd", "/etc/passwd", "directory", "a/", "*.iso", "back\\slash"] {
        lab.run(["get", "--", name]).ends_with(5).complains("", "qfs-client list");
    }
    let fake = Fake::start(Manner::Denied);
    let done = run(lab.bare().args(["get", "a", "--port", &fake.port()])).ends_with(5);
    done.complains("a: not \\u{1b}[2J you", "");
}

#[test]
fn code_6_for_wrong_or_changing_content() {
    let lab = Lab::without_server(&[]);
    for (manner, word) in [(Manner::WrongDigest, "digest_mismatch"), (Manner::Changed, "changed")] {
        let fake = Fake::start(manner);
        let done = run(lab.bare().args(["get", "--json", "a", "--port", &fake.port()])).ends_with(6);
        assert_eq!(done.json()["files"][0]["error"]["code"], word);
        assert!(!lab.home().join("client_env/a").exists());
    }
}

#[test]
fn code_7_for_local_files() {
    let lab = Lab::new(FILES);
    lab.put("a", b"mine, and longer");
    lab.run(["get", "a"]).ends_with(7).complains("a: ", "--overwrite");
    std::fs::create_dir_all(lab.home().join("client_env/b")).unwrap();
    lab.run(["get", "b"]).ends_with(7).complains("b: ", "");
    std::fs::write(lab.home().join("file"), b"").unwrap();
    lab.run(["get", "b", "--save-dir", "file"]).ends_with(7).complains("file", "--save-dir");
    lab.run(["get", "b", "--save-dir", "/proc/nowhere"]).ends_with(7).complains("/proc/nowhere", "--save-dir");
}

#[test]
fn code_130_when_interrupted() {
    let lab = Lab::without_server(&[]);
    for signal in [rustix::process::Signal::INT, rustix::process::Signal::TERM] {
        // Somebody who never answers keeps it waiting.
        let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = silent.local_addr().unwrap().port().to_string();
        let mut command = lab.bare();
        command
            .args(["list", "--connect-timeout", "1h", "--port", &port])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        // Its first packet says that it watches for signals by now.
        silent.recv(&mut [0; 2048]).unwrap();
        rustix::process::kill_process(rustix::process::Pid::from_child(&child), signal).unwrap();
        crate::support::finish(child).ends_with(130).complains("interrupted", "run the same command again");
    }
}

#[test]
fn one_kind_of_failure_has_its_code_however_often() {
    let lab = Lab::new(FILES);
    lab.run(["get", "x", "y", "z*", "a"]).ends_with(5);
    lab.put("a", b"mine, and longer");
    lab.put("b", b"mine, and longer");
    lab.run(["get", "--all", "--parallel"]).ends_with(7);
}
