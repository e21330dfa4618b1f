//! Tokens, both real programs: how one is given, what it reaches, when it ends, and where it must not show.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use qfs_core::model::Fingerprint;
use qfs_testkit::binaries::{server_bin, without_settings};
use qfs_testkit::hostile_server::HostileServer;

use crate::menu::Dialogue;
use crate::support::{Done, Lab, finish, run, wait_until};

const FILES: &[(&str, &[u8])] = &[("in/a.txt", b"a"), ("in/b.bin", b"b"), ("out.txt", b"o"), ("inn", b"i")];

/// A server that asks for tokens.
struct Guarded {
    lab: Lab,
}

impl Guarded {
    fn new() -> Self {
        let mut lab = Lab::without_server(FILES);
        lab.start_server_with("127.0.0.1", 0, &["--auth", "tokens"]);
        Self { lab }
    }

    /// `qfs-server token …`: what it prints.
    fn token(&self, args: &[&str]) -> String {
        let mut command = Command::new(server_bin());
        without_settings(&mut command).arg("--certs").arg(self.lab.path().join("certs")).arg("token").args(args);
        let done = run(&mut command).ends_with(0);
        done.out.trim_end().to_owned()
    }

    /// A new token that the running server knows of.
    fn create(&self, flags: &[&str]) -> String {
        let token = self.token(&[&["create"], flags].concat());
        wait_until("the new token is good", || self.with(&token, &["list"]).code == Some(0));
        token
    }

    fn client(&self, token: &str, args: &[&str]) -> Command {
        let mut command = self.lab.client(args);
        command.env("QFS_TOKEN", token);
        command
    }

    fn with(&self, token: &str, args: &[&str]) -> Done {
        run(&mut self.client(token, args))
    }

    /// A file in the client's directory, for its owner only.
    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.lab.home().join(name);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    fn ticket(&self, token: &str) -> String {
        format!("{}&token={token}", self.lab.server().ticket())
    }
}

fn names(done: &Done) -> Vec<String> {
    done.json().as_object().unwrap().keys().cloned().collect()
}

const WRONG: &str = "qfs_0000000000000000000000000000000000000000000000000000000000000000";

#[test]
fn every_way_to_give_a_token_opens_and_none_or_a_wrong_one_does_not() {
    let guarded = Guarded::new();
    let token = guarded.create(&[]);
    guarded.file("t", &format!("{token}\n"));
    guarded.file("ticket", &format!("{}\n", guarded.ticket(&token)));
    let list = |args: &[&str], variables: &[(&str, &str)]| {
        let mut command = guarded.lab.bare();
        if !args.contains(&"--server-file") && !variables.iter().any(|(name, _)| name.starts_with("QFS_SERVER")) {
            command = guarded.lab.client([""; 0]);
        }
        run(command.args(args).arg("list").envs(variables.iter().copied()))
    };
    let ticket = guarded.ticket(&token);
    for (args, variables) in [
        (&["--token-file", "t"][..], &[][..]),
        (&[], &[("QFS_TOKEN", token.as_str())][..]),
        (&[], &[("QFS_TOKEN_FILE", "t")]),
        (&["--server-file", "ticket"], &[]),
        (&[], &[("QFS_SERVER_FILE", "ticket")]),
        (&[], &[("QFS_SERVER", ticket.as_str())]),
        // The flag beats the variables, the ticket those that are for any server.
        (&["--token-file", "t"], &[("QFS_TOKEN", WRONG)]),
        (&["--server-file", "ticket"], &[("QFS_TOKEN", WRONG)]),
    ] {
        let done = list(args, variables).ends_with(0);
        assert!(done.out.contains("out.txt"), "{args:?} {variables:?}");
    }
    for variables in [&[][..], &[("QFS_TOKEN", "")], &[("QFS_TOKEN", WRONG)]] {
        let done = list(&[], variables).ends_with(5).complains("a valid token is needed", "--token-file");
        assert_eq!(done.out, "", "nothing is told to strangers");
    }
}

// Fails when the scope is left out of any of the ways to a file.
#[test]
fn outside_of_its_scope_a_token_sees_nothing() {
    let guarded = Guarded::new();
    let token = guarded.create(&["--scope", "in"]);
    let listed = guarded.with(&token, &["--json", "list"]).ends_with(0);
    assert_eq!(names(&listed), ["in/a.txt", "in/b.bin"]);
    guarded.with(&token, &["get", "--all"]).ends_with(0);
    assert_eq!(guarded.lab.saved("in/b.bin"), b"b");
    assert!(!guarded.lab.home().join("client_env/out.txt").exists());
    let matched = guarded.with(&token, &["get", "*"]).ends_with(5);
    assert!(matched.err.contains("no file matches"), "{matched:?}");
    let outside = guarded.with(&token, &["-q", "get", "out.txt"]).ends_with(5);
    let missing = guarded.with(&token, &["-q", "get", "gone.txt"]).ends_with(5);
    assert_eq!(outside.err.replace("out.txt", "X"), missing.err.replace("gone.txt", "X"), "not told apart");
    guarded.with(&token, &["get", "inn"]).ends_with(5);

    let tables = guarded.create(&["--scope", "**/*.bin"]);
    let listed = guarded.with(&tables, &["--json", "list"]).ends_with(0);
    assert_eq!(names(&listed), ["in/b.bin"]);
}

// Fails when a connection that exists keeps what its token was good for.
#[test]
fn a_revoked_token_ends_also_on_a_connection_that_exists() {
    let guarded = Guarded::new();
    let token = guarded.create(&[]);
    let id = guarded.token(&["list"]).lines().nth(1).unwrap()[..8].to_owned();
    let mut dialogue = Dialogue::start(guarded.client(&token, &[]));
    dialogue.say("1");
    assert!(dialogue.say("1").contains("out.txt"));
    guarded.token(&["revoke", &id]);
    wait_until("the token is refused", || !dialogue.say("1").contains("out.txt"));
    drop(dialogue);
    guarded.with(&token, &["list"]).ends_with(5);
}

#[test]
fn an_expired_token_is_refused_as_a_wrong_one() {
    let guarded = Guarded::new();
    let token = guarded.token(&["create", "--expires", "2s"]);
    let said = |done: Done| done.ends_with(5).err;
    wait_until("it has expired", || {
        let made = guarded.token(&["list"]);
        made.contains("  expired")
    });
    assert_eq!(said(guarded.with(&token, &["list"])), said(guarded.with(WRONG, &["list"])));
}

// Fails when a closed connection sends the client looking for another, or a file hides behind the first.
#[test]
fn many_names_with_a_wrong_token_are_all_refused_at_once() {
    let guarded = Guarded::new();
    let wanted: Vec<_> = (0..60).map(|n| format!("f{n}")).collect();
    for flags in [&["--json", "get"][..], &["--json", "--parallel", "get"]] {
        let args: Vec<_> = flags.iter().copied().chain(wanted.iter().map(String::as_str)).collect();
        let report = guarded.with(WRONG, &args).ends_with(5).json();
        let files = report["files"].as_array().unwrap();
        assert_eq!(files.len(), wanted.len());
        assert!(files.iter().all(|file| file["error"]["code"] == "denied"), "{report}");
    }
}

#[test]
fn files_that_others_can_read_are_refused() {
    let guarded = Guarded::new();
    let token = guarded.create(&[]);
    let (file, ticket) = (guarded.file("t", &token), guarded.file("ticket", &guarded.ticket(&token)));
    let open = guarded.file("open", guarded.lab.server().ticket());
    for path in [&file, &ticket, &open] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o640)).unwrap();
    }
    for args in [["--token-file", "t", "list"], ["--server-file", "ticket", "list"]] {
        let done = run(guarded.lab.bare().args(args)).ends_with(7).complains("others can read it", "chmod 600");
        assert!(!done.err.contains(&token));
    }
    // A ticket without a token is no secret.
    run(guarded.lab.bare().env("QFS_TOKEN", &token).args(["--server-file", "open", "list"])).ends_with(0);
    run(guarded.lab.bare().args(["--token-file", "gone", "list"])).ends_with(7).complains("cannot use the token", "");
}

#[test]
fn a_ticket_comes_from_standard_input() {
    let guarded = Guarded::new();
    let token = guarded.create(&[]);
    for (said, code) in [(guarded.ticket(&token), 0), ("nonsense".to_owned(), 7)] {
        let mut command = guarded.lab.bare();
        command
            .args(["--server-file", "-", "list"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), format!("{said}\n").as_bytes()).unwrap();
        assert!(!finish(child).ends_with(code).err.contains(&token));
    }
}

/// Fails when standard input is read twice: an upload of it would be empty, and replace what is there.
#[test]
fn standard_input_is_one_thing() {
    let mut lab = Lab::without_server(&[("x", b"what is there")]);
    lab.start_server_with("127.0.0.1", 0, &["--allow", "read,write"]);
    let ticket = lab.server().ticket().to_owned();
    for args in [&["put", "-", "--as", "x", "--overwrite"][..], &[]] {
        for by_variable in [false, true] {
            let mut command = lab.bare();
            let flag: &[&str] = if by_variable { &[] } else { &["--server-file", "-"] };
            command.args(flag).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            if by_variable {
                command.env("QFS_SERVER_FILE", "-");
            }
            let mut child = command.spawn().unwrap();
            // It may be gone before it has read anything.
            let _ = std::io::Write::write_all(&mut child.stdin.take().unwrap(), ticket.as_bytes());
            finish(child).ends_with(2).complains("standard input cannot be both", "--server-file");
        }
    }
    assert_eq!(std::fs::read(lab.path().join("root/x")).unwrap(), b"what is there");
}

#[test]
fn a_token_on_the_command_line_is_refused_and_nothing_quotes_one() {
    let guarded = Guarded::new();
    let token = "sesame-opens";
    let ticket = guarded.ticket(token);
    let bad = format!("{ticket}&x");
    guarded.file("bad", &bad);
    guarded.file("spaced", "sesame-opens sesame-opens");
    for (args, variables) in [
        (&["--server", ticket.as_str(), "list"][..], &[][..]),
        (&["trust", "add", ticket.as_str()], &[]),
        (&["trust", "remove", ticket.as_str()], &[]),
        (&["--server", bad.as_str(), "list"], &[]),
        (&["trust", "add", bad.as_str()], &[]),
        (&["list"], &[("QFS_SERVER", bad.as_str())][..]),
        (&["list"], &[("QFS_TOKEN", "sesame-opens sesame-opens")]),
        (&["--server-file", "bad", "list"], &[]),
        (&["--token-file", "spaced", "list"], &[]),
    ] {
        let done = run(guarded.lab.bare().args(args).envs(variables.iter().copied()));
        assert!(matches!(done.code, Some(2 | 7)), "{done:?}");
        assert!(done.err.starts_with("error: ") && !format!("{done:?}").contains("sesame"), "{done:?}");
    }
    run(guarded.lab.bare().args(["--server", &ticket, "list"])).ends_with(2).complains("command line", "--server-file");
}

// Fails when a derived Debug, a trace of frames or clap's display of variables shows the secret.
#[test]
fn a_token_shows_nowhere() {
    let guarded = Guarded::new();
    let token = guarded.create(&[]);
    let secret = token.strip_prefix("qfs_").unwrap();
    guarded.file("ticket", &guarded.ticket(&token));
    for args in [&["-vvv", "list"][..], &["-vvv", "--json", "get", "out.txt", "nope"], &["--help"], &["list", "--help"]]
    {
        let ticket = guarded.ticket(&token);
        let mut command = guarded.client(&token, args);
        let done = run(command.env("QFS_SERVER", ticket).env("QFS_SERVER_FILE", "ticket"));
        let hex: String = secret.bytes().map(|b| format!("{b:02x}")).collect();
        let shown = format!("{}{}", done.out, done.err);
        assert!(!shown.contains(secret) && !shown.contains(&hex), "{args:?}");
    }
    let mut dialogue = Dialogue::start(guarded.client(&token, &[]));
    dialogue.say("1");
    let line = std::fs::read(format!("/proc/{}/cmdline", dialogue.id())).unwrap();
    assert!(!String::from_utf8_lossy(&line).contains(secret));
    // Nor does the store of known servers take it up.
    assert!(!guarded.lab.known_servers().exists());
}

// Fails when a request, and with it the token, is sent before the key is trusted.
#[test]
fn a_server_whose_key_is_not_trusted_hears_nothing() {
    let lab = Lab::without_server(&[]);
    let heard = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&heard);
    let server = HostileServer::start(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        vec![]
    });
    let server = server.unwrap();
    let address = server.address().to_string();
    let other = Fingerprint::of_public_key(b"another").to_string();
    let ask = |args: &[&str]| run(lab.bare().env("QFS_TOKEN", "sesame").env("QFS_PORT", &address[10..]).args(args));
    ask(&["--fingerprint", &other, "list"]).ends_with(4);
    ask(&["trust", "add", &address, &other]).ends_with(0);
    ask(&["list"]).ends_with(4);
    assert_eq!(heard.load(Ordering::SeqCst), 0);
    ask(&["trust", "remove", &address]).ends_with(0);
    ask(&["list"]);
    // Once, or again where the machine is so busy that the client tries anew.
    assert_ne!(heard.load(Ordering::SeqCst), 0, "the server does hear what is said to it");
}

#[test]
fn an_open_server_takes_a_token_that_it_has_no_use_for() {
    let lab = Lab::new(FILES);
    run(lab.client(["get", "out.txt"]).env("QFS_TOKEN", "sesame")).ends_with(0);
    assert_eq!(lab.saved("out.txt"), b"o");
}
