//! What a version of an object is: another one whenever anything about it is, and the same whoever tells it.

use std::ops::ControlFlow;

use bytes::Bytes;
use jiff::Timestamp;
use qfs_core::model::RemotePath;
use qfs_core::store::{CommitSpec, Condition, Entry, ListQuery, StageSpec, Store, StoreError, WriteStore};
use qfs_testkit::s3_engine::{Fault, S3Engine};

use super::conformance::open_with;
use super::requests::{absent, lab, noise, path, read, replace};

/// Fails when: content that another program wrote under the metadata of qfs passes for what qfs wrote.
#[test]
fn other_content_is_another_version_whatever_stands_beside_it() {
    let lab = lab();
    let (name, old, new) = (path("a"), noise(1 << 20), vec![7; 1 << 20]);
    let version = lab.store.put_described(&name, &[Bytes::from(old.clone())], &absent()).unwrap().etag;
    assert!(read(&lab.store, "a").unwrap() == old);
    lab.engine.refill("a", &new);
    assert_ne!(lab.store.object(&name).unwrap().meta().etag, version);
    assert!(read(&lab.store, "a").unwrap() == new, "blocks of the old version are none of the new one");
    let matches = CommitSpec { condition: Condition::Matches(version.clone()), ..replace() };
    let replaced = lab.store.put(&name, &[Bytes::from_static(b"x")], &matches);
    assert!(matches!(replaced, Err(StoreError::Conflict)), "{replaced:?}");
    let removed = lab.store.remove(&name, &matches.condition, false);
    assert!(matches!(removed, Err(StoreError::Conflict)), "{removed:?}");
    assert!(lab.engine.object("a").unwrap().content == new);
}

/// Fails when: the version that a change answers with is not the one that an opening and a listing tell, in some way of writing.
#[test]
fn what_is_written_has_one_version_whoever_tells_it() {
    let lab = lab();
    let content = noise((17 << 20) + 5);
    let told = |name: &str| {
        let mut listed = Vec::new();
        let visit = &mut |found: RemotePath, entry: Entry| {
            if let Entry::File(meta) = entry
                && found.as_str() == name
            {
                listed.push(meta.etag);
            }
            ControlFlow::Continue(())
        };
        lab.store.list(&ListQuery::default(), visit).unwrap();
        let opened = lab.store.object(&path(name)).unwrap().meta().etag.clone();
        assert_eq!(listed, std::slice::from_ref(&opened), "{name}");
        opened
    };
    let spec = StageSpec { size: Some(content.len() as u64), etag: "v".parse().unwrap() };
    let stage = lab.store.stage(&path("parts"), &spec).unwrap();
    stage.write_at(0, &[Bytes::from(content)]).unwrap();
    let parts = stage.commit(&absent()).unwrap().etag;
    assert_eq!(parts, told("parts"));
    // A copy, and the copy onto itself that gives it another time, are in one part.
    let copied = lab.store.copy_within(&path("parts"), &parts, &path("copy"), &absent()).unwrap().unwrap();
    assert_eq!(copied.etag, told("copy"));
    let described = lab.store.set_metadata(&path("parts"), Some(&parts), Some(Timestamp::UNIX_EPOCH), None).unwrap();
    assert_eq!(described.etag, told("parts"));
    assert_ne!(described.etag, parts);
    for what in ["PUT copy", "PUT parts"] {
        lab.engine.fail(what, Fault::Unanswered);
    }
    let again = lab.store.copy_within(&path("parts"), &described.etag, &path("copy"), &replace()).unwrap().unwrap();
    assert_eq!(again.etag, told("copy"));
    let described = lab.store.set_metadata(&path("parts"), None, None, Some(true)).unwrap();
    assert_eq!((described.etag, lab.engine.unmet()), (told("parts"), 0));
}

/// Fails when: a change that is bound to what a listing told is refused, or one that is bound to what is no longer there is done.
#[test]
fn a_version_that_only_a_listing_told_may_be_changed() {
    let (engine, spool) = (S3Engine::start(), tempfile::tempdir().unwrap());
    let store = open_with(&engine, "", &spool, None, &[("qfs_times", "listed")]);
    let name = path("a");
    let listed = || {
        let mut found = None;
        let visit = &mut |_: RemotePath, entry: Entry| {
            if let Entry::File(meta) = entry {
                found = Some(meta.etag);
            }
            ControlFlow::Break(())
        };
        store.list(&ListQuery::default(), visit).unwrap();
        found.unwrap()
    };
    let put = |content: &'static [u8], condition| {
        store.put(&name, &[Bytes::from_static(content)], &CommitSpec { condition, ..replace() })
    };
    put(b"one", Condition::Absent).unwrap();
    let one = listed();
    assert_eq!(store.object(&name).unwrap().meta().etag, one, "whoever tells it");
    put(b"two", Condition::Matches(one.clone())).unwrap();
    assert!(matches!(put(b"new", Condition::Matches(one.clone())), Err(StoreError::Conflict)));
    assert!(matches!(store.set_metadata(&name, Some(&one), None, Some(true)), Err(StoreError::Conflict)));
    let two = listed();
    store.copy_within(&name, &two, &path("b"), &absent()).unwrap().unwrap();
    let told = store.set_metadata(&name, Some(&two), None, Some(true)).unwrap().etag;
    // What a change has told is a version as well.
    put(b"new", Condition::Matches(told)).unwrap();
    assert!(matches!(store.remove(&name, &Condition::Matches(one), false), Err(StoreError::Conflict)));
    store.remove(&name, &Condition::Matches(listed()), false).unwrap();
    assert_eq!(engine.keys(), ["b"]);
}
