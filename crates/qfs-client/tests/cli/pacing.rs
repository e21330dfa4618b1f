//! `--limit` and `--limit-client` with both real programs, and what SIGHUP makes of them.
//!
//! Every time that is asserted is a least one: a slow machine makes nothing fail.

use std::process::Stdio;
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Lab, finish, noise, run, wait_until};

const SIZE: usize = 3 << 20;

fn lab(files: &[&str], flags: &[&str]) -> Lab {
    let content = noise(SIZE);
    let files: Vec<_> = files.iter().map(|name| (*name, &content[..])).collect();
    let mut lab = Lab::without_server(&files);
    lab.start_server_with("127.0.0.1", 0, flags);
    lab
}

/// How long a run takes that ends well.
fn seconds(lab: &Lab, args: &[&str]) -> f64 {
    let begun = Instant::now();
    lab.run(args).ends_with(0);
    begun.elapsed().as_secs_f64()
}

/// The least that `SIZE` bytes take at 1 MiB a second, after what may pass at once.
const LEAST: f64 = 3.0 * 0.95 - 0.25;

#[test]
fn a_limit_holds_over_both_ways_and_for_each_direction() {
    let lab = lab(&["a", "b", "c"], &["--limit", "1M,off", "--allow", "read,write"]);
    assert!(seconds(&lab, &["get", "a", "--transport", "udp"]) >= LEAST);
    assert!(seconds(&lab, &["get", "b", "--transport", "tcp"]) >= LEAST);
    assert_eq!(lab.saved("b"), noise(SIZE));
}

#[test]
fn uploads_are_held_to_the_second_rate() {
    let lab = lab(&[], &["--limit", "off,1M", "--allow", "read,write"]);
    std::fs::write(lab.home().join("up"), noise(SIZE)).unwrap();
    assert!(seconds(&lab, &["put", "up", "--as", "udp", "--transport", "udp"]) >= LEAST);
    assert!(seconds(&lab, &["put", "up", "--as", "tcp", "--transport", "tcp"]) >= LEAST);
    assert_eq!(std::fs::read(lab.path().join("root/tcp")).unwrap(), noise(SIZE));
}

// Fails when the limit of all is given to each, or that of each shared by all.
#[test]
fn clients_share_the_limit_of_all_and_not_their_own() {
    let both = |lab: &Lab| {
        let begun = Instant::now();
        let start =
            |name: &str| lab.client(["get", name]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (one, other) = (start("a"), start("b"));
        finish(one).ends_with(0);
        finish(other).ends_with(0);
        begun.elapsed().as_secs_f64()
    };
    assert!(both(&lab(&["a", "b"], &["--limit", "2M"])) >= LEAST);
    let each = lab(&["a", "b"], &["--limit-client", "1M"]);
    assert!(both(&each) >= LEAST);
}

/// Has the server read its configuration anew, and waits until it says so.
fn reload(lab: &Lab, text: &str, said: &str) {
    std::fs::write(lab.path().join("server.toml"), text).unwrap();
    kill_process(Pid::from_raw(lab.server().id().cast_signed()).unwrap(), Signal::HUP).unwrap();
    wait_until(said, || lab.server().said().contains(said));
}

// Fails when what is under way keeps the old limit: it would take four minutes.
#[test]
fn a_reload_changes_what_is_under_way() {
    let mut lab = Lab::without_server(&[("a", &noise(SIZE))]);
    let config = lab.path().join("server.toml");
    std::fs::write(&config, "limit = \"12K\"\n").unwrap();
    lab.start_server_with("127.0.0.1", 0, &["--config", config.to_str().unwrap()]);
    let mut running = lab.client(["get", "a"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let partial = || std::fs::read_dir(lab.home().join("client_env")).is_ok_and(|entries| entries.count() > 0);
    wait_until("it has begun", partial);
    assert!(running.try_wait().unwrap().is_none());
    reload(&lab, "limit = \"off\"\n", "limit \"12K\" -> \"off\"");
    finish(running).ends_with(0);
    assert_eq!(lab.saved("a"), noise(SIZE));
}

#[test]
fn a_reload_says_what_it_changes_and_a_bad_file_changes_nothing() {
    let mut lab = Lab::without_server(&[("a", b"a")]);
    let config = lab.path().join("server.toml");
    std::fs::write(&config, "allow = \"read,write\"\nmax-upload = \"1M\"\n").unwrap();
    lab.start_server_with("127.0.0.1", 0, &["--config", config.to_str().unwrap()]);
    std::fs::write(lab.home().join("small"), b"small").unwrap();
    std::fs::write(lab.home().join("large"), noise(2 << 20)).unwrap();
    lab.run(["put", "small"]).ends_with(0);
    lab.run(["put", "large"]).ends_with(5);

    reload(&lab, "allow = \"read,write\"\nmax-upload = \"4M\"\n", "max-upload \"1M\" -> \"4M\"");
    lab.run(["put", "large"]).ends_with(0);

    for (wrong, why) in [
        ("max-uplod = \"1K\"\n", "server.toml:1: unknown key max-uplod"),
        ("allow = \"read\"\nlimit = \"fast\"\n", "server.toml:2: invalid value 'fast' for 'limit'"),
    ] {
        reload(&lab, wrong, &format!("the configuration stays as it was: {}", config.display()));
        wait_until(why, || lab.server().said().contains(why));
        lab.run(["put", "small", "--as", "again", "--overwrite"]).ends_with(0);
    }

    reload(&lab, "allow = \"read\"\nport = 9\nendpoints = 2\n", "after a restart only: endpoints");
    assert!(
        !lab.server().said().contains("only: endpoints, port"),
        "the port is given by a flag, which beats the file"
    );
    assert!(lab.server().said().contains("allow \"read,write\" -> \"read\""), "{}", lab.server().said());
    lab.run(["put", "small", "--as", "refused"]).ends_with(5);
    lab.run(["get", "a"]).ends_with(0);
}

// The sandbox is shut by then, and writing would fail later, at the disk.
#[test]
fn a_server_that_was_started_to_be_read_is_not_made_writable() {
    let mut lab = Lab::without_server(&[("a", b"a")]);
    let config = lab.path().join("server.toml");
    std::fs::write(&config, "").unwrap();
    lab.start_server_with("127.0.0.1", 0, &["--config", config.to_str().unwrap()]);
    reload(&lab, "allow = \"read,write\"\n", "after a restart only: allow");
    std::fs::write(lab.home().join("small"), b"small").unwrap();
    let done = run(&mut lab.client(["put", "small"]));
    assert_eq!(done.code, Some(5), "{done:?}");
}
