//! Clients that are slow, silent, greedy or gone, and a server that ends.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may panic, and makes the files it publishes"
)]

mod support;

use std::time::{Duration, Instant};

use qfs_core::model::{ByteRange, Digest};
use qfs_core::stream::{ByteSink, Lost};
use qfs_core::wire::{DownloadRequest, StatusCode, frame};
use qfs_transport::{ConnectError, Way};
use support::{Failed, Rig, Tree, finish, head, narrow, noise, refusal, soon, way};

const LIST: &[u8] = br#"{"command":"get_files_list"}"#;

fn download(name: &str) -> DownloadRequest {
    DownloadRequest { filename: name.into(), ..DownloadRequest::default() }
}

/// Over TCP a server has no word for it: it hangs up, or has closed the port.
fn assert_refused(error: Option<ConnectError>) {
    let as_it_should = match way() {
        Way::Udp => matches!(error, Some(ConnectError::Turned(StatusCode::BUSY))),
        Way::Tcp => matches!(error, Some(ConnectError::Lost(Lost::Restarted) | ConnectError::Refused)),
    };
    assert!(as_it_should, "{error:?}");
}

#[tokio::test]
async fn a_request_sent_byte_by_byte_is_cut() {
    let rig = Rig::start(Tree::new(), |config| config.deadlines.request_begun = Duration::from_millis(400));
    let client = rig.connect().await;
    client.list().await;
    let request = frame(LIST).unwrap();
    let (mut sink, answer) = client.begin(request.slice(..1)).await;
    let start = Instant::now();
    let trickle = async {
        for i in 1..request.len() - 1 {
            tokio::time::sleep(Duration::from_millis(50)).await;
            if sink.send(request.slice(i..=i)).await.is_err() {
                break;
            }
        }
        std::future::pending::<()>().await;
    };
    let error = tokio::select! {
        error = refusal(answer) => error,
        () = trickle => unreachable!(),
    };
    assert_eq!(error.code, StatusCode::TIMEOUT);
    assert!(start.elapsed() < Duration::from_millis(1200), "bytes that arrive do not extend it");
    client.list().await;
}

#[tokio::test]
async fn a_stream_that_asks_nothing_is_cut() {
    let rig = Rig::start(Tree::new(), |config| config.deadlines.request = Duration::from_millis(200));
    let client = rig.connect().await;
    client.list().await;
    // A server learns of a stream by its first byte.
    let (_open, answer) = client.begin(&[0u8][..]).await;
    assert_eq!(refusal(answer).await.code, StatusCode::TIMEOUT);
}

#[tokio::test]
async fn a_connection_that_asks_nothing_is_closed_and_one_that_asked_may_idle() {
    let rig = Rig::start(Tree::new(), |config| config.deadlines.first_request = Duration::from_millis(600));
    let (silent, heard) = (rig.connect().await, rig.connect().await);
    heard.list().await;
    let (_open, _answer) = silent.begin(&[0u8][..]).await;
    assert_eq!(soon(silent.connection.closed()).await, Lost::Closed(StatusCode::TIMEOUT));
    heard.list().await;
}

#[tokio::test]
async fn a_reader_that_takes_nothing_is_cut_and_a_slow_one_is_not() {
    let tree = Tree::new();
    tree.write("x", &noise(3_000_000));
    let rig = Rig::start(tree, |config| config.deadlines.stall = Duration::from_millis(800));
    let (stalled, slow) = (rig.connect_with(&narrow()).await, rig.connect_with(&narrow()).await);
    let mut abandoned = stalled.request(&download("x")).await;
    let abandoned_head = head(&mut abandoned).await.unwrap();

    let mut answer = slow.request(&download("x")).await;
    let slow_head = head(&mut answer).await.unwrap();
    let mut body = answer.into_body(slow_head.size);
    let start = Instant::now();
    let mut received = 0;
    while let Some(chunk) = soon(std::future::poll_fn(|cx| body.poll_next(cx))).await.unwrap() {
        received += chunk.bytes.len();
        if start.elapsed() < Duration::from_secs(2) {
            // A megabyte a second, in pieces of whatever size the way brings.
            tokio::time::sleep(Duration::from_micros(chunk.bytes.len() as u64)).await;
        }
    }
    assert_eq!(received, 3_000_000);
    assert!(start.elapsed() > Duration::from_secs(2));
    assert_eq!(finish(abandoned, abandoned_head).await.unwrap_err(), Failed::Reset(StatusCode::TIMEOUT));
    stalled.list().await;
}

#[tokio::test]
async fn a_drain_lets_answers_finish_and_refuses_new_ones() {
    let tree = Tree::new();
    let content = noise(3_000_000);
    tree.write("x", &content);
    let mut rig = Rig::start(tree, |_| ());
    let client = rig.connect_with(&narrow()).await;
    let idle = rig.connect().await;
    idle.list().await;
    let mut answer = client.request(&download("x")).await;
    let head = head(&mut answer).await.unwrap();
    rig.stop();
    assert_eq!(soon(idle.connection.closed()).await, Lost::Closed(StatusCode::SHUTTING_DOWN));
    assert_refused(rig.try_connect().await.err());
    // The window is the connection's, so both are read at once.
    let (refused, finished) = tokio::join!(client.refusal(frame(LIST).unwrap()), finish(answer, head));
    assert_eq!(refused.code, StatusCode::SHUTTING_DOWN);
    assert_eq!(finished.unwrap().digest, Digest::of(&content));
    assert_eq!(soon(client.connection.closed()).await, Lost::Closed(StatusCode::SHUTTING_DOWN));
    assert_eq!(rig.ended().await.cut, 0);
}

#[tokio::test]
async fn a_drain_has_an_end() {
    let tree = Tree::new();
    tree.write("x", &noise(3_000_000));
    let mut rig = Rig::start(tree, |config| config.deadlines.drain = Duration::from_millis(300));
    let client = rig.connect_with(&narrow()).await;
    let mut answer = client.request(&download("x")).await;
    head(&mut answer).await.unwrap();
    rig.stop();
    assert_eq!(rig.ended().await.cut, 1);
}

#[tokio::test]
async fn small_answers_just_sent_survive_a_drain() {
    let tree = Tree::new();
    tree.write("x", b"content");
    let mut rig = Rig::start(tree, |_| ());
    let client = rig.connect().await;
    let mut answers = Vec::new();
    for _ in 0..50 {
        answers.push(client.request(&download("x")).await);
    }
    // The last one is answered, so the others were.
    assert!(client.get("x").await.is_ok());
    rig.stop();
    assert_eq!(rig.ended().await.cut, 0);
    for mut answer in answers {
        let head = head(&mut answer).await.unwrap();
        assert_eq!(finish(answer, head).await.unwrap().body, b"content");
    }
}

#[tokio::test]
async fn connections_beyond_the_limit_are_refused() {
    let rig = Rig::start(Tree::new(), |config| config.limits.connections = 1);
    let first = rig.connect().await;
    first.list().await;
    assert_refused(rig.try_connect().await.err());
    first.connection.close(StatusCode::OK);
    let again = async {
        while rig.try_connect().await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    soon(again).await;
}

#[tokio::test]
async fn a_retry_is_survived() {
    let rig = Rig::start(Tree::new(), |config| config.limits.unvalidated_handshakes = 0);
    rig.connect().await.list().await;
}

#[tokio::test]
async fn a_full_server_is_busy_after_a_while() {
    let tree = Tree::new();
    tree.write("x", &noise(3_000_000));
    let rig = Rig::start(tree, |config| {
        config.limits.commands = 1;
        config.deadlines.queue = Duration::from_millis(200);
    });
    let client = rig.connect_with(&narrow()).await;
    let mut answer = client.request(&download("x")).await;
    let head = head(&mut answer).await.unwrap();
    let other = rig.connect().await;
    assert_eq!(other.refusal(frame(LIST).unwrap()).await.code, StatusCode::BUSY);
    finish(answer, head).await.unwrap();
    other.list().await;
}

#[tokio::test]
async fn cancelled_streams_leave_room_for_others() {
    let tree = Tree::new();
    tree.write("x", &noise(3_000_000));
    let rig = Rig::start(tree, |config| config.limits.commands = 4);
    let client = rig.connect_with(&narrow()).await;
    for _ in 0..100 {
        let probe = DownloadRequest { range: Some(ByteRange { start: 0, end: None }), ..download("x") };
        let mut answer = client.request(&probe).await;
        head(&mut answer).await.unwrap();
        answer.stop();
    }
    assert_eq!(client.get("x").await.unwrap().body.len(), 3_000_000);
}
