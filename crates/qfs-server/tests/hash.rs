//! Digests of the kind that the client chose (PROTOCOL §2.3), spoken raw.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may panic, and makes the files it publishes"
)]

mod support;

use bytes::Bytes;
use qfs_core::body::Answer;
use qfs_core::model::{ByteRange, Digest, HashKind, RemotePath};
use qfs_core::stream::ByteSink;
use qfs_core::wire::{
    DownloadRequest, ListPage, ManyHead, Precondition, Request, StatusCode, Trailer, UploadHead, UploadManyRequest,
    UploadRecord, UploadRequest, Written, decode_response, encode, take_record,
};
use qfs_server::Gate;
use qfs_server::gate::rights::Rights;
use qfs_transport::Source;
use support::{Client, Rig, Tree, noise, soon};

fn wanted(name: &str, kind: HashKind) -> DownloadRequest {
    DownloadRequest { filename: name.into(), hash: kind, ..DownloadRequest::default() }
}

/// Fails when: a digest is of the other kind, or of a part; one kind is recalled as the other; the head does not say the kind.
#[tokio::test]
async fn digests_are_of_the_kind_that_was_asked_for() {
    let tree = Tree::new();
    let sizes = [0, 1, 1024, 1025, 262_143, 262_144, 262_145, 3_000_000];
    sizes.iter().for_each(|size| drop(tree.write(&size.to_string(), &noise(*size))));
    let rig = Rig::start(tree, |_| ());
    let client = rig.connect().await;
    for size in sizes {
        let (name, content) = (size.to_string(), noise(size));
        // Both kinds are made and recalled independently of each other.
        for kind in [HashKind::Blake3, HashKind::Sha256, HashKind::Blake3, HashKind::Sha256] {
            let got = client.download(&wanted(&name, kind)).await.unwrap();
            assert_eq!((got.head.hash, got.body == content), (kind, true), "{size} {kind}");
            assert_eq!(got.digest, Digest::of_kind(kind, &content), "{size} {kind}");
            assert!(got.head.digest.is_none_or(|known| known == got.digest));
            let range = Some(ByteRange { start: size as u64 / 2, end: None });
            let part = client.download(&DownloadRequest { range, ..wanted(&name, kind) }).await.unwrap();
            assert_eq!((part.digest, part.head.digest), (got.digest, Some(got.digest)), "{size} {kind}");
            let live = client.download(&DownloadRequest { live: true, ..wanted(&name, kind) }).await.unwrap();
            assert_eq!((live.head.live, live.digest), (true, got.digest), "{size} {kind}");
        }
    }
}

// A part in the middle comes first, so that what is hashed comes out of order.
#[tokio::test]
async fn stripes_end_with_the_digest_of_the_whole() {
    let tree = Tree::new();
    let content = noise(5_000_000);
    tree.write("x", &content);
    let rig = Rig::start(tree, |_| ());
    let client = rig.connect().await;
    let stripe = |start, end| DownloadRequest {
        range: Some(ByteRange { start, end: Some(end) }),
        ..wanted("x", HashKind::Blake3)
    };
    let (middle, last, first) = (stripe(1_500_001, 3_000_000), stripe(3_000_000, 5_000_000), stripe(0, 1_500_001));
    let (middle, last, first) = tokio::join!(client.download(&middle), client.download(&last), client.download(&first));
    let (first, middle, last) = (first.unwrap(), middle.unwrap(), last.unwrap());
    assert!([first.body, middle.body, last.body].concat() == content);
    for digest in [first.digest, middle.digest, last.digest] {
        assert_eq!(digest, Digest::of_kind(HashKind::Blake3, &content));
    }
}

/// Fails when an answer to a client that says nothing, or something that is not known, is another one than it ever was.
#[tokio::test]
async fn who_asks_for_nothing_known_is_answered_with_sha256() {
    let tree = Tree::new();
    tree.write("a", b"abc");
    let rig = Rig::start(tree, |_| ());
    let client = rig.connect().await;
    let sha256 = Digest::of(b"abc");
    for hash in ["", r#","hash":null"#, r#","hash":"sha256""#, r#","hash":"md9""#] {
        let mut answer = client.ask(&format!(r#"{{"command":"download","filename":"a"{hash}}}"#)).await;
        let head = soon(answer.next_frame()).await.unwrap();
        assert!(!head.windows(6).any(|bytes| bytes == b"\"hash\""), "{hash}");
        answer.next_bytes(3).await.unwrap();
        let trailer = soon(answer.next_frame()).await.unwrap();
        assert_eq!(trailer, format!(r#"{{"code":0,"sha256":"{sha256}"}}"#), "{hash}");
        let many = client.whole(&format!(r#"{{"command":"download_many","files":["a"]{hash}}}"#)).await;
        let (record, _) = take_record(&mut many.clone()).unwrap().unwrap().unwrap();
        assert_eq!(record.digest, sha256, "{hash}");
        client.whole(&format!(r#"{{"command":"get_files_list"{hash}}}"#)).await;
    }
    let refused = client.refusal(qfs_core::wire::frame(br#"{"command":"download","filename":"a","hash":7}"#).unwrap());
    assert_eq!(refused.await.code, StatusCode::BAD_REQUEST);
}

async fn listed(client: &Client, name: &str) -> Option<Digest> {
    let mut answer = client.ask(r#"{"command":"get_files_list","hash":"blake3"}"#).await;
    assert_eq!(soon(answer.next_frame()).await.unwrap(), r#"{"code":0,"hash":"blake3"}"#);
    let page = <ListPage>::decode(&soon(answer.next_frame()).await.unwrap(), None).unwrap();
    let name = RemotePath::parse(name).unwrap();
    page.files.into_iter().find(|(listed, _)| *listed == name).unwrap().1.digest
}

#[tokio::test]
async fn a_listing_and_a_batch_have_the_kind_too() {
    let tree = Tree::new();
    tree.write("d/a", b"abc");
    tree.write("d/b", &noise(9000));
    let rig = Rig::start(tree, |_| ());
    let client = rig.connect().await;
    assert_eq!(listed(&client, "d/a").await, None);
    let mut answer = client.ask(r#"{"command":"download_many","files":["d/a","d/b"],"hash":"blake3"}"#).await;
    assert_eq!(soon(answer.next_frame()).await.unwrap(), r#"{"code":0,"hash":"blake3"}"#);
    let mut pieces = Vec::new();
    while !answer.gather(&mut pieces, 1 << 20).await.unwrap() {}
    let mut bytes = Bytes::from(pieces.concat());
    for content in [b"abc".to_vec(), noise(9000)] {
        let (record, body) = take_record(&mut bytes).unwrap().unwrap().unwrap();
        assert_eq!((record.digest, &body[..]), (Digest::of_kind(HashKind::Blake3, &content), &content[..]));
    }
    // What is fresh may not be remembered.
    let known = listed(&client, "d/a").await;
    assert!(known.is_none_or(|known| known == Digest::of_kind(HashKind::Blake3, b"abc")));
}

fn writable() -> Rig {
    Rig::start(Tree::new(), |config| config.gate = Gate::open(Rights::ALL))
}

async fn written(answer: &mut Answer<Source>) -> Result<Written, StatusCode> {
    let payload = soon(answer.next_frame()).await.unwrap();
    decode_response::<Written>(&payload).unwrap().map_err(|error| error.code)
}

/// Fails when the server believes a digest of the other kind, answers with it, or forgets what it has verified.
#[tokio::test]
async fn an_upload_is_verified_by_the_kind_that_was_agreed_on() {
    let rig = writable();
    let client = rig.connect().await;
    let content = noise(2_000_000);
    let blake3 = Digest::of_kind(HashKind::Blake3, &content);
    for (name, size, digest, outcome) in [
        ("whole", Some(2_000_000), blake3, Ok(())),
        ("blocks", None, blake3, Ok(())),
        ("wrong", Some(2_000_000), Digest::of_kind(HashKind::Blake3, b""), Err(StatusCode::DIGEST_MISMATCH)),
        ("other", Some(2_000_000), Digest::of(&content), Err(StatusCode::DIGEST_MISMATCH)),
    ] {
        let request = UploadRequest { filename: name.into(), size, hash: HashKind::Blake3, ..UploadRequest::default() };
        let (mut sink, mut answer) = client.begin(Request::Upload(request).encode().unwrap()).await;
        let head: UploadHead = decode_response(&soon(answer.next_frame()).await.unwrap()).unwrap().unwrap();
        assert_eq!((head.hash, head.offset), (HashKind::Blake3, 0));
        match size {
            Some(_) => sink.send(content.clone().into()).await.unwrap(),
            None => {
                for block in content.chunks(60_000) {
                    sink.send(Bytes::copy_from_slice(&(block.len() as u32).to_be_bytes())).await.unwrap();
                    sink.send(Bytes::copy_from_slice(block)).await.unwrap();
                }
                sink.send(Bytes::from_static(&[0; 4])).await.unwrap();
            }
        }
        sink.send(encode(&Trailer::new(digest)).unwrap()).await.unwrap();
        sink.finish();
        let ended = written(&mut answer).await;
        assert_eq!(ended.as_ref().map(|_| ()).map_err(|code| *code), outcome, "{name}");
        if let Ok(written) = ended {
            assert_eq!(written.digest, Some(blake3));
            let got = client.download(&wanted(name, HashKind::Blake3)).await.unwrap();
            assert!(got.digest == blake3 && got.body == content, "{name}");
        }
    }
}

#[tokio::test]
async fn a_copy_is_described_by_the_kind_that_was_asked_for() {
    let rig = writable();
    rig.tree.write("a", &noise(700_000));
    let client = rig.connect().await;
    for (to, hash, kind) in [("b", "", HashKind::Sha256), ("c", r#","hash":"blake3""#, HashKind::Blake3)] {
        let mut answer = client.ask(&format!(r#"{{"command":"copy","from":"a","filename":"{to}"{hash}}}"#)).await;
        let written = written(&mut answer).await.unwrap();
        assert_eq!(written.digest, Some(Digest::of_kind(kind, &noise(700_000))));
        assert_eq!(client.download(&wanted(to, kind)).await.unwrap().digest, written.digest.unwrap());
    }
}

#[tokio::test]
async fn records_of_either_kind_are_verified() {
    let rig = writable();
    let client = rig.connect().await;
    let request = Request::UploadMany(UploadManyRequest { hash: HashKind::Blake3, ..UploadManyRequest::default() });
    let (mut sink, mut answer) = client.begin(request.encode().unwrap()).await;
    let head: ManyHead = decode_response(&soon(answer.next_frame()).await.unwrap()).unwrap().unwrap();
    assert_eq!(head.hash, HashKind::Blake3);
    let of = |kind| Digest::of_kind(kind, b"abc");
    let files = [
        ("a", of(HashKind::Blake3), true),
        ("b", of(HashKind::Sha256), true),
        ("c", Digest::new(HashKind::Blake3, *of(HashKind::Sha256).as_bytes()), false),
    ];
    for (name, digest, _) in files {
        let record = UploadRecord {
            filename: name.into(),
            size: 3,
            modified: jiff::Timestamp::UNIX_EPOCH,
            executable: None,
            condition: Precondition::ABSENT,
            digest,
        };
        sink.send(encode(&record).unwrap()).await.unwrap();
        sink.send(Bytes::from_static(b"abc")).await.unwrap();
    }
    sink.finish();
    for (name, digest, is_right) in files {
        match written(&mut answer).await {
            Ok(written) => assert!(is_right && written.digest == Some(digest), "{name}"),
            Err(code) => assert!(!is_right && code == StatusCode::DIGEST_MISMATCH, "{name}: {code}"),
        }
    }
    let got = client.download(&wanted("a", HashKind::Blake3)).await.unwrap();
    assert!(got.head.digest.is_none_or(|known| known == of(HashKind::Blake3)));
}
