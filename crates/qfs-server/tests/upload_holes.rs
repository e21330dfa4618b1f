//! Uploads without their holes, spoken raw: PROTOCOL §4.5.5.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may panic, and looks at the files it uploaded"
)]

mod support;

use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use bytes::Bytes;
use qfs_core::body::Answer;
use qfs_core::model::{Digest, Hasher, Holes};
use qfs_core::stream::ByteSink;
use qfs_core::wire::{
    Precondition, Request, StatusCode, Trailer, UploadHead, UploadRequest, Written, decode_response, encode, frame,
};
use qfs_server::Gate;
use qfs_server::gate::rights::Rights;
use qfs_transport::{Sink, Source};
use support::{Client, Rig, Tree, noise, soon};

const MIB: u64 = 1 << 20;

fn rig() -> Rig {
    Rig::start(Tree::new(), |config| config.gate = Gate::open(Rights::ALL))
}

fn wanted(size: u64, holes: &[Range<u64>]) -> UploadRequest {
    UploadRequest {
        filename: "x".into(),
        size: Some(size),
        condition: Precondition::ANY,
        upload: Some("u1".parse().unwrap()),
        holes: Holes::new(holes.to_vec()).unwrap(),
        ..UploadRequest::default()
    }
}

async fn begin(client: &Client, request: UploadRequest) -> (Sink, Answer<Source>, UploadHead) {
    let (sink, mut answer) = client.begin(Request::Upload(request).encode().unwrap()).await;
    let head = decode_response(&soon(answer.next_frame()).await.unwrap()).unwrap().unwrap();
    (sink, answer, head)
}

async fn conclude(mut sink: Sink, mut answer: Answer<Source>, digest: Digest) -> Result<Written, StatusCode> {
    sink.send(encode(&Trailer::new(digest)).unwrap()).await.unwrap();
    sink.finish();
    let payload = soon(answer.next_frame()).await.unwrap();
    decode_response::<Written>(&payload).unwrap().map_err(|error| error.code)
}

/// Fails when: a body without its holes is put together wrongly or is not what is hashed; what is no hole for the file is taken; or zeros
/// take room.
#[tokio::test]
async fn holes_do_not_come_and_are_there() {
    let rig = rig();
    let client = rig.connect().await;
    let data = noise(200_000);
    let size = 300 * MIB;
    let mut hasher = Hasher::new();
    hasher.update(&data[..100_000]);
    hasher.update_zeros(size - 200_000);
    hasher.update(&data[100_000..]);
    let digest = hasher.finish();

    let (mut sink, answer, head) = begin(&client, wanted(size, &[100_000..size - 100_000])).await;
    assert_eq!((head.offset, head.holes), (0, true));
    sink.send(Bytes::from(data.clone())).await.unwrap();
    let written = conclude(sink, answer, digest).await.unwrap();
    assert_eq!((written.size, written.digest), (size, Some(digest)));
    let meta = std::fs::metadata(rig.tree.path().join("x")).unwrap();
    assert!(meta.len() == size && meta.blocks() * 512 < 2 * MIB, "{} bytes allocated", meta.blocks() * 512);
    let mut content = Hasher::new();
    content.update(&std::fs::read(rig.tree.path().join("x")).unwrap());
    assert_eq!(content.finish(), digest);

    // Not the content that was promised.
    let (mut sink, answer, _) = begin(&client, wanted(size, &[100_000..size - 100_000])).await;
    sink.send(Bytes::from(noise(200_001)).slice(1..)).await.unwrap();
    assert_eq!(conclude(sink, answer, digest).await.unwrap_err(), StatusCode::DIGEST_MISMATCH);

    // Nothing but a hole, and nothing at all.
    for (size, holes) in [(MIB, vec![0..MIB]), (0, vec![])] {
        let mut hasher = Hasher::new();
        hasher.update_zeros(size);
        let (sink, answer, head) = begin(&client, wanted(size, &holes)).await;
        assert_eq!(head.holes, !holes.is_empty());
        assert_eq!(conclude(sink, answer, hasher.finish()).await.unwrap().size, size);
    }
}

/// Fails when: an upload with holes is not continued from what is there, or by a body that does not begin there.
#[tokio::test]
async fn an_upload_with_holes_is_continued() {
    let rig = rig();
    let client = rig.connect().await;
    let (size, hole) = (64 * MIB, 20 * MIB..40 * MIB);
    let mut content = noise(usize::try_from(size).unwrap());
    content[20 << 20..40 << 20].fill(0);
    let (mut sink, answer, _) = begin(&client, wanted(size, std::slice::from_ref(&hole))).await;
    // All in front of the hole and some behind it.
    sink.send(Bytes::copy_from_slice(&content[..20 << 20])).await.unwrap();
    sink.send(Bytes::copy_from_slice(&content[40 << 20..56 << 20])).await.unwrap();
    sink.reset(StatusCode::CANCELLED);
    drop(answer);
    let mut tries = 0;
    loop {
        let (mut sink, answer, head) = begin(&client, wanted(size, std::slice::from_ref(&hole))).await;
        let offset = usize::try_from(head.offset).unwrap();
        if offset == 0 {
            // The server notices the end of the first attempt in its own time.
            tries += 1;
            assert!(tries < 1000, "it never goes on");
            sink.reset(StatusCode::CANCELLED);
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        }
        for part in Holes::new(vec![hole.clone()]).unwrap().data(&(head.offset..size)) {
            let part = usize::try_from(part.start).unwrap()..usize::try_from(part.end).unwrap();
            sink.send(Bytes::copy_from_slice(&content[part])).await.unwrap();
        }
        conclude(sink, answer, Digest::of(&content)).await.unwrap();
        break;
    }
    assert!(std::fs::read(rig.tree.path().join("x")).unwrap() == content);
}

/// Fails when: holes that the file cannot have are taken, leave something behind, or cost the connection.
#[tokio::test]
async fn holes_that_cannot_be_are_refused() {
    let rig = rig();
    let client = rig.connect().await;
    let many = |count: u64| (0..count).map(|n| 2 * n..2 * n + 1).collect::<Vec<_>>();
    let mut cases = vec![wanted(99, &[50..100]), wanted(u64::MAX, &many(513))];
    cases.push(UploadRequest { size: None, ..wanted(0, &[0..1]) });
    for request in cases {
        let refused = client.refusal(Request::Upload(request).encode().unwrap()).await;
        assert_eq!(refused.code, StatusCode::BAD_REQUEST);
    }
    for holes in ["[[5,5]]", "[[9,3]]", "[[0,9],[5,20]]", "[[20,30],[0,9]]", "[[0,-1]]", "true"] {
        let json = format!(r#"{{"command":"upload","filename":"x","size":99,"overwrite":true,"holes":{holes}}}"#);
        assert_eq!(client.refusal(frame(json.as_bytes()).unwrap()).await.code, StatusCode::BAD_REQUEST, "{holes}");
    }
    assert_eq!(std::fs::read_dir(rig.tree.path()).unwrap().count(), 0);
    assert_eq!(client.list().await.0, []);
}

/// Fails when: the server goes on hashing zeros for a client that has left, which takes it many minutes, or keeps others waiting meanwhile.
#[tokio::test]
async fn nobody_has_zeros_hashed_for_nothing() {
    let rig = rig();
    let client = rig.connect().await;
    let size = 1 << 42;
    let holes = [0..size];
    let (mut sink, answer, head) = begin(&client, wanted(size, &holes)).await;
    assert!(head.holes);
    sink.send(encode(&Trailer::new(Digest::of(b"whatever"))).unwrap()).await.unwrap();
    sink.finish();
    // Another one is served meanwhile, holes and all.
    let (sink, second, _) = begin(&client, UploadRequest { filename: "y".into(), ..wanted(MIB, &[0..MIB]) }).await;
    let mut hasher = Hasher::new();
    hasher.update_zeros(MIB);
    conclude(sink, second, hasher.finish()).await.unwrap();
    answer.stop();
    // Whoever holds the partial file has it for itself: it is had again once the first one has ended.
    soon(async {
        loop {
            let (mut sink, again, head) = begin(&client, wanted(size, &holes)).await;
            sink.reset(StatusCode::CANCELLED);
            again.stop();
            if head.offset > 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}
