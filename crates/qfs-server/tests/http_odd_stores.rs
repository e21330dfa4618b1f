//! What the HTTP door makes of a store that is slow, and of clients that do not wait for it; and of one that fails for a while.
#![cfg(feature = "http")]
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may panic, and makes the files it publishes"
)]

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use qfs_server::gate::rights::Rights;
use qfs_server::{BLOCKING_THREADS, Gate};
use support::http::{ask, connect, get, send};
use support::odd_store::OddStore;
use support::{Rig, soon};

/// Runs `test` with as many blocking threads as an end point has.
fn run(test: impl Future<Output = ()>) {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().max_blocking_threads(BLOCKING_THREADS).build().unwrap().block_on(test);
}

async fn h2_client(address: SocketAddr) -> h2::client::SendRequest<Bytes> {
    let stream = connect(address, &[b"h2"]).await;
    let (client, connection) = soon(h2::client::handshake(stream)).await.unwrap();
    tokio::spawn(connection);
    soon(client.ready()).await.unwrap()
}

/// Asks for something more often than there are threads, each time until the store waits for it, or cannot be asked; and leaves.
async fn ask_and_leave(store: &OddStore, address: SocketAddr, asked: impl Fn(usize) -> Request<()>) {
    let mut client = h2_client(address).await;
    for index in 0..=BLOCKING_THREADS {
        let waiting = store.waiting();
        let (answer, mut stream) = client.send_request(asked(index), true).unwrap();
        let begun = async {
            while store.waiting() == waiting {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        if index == 0 {
            // Without this nothing would be tried on a machine where all of them come too late.
            soon(begun).await;
        } else {
            let _ = tokio::time::timeout(Duration::from_millis(200), begun).await;
        }
        stream.send_reset(h2::Reason::CANCEL);
        drop(answer);
        client = soon(client.ready()).await.unwrap();
    }
}

/// Fails when a search occupies a thread that opens and reads files, and goes on when nobody waits for it any more.
#[test]
fn searches_that_were_given_up_hold_up_nobody() {
    run(async {
        let store = OddStore::default();
        store.insert("hello.txt", "hello");
        let rig = Rig::serve(store.clone(), |_| {});
        let _opened = store.open_at_last();
        let asked = |index| {
            let request = Request::get(format!("https://localhost/?q={index}"));
            request.header("accept", "text/html").body(()).unwrap()
        };
        ask_and_leave(&store, rig.address, asked).await;
        assert_eq!(get(rig.address, "/hello.txt", &[]).await.text(), "hello");
    });
}

/// Fails when a file is still hashed for somebody who is gone, and no longer counted.
#[test]
fn digests_that_were_given_up_are_counted_until_they_end() {
    run(async {
        let store = OddStore::default();
        store.insert("hello.txt", "hello");
        (0..=BLOCKING_THREADS).for_each(|index| store.insert(&format!("slow{index}"), vec![7; 1 << 20]));
        let rig = Rig::serve(store.clone(), |_| {});
        let _opened = store.open_at_last();
        let asked = |index| {
            let request = Request::head(format!("https://localhost/slow{index}"));
            request.header("want-repr-digest", "sha-256=1").body(()).unwrap()
        };
        ask_and_leave(&store, rig.address, asked).await;
        assert_eq!(get(rig.address, "/hello.txt", &[]).await.text(), "hello");
    });
}

/// Fails when all that has arrived is thrown away because the store was busy as it was to get its name.
#[tokio::test]
async fn an_upload_outlasts_a_commit_that_fails() {
    let store = OddStore::default();
    let rig = Rig::serve(store.clone(), |config| config.gate = Gate::open(Rights::ALL));
    let content = vec![7; 300_000];
    let lines = ["Upload-Complete: ?0", "Upload-Length: 300000"];
    let begun = send(rig.address, "POST", "/a", &lines, b"").await;
    let upload = begun.header("location");
    let append = async |offset: usize, content: &[u8]| {
        let offset = format!("Upload-Offset: {offset}");
        let lines = ["Content-Type: application/partial-upload", &offset, "Upload-Complete: ?1"];
        send(rig.address, "PATCH", upload, &lines, content).await
    };
    store.fail_commits(1);
    let busy = append(0, &content).await;
    let said = (busy.status, busy.header("upload-complete"), busy.header("upload-offset"));
    assert_eq!(said, (503, "?0", "300000"), "{busy:?}");
    let state = ask(rig.address, "HEAD", upload, &[], "").await;
    let said = (state.status, state.header("upload-complete"), state.header("upload-offset"));
    assert_eq!(said, (204, "?0", "300000"), "{state:?}");
    let done = append(content.len(), b"").await;
    assert_eq!((done.status, done.header("upload-complete")), (201, "?1"), "{done:?}");
    assert_eq!(get(rig.address, "/a", &[]).await.body, content);
}
