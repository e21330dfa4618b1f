//! What a version of an object is: another one whenever anything about it is, and the same whoever tells it.

use std::ops::ControlFlow;

use bytes::Bytes;
use jiff::Timestamp;
use qfs_core::model::RemotePath;
use qfs_core::store::{CommitSpec, Condition, Entry, ListQuery, StageSpec, Store, StoreError, WriteStore};
use qfs_testkit::s3_engine::Fault;

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
        assert_eq!(listed, [opened.clone()], "{name}");
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
