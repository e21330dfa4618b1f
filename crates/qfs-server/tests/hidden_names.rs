//! Names that begin with a dot, on a server that publishes them: they are read, and never written, through any door.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may panic, and makes the files it publishes"
)]

mod support;

use qfs_core::model::Digest;
use qfs_core::wire::{RemoteError, StatusCode, decode_error, frame};
use qfs_server::Gate;
use qfs_server::gate::rights::Rights;
use qfs_store::local::{Hidden, LocalStore};
use support::{Rig, Tree, soon};

/// A server that publishes hidden names of `tree` and lets anybody do everything.
fn start(tree: &Tree) -> Rig {
    let store = LocalStore::open_root(tree.path()).unwrap().hidden(Hidden::Included);
    Rig::serve(store, |config| config.gate = Gate::open(Rights::ALL))
}

fn tree() -> Tree {
    let tree = Tree::new();
    tree.write(".h", b"hidden");
    tree.write(".git/config", b"config");
    tree.write("a", b"a");
    tree
}

/// Everything in `tree`, hidden or not.
fn names(tree: &Tree) -> Vec<String> {
    let mut names: Vec<_> = ["", ".git", "d"]
        .into_iter()
        .filter_map(|directory| std::fs::read_dir(tree.path().join(directory)).ok())
        .flatten()
        .map(|entry| entry.unwrap().path().strip_prefix(tree.path()).unwrap().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn assert_refused(error: &RemoteError, what: &str) {
    assert_eq!((error.code, error.message.as_str()), (StatusCode::DENIED, "hidden names cannot be written"), "{what}");
}

/// Fails when a command of the protocol writes, replaces or removes what has a dot in front, where such names are published.
#[tokio::test]
async fn no_command_changes_a_hidden_name() {
    let tree = tree();
    let rig = start(&tree);
    let before = names(&tree);
    let client = rig.connect().await;
    assert_eq!(client.get(".git/config").await.unwrap().body, b"config");
    for json in [
        r#"{"command":"upload","filename":".x","size":0}"#,
        r#"{"command":"upload","filename":".git/hooks/post-commit","size":0,"overwrite":true,"executable":true}"#,
        r#"{"command":"upload","filename":"d/.x","size":0}"#,
        r#"{"command":"copy","from":"a","filename":".git/a"}"#,
        r#"{"command":"remove","filename":".h"}"#,
        r#"{"command":"remove","filename":".none"}"#,
        r#"{"command":"remove","filename":".git","kind":"directory"}"#,
        r#"{"command":"remove","filename":".l","kind":"link"}"#,
        r#"{"command":"make_directory","filename":".d"}"#,
        r#"{"command":"make_directory","filename":".git/d"}"#,
        r#"{"command":"make_link","filename":".l","target":"a"}"#,
        r#"{"command":"set_metadata","filename":".h","executable":true}"#,
    ] {
        let bytes = frame(json.replace(r#""size":0"#, r#""size":0,"modified":"2026-11-23T08:00:00Z""#).as_bytes());
        assert_refused(&client.refusal(bytes.unwrap()).await, json);
    }
    let record = format!(
        r#"{{"filename":".x","size":3,"modified":"2026-11-23T08:00:00Z","overwrite":true,"sha256":"{}"}}"#,
        Digest::of(b"abc")
    );
    let request = frame(br#"{"command":"upload_many"}"#).unwrap();
    let bytes = [&request[..], &frame(record.as_bytes()).unwrap()[..], b"abc"].concat();
    let mut answer = client.send(bytes).await;
    soon(answer.next_frame()).await.unwrap();
    let error = decode_error(&soon(answer.next_frame()).await.unwrap()).unwrap();
    assert_refused(&error, "upload_many");
    assert_eq!(names(&tree), before);
    assert_eq!(std::fs::read(tree.path().join(".h")).unwrap(), b"hidden");
}

/// Fails when the same is possible over HTTP, or a client is told to show another token.
#[cfg(feature = "http")]
#[tokio::test]
async fn nothing_over_http_changes_a_hidden_name() {
    use support::http::{ask, get, send};

    let tree = tree();
    let rig = start(&tree);
    let before = names(&tree);
    assert_eq!(get(rig.address, "/.git/config", &[]).await.text(), "config");
    for (method, target, lines) in [
        ("PUT", "/.x", &[][..]),
        ("PUT", "/.h", &[]),
        ("PUT", "/.git/hooks/post-commit", &[]),
        ("PUT", "/d/.x", &["Upload-Complete: ?0", "Upload-Length: 9"]),
        ("POST", "/.x", &["Upload-Complete: ?1"]),
        ("DELETE", "/.h", &[]),
        ("DELETE", "/.none", &[]),
        ("DELETE", "/.git/", &[]),
    ] {
        let content: &[u8] = if method == "DELETE" { b"" } else { b"abc" };
        let answer = send(rig.address, method, target, lines, content).await;
        assert_eq!(answer.status, 403, "{method} {target}: {answer:?}");
        assert!(answer.text().contains("hidden names cannot be written"), "{method} {target}: {answer:?}");
    }
    // The page offers nothing there that would be refused.
    let html = ["accept: text/html"];
    assert!(ask(rig.address, "GET", "/", &html, "").await.text().contains("id=\"choose\""));
    assert!(!ask(rig.address, "GET", "/.git/", &html, "").await.text().contains("id=\"choose\""));
    assert_eq!(names(&tree), before);
}
