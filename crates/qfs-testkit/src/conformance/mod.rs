//! One suite of tests for every store: what `Store` and `WriteStore` promise, whatever is behind them.
//!
//! Implement [`Subject`] for a way of making a store, then write `qfs_testkit::store_conformance!(module, Subject);` in a
//! test: each case becomes a test of its own.

use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use qfs_core::model::{ETag, RemotePath};
use qfs_core::store::{
    CommitSpec, Condition, Entry, ListQuery, StageSpec, StagedObject, Store, StoreError, WriteStore,
};

mod conditions;
mod reading;
mod staging;
mod tree;
mod writing;

pub use conditions::*;
pub use reading::*;
pub use staging::*;
pub use tree::*;
pub use writing::*;

/// A store under test, and what the suite must do behind its back.
pub trait Subject: Sized {
    /// The store.
    type Store: WriteStore;

    /// Whether an open object outlives its name, and tells that it was rewritten without being read. Where not, a read gives the
    /// bytes of the version that was opened, or says that it changed.
    const OUTLIVES: bool = true;

    /// Whether there are symbolic links.
    const LINKS: bool = true;

    /// A new, empty one.
    fn new() -> Self;

    /// The store.
    fn store(&self) -> &Self::Store;

    /// Another store on the same objects, as a later run or another process has it.
    fn another(&self) -> Self::Store;

    /// Rewrites an existing object in place.
    fn mutate(&self, path: &RemotePath, content: &[u8]);

    /// Removes an existing object.
    fn remove(&self, path: &RemotePath);

    /// How many partial objects lie there.
    fn partials(&self) -> usize;
}

/// Makes a module of tests, one for each case of the suite, for a [`Subject`].
#[macro_export]
macro_rules! store_conformance {
    ($module:ident, $subject:ty) => {
        mod $module {
            use super::*;

            $crate::store_conformance!(@cases $subject:
                puts_are_opened_and_listed,
                listing_is_sorted_by_full_name_and_can_be_ended,
                missing_objects_are_not_found,
                reads_are_exact,
                changes_in_place_are_noticed,
                replaced_and_removed_objects_are_read_to_their_end,
                etags_name_versions,
                existing_targets_are_described_and_touched,
                put_replaces_only_when_told,
                files_are_not_directories,
                stages_are_invisible_until_committed,
                stages_are_written_in_any_order,
                stages_are_checked,
                cut_off_stages_are_continued,
                other_versions_start_over,
                discarded_stages_start_over,
                concurrent_stages_do_not_mix,
                a_refused_commit_keeps_the_content,
                empty_objects_are_objects,
                objects_of_unknown_size_end_where_writing_ends,
                zeros_are_read_back_whatever_was_there,
                long_runs_of_zeros_are_content,
                many_threads_use_one_store,
                small_objects_come_with_their_opening,
                listings_begin_anywhere,
                directories_and_links_are_rows_when_asked_for,
                what_was_committed_is_described,
                executables_are_marked,
                one_version_is_replaced_and_no_other,
                one_version_is_removed_and_no_other,
                metadata_is_set_on_one_version_and_no_other,
                of_many_writers_of_one_version_one_wins,
                files_and_links_are_removed_and_nothing_else,
                directories_are_made_and_removed_when_empty,
                links_are_made_inside_only,
            );
        }
    };
    (@cases $subject:ty: $($case:ident,)+) => {
        $(
            #[test]
            fn $case() {
                $crate::conformance::$case(&<$subject as $crate::conformance::Subject>::new());
            }
        )+
    };
}

fn path(text: &str) -> RemotePath {
    RemotePath::parse(text).expect("a valid name")
}

fn time(second: i64) -> Timestamp {
    Timestamp::new(second, 120_000_000).expect("a time within range")
}

fn keep() -> CommitSpec {
    CommitSpec { modified: time(1_600_000_000), executable: None, condition: Condition::Absent, durable: false }
}

fn replace() -> CommitSpec {
    CommitSpec { condition: Condition::Any, durable: true, ..keep() }
}

fn version(size: u64, etag: &str) -> StageSpec {
    StageSpec { size: Some(size), etag: etag.parse().expect("a valid etag") }
}

fn put<S: Subject>(subject: &S, name: &str, content: &'static str) {
    subject.store().put(&path(name), &[Bytes::from_static(content.as_bytes())], &keep()).expect("put");
}

fn stage<S: Subject>(subject: &S, name: &str, spec: &StageSpec) -> Arc<dyn StagedObject> {
    subject.store().stage(&path(name), spec).expect("stage")
}

fn content<S: Subject>(subject: &S, name: &str) -> Bytes {
    let object = subject.store().object(&path(name)).expect("open");
    object.read_at(0, usize::try_from(object.meta().size).expect("a small object")).expect("read")
}

fn listing<S: Subject>(subject: &S) -> Vec<(String, u64)> {
    let mut rows = Vec::new();
    for (name, entry) in rows_of(subject, &ListQuery::default()) {
        match entry {
            Entry::File(meta) => rows.push((name, meta.size)),
            other => panic!("not asked for: {name} {other:?}"),
        }
    }
    rows
}

fn rows_of<S: Subject>(subject: &S, query: &ListQuery) -> Vec<(String, Entry)> {
    let mut rows = Vec::new();
    let visit = &mut |path: RemotePath, entry| {
        rows.push((path.as_str().to_owned(), entry));
        ControlFlow::Continue(())
    };
    subject.store().list(query, visit).expect("list");
    rows
}

/// Makes a link, and says whether there is one now.
fn link<S: Subject>(subject: &S, name: &str, target: &str) -> bool {
    match subject.store().make_link(&path(name), target, false) {
        Ok(()) => S::LINKS,
        Err(StoreError::Unsupported) if !S::LINKS => false,
        Err(error) => panic!("{name}: {error}"),
    }
}

fn etag<S: Subject>(subject: &S, name: &str) -> ETag {
    subject.store().object(&path(name)).expect("open").meta().etag.clone()
}
