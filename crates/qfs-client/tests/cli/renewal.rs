//! A planned change of the server's key, both real programs: who goes on without a question, who is refused, and what no answer
//! may do to the record.

use std::process::Command;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use qfs_core::model::Fingerprint;
use qfs_core::wire::{Request, frame};
use qfs_testkit::binaries::{server_bin, without_settings};
use qfs_testkit::certificates::Pem;
use qfs_testkit::hostile_server::{HostileServer, Step};

use crate::support::{Done, Lab, finish, noise, run, slow_link, sums, wait_until};

const FILES: &[(&str, &[u8])] = &[("a", b"first")];

fn other_key() -> String {
    format!("sha256:{}", "0".repeat(64))
}

/// A server on record at a client, and its certs directory.
struct Renewed {
    lab: Lab,
    /// `HOST:PORT`.
    at: String,
    first: String,
}

impl Renewed {
    fn new(files: &[(&str, &[u8])]) -> Self {
        let lab = Lab::new(files);
        let (at, first) = (lab.server().address().to_string(), lab.server().fingerprint().to_owned());
        let renewed = Self { lab, at, first };
        renewed.record("");
        renewed
    }

    /// Makes the first key the one on record, with `more` behind it.
    fn record(&self, more: &str) {
        std::fs::create_dir_all(self.lab.known_servers().parent().unwrap()).unwrap();
        std::fs::write(self.lab.known_servers(), format!("{} {}{more}\n", self.at, self.first)).unwrap();
    }

    fn recorded(&self) -> String {
        std::fs::read_to_string(self.lab.known_servers()).unwrap()
    }

    /// `qfs-server identity …`.
    fn identity(&self, args: &[&str]) -> Done {
        let mut command = Command::new(server_bin());
        without_settings(&mut command).arg("--certs").arg(self.lab.path().join("certs")).arg("identity").args(args);
        run(&mut command).ends_with(0)
    }

    /// Makes a next key; its fingerprint.
    fn rotate(&self) -> String {
        let keys = self.identity(&["rotate", "--json"]).json();
        assert_eq!(keys["current"], self.first.as_str());
        keys["next"].as_str().unwrap().to_owned()
    }

    /// The same, and has the client learn it.
    fn rotate_and_learn(&self) -> String {
        let next = self.rotate();
        self.lab.run(["list"]).ends_with(0);
        assert_eq!(self.recorded(), format!("{} {} next={next}\n", self.at, self.first));
        next
    }

    fn restart(&mut self) {
        let address = self.lab.server().address();
        self.lab.start_server("127.0.0.1", address.port());
    }

    fn notice(&self, next: &str) -> String {
        format!("note: the key of {} is {next} now, as announced by the one it had, {}\n", self.at, self.first)
    }
}

/// Promise: `rotate`, some time, `activate`, restart: nobody who came by meanwhile is asked or refused, and then the old key is
/// no longer believed.
///
/// Fails when: `Renewal::ask` is not called; the handler does not look at the directory; what is announced is withdrawn between
/// `activate` and the restart; `Trust::Renewing` accepts the current key only; the record is not promoted, or goes on allowing
/// the old key.
#[test]
fn a_planned_change_needs_no_hand_work() {
    let mut renewed = Renewed::new(FILES);
    let next = renewed.rotate();
    // Without a restart, and without a word.
    let done = renewed.lab.run(["get", "a"]).ends_with(0);
    assert_eq!((done.out, done.err.lines().count()), (sums(FILES), 1), "{}", done.err);
    let learnt = format!("{} {} next={next}\n", renewed.at, renewed.first);
    assert_eq!(renewed.recorded(), learnt);
    let listed = renewed.lab.run(["trust", "list"]).ends_with(0);
    assert_eq!(listed.out, learnt);
    let json = renewed.lab.run(["trust", "list", "--json"]).ends_with(0).json();
    assert_eq!(json[&renewed.at], renewed.first.as_str());
    assert_eq!(json["next"][&renewed.at], next.as_str());

    let read = |name: &str| std::fs::read_to_string(renewed.lab.path().join("certs").join(name)).unwrap();
    let old = Pem { certificate: read("server.crt"), key: read("server.key") };
    assert_eq!(renewed.identity(&["activate"]).out, format!("current {next}\n"));
    renewed.lab.run(["list"]).ends_with(0);
    assert_eq!(renewed.recorded(), learnt, "forgotten between activation and restart");

    renewed.restart();
    assert_eq!(renewed.lab.server().fingerprint(), next);
    let done = renewed.lab.run(["list", "--json"]).ends_with(0);
    assert_eq!(done.json()["a"]["size"], 5);
    assert!(done.err.starts_with(&renewed.notice(&next)) && done.err.lines().count() == 2, "{done:?}");
    assert_eq!(renewed.recorded(), format!("{} {next}\n", renewed.at));
    assert!(!renewed.lab.run(["list"]).ends_with(0).err.contains("note:"), "it is said once");

    // The old key has had its time.
    renewed.lab.install_identity(&old);
    renewed.restart();
    assert_eq!(renewed.lab.server().fingerprint(), renewed.first);
    renewed.lab.run(["list"]).ends_with(4);
    assert_eq!(renewed.recorded(), format!("{} {next}\n", renewed.at));
}

/// Promise: a next key that is withdrawn is announced no more, and who has learnt it forgets it at the next contact: then it is a
/// changed key as any other.
///
/// Fails when: a running server goes on announcing it; the client takes an answer without `next` for no news; `withdraw` leaves
/// the pair behind.
#[test]
fn a_key_that_is_withdrawn_is_forgotten() {
    let mut renewed = Renewed::new(FILES);
    let next = renewed.rotate_and_learn();
    let read = |name: &str| std::fs::read_to_string(renewed.lab.path().join("certs").join(name)).unwrap();
    let pair = Pem { certificate: read("next.crt"), key: read("next.key") };
    let done = renewed.identity(&["withdraw"]);
    assert_eq!(done.out, format!("current {}\nwithdrawn {next}\n", renewed.first));
    assert!(done.err.contains("forgets it at its next contact"), "{done:?}");
    // Without a restart, and without a word.
    let done = renewed.lab.run(["list"]).ends_with(0);
    assert_eq!(done.err.lines().count(), 1, "{done:?}");
    assert_eq!(renewed.recorded(), format!("{} {}\n", renewed.at, renewed.first));
    renewed.lab.install_identity(&pair);
    renewed.restart();
    assert_eq!(renewed.lab.server().fingerprint(), next);
    renewed.lab.run(["list"]).ends_with(4);
}

#[test]
fn quiet_is_quiet_about_it() {
    let mut renewed = Renewed::new(FILES);
    let next = renewed.rotate_and_learn();
    renewed.identity(&["activate", "-q"]);
    renewed.restart();
    assert_eq!(renewed.lab.run(["-q", "list"]).ends_with(0).err, "");
    assert_eq!(renewed.recorded(), format!("{} {next}\n", renewed.at));
}

/// Fails when: a new key is believed that nobody has announced, as it is when `Trust::Renewing` accepts whatever is presented.
#[test]
fn who_has_not_learnt_it_or_learnt_another_is_refused() {
    let mut renewed = Renewed::new(FILES);
    let next = renewed.rotate();
    renewed.identity(&["activate"]);
    renewed.restart();
    for more in [String::new(), format!(" next={}", other_key())] {
        renewed.record(&more);
        let before = renewed.recorded();
        let done = renewed.lab.run(["list", "--accept-new"]).ends_with(4);
        let hint = format!("qfs-client trust replace {} {next}", renewed.at);
        let done = done.complains(&format!("known {}, presented {next}", renewed.first), &hint);
        assert_eq!((done.out.as_str(), renewed.recorded()), ("", before));
    }
    // By hand, what was announced before means nothing any more.
    renewed.lab.run(["trust", "replace", &renewed.at, &next]).ends_with(0);
    assert_eq!(renewed.recorded(), format!("{} {next}\n", renewed.at));
    renewed.lab.run(["list"]).ends_with(0);
    renewed.lab.run(["trust", "remove", &renewed.at]).ends_with(0);
    assert_eq!(renewed.recorded(), "");
}

/// Fails when: an explicit pin asks, or is followed by the next key, or the record is looked at beside it.
#[test]
fn an_explicit_pin_does_not_follow() {
    let mut renewed = Renewed::new(FILES);
    let next = renewed.rotate();
    let before = renewed.recorded();
    let ticket = renewed.lab.server().ticket().to_owned();
    renewed.lab.run(["list", "--fingerprint", &renewed.first]).ends_with(0);
    run(renewed.lab.bare().args(["list", "--server", &ticket])).ends_with(0);
    assert_eq!(renewed.recorded(), before);
    // Nor is anything recorded of a loopback server that is on no record.
    std::fs::remove_file(renewed.lab.known_servers()).unwrap();
    renewed.lab.run(["list"]).ends_with(0);
    assert!(!renewed.lab.known_servers().exists());

    renewed.record("");
    renewed.lab.run(["list"]).ends_with(0);
    let learnt = renewed.recorded();
    assert!(learnt.contains(&format!("next={next}")), "{learnt}");
    renewed.identity(&["activate"]);
    renewed.restart();
    renewed.lab.run(["list", "--fingerprint", &renewed.first]).ends_with(4);
    run(renewed.lab.bare().args(["list", "--server", &ticket])).ends_with(4);
    renewed.lab.run(["list", "--fingerprint", &next]).ends_with(0);
    assert_eq!(renewed.recorded(), learnt);
}

/// Fails when: an answer without a next key is taken for no answer.
#[test]
fn a_withdrawn_announcement_is_forgotten() {
    let renewed = Renewed::new(FILES);
    renewed.rotate_and_learn();
    for name in ["next.crt", "next.key"] {
        std::fs::remove_file(renewed.lab.path().join("certs").join(name)).unwrap();
    }
    renewed.lab.run(["list"]).ends_with(0);
    assert_eq!(renewed.recorded(), format!("{} {}\n", renewed.at, renewed.first));
}

/// Fails when: a next certificate that cannot be read is announced as none: clients would forget it.
#[test]
fn a_server_that_cannot_tell_changes_nothing() {
    let renewed = Renewed::new(FILES);
    renewed.rotate_and_learn();
    let learnt = renewed.recorded();
    std::fs::write(renewed.lab.path().join("certs/next.crt"), "rubbish").unwrap();
    renewed.lab.run(["list"]).ends_with(0);
    assert_eq!(renewed.recorded(), learnt);
}

/// Fails when: a start does not finish the move of which a crash left the second half.
#[test]
fn a_half_done_activation_is_finished_by_the_next_start() {
    let mut renewed = Renewed::new(FILES);
    let next = renewed.rotate_and_learn();
    let certs = renewed.lab.path().join("certs");
    std::fs::rename(certs.join("next.crt"), certs.join("server.crt")).unwrap();
    renewed.lab.run(["list"]).ends_with(0);
    renewed.restart();
    assert_eq!(renewed.lab.server().fingerprint(), next);
    renewed.lab.run(["list"]).ends_with(0);
    assert_eq!(renewed.recorded(), format!("{} {next}\n", renewed.at));
}

/// Fails when: the record is changed from what was read before the lock was had, or lines of others are lost.
#[test]
fn clients_at_once_write_one_record() {
    let mut renewed = Renewed::new(FILES);
    let next = renewed.rotate();
    let others = format!("# mine\nother.example:1 {}\n", other_key());
    let all = |record: &str| format!("{others}{} {record}\n# the end\n", renewed.at);
    let (before, learnt, promoted) = (all(&renewed.first), all(&format!("{} next={next}", renewed.first)), all(&next));
    let at_once = |lab: &Lab| -> Vec<Done> {
        std::thread::scope(|scope| {
            let runs: Vec<_> = (0..4).map(|_| scope.spawn(|| lab.run(["list"]).ends_with(0))).collect();
            runs.into_iter().map(|run| run.join().unwrap()).collect()
        })
    };
    std::fs::write(renewed.lab.known_servers(), &before).unwrap();
    at_once(&renewed.lab);
    assert_eq!(renewed.recorded(), learnt);
    renewed.identity(&["activate"]);
    renewed.restart();
    let told = at_once(&renewed.lab).iter().filter(|done| done.err.contains("note: the key of")).count();
    assert_eq!((renewed.recorded(), told), (promoted, 1));
}

/// Promise: a change of the key in the middle of a transfer is a loss of the connection, and no more.
///
/// Fails when: a session goes on asking for the key that it began with (`Session::another`).
#[test]
fn a_transfer_under_way_follows_too() {
    let content = noise(10 << 20);
    let mut renewed = Renewed::new(&[("large", &content)]);
    let proxy = slow_link(renewed.lab.server().address());
    let direct = std::mem::replace(&mut renewed.at, proxy.addr().to_string());
    renewed.record("");
    let next = renewed.rotate();
    let mut command = renewed.lab.bare();
    command.env("QFS_PORT", proxy.addr().port().to_string()).args(["get", "large", "--retry-timeout", "30s"]);
    let child = command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let learnt = format!("{} {} next={next}\n", renewed.at, renewed.first);
    wait_until("the next key is on record", || renewed.recorded() == learnt);
    wait_until("a part of the file", || proxy.stats().to_client.forwarded_bytes > 2 << 20);
    renewed.identity(&["activate"]);
    renewed.lab.stop_server();
    let port = direct.rsplit_once(':').unwrap().1.parse().unwrap();
    renewed.lab.start_server("127.0.0.1", port);
    let done = finish(child).ends_with(0);
    assert!(done.err.contains("connecting again") && done.err.contains(&renewed.notice(&next)), "{done:?}");
    assert_eq!(renewed.lab.saved("large"), content);
    assert_eq!(renewed.recorded(), format!("{} {next}\n", renewed.at));
}

/// Fails when: a command that strangers may ask is answered to who shows no token, or a client does not show its own with it.
#[test]
fn with_tokens_it_is_told_to_those_who_have_one() {
    let mut renewed = Renewed::new(FILES);
    let port = renewed.lab.server().address().port();
    renewed.lab.start_server_with("127.0.0.1", port, &["--auth", "tokens"]);
    let next = renewed.rotate();
    renewed.lab.run(["list"]).ends_with(5);
    assert_eq!(renewed.recorded(), format!("{} {}\n", renewed.at, renewed.first));
    let mut create = Command::new(server_bin());
    without_settings(&mut create).arg("--certs").arg(renewed.lab.path().join("certs")).args(["token", "create"]);
    let token = run(&mut create).ends_with(0).out.trim_end().to_owned();
    wait_until("the new token is good", || run(renewed.lab.client(["list"]).env("QFS_TOKEN", &token)).code == Some(0));
    assert_eq!(renewed.recorded(), format!("{} {} next={next}\n", renewed.at, renewed.first));
}

fn raw(json: &str) -> Step {
    Step::Send(frame(json.as_bytes()).unwrap())
}

/// Everything that may come in place of an honest answer from the holder of `own`. None of it may change a record.
fn lies(own: Fingerprint) -> Vec<(&'static str, Vec<Step>)> {
    let (own, next) = (own.to_string(), other_key());
    let said = |text: String| vec![raw(&text), Step::Finish];
    let good = format!(r#"{{"code":0,"current":"{own}","next":"{next}"}}"#);
    vec![
        ("an old server", said(r#"{"code":2,"message":"unknown command"}"#.into())),
        ("denied", said(r#"{"code":8}"#.into())),
        ("its own key", said(format!(r#"{{"code":0,"current":"{own}","next":"{own}"}}"#))),
        ("another key's", said(format!(r#"{{"code":0,"current":"{next}","next":"{own}"}}"#))),
        ("another key's, and none", said(format!(r#"{{"code":0,"current":"{next}"}}"#))),
        ("nobody's", said(format!(r#"{{"code":0,"next":"{next}"}}"#))),
        ("nothing", said("{}".into())),
        ("a short key", said(format!(r#"{{"code":0,"current":"{own}","next":"{}"}}"#, &next[..70]))),
        ("another hash", said(format!(r#"{{"code":0,"current":"{own}","next":"sha512:{}"}}"#, &next[7..]))),
        ("a line end", said(format!(r#"{{"code":0,"current":"{own}","next":"{next}\nevil:1 {own}"}}"#))),
        ("a list", said(format!(r#"{{"code":0,"current":"{own}","next":["{next}"]}}"#))),
        ("a number", said(format!(r#"{{"code":0,"current":"{own}","next":7}}"#))),
        ("a long key", said(format!(r#"{{"code":0,"current":"{own}","next":"sha256:{}"}}"#, "0".repeat(60_000)))),
        ("4 GiB", vec![Step::Send(Bytes::from_static(&[0xff; 4])), Step::Forever(vec![b'x'; 65_536].into())]),
        ("no frame", vec![Step::Send(Bytes::from_static(&[0; 4])), Step::Finish]),
        ("half of it", vec![Step::Send(frame(good.as_bytes()).unwrap().slice(..40)), Step::Finish]),
        ("more behind it", vec![raw(&good), raw(&good), Step::Finish]),
        ("no end", vec![raw(&good), Step::Forever(vec![b'x'; 65_536].into())]),
        ("a reset behind it", vec![raw(&good), Step::Reset(6)]),
        ("a reset", vec![Step::Reset(0)]),
        ("nothing at all", vec![Step::Finish]),
        // Waited for at the end, and given up.
        ("silence", vec![Step::Hang]),
        ("silence behind it", vec![raw(&good), Step::Hang]),
    ]
}

/// Promise: what is no answer as PROTOCOL §4.4 has it changes no record, neither one with a next key nor one without, and nothing
/// about the run.
///
/// Fails when: `IdentityHead::announced` is not asked, the end of the stream is not waited for, or an answer that failed counts
/// as one without a next key.
#[test]
fn a_hostile_answer_changes_nothing() {
    let script: Arc<Mutex<Vec<Step>>> = Arc::default();
    let current = Arc::clone(&script);
    let server = HostileServer::start(move |request| match request {
        Request::GetIdentity(_) => current.lock().unwrap().clone(),
        _ => vec![
            raw(r#"{"code":0}"#),
            raw(r#"{"files":{"a":{"size":5,"modified":"2026-11-23T08:09:24Z"}},"end":{"count":1}}"#),
            Step::Finish,
        ],
    })
    .unwrap();
    let lab = Lab::without_server(&[]);
    std::fs::create_dir(lab.path().join("config")).unwrap();
    let (at, own) = (server.address(), server.fingerprint());
    let list = || {
        let done = run(lab.bare().args(["list", "--port", &at.port().to_string()])).ends_with(0);
        assert!(done.out.ends_with("  a\n") && done.err == "1 file, 5 bytes\n", "{done:?}");
    };
    let announced = format!("sha256:{}", "1".repeat(64));
    for (name, steps) in lies(own) {
        *script.lock().unwrap() = steps;
        for record in [format!("{at} {own}\n"), format!("{at} {own} next={announced}\n")] {
            std::fs::write(lab.known_servers(), &record).unwrap();
            list();
            assert_eq!(std::fs::read_to_string(lab.known_servers()).unwrap(), record, "{name}");
        }
    }
    // The script is what made the difference.
    *script.lock().unwrap() =
        vec![raw(&format!(r#"{{"code":0,"current":"{own}","next":"{}"}}"#, other_key())), Step::Finish];
    list();
    let record = std::fs::read_to_string(lab.known_servers()).unwrap();
    assert_eq!(record, format!("{at} {own} next={}\n", other_key()));
}
