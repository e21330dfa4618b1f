//! `qfs-server identity`, the real program: what it prints, makes and refuses, and what a running server announces of it
//! (PROTOCOL §4.4).

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may panic, and damages the files it is about"
)]

mod support;

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Output;

use qfs_core::model::{Fingerprint, Token};
use qfs_core::wire::{IdentityHead, IdentityRequest, Request, StatusCode, decode_response};
use qfs_transport::{ClientTuning, IdentityPem};
use support::program::{Home, Running};
use support::soon;

/// What `qfs-server identity …` prints and says, where it should do what it is told.
fn done(home: &Home, args: &[&str]) -> (String, String) {
    let Output { status, stdout, stderr } = home.command().arg("identity").args(args).output().unwrap();
    let stderr = String::from_utf8(stderr).unwrap();
    assert!(status.success(), "{stderr}");
    (String::from_utf8(stdout).unwrap(), stderr)
}

/// What it says where it should refuse: a line and a hint, exit code 2, nothing on stdout.
fn refused(home: &Home, args: &[&str]) -> String {
    let said = home.refused(&[&["identity"], args].concat());
    assert!(said.starts_with("error: ") && said.contains("\nhint: ") && said.lines().count() == 2, "{said}");
    said
}

fn files(home: &Home) -> Vec<String> {
    let entries = std::fs::read_dir(home.path().join("certs")).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A home with an identity, which a first start has made; its fingerprint.
fn with_identity() -> (Home, String) {
    let home = Home::new();
    let fingerprint = home.start(&[]).value("fingerprint").to_owned();
    (home, fingerprint)
}

// Fails when a verb prints another key than the directory has, or when others can read the next one.
#[test]
fn show_rotate_activate() {
    let (home, first) = with_identity();
    assert_eq!(done(&home, &["show"]), (format!("current {first}\n"), String::new()));
    assert_eq!(done(&home, &["show", "--json"]).0, format!("{{\"current\":\"{first}\",\"next\":null}}\n"));

    let (out, said) = done(&home, &["rotate"]);
    let next = out.strip_prefix(&format!("current {first}\nnext ")).unwrap().trim_end().to_owned();
    assert!(next.parse::<Fingerprint>().is_ok() && next != first, "{out}");
    assert!(said.starts_with("note: ") && said.contains("identity activate") && said.lines().count() == 1, "{said}");
    assert_eq!(files(&home), ["next.crt", "next.key", "server.crt", "server.key"]);
    assert_eq!(std::fs::metadata(home.path().join("certs/next.key")).unwrap().mode() & 0o7777, 0o600);
    assert_eq!(done(&home, &["show"]).0, out);
    assert_eq!(done(&home, &["show", "--json"]).0, format!("{{\"current\":\"{first}\",\"next\":\"{next}\"}}\n"));
    assert_eq!(home.start(&[]).value("fingerprint"), first, "it is not in use yet");

    let (out, said) = done(&home, &["activate", "--certs", "certs", "-q"]);
    assert_eq!((out, said), (format!("current {next}\n"), String::new()));
    assert_eq!(files(&home), ["server.crt", "server.key"]);
    assert_eq!(home.start(&[]).value("fingerprint"), next);
}

// Fails when one that clients may have learnt is thrown away unasked.
#[test]
fn what_is_pending_is_replaced_only_when_asked() {
    let (home, first) = with_identity();
    let next = |out: String| out.lines().nth(1).unwrap().strip_prefix("next ").unwrap().to_owned();
    let pending = next(done(&home, &["rotate"]).0);
    let said = refused(&home, &["rotate"]);
    assert!(said.contains(&format!("pending already: {pending}")) && said.contains("--replace"), "{said}");
    assert!(done(&home, &["show"]).0.contains(&pending));
    let other = next(done(&home, &["rotate", "--replace"]).0);
    assert_ne!(other, pending);
    assert_eq!(done(&home, &["show"]).0, format!("current {first}\nnext {other}\n"));
}

// Fails when a file stays, the current pair is touched, or nothing is said of clients that have learnt it.
#[test]
fn what_is_pending_can_be_withdrawn() {
    let (home, first) = with_identity();
    let said = refused(&home, &["withdraw"]);
    assert!(said.contains("no next key is pending") && said.contains("hint: qfs-server identity show"), "{said}");
    let next = done(&home, &["rotate"]).0.lines().nth(1).unwrap()["next ".len()..].to_owned();
    let (out, said) = done(&home, &["withdraw"]);
    assert_eq!(out, format!("current {first}\nwithdrawn {next}\n"));
    assert!(said.contains("forgets it at its next contact") && said.lines().count() == 1, "{said}");
    assert_eq!(files(&home), ["server.crt", "server.key"]);
    let next = done(&home, &["rotate"]).0.lines().nth(1).unwrap()["next ".len()..].to_owned();
    let (out, said) = done(&home, &["withdraw", "--json", "-q"]);
    assert_eq!(out, format!("{{\"current\":\"{first}\",\"next\":null,\"withdrawn\":\"{next}\"}}\n"));
    assert_eq!(said, "");
    // What was activated is not pending any more, and stays.
    done(&home, &["rotate"]);
    done(&home, &["activate"]);
    refused(&home, &["withdraw"]);
    std::fs::write(home.path().join("certs/next.crt"), "mine").unwrap();
    assert!(refused(&home, &["withdraw"]).contains("cannot be used"));
    assert_eq!(files(&home), ["next.crt", "server.crt", "server.key"]);
}

// Fails when the current pair is touched although the next one is no good.
#[test]
fn what_cannot_be_done_is_refused_and_changes_nothing() {
    let home = Home::new();
    for verb in ["show", "rotate"] {
        assert!(refused(&home, &[verb]).contains("there is none in certs"));
    }
    assert!(!home.path().join("certs").exists());
    let (home, first) = with_identity();
    assert!(refused(&home, &["activate"]).contains("no next key is pending"));
    done(&home, &["rotate"]);
    let key = home.path().join("certs/next.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o640)).unwrap();
    assert!(refused(&home, &["activate"]).contains("can be read by others (mode 0640)"));
    std::fs::write(&key, IdentityPem::generate().unwrap().key).unwrap();
    assert!(refused(&home, &["activate"]).contains("do not belong together"));
    std::fs::remove_file(&key).unwrap();
    assert!(refused(&home, &["activate"]).contains("next.key is missing"));
    assert_eq!(home.start(&[]).value("fingerprint"), first);
    let said = home.refused(&["--cert", "a.pem", "--key", "a.key", "identity", "rotate"]);
    assert!(said.contains("cannot renew a key of your own") && said.contains("\nhint: "), "{said}");
}

// Fails when `activate` does not look for what a crash left of another.
#[test]
fn a_half_done_activation_is_finished_by_another() {
    let (home, _) = with_identity();
    let next = done(&home, &["rotate"]).0.lines().nth(1).unwrap()["next ".len()..].to_owned();
    std::fs::rename(home.path().join("certs/next.crt"), home.path().join("certs/server.crt")).unwrap();
    assert_eq!(done(&home, &["activate"]).0, format!("current {next}\n"));
    assert_eq!(files(&home), ["server.crt", "server.key"]);
}

/// What a server answers to `get_identity`, whole: current and next.
async fn answered(server: &Running, token: Option<&Token>) -> Result<(String, Option<String>), StatusCode> {
    let client = server.connect(&ClientTuning::default()).await;
    let mut answer = client.send(Request::GetIdentity(IdentityRequest {}).encode_with(token).unwrap()).await;
    let head = soon(answer.next_frame()).await.unwrap();
    assert!(soon(answer.next_frame()).await.is_err(), "nothing follows");
    let head = decode_response::<IdentityHead>(&head).unwrap().map_err(|error| error.code)?;
    assert_eq!(Some(head.current), client.connection.peer_fingerprint());
    Ok((head.current.to_string(), head.next.map(|next| next.to_string())))
}

/// Promise: a running server, confined as ever, answers with what is in its directory now, until it has that key itself.
///
/// Fails when: the directory is read at the start only, is not among what the sandbox permits, or only its next certificate is
/// looked at (then nothing is announced between `activate` and the restart).
#[tokio::test]
async fn a_running_server_announces_it_without_a_restart() {
    let (home, first) = with_identity();
    let server = home.start(&["--endpoints", "2"]);
    assert_eq!(answered(&server, None).await, Ok((first.clone(), None)));
    let next = done(&home, &["rotate"]).0.lines().nth(1).unwrap()["next ".len()..].to_owned();
    assert_eq!(answered(&server, None).await, Ok((first.clone(), Some(next.clone()))));
    done(&home, &["activate"]);
    assert_eq!(answered(&server, None).await, Ok((first, Some(next.clone()))));
    let restarted = home.start(&[]);
    assert_eq!(answered(&restarted, None).await, Ok((next, None)));
    std::fs::write(home.path().join("certs/next.crt"), "rubbish").unwrap();
    assert_eq!(answered(&restarted, None).await, Err(StatusCode::INTERNAL), "not the same as none");
}

// Fails when the command goes round the gate, or a key that is not kept in --certs is said to have a successor there.
#[tokio::test]
async fn tokens_and_own_certificates() {
    let (home, first) = with_identity();
    done(&home, &["rotate"]);
    let token = String::from_utf8(home.command().args(["token", "create"]).output().unwrap().stdout).unwrap();
    let server = home.start(&["--auth", "tokens"]);
    assert_eq!(answered(&server, None).await, Err(StatusCode::DENIED));
    let (current, next) = answered(&server, Some(&token.trim_end().parse().unwrap())).await.unwrap();
    assert!(current == first && next.is_some());

    let own = home.start(&["--cert", "certs/server.crt", "--key", "certs/server.key"]);
    assert_eq!(answered(&own, None).await, Ok((first, None)));
}
