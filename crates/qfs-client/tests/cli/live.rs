//! CLI.md, `--live`: files that are written to while they are fetched.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use qfs_core::model::Digest;
use qfs_core::wire::{Request, frame};
use qfs_testkit::hostile_server::{HostileServer, Step};
use qfs_testkit::udp_proxy::UdpProxy;

use crate::support::{Done, Lab, finish, noise, run, slow_link, wait_until};

/// More than half a second on the slow link.
const LARGE: usize = 3 << 20;

/// Fifty times a second.
const PAUSE: Duration = Duration::from_millis(20);

/// Writes to a file, again and again, until it is dropped.
struct Writer {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    fn start(path: PathBuf, mut write: impl FnMut(&mut File) + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let mut file = OpenOptions::new().read(true).append(true).open(path).unwrap();
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                write(&mut file);
                std::thread::sleep(PAUSE);
            }
        });
        Self { stop, thread: Some(thread) }
    }

    /// Appends a line each time.
    fn appending(lab: &Lab, name: &str) -> Self {
        Self::start(published(lab, name), |file| file.write_all(b"one line more\n").unwrap())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

fn published(lab: &Lab, name: &str) -> PathBuf {
    lab.path().join("root").join(name)
}

/// A server that publishes a large file, and a slow link to it.
fn lab() -> (Lab, UdpProxy) {
    let mut lab = Lab::without_server(&[("log", &noise(LARGE))]);
    let trail = lab.path().join("trail");
    let trail = trail.to_str().unwrap().to_owned();
    lab.start_server_with("127.0.0.1", 0, &["--audit-log", &trail, "--log-format", "json"]);
    let proxy = slow_link(lab.server().address());
    (lab, proxy)
}

fn through(lab: &Lab, proxy: &UdpProxy, args: &[&str]) -> Done {
    run(lab.client(args).env("QFS_PORT", proxy.addr().port().to_string()))
}

/// How often a file was asked for.
fn downloads(lab: &Lab) -> usize {
    let asked = || {
        let trail = std::fs::read_to_string(lab.path().join("trail")).unwrap();
        let lines = trail.lines().filter(|line| line.contains(r#""message":"command""#));
        lines.filter(|line| line.contains(r#""command":"download""#)).count()
    };
    // The line of the last one follows its answer.
    wait_until("the end of the connection in the trail", || {
        std::fs::read_to_string(lab.path().join("trail")).unwrap().contains(r#""message":"closed""#)
    });
    asked()
}

/// Asserts that what was saved is the beginning of what is published, at least as long as that was at first.
fn is_prefix(lab: &Lab, place: &str, name: &str) -> Vec<u8> {
    let saved = std::fs::read(lab.home().join(place).join(name)).unwrap();
    let there = std::fs::read(published(lab, name)).unwrap();
    assert!(saved.len() <= there.len() && saved == there[..saved.len()], "{} of {}", saved.len(), there.len());
    saved
}

/// Fails when: growth counts as a change; what comes behind the end is fetched too, or hashed; the file is not said to be live.
#[test]
fn a_file_that_is_appended_to_is_fetched_as_long_as_it_was() {
    let (lab, proxy) = lab();
    let writer = Writer::appending(&lab, "log");
    let done = through(&lab, &proxy, &["get", "--live", "log"]).ends_with(0);
    let saved = is_prefix(&lab, "client_env", "log");
    assert!(saved.len() >= LARGE);
    assert_eq!(done.out, format!("{}  log\n", Digest::of(&saved)));
    assert!(done.err.contains("live: log has grown meanwhile") && done.err.contains("1 live"), "{done:?}");
    assert_eq!(downloads(&lab), 1);

    let args = ["get", "--live", "--json", "log", "--connections=2", "--save-dir", "other"];
    let done = through(&lab, &proxy, &args).ends_with(0);
    let saved = is_prefix(&lab, "other", "log");
    let file = &done.json()["files"][0];
    assert_eq!((&file["status"], file["size"].as_u64()), (&"live".into(), Some(saved.len() as u64)));
    assert_eq!(file["sha256"], Digest::of(&saved).to_string());
    drop(writer);
    // What stands still is not live, and is fetched as ever.
    let done = through(&lab, &proxy, &["get", "--live", "--json", "log", "--save-dir", "third"]).ends_with(0);
    assert_eq!(done.json()["files"][0]["status"], "downloaded");
}

#[test]
fn cat_pours_out_what_was_there() {
    let mut lab = Lab::without_server(&[("log", &b"one line\n".repeat(LARGE / 9))]);
    lab.start_server("127.0.0.1", 0);
    let proxy = slow_link(lab.server().address());
    let _writer = Writer::appending(&lab, "log");
    let done = through(&lab, &proxy, &["cat", "--live", "log"]).ends_with(0);
    let there = std::fs::read(published(&lab, "log")).unwrap();
    assert!(done.out.len() >= LARGE / 9 * 9 && there.starts_with(done.out.as_bytes()));
    through(&lab, &proxy, &["cat", "--live", "--range", "0-5", "log"]).ends_with(2).complains("--live and --range", "");
    let done = through(&lab, &proxy, &["cat", "log"]);
    assert_eq!(done.code, Some(6));
    assert!(done.err.contains("changed while it was being read") && done.err.contains("--live"), "{}", done.err);
}

/// Fails when: the file is fetched again and again in vain; the way out is not named.
#[test]
fn without_live_it_fails_after_two_attempts_and_the_hint_names_it() {
    let (lab, proxy) = lab();
    let _writer = Writer::appending(&lab, "log");
    through(&lab, &proxy, &["get", "log"])
        .ends_with(6)
        .complains("log: the file changed while it was being read", "--live");
    assert_eq!(downloads(&lab), 2);
    assert_eq!(std::fs::read_dir(lab.home().join("client_env")).unwrap().count(), 0);
}

/// Fails when: only the length is looked at in the end, or only its first look.
#[test]
fn a_change_inside_or_a_shorter_file_fails_all_the_same() {
    let (lab, proxy) = lab();
    let get = |place: &str| {
        let done = through(&lab, &proxy, &["get", "--live", "log", "--save-dir", place]).ends_with(6);
        done.complains("log: the file was not only appended to", "nobody writes to it");
        assert_eq!(std::fs::read_dir(lab.home().join(place)).unwrap().count(), 0);
    };
    {
        let path = published(&lab, "log");
        let inside = File::options().write(true).open(&path).unwrap();
        let mut byte = 0u8;
        let _writer = Writer::start(path, move |file| {
            // A handle that appends writes nowhere else.
            byte = byte.wrapping_add(1);
            inside.write_all_at(&[byte], 100).unwrap();
            file.write_all(b"one line more\n").unwrap();
        });
        get("a");
    }
    let _writer = Writer::start(published(&lab, "log"), |file| {
        file.set_len(file.metadata().unwrap().len() - 1).unwrap();
    });
    get("b");
}

/// Fails when: what was received is kept and goes on as another version; nothing is tried again.
#[test]
fn a_connection_that_breaks_begins_it_anew() {
    let (mut lab, proxy) = lab();
    let port = lab.server().address().port();
    let _writer = Writer::appending(&lab, "log");
    let mut command = lab.client(["get", "--live", "--json", "log"]);
    command.env("QFS_PORT", proxy.addr().port().to_string());
    let child = command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let saved = lab.home().join("client_env");
    let has_begun = || {
        let mut entries = std::fs::read_dir(&saved).into_iter().flatten().flatten();
        entries.any(|entry| entry.metadata().is_ok_and(|meta| meta.len() > 0))
    };
    wait_until("a part of it here", has_begun);
    lab.stop_server();
    lab.start_server("127.0.0.1", port);
    let done = finish(child).ends_with(0);
    assert_eq!(done.json()["files"][0]["status"], "live");
    assert_eq!(done.json()["files"][0]["sha256"], Digest::of(&is_prefix(&lab, "client_env", "log")).to_string());
    assert_eq!(std::fs::read_dir(&saved).unwrap().count(), 1);
}

/// A server of before there was `live`: it ignores the field, and the file changes under its hands.
#[test]
fn a_server_that_does_not_know_it_is_named_as_the_reason() {
    let content = noise(1000);
    let head = r#"{"code":0,"size":1000,"modified":"2026-11-23T08:09:24Z","etag":"1","range":{"start":0,"end":1000}}"#;
    let server = HostileServer::start(move |request| {
        let Request::Download(request) = request else { return Vec::new() };
        assert!(request.live);
        let head = frame(head.as_bytes()).unwrap();
        vec![Step::Send(head), Step::Send(content.clone().into()), Step::Reset(5)]
    })
    .unwrap();
    let lab = Lab::without_server(&[]);
    let port = server.address().port().to_string();
    let done = run(lab.bare().args(["get", "--live", "log", "--port", &port])).ends_with(6);
    done.complains("the server does not know --live", "a newer server");
}
