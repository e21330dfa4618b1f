//! `chunk_map` and `download_ranges`, spoken raw: PROTOCOL §4.8.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may panic, and makes the files it publishes"
)]

mod support;

use qfs_core::body::collect;
use qfs_core::chunks::{ChunkMap, Chunker, Grain};
use qfs_core::model::{ByteRange, Digest, ETag, HashKind, Ranges};
use qfs_core::wire::{
    ChunkMapHead, ChunkMapRequest, DownloadRangesRequest, Request, StatusCode, Trailer, decode_response,
};
use support::{Client, Failed, Rig, Tree, head, noise, soon};

fn map_of(content: &[u8]) -> ChunkMap {
    let mut chunker = Chunker::new(Grain::for_size(content.len() as u64).unwrap());
    chunker.push(content);
    chunker.finish(Digest::of(content)).unwrap()
}

async fn map(client: &Client, name: &str, if_match: Option<ETag>) -> Result<(ChunkMapHead, ChunkMap), StatusCode> {
    let request = ChunkMapRequest { filename: name.into(), if_match, priority: 0 };
    let mut answer = client.send(Request::ChunkMap(request).encode().unwrap()).await;
    let frame = soon(answer.next_frame()).await.unwrap();
    let head = decode_response::<ChunkMapHead>(&frame).unwrap().map_err(|error| error.code)?;
    let mut pieces = Vec::new();
    while !soon(answer.gather(&mut pieces, 1 << 20)).await.unwrap() {}
    let bytes = pieces.concat();
    assert_eq!(bytes.len() as u64, head.length, "nothing follows the map");
    Ok((head, ChunkMap::decode(&bytes).unwrap()))
}

async fn ranges(client: &Client, name: &str, etag: &ETag, parts: &[std::ops::Range<u64>]) -> Result<Vec<u8>, Failed> {
    let ranges = Ranges::new(parts.to_vec()).unwrap();
    let envelope = ranges.envelope();
    let (length, if_match) = (ranges.bytes(), etag.clone());
    let request =
        DownloadRangesRequest { filename: name.into(), if_match, ranges, priority: 0, hash: HashKind::Sha256 };
    let mut answer = client.send(Request::DownloadRanges(request).encode().unwrap()).await;
    let head = head(&mut answer).await?;
    assert_eq!(head.range, ByteRange { start: envelope.start, end: Some(envelope.end) });
    assert!(head.etag == *etag && head.holes.is_empty());
    let mut chunks = answer.into_body(length);
    let body = soon(collect(&mut chunks, |_| ())).await?.concat();
    let trailer = decode_response::<Trailer>(&chunks.into_trailer()?).unwrap().unwrap();
    assert_eq!(trailer.digest, Digest::of(&noise(usize::try_from(head.size).unwrap())));
    Ok(body)
}

/// Fails when: the map is not that of the version, the digest in it is another, or something follows it.
#[tokio::test]
async fn a_map_says_what_a_file_consists_of() {
    let tree = Tree::new();
    let sizes = [0, 1, 262_144, 262_145, 5_000_000];
    for size in sizes {
        tree.write(&format!("{size}"), &noise(size));
    }
    let rig = Rig::start(tree, |_| ());
    let client = rig.connect().await;
    for size in sizes {
        let (head, found) = map(&client, &format!("{size}"), None).await.unwrap();
        assert_eq!((head.size, &found), (size as u64, &map_of(&noise(size))));
        assert_eq!(map(&client, &format!("{size}"), Some(head.etag)).await.unwrap().1, found);
    }
    assert_eq!(map(&client, "1", Some("another".parse().unwrap())).await, Err(StatusCode::CHANGED));
    for missing in ["nope", ".hidden", "../1", "1/", ""] {
        assert_eq!(map(&client, missing, None).await, Err(StatusCode::NOT_FOUND), "{missing}");
    }
}

/// Fails when: a map of an older version is given for a newer one.
#[tokio::test]
async fn another_version_has_another_map() {
    let tree = Tree::new();
    tree.write("x", &noise(2_000_000));
    let rig = Rig::start(tree, |_| ());
    let client = rig.connect().await;
    let (first, _) = map(&client, "x", None).await.unwrap();
    rig.tree.write("x", &noise(2_100_000));
    let (second, found) = map(&client, "x", None).await.unwrap();
    assert_eq!(found, map_of(&noise(2_100_000)));
    assert_ne!(first.etag, second.etag);
}

/// Fails when: a part is sent from the wrong place, twice or not at all, before or after the file was hashed.
#[tokio::test]
async fn ranges_come_one_behind_the_other() {
    let tree = Tree::new();
    let content = noise(3_000_000);
    tree.write("x", &content);
    tree.write("small", &noise(1000));
    let rig = Rig::start(tree, |_| ());
    let client = rig.connect().await;
    let (etag, small) = (client.get("x").await.unwrap().head.etag, client.get("small").await.unwrap().head.etag);
    let many: Vec<_> = (0..1024u64).map(|n| n * 2900..n * 2900 + 1 + n).collect();
    for parts in [vec![0..3_000_000], vec![5..6], vec![100..262_145, 524_287..1_000_000, 2_999_999..3_000_000], many] {
        let expected: Vec<u8> =
            parts.iter().flat_map(|part| &content[part.start as usize..part.end as usize]).copied().collect();
        assert!(ranges(&client, "x", &etag, &parts).await.unwrap() == expected, "{} parts", parts.len());
    }
    assert_eq!(ranges(&client, "small", &small, &[0..2, 998..1000]).await.unwrap().len(), 4);
    let beyond = ranges(&client, "small", &small, &[0..2, 998..1001]).await.unwrap_err();
    assert_eq!(beyond.code(), Some(StatusCode::BAD_RANGE));
    assert_eq!(ranges(&client, "small", &etag, &[0..2]).await.unwrap_err().code(), Some(StatusCode::CHANGED));
    assert_eq!(ranges(&client, "nope", &etag, &[0..2]).await.unwrap_err().code(), Some(StatusCode::NOT_FOUND));
    for wrong in ["[]", "[[3,3]]", "[[0,2],[2,3]]", "[[5,6],[0,1]]"] {
        let json = format!(r#"{{"command":"download_ranges","filename":"x","if_match":"{etag}","ranges":{wrong}}}"#);
        let refused = support::refusal(client.ask(&json).await).await;
        assert_eq!(refused.code, StatusCode::BAD_REQUEST, "{wrong}");
    }
}

/// Fails when: maps or ranges are answered without the right to read.
#[tokio::test]
async fn both_need_the_right_to_read() {
    use qfs_server::gate::rights::Rights;
    let tree = Tree::new();
    tree.write("x", &noise(1000));
    let rig = Rig::start(tree, |config| config.gate = qfs_server::Gate::open("write".parse::<Rights>().unwrap()));
    let client = rig.connect().await;
    assert_eq!(map(&client, "x", None).await, Err(StatusCode::DENIED));
    let refused = ranges(&client, "x", &"v".parse().unwrap(), &[0..1]).await.unwrap_err();
    assert_eq!(refused.code(), Some(StatusCode::DENIED));
}

/// Uploads `body` with these parts of the version named, and the digest of `whole`; returns whether the server took the parts, and its
/// last word.
async fn upload(client: &Client, base: &ETag, parts: &[u8], body: &[u8], whole: &[u8]) -> (bool, StatusCode) {
    use qfs_core::stream::ByteSink as _;
    use qfs_core::wire::{Precondition, UploadHead, UploadRequest, Written, encode};
    let request = UploadRequest {
        filename: "x".into(),
        size: Some(whole.len() as u64),
        condition: Precondition::ANY,
        base: Some(base.clone()),
        ..UploadRequest::default()
    };
    let (mut sink, mut answer) = client.begin(Request::Upload(request).encode().unwrap()).await;
    let frame = soon(answer.next_frame()).await.unwrap();
    let head = match decode_response::<UploadHead>(&frame).unwrap() {
        Ok(head) => head,
        Err(error) => return (false, error.code),
    };
    let mut sent = Vec::new();
    if head.base {
        for block in parts.chunks(3) {
            sent.extend(u32::try_from(block.len()).unwrap().to_be_bytes());
            sent.extend(block);
        }
        sent.extend([0; 4]);
        sent.extend(body);
    } else {
        sent.extend(whole);
    }
    sent.extend(encode(&Trailer::new(Digest::of(whole))).unwrap());
    // It may have answered already.
    let _ = sink.send(sent.into()).await;
    sink.finish();
    let frame = soon(answer.next_frame()).await.unwrap();
    let code = decode_response::<Written>(&frame).unwrap().map_or_else(|error| error.code, |written| written.code);
    (head.base, code)
}

/// Fails when: a part is copied from or to the wrong place, or beyond either file; a version that is not there is copied from; what was
/// put together is not compared with the digest of the whole.
#[tokio::test]
async fn parts_of_an_upload_are_copied_from_what_is_there() {
    use qfs_core::wire::{CopiedPart, Copies};
    use qfs_server::gate::rights::Rights;
    let tree = Tree::new();
    let old = noise(1_000_000);
    tree.write("x", &old);
    let rig = Rig::start(tree, |config| config.gate = qfs_server::Gate::open("read,write".parse::<Rights>().unwrap()));
    let client = rig.connect().await;
    let there = || std::fs::read(rig.tree.path().join("x")).unwrap();
    let part = |at, length, from| CopiedPart { at, length, from };
    let encoded = |parts: &[CopiedPart]| Copies::new(parts.to_vec()).unwrap().encode();
    let parts = encoded(&[part(3, 300_000, 500_001), part(300_003, 7, 0), part(300_020, 262_144, 262_144)]);
    let new = [b"abc", &old[500_001..800_001], &old[..7], b"0123456789", &old[262_144..524_288], b"tail"].concat();
    let body = b"abc0123456789tail";
    let etag = client.get("x").await.unwrap().head.etag;
    for (what, parts, body, code) in [
        ("another body", parts.clone(), &b"xbc0123456789tail"[..], StatusCode::DIGEST_MISMATCH),
        ("another part", encoded(&[part(3, 562_161, 100)]), b"abctail", StatusCode::DIGEST_MISMATCH),
        ("beyond the new", encoded(&[part(562_160, 9, 0)]), b"", StatusCode::BAD_REQUEST),
        ("beyond the old", encoded(&[part(0, 9, 999_992)]), b"", StatusCode::BAD_REQUEST),
        ("no part", vec![0, 0, 0], b"", StatusCode::BAD_REQUEST),
        ("no number", vec![0x80; 3], b"", StatusCode::BAD_REQUEST),
        ("too many", [1, 1, 1].repeat(8193), b"", StatusCode::BAD_REQUEST),
        ("far too many", [1, 1, 1].repeat(90_000), b"", StatusCode::BAD_REQUEST),
    ] {
        assert_eq!(upload(&client, &etag, &parts, body, &new).await, (true, code), "{what}");
        assert!(there() == old, "{what}");
    }
    assert_eq!(upload(&client, &"another".parse().unwrap(), &parts, body, &new).await, (false, StatusCode::OK));
    assert!(there() == new);
    rig.tree.write("x", &old);
    let etag = client.get("x").await.unwrap().head.etag;
    assert_eq!(upload(&client, &etag, &parts, body, &new).await, (true, StatusCode::OK));
    assert!(there() == new);
    // Nothing to copy, and nothing to send.
    let etag = client.get("x").await.unwrap().head.etag;
    assert_eq!(upload(&client, &etag, b"", &old, &old).await, (true, StatusCode::OK));
    let etag = client.get("x").await.unwrap().head.etag;
    assert_eq!(upload(&client, &etag, &encoded(&[part(0, 1_000_000, 0)]), b"", &old).await, (true, StatusCode::OK));
    assert!(there() == old);
}

/// Fails when: who may only write learns what is there.
#[tokio::test]
async fn who_may_not_read_copies_nothing() {
    use qfs_server::gate::rights::Rights;
    let tree = Tree::new();
    tree.write("x", &noise(1000));
    let rig = Rig::start(tree, |config| config.gate = qfs_server::Gate::open("write".parse::<Rights>().unwrap()));
    let client = rig.connect().await;
    let answer = upload(&client, &"v".parse().unwrap(), &[0, 5, 0], b"", b"abcde").await;
    assert_eq!(answer, (false, StatusCode::OK));
}
