//! Tokens in raw protocol (PROTOCOL §2.7): who is let in, what is told to strangers, what ends when.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may panic, and makes the files it publishes"
)]

mod support;

use qfs_core::body::Answer;
use qfs_core::model::Token;
use qfs_core::stream::{Lost, StreamError};
use qfs_core::wire::{
    DownloadHead, DownloadManyRequest, DownloadRequest, ListRequest, MeasureRequest, Request, StatusCode, take_record,
};
use qfs_server::Gate;
use qfs_server::gate::tokens::{Issue, Record, Scope, TokenFile};
use qfs_transport::Source;
use support::{Client, Failed, Rig, Tree, finish, head, narrow, noise, refusal, soon};

/// A server with tokens, and their file.
struct Guarded {
    rig: Rig,
    file: TokenFile,
    _place: tempfile::TempDir,
}

impl Guarded {
    /// The tokens are there when the server starts.
    fn start(tree: Tree, issues: impl IntoIterator<Item = Issue>) -> (Self, Vec<(Token, Record)>) {
        let place = tempfile::tempdir().unwrap();
        let file = TokenFile::in_directory(place.path());
        let made = issues.into_iter().map(|issue| file.create(issue).unwrap()).collect();
        let gate = Gate::tokens(file.clone()).unwrap();
        (Self { rig: Rig::start(tree, |config| config.gate = gate), file, _place: place }, made)
    }
}

fn tree() -> Tree {
    let tree = Tree::new();
    tree.write("in/a", b"a");
    tree.write("out", b"o");
    tree
}

fn get(name: &str, token: Option<&Token>) -> bytes::Bytes {
    let request = DownloadRequest { filename: name.into(), ..DownloadRequest::default() };
    Request::Download(request).encode_with(token).unwrap()
}

fn list(token: Option<&Token>) -> bytes::Bytes {
    Request::GetFilesList(ListRequest::default()).encode_with(token).unwrap()
}

async fn download(client: &Client, name: &str, token: Option<&Token>) -> Result<Vec<u8>, Failed> {
    let mut answer = client.send(get(name, token)).await;
    let head = head(&mut answer).await?;
    Ok(finish(answer, head).await?.body)
}

// Fails when the answers to no token, a wrong one, an expired one and one that does not reach differ where they must not.
#[tokio::test]
async fn strangers_are_told_nothing() {
    let scope = Some(Scope::parse(&["in".to_owned()]).unwrap());
    let expires = Some("2020-01-01T00:00:00Z".parse().unwrap());
    let issues = [Issue { scope, ..Issue::default() }, Issue { expires, ..Issue::default() }];
    let (guarded, made) = Guarded::start(tree(), issues);
    let client = guarded.rig.connect().await;
    let (good, expired) = (&made[0].0, &made[1].0);
    assert_eq!(download(&client, "in/a", Some(good)).await.unwrap(), b"a");

    let wrong: Token = "qfs_0".parse().unwrap();
    for token in [None, Some(&wrong), Some(expired)] {
        let measure = Request::Measure(MeasureRequest {}).encode_with(token).unwrap();
        for request in [get("in/a", token), get("gone", token), list(token), measure] {
            let error = client.refusal(request).await;
            assert_eq!((error.code, error.message.as_str()), (StatusCode::DENIED, "a valid token is needed"));
        }
    }
    let error = refusal(client.ask(r#"{"command":"no such command"}"#).await).await;
    assert_eq!(error.code, StatusCode::DENIED, "which commands there are is for those inside");
    let error = refusal(client.ask(r#"{"command":"get_files_list","token":4711}"#).await).await;
    assert_eq!((error.code, error.message.contains("4711")), (StatusCode::BAD_REQUEST, false));

    let (outside, missing) =
        (client.refusal(get("out", Some(good))).await, client.refusal(get("gone", Some(good))).await);
    assert_eq!(outside, missing);
    assert_eq!(outside.code, StatusCode::NOT_FOUND);
}

// Fails when failed attempts are not counted, or those of others are.
#[tokio::test]
async fn who_goes_on_without_a_token_is_turned_out_and_nobody_else() {
    let (guarded, made) = Guarded::start(tree(), [Issue::default()]);
    let (greedy, honest) = (guarded.rig.connect().await, guarded.rig.connect().await);
    let allowed = qfs_server::Limits::default().denials_per_connection;
    for _ in 0..allowed {
        assert_eq!(greedy.refusal(list(None)).await.code, StatusCode::DENIED);
    }
    let _last = greedy.send(list(None)).await;
    assert_eq!(soon(greedy.connection.closed()).await, Lost::Closed(StatusCode::DENIED));
    assert_eq!(download(&honest, "out", Some(&made[0].0)).await.unwrap(), b"o");
}

async fn begin(client: &Client, token: &Token) -> (Answer<Source>, DownloadHead) {
    let mut answer = client.send(get("large", Some(token))).await;
    let head = head(&mut answer).await.unwrap();
    (answer, head)
}

// Fails when a transfer outlives the token that let it begin.
#[tokio::test]
async fn a_transfer_ends_when_its_token_is_revoked() {
    let tree = tree();
    tree.write("large", &noise(8 << 20));
    let (guarded, made) = Guarded::start(tree, [Issue::default(), Issue::default()]);
    // Windows of their own: what one leaves unread must not hold up another.
    let (first, second) = (guarded.rig.connect_with(&narrow()).await, guarded.rig.connect_with(&narrow()).await);
    let client = guarded.rig.connect().await;
    let (doomed, kept) = (begin(&first, &made[0].0).await, begin(&second, &made[1].0).await);
    guarded.file.revoke(std::slice::from_ref(&made[0].1.id)).unwrap();
    // Not read until the server has seen the change: a small window keeps the body from being on its way by then.
    soon(async { while download(&client, "out", Some(&made[0].0)).await.is_ok() {} }).await;
    assert_eq!(finish(doomed.0, doomed.1).await.unwrap_err(), Failed::Reset(StatusCode::DENIED));
    assert_eq!(finish(kept.0, kept.1).await.unwrap().body.len(), 8 << 20);
}

fn many(names: &[&str], token: &Token) -> bytes::Bytes {
    let files = names.iter().map(|name| (*name).to_owned()).collect();
    Request::DownloadMany(DownloadManyRequest { files, ..DownloadManyRequest::default() })
        .encode_with(Some(token))
        .unwrap()
}

// Fails when `download_many` reads past the scope (`View::read_whole`), or a name outside of it is told apart from none.
#[tokio::test]
async fn many_names_are_each_within_the_scope_or_not_there() {
    let scope = Some(Scope::parse(&["in".to_owned()]).unwrap());
    let (guarded, made) = Guarded::start(tree(), [Issue { scope, ..Issue::default() }]);
    let client = guarded.rig.connect().await;
    let mut answer = client.send(many(&["out", "in/a", "gone", "in/../out"], &made[0].0)).await;
    answer.next_frame().await.unwrap();
    let mut pieces = Vec::new();
    while !answer.gather(&mut pieces, 1 << 20).await.unwrap() {}
    let mut bytes = pieces.concat().into();
    let mut next = || take_record(&mut bytes).unwrap().unwrap();
    let outside = next().unwrap_err();
    assert_eq!(outside.code, StatusCode::NOT_FOUND);
    assert_eq!(&next().unwrap().1[..], b"a");
    assert_eq!((next().unwrap_err(), next().unwrap_err()), (outside.clone(), outside));
    assert!(bytes.is_empty());
}

// Fails when an answer to many names outlives the token that let it begin.
#[tokio::test]
async fn an_answer_to_many_ends_when_its_token_is_revoked() {
    let tree = tree();
    tree.write("small", &noise(200 << 10));
    let (guarded, made) = Guarded::start(tree, [Issue::default()]);
    let (slow, client) = (guarded.rig.connect_with(&narrow()).await, guarded.rig.connect().await);
    let mut answer = slow.send(many(&["small"; 40], &made[0].0)).await;
    answer.next_frame().await.unwrap();
    guarded.file.revoke(std::slice::from_ref(&made[0].1.id)).unwrap();
    soon(async { while download(&client, "out", Some(&made[0].0)).await.is_ok() {} }).await;
    let mut pieces = Vec::new();
    let error = loop {
        match answer.gather(&mut pieces, 1 << 20).await {
            Ok(end) => assert!(!end, "the answer came whole"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, StreamError::Reset(StatusCode::DENIED)), "{error}");
}

// A client of before there were tokens, and one with a token for somebody else, at a server that asks for none.
#[tokio::test]
async fn an_open_server_serves_requests_with_and_without_a_token() {
    let rig = Rig::start(tree(), |_| {});
    let client = rig.connect().await;
    assert_eq!(client.get("out").await.unwrap().body, b"o");
    let token: Token = "for-somebody-else".parse().unwrap();
    assert_eq!(download(&client, "out", Some(&token)).await.unwrap(), b"o");
    let (rows, _) = client.list().await;
    assert_eq!(rows.len(), 2);
}
