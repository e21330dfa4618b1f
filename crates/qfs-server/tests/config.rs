//! The configuration file of the real program: where it is, what beats it, what is wrong with it, and what is shown of it.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may panic, and makes the files it publishes"
)]

mod support;

use std::io::{BufRead, BufReader};
use std::process::Command;

use qfs_core::model::Token;
use qfs_core::wire::{DownloadRequest, MakeDirectoryRequest, Request, StatusCode};
use qfs_transport::ClientTuning;
use rustix::process::Signal;
use support::program::{Home, Running};
use support::{finish, head, refusal};

/// The program without the root in its variable, which would beat the file.
fn command(home: &Home) -> Command {
    let mut command = home.command();
    command.env_remove("QFS_ROOT");
    command
}

fn shown(command: &mut Command) -> String {
    let output = command.arg("--print-config").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn line<'a>(shown: &'a str, key: &str) -> &'a str {
    shown.lines().find(|line| line.starts_with(&format!("{key} "))).unwrap_or_else(|| panic!("no {key}: {shown}"))
}

#[test]
fn the_file_is_found_and_used() {
    let home = Home::new();
    home.tree.write("config/server.toml", b"root = \"root\"\ncerts = \"elsewhere\"\n");
    let server = Running::start(&mut command(&home));
    assert!(server.lines.contains(&"serving root".to_owned()), "{:?}", server.lines);
    assert!(home.path().join("elsewhere/server.key").exists());
    drop(server);

    // Named, it is read in place of the usual one, and a flag beats it.
    home.tree.write("other.toml", b"root = \"nowhere\"\n");
    home.tree.write("second/x", b"x");
    let server = Running::start(command(&home).args(["--config", "other.toml", "--root", "second"]));
    assert!(server.lines.contains(&"serving second".to_owned()), "{:?}", server.lines);
    drop(server);
    let output = command(&home).env("QFS_CONFIG", "other.toml").output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot publish nowhere"), "{output:?}");

    // Tokens are made in the directory of the file's identity.
    let output = command(&home).args(["token", "create"]).output().unwrap();
    assert!(output.status.success() && home.path().join("elsewhere/tokens").exists(), "{output:?}");
}

#[test]
fn what_counts_is_shown_with_where_it_came_from() {
    let home = Home::new();
    home.tree.write(
        "config/server.toml",
        b"root = \"root\"\nallow = \"read,write\"\nmtu = 1300\nmax-connections = 5\nhidden = true\n",
    );
    let shown = shown(command(&home).args(["--allow", "read"]).env("QFS_MTU", "1400"));
    assert!(
        line(&shown, "root").contains("\"root\"") && line(&shown, "root").ends_with("config/server.toml:1"),
        "{shown}"
    );
    assert!(line(&shown, "allow").contains("\"read\"") && line(&shown, "allow").ends_with("# flag --allow"), "{shown}");
    assert!(line(&shown, "mtu").contains("1400") && line(&shown, "mtu").ends_with("# variable QFS_MTU"), "{shown}");
    assert!(line(&shown, "max-connections").ends_with("server.toml:4"), "{shown}");
    assert!(line(&shown, "hidden").contains("true") && line(&shown, "hidden").ends_with("server.toml:5"), "{shown}");
    assert!(line(&shown, "tcp").contains("\"on\"") && line(&shown, "tcp").ends_with("# default"), "{shown}");
    assert!(shown.contains("# audit-log is not set"), "{shown}");

    // It can be used as a file that says the same, whatever the variables are.
    home.tree.write("again.toml", shown.as_bytes());
    let again = self::shown(command(&home).args(["--config", "again.toml"]));
    assert!(line(&again, "mtu").contains("1400") && line(&again, "mtu").contains("again.toml:"), "{again}");
}

#[test]
fn a_mistake_in_the_file_starts_nothing_and_is_named() {
    let home = Home::new();
    for (text, what, hint) in [
        (
            "root = 'root'\nmax-conections = 4\n",
            "server.toml:2: unknown key max-conections",
            "did you mean max-connections?",
        ),
        ("hidden = 'yes'\n", "server.toml:1: hidden is a switch, and this is a text", "hidden = true"),
        ("\nport = 70000\n", "server.toml:2: invalid value '70000' for 'port'", "--port"),
        ("allow = 'everything'\n", "server.toml:1: invalid value 'everything' for 'allow'", "--allow"),
        ("root = root\n", "server.toml:1: ", "TOML"),
        ("quiet = true\nverbose = 1\n", "server.toml:2: verbose contradicts quiet in line 1", "one of them"),
    ] {
        home.tree.write("config/server.toml", text.as_bytes());
        let output = command(&home).env_remove("QFS_PORT").output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        let lines: Vec<_> = said.lines().collect();
        assert!(lines[0].starts_with("error: ") && lines[0].contains(what), "{said}");
        assert!(lines[1].starts_with("hint: ") && lines[1].contains(hint) && lines.len() == 2, "{said}");
    }
    let output = command(&home).args(["--config", "missing.toml"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && said.contains("missing.toml: cannot read the configuration"), "{said}");
}

/// Has the server read its configuration anew, and waits until it says `what`.
fn reload(home: &Home, server: &Running, said: &mut impl BufRead, text: &str, what: &str) {
    home.tree.write("config/server.toml", text.as_bytes());
    server.signal(Signal::HUP);
    let mut line = String::new();
    while !line.contains(what) {
        line.clear();
        assert_ne!(said.read_line(&mut line).unwrap(), 0, "it never said: {what}");
    }
}

/// Fails when a server goes on letting everybody in whose configuration asks for tokens now, or one that cannot read them lets anybody
/// in or stops asking.
#[tokio::test]
async fn who_is_let_in_changes_without_a_restart() {
    let home = Home::new();
    home.tree.write("config/server.toml", b"auth = \"open\"\n");
    let mut server = home.start(&[]);
    let mut said = BufReader::new(server.child.stderr.take().unwrap());
    let client = server.connect(&ClientTuning::default()).await;
    let denied =
        async || client.get("hello.txt").await.err().and_then(|error| error.code()) == Some(StatusCode::DENIED);
    assert!(!denied().await);
    home.tree.write("certs/tokens", b"nonsense");
    reload(&home, &server, &mut said, "auth = \"tokens\"\n", "auth stays as it was");
    assert!(!denied().await, "as it was");
    std::fs::remove_file(home.path().join("certs/tokens")).unwrap();
    let made = home.command().args(["token", "create"]).output().unwrap();
    let token: Token = String::from_utf8(made.stdout).unwrap().trim().parse().unwrap();
    reload(&home, &server, &mut said, "auth = \"tokens\"\n", "auth \"open\" -> \"tokens\"");
    assert!(denied().await);
    let request = Request::Download(DownloadRequest { filename: "hello.txt".into(), ..DownloadRequest::default() });
    let mut answer = client.send(request.encode_with(Some(&token)).unwrap()).await;
    let head = head(&mut answer).await.unwrap();
    assert_eq!(finish(answer, head).await.unwrap().body, b"hello");
    reload(&home, &server, &mut said, "auth = \"open\"\n", "auth \"tokens\" -> \"open\"");
    assert!(!denied().await);
}

/// Fails when those without a token may do more for a moment, or for good, because `allow` is in force and `auth` is not.
#[tokio::test]
async fn nobody_may_more_than_before_where_the_tokens_cannot_be_used() {
    let home = Home::new();
    home.tree.write("config/server.toml", b"allow = \"read,write\"\n");
    let mut server = home.start(&[]);
    let mut said = BufReader::new(server.child.stderr.take().unwrap());
    let client = server.connect(&ClientTuning::default()).await;
    let writes = async || {
        let request = Request::MakeDirectory(MakeDirectoryRequest { filename: "made".into(), modified: None });
        refusal(client.send(request.encode().unwrap()).await).await.code != StatusCode::DENIED
    };
    reload(&home, &server, &mut said, "allow = \"read\"\n", "allow \"read,write\" -> \"read\"");
    assert!(!writes().await);
    home.tree.write("certs/tokens", b"nonsense");
    let both = "auth = \"tokens\"\nallow = \"read,write\"\n";
    reload(&home, &server, &mut said, both, "auth stays as it was, and allow with it");
    assert!(!writes().await, "whoever has no token writes");
}

/// Fails when a change that was put off until a restart is later told as if it had been in force.
#[tokio::test]
async fn what_was_put_off_is_not_told_as_changed() {
    let home = Home::new();
    home.tree.write("config/server.toml", b"allow = \"read\"\n");
    let mut server = home.start(&[]);
    let mut said = BufReader::new(server.child.stderr.take().unwrap());
    reload(&home, &server, &mut said, "allow = \"read,write\"\n", "after a restart only: allow");
    reload(&home, &server, &mut said, "allow = \"read\"\n", "nothing has changed");
}
