//! How many requests each step costs, and what becomes of those that fail.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use bytes::Bytes;
use jiff::Timestamp;
use qfs_core::model::{Digest, HashKind, RemotePath};
use qfs_core::store::{
    BLOCK_BYTES, CommitSpec, Condition, Entry, ListQuery, Omission, StageSpec, Store, StoreError, Versions, WriteStore,
};
use qfs_store::bucket::BucketStore;
use qfs_testkit::s3_engine::{Fault, S3Engine};
use tempfile::TempDir;

use super::conformance::open;

pub(crate) struct Lab {
    pub(crate) engine: S3Engine,
    _spool: TempDir,
    pub(crate) store: BucketStore,
}

pub(crate) fn lab() -> Lab {
    let (engine, spool) = (S3Engine::start(), tempfile::tempdir().unwrap());
    let store = open(&engine, "", &spool);
    Lab { engine, _spool: spool, store }
}

pub(crate) fn path(text: &str) -> RemotePath {
    RemotePath::parse(text).unwrap()
}

pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 7u64;
    let next = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

pub(crate) fn replace() -> CommitSpec {
    CommitSpec { modified: Timestamp::UNIX_EPOCH, executable: None, condition: Condition::Any, durable: false }
}

pub(crate) fn absent() -> CommitSpec {
    CommitSpec { condition: Condition::Absent, ..replace() }
}

/// All of an object, read as the pump reads it.
pub(crate) fn read(store: &BucketStore, name: &str) -> Result<Vec<u8>, StoreError> {
    let object = store.object(&path(name))?;
    let (size, mut whole) = (object.meta().size, Vec::new());
    while (whole.len() as u64) < size {
        let at = whole.len() as u64;
        whole.extend_from_slice(&object.read_at(at, BLOCK_BYTES.min(size - at) as usize)?);
    }
    object.ensure_unchanged()?;
    Ok(whole)
}

fn methods(lab: &Lab) -> Vec<String> {
    lab.engine.seen().into_iter().map(|(method, _)| method).collect()
}

#[test]
fn a_small_object_costs_one_request() {
    let lab = lab();
    lab.engine.put("small", b"content");
    let versions = Versions::new(lab.store.clone(), std::sync::Arc::default(), qfs_store::blocking_threads());
    let whole = versions.read_whole(&path("small"), 1 << 18, HashKind::Sha256).unwrap().unwrap();
    assert_eq!((whole.content, whole.digest), (Bytes::from_static(b"content"), Digest::of(b"content")));
    assert_eq!(methods(&lab), ["GET"]);
    // Many are under way at once, each with one.
    (0..100).for_each(|n| lab.engine.put(&format!("many/{n:03}"), b"x"));
    lab.engine.delay(Duration::from_millis(50));
    let names: Vec<_> = (0..100).map(|n| path(&format!("many/{n:03}"))).collect();
    let begun = Instant::now();
    let read = versions.read_all_whole(&names.iter().collect::<Vec<_>>(), 1 << 18, HashKind::Sha256);
    assert!(read.iter().all(|whole| matches!(whole, Ok(Some(whole)) if whole.content == "x")));
    assert_eq!(methods(&lab).len(), 100);
    assert!(begun.elapsed() < Duration::from_millis(100 * 50 / 4), "one after another: {:?}", begun.elapsed());
}

#[test]
fn a_large_object_is_fetched_ahead_in_large_pieces_and_once_for_all_readers() {
    let lab = lab();
    let content = noise(20 << 20);
    lab.engine.put("large", &content);
    lab.engine.delay(Duration::from_millis(300));
    let begun = Instant::now();
    assert!(read(&lab.store, "large").unwrap() == content);
    // 80 blocks one after another would take 24 s.
    assert!(begun.elapsed() < Duration::from_secs(12), "{:?}", begun.elapsed());
    let requests = methods(&lab).len();
    assert!(requests <= 20, "{requests} requests for 20 MiB");
    // What is kept is not asked for again: the first of these is the look, and the object does not fit twice.
    lab.engine.delay(Duration::ZERO);
    lab.engine.put("shared", &content[..8 << 20]);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..8).map(|_| scope.spawn(|| read(&lab.store, "shared").unwrap())).collect();
        readers.into_iter().for_each(|reader| assert!(reader.join().unwrap() == content[..8 << 20]));
    });
    let gets = methods(&lab).iter().filter(|method| *method == "GET").count();
    assert!(gets <= 8, "{gets} requests for 8 MiB and 8 readers");
}

#[test]
fn many_readers_of_different_objects_fetch_nothing_twice() {
    const READERS: usize = 12;
    let lab = lab();
    let content = noise(12 << 20);
    (0..READERS).for_each(|n| lab.engine.put(&format!("{n}"), &content));
    lab.engine.delay(Duration::from_millis(20));
    std::thread::scope(|scope| {
        let (store, content) = (&lab.store, &content);
        for n in 0..READERS {
            scope.spawn(move || assert!(read(store, &format!("{n}")).unwrap() == *content));
        }
    });
    // More than there is memory for, all at once: each a look, and a request for every 2 MiB at least in the long run.
    let gets = methods(&lab).iter().filter(|method| *method == "GET").count();
    assert!(gets <= READERS * 11, "{gets} requests");
}

#[test]
fn listings_come_in_pages_and_attributes_once() {
    let lab = lab();
    (0..2500).for_each(|n| lab.engine.put(&format!("dir/part-{n:04}"), b""));
    let (mut rows, mut seen) = (0, 0);
    let mut visit = |_: RemotePath, _: Entry| {
        rows += 1;
        ControlFlow::Continue(())
    };
    lab.store.list(&ListQuery::default(), &mut visit).unwrap();
    lab.store.list(&ListQuery { directories: true, ..ListQuery::default() }, &mut visit).unwrap();
    assert_eq!(rows, 2500 + 2501);
    // Whoever wants few rows costs few pages.
    lab.engine.seen();
    let mut first = |_: RemotePath, _: Entry| {
        seen += 1;
        ControlFlow::Break(())
    };
    lab.store.list(&ListQuery::default(), &mut first).unwrap();
    let pages = lab.engine.seen().into_iter().filter(|(_, target)| target.contains("list-type")).count();
    assert!(seen == 1 && pages <= 2, "{pages} pages for one row");
}

#[test]
fn attributes_of_settled_objects_are_asked_for_once() {
    let lab = lab();
    (0..50).for_each(|n| lab.engine.put(&format!("f{n}"), b"x"));
    std::thread::sleep(Duration::from_millis(4100));
    let heads = || {
        lab.engine.seen();
        lab.store.list(&ListQuery::default(), &mut |_, _| ControlFlow::Continue(())).unwrap();
        methods(&lab).iter().filter(|method| *method == "HEAD").count()
    };
    assert_eq!((heads(), heads()), (50, 0));
}

/// Fails when: a directory is told from nothing, or an empty one from one that is not, by the first page alone.
#[test]
fn a_page_of_nothing_does_not_end_a_question() {
    let lab = lab();
    let (directory, below) = (path("d"), path("d/e"));
    let file = [Bytes::from_static(b"x")];
    lab.store.put(&below, &file, &absent()).unwrap();
    let begin = |what: &str| lab.engine.fail(what, Fault::EmptyPage);
    begin("list-type");
    assert!(matches!(lab.store.existing(&directory), Err(StoreError::NotRegular)));
    begin("list-type");
    assert!(matches!(lab.store.put(&directory, &file, &absent()), Err(StoreError::NotRegular)));
    begin("max-keys=2");
    assert!(matches!(lab.store.remove_directory(&directory, false), Err(StoreError::NotEmpty)));
    begin("list-type");
    let mut rows = 0;
    let query = ListQuery { prefix: Some(directory.clone()), after: Some(path("d/z")), ..ListQuery::default() };
    let count = &mut |_: RemotePath, _: Entry| {
        rows += 1;
        ControlFlow::Continue(())
    };
    lab.store.list(&query, count).unwrap();
    assert_eq!((rows, lab.engine.unmet()), (0, 0));
    // What is empty is still removed, and what is not there not found.
    lab.store.remove(&below, &Condition::Any, false).unwrap();
    begin("max-keys=2");
    lab.store.remove_directory(&directory, false).unwrap();
    assert_eq!((lab.engine.keys().len(), lab.engine.unmet()), (0, 0));
    begin("list-type");
    assert!(lab.store.existing(&directory).unwrap().is_none());
}

#[test]
fn keys_that_are_no_names_are_left_out_and_told() {
    let lab = lab();
    let odd = ["a//b", "/lead", "x/../y", "./z", "back\\slash", "nul\0", "deep//", &"l".repeat(300)];
    odd.iter().for_each(|key| lab.engine.put(key, b"x"));
    for key in ["fine", "sp ace+plus%25&<\u{1}é", "both", "both/below", ".hidden", "d/"] {
        lab.engine.put(key, b"x");
    }
    let (mut names, mut left_out) = (Vec::new(), Vec::new());
    let visit = &mut |path: RemotePath, _: Entry| {
        names.push(path.as_str().to_owned());
        ControlFlow::Continue(())
    };
    let query = ListQuery { directories: true, ..ListQuery::default() };
    lab.store.list_telling(&query, visit, &mut |name, why| left_out.push((name.to_owned(), why))).unwrap();
    assert_eq!(names, ["both", "d", "fine", "sp ace+plus%25&<\u{1}é"]);
    let unnameable = left_out.iter().filter(|(_, why)| *why == Omission::Unnameable).count();
    // The engine takes a slash at the beginning away, as a client's address cannot say it.
    assert_eq!((unnameable, left_out.len()), (odd.len(), odd.len() + 1), "{left_out:?}");
    assert_eq!(read(&lab.store, "sp ace+plus%25&<\u{1}é").unwrap(), b"x");
}

#[test]
fn what_passes_is_tried_again_and_never_a_wrong_byte() {
    let lab = lab();
    let content = noise(3 << 20);
    lab.engine.put("file", &content);
    for (number, fault) in [
        Fault::Status(500, "InternalError"),
        Fault::Status(503, "SlowDown"),
        Fault::Status(429, ""),
        Fault::Truncated,
        Fault::Cut,
    ]
    .into_iter()
    .enumerate()
    {
        let store = lab.store.clone();
        // A version of its own each time, so that nothing of it is in memory.
        lab.engine.remove("file");
        lab.engine.put("file", &[&content[..], &[number as u8]].concat());
        for what in ["HEAD file", "GET file", "GET file"] {
            lab.engine.fail(what, fault);
        }
        assert!(read(&store, "file").unwrap()[..content.len()] == content[..], "{fault:?}");
        assert_eq!(lab.engine.unmet(), 0, "{fault:?}");
    }
    lab.engine.put("small", b"0123456789");
    lab.engine.fail("GET small", Fault::Truncated);
    assert_eq!(lab.store.open(&path("small"), 100).unwrap().1, "0123456789");
}

/// Fails when: what was empty a moment ago is given out as empty, with the description of what it is now.
#[test]
fn an_object_that_is_filled_between_two_requests_is_not_empty() {
    let lab = lab();
    lab.engine.put("filled", b"12345");
    lab.engine.put("empty", b"");
    lab.engine.fail("GET filled", Fault::Status(416, "InvalidRange"));
    let versions = Versions::new(lab.store.clone(), std::sync::Arc::default(), qfs_store::blocking_threads());
    let (filled, empty) = (path("filled"), path("empty"));
    let read = versions.read_all_whole(&[&filled, &empty], 1 << 18, HashKind::Sha256);
    let read: Vec<_> = read.into_iter().map(|whole| whole.unwrap().unwrap()).collect();
    assert_eq!((&*read[0].content, read[0].digest), (&b"12345"[..], Digest::of(b"12345")));
    assert_eq!((&*read[1].content, read[1].digest), (&b""[..], Digest::of(b"")));
    let kept = versions.digests().recall(&lab.store.object(&filled).unwrap().meta().etag, HashKind::Sha256);
    assert_eq!(kept, Some(Digest::of(b"12345")));
}

#[test]
fn what_stays_is_an_error_that_says_what_it_is() {
    let lab = lab();
    lab.engine.put("file", &noise(1 << 20));
    let object = lab.store.object(&path("file")).unwrap();
    lab.engine.fail("GET file", Fault::Replaced);
    assert!(matches!(object.read_at(0, 1 << 18), Err(StoreError::Changed)), "replaced meanwhile");
    let object = lab.store.object(&path("file")).unwrap();
    lab.engine.remove("file");
    assert!(matches!(object.read_at(0, 1 << 18), Err(StoreError::NotFound)), "removed meanwhile");
    for _ in 0..2 {
        lab.engine.fail("HEAD file", Fault::Status(400, "ExpiredToken"));
    }
    let expired = lab.store.object(&path("file")).err().unwrap();
    // A HEAD has no body: what is wrong shows in the status alone.
    assert!(matches!(expired, StoreError::Io(_)), "{expired}");
    lab.engine.fail("GET ?list", Fault::Status(403, "AccessDenied"));
    let denied = lab.store.list(&ListQuery::default(), &mut |_, _| ControlFlow::Continue(()));
    assert!(matches!(denied, Err(StoreError::Io(_))));
}

#[test]
fn an_upload_in_parts_is_whole_or_not_there() {
    let lab = lab();
    let content = noise((20 << 20) + 5);
    let upload = |name: &str, spec: &CommitSpec| {
        let spool = StageSpec { size: Some(content.len() as u64), etag: "v".parse().unwrap() };
        let stage = lab.store.stage(&path(name), &spool).unwrap();
        stage.write_at(0, &[Bytes::from(content.clone())]).unwrap();
        stage.commit_known(spec, Digest::of(&content))
    };
    let meta = upload("a/large", &absent()).unwrap();
    let stored = lab.engine.object("a/large").unwrap();
    assert!(stored.content == content && meta.size == content.len() as u64);
    let digest = Digest::of(&content).to_string();
    assert!(stored.headers.contains(&("x-amz-meta-qfs-sha256".to_owned(), digest)));
    // Known without reading it: by the store that wrote it, and by one that has only opened it.
    assert_eq!(lab.store.known_digest(&meta.etag, HashKind::Sha256), Some(Digest::of(&content)));
    // Whatever fails on the way is tried again, also where only the answer was lost.
    for (what, fault) in [
        ("PUT b?partNumber=2", Fault::Status(503, "SlowDown")),
        ("PUT b?partNumber=1", Fault::Cut),
        ("POST b?uploadId", Fault::Unanswered),
        ("POST b?uploads", Fault::Status(500, "InternalError")),
    ] {
        lab.engine.fail(what, fault);
        upload("b", &replace()).unwrap_or_else(|e| panic!("{what} {fault:?}: {e}"));
        assert_eq!((lab.engine.unmet(), lab.engine.uploads()), (0, 0), "{what} {fault:?}");
        assert!(lab.engine.object("b").unwrap().content == content);
    }
    // What comes in its way meanwhile wins, and no part is left.
    lab.engine.fail("POST late?uploadId", Fault::Replaced);
    let lost = upload("late", &absent());
    assert!(matches!(lost, Err(StoreError::Exists)), "{lost:?}");
    assert_eq!((lab.engine.object("late").unwrap().content, lab.engine.uploads()), (Bytes::from_static(b"!"), 0));
    lab.engine.fail("PUT c?partNumber=2", Fault::Status(403, "AccessDenied"));
    assert!(upload("c", &absent()).is_err());
    assert_eq!((lab.engine.object("c").is_none(), lab.engine.uploads()), (true, 0));
    // The content is still here, for the next attempt.
    let spool = StageSpec { size: Some(content.len() as u64), etag: "v".parse().unwrap() };
    assert_eq!(lab.store.stage(&path("c"), &spool).unwrap().recorded_frontier(), content.len() as u64);
}

#[test]
fn a_put_whose_answer_was_lost_is_not_refused_by_itself() {
    let lab = lab();
    lab.engine.fail("PUT new", Fault::Unanswered);
    lab.store.put(&path("new"), &[Bytes::from_static(b"x")], &absent()).unwrap();
    lab.engine.fail("PUT theirs", Fault::Cut);
    lab.engine.fail("PUT theirs", Fault::Replaced);
    let refused = lab.store.put(&path("theirs"), &[Bytes::from_static(b"x")], &absent());
    assert!(matches!(refused, Err(StoreError::Exists)), "{refused:?}");
    lab.engine.fail("DELETE new", Fault::Unanswered);
    lab.store.remove(&path("new"), &Condition::Any, false).unwrap();
    assert!(lab.engine.object("new").is_none());
}

/// Fails when: a refused removal passes for one whose answer was lost, or the other way round.
#[test]
fn a_removal_is_done_when_the_object_is_gone_and_not_before() {
    let lab = lab();
    let put = |name: &str| lab.store.put_described(&path(name), &[Bytes::from_static(b"x")], &replace()).unwrap();
    let remove = |name: &str, etag| lab.store.remove(&path(name), &Condition::Matches(etag), false);
    let version = put("theirs").etag;
    lab.engine.fail("DELETE theirs", Fault::Status(503, "SlowDown"));
    lab.engine.fail("DELETE theirs", Fault::Replaced);
    let refused = remove("theirs", version);
    assert!(matches!(refused, Err(StoreError::Conflict)), "{refused:?}");
    assert_eq!((lab.engine.object("theirs").unwrap().content, lab.engine.unmet()), (Bytes::from_static(b"!"), 0));
    let version = put("ours").etag;
    lab.engine.fail("DELETE ours", Fault::Unanswered);
    remove("ours", version).unwrap();
    assert_eq!((lab.engine.object("ours").is_none(), lab.engine.unmet()), (true, 0));
}

#[test]
fn a_copy_does_not_pass_through_here() {
    let lab = lab();
    let digest = Digest::of(b"content");
    let meta = lab.store.put_known(&path("a"), &[Bytes::from_static(b"content")], &absent(), digest).unwrap();
    lab.engine.seen();
    let copied = lab.store.copy_within(&path("a"), &meta.etag, &path("d/b"), &absent()).unwrap().unwrap();
    assert!(methods(&lab).iter().all(|method| method != "GET") || copied.size == 7);
    let found = lab.store.object(&path("d/b")).unwrap();
    assert_eq!(
        (found.meta().etag.clone(), lab.engine.object("d/b").unwrap().content),
        (copied.etag, Bytes::from_static(b"content"))
    );
    let again = lab.store.copy_within(&path("a"), &meta.etag, &path("d/b"), &absent());
    assert!(matches!(again, Err(StoreError::Exists)));
    let stale = lab.store.copy_within(&path("a"), &found.meta().etag, &path("c"), &absent());
    assert!(matches!(stale, Err(StoreError::Changed)));
}
