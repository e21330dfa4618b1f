//! Conditions: what a bucket is asked to check, and what its refusal means.

use qfs_core::store::{CommitSpec, Condition, ObjectMeta, StoreError};

use super::attributes::{self, Attributes};
use super::cloud::{Info, Only};
use super::error::CloudError;
use super::names;
use super::shared::Shared;

/// What the bucket is to check, after a look at what is under `path`: the request itself is the check, and the look serves buckets
/// that do not check everything.
///
/// # Errors
/// [`StoreError::Exists`], [`StoreError::Conflict`].
pub(super) fn condition(shared: &Shared, key: &str, condition: &Condition) -> Result<Only, StoreError> {
    match condition {
        Condition::Any => Ok(Only::Any),
        Condition::Absent => match names::head(shared, key)? {
            Some(_) => Err(StoreError::Exists),
            None => Ok(Only::Absent),
        },
        Condition::Matches(version) => match names::head(shared, key)? {
            Some(info) if attributes::etag(key, &info) == *version => Ok(info.tag.map_or(Only::Any, Only::Tag)),
            _ => Err(StoreError::Conflict),
        },
    }
}

/// Whether the object that is written may be executed: where nobody says so, as what it replaces, which costs a look at that.
///
/// # Errors
/// As [`names::head`].
pub(super) fn executable(shared: &Shared, key: &str, spec: &CommitSpec) -> Result<bool, StoreError> {
    match (spec.executable, &spec.condition) {
        (Some(executable), _) => Ok(executable),
        (None, Condition::Absent) => Ok(false),
        (None, Condition::Any | Condition::Matches(_)) => {
            let replaced = names::head(shared, key)?.and_then(|info| info.attributes);
            Ok(replaced.is_some_and(|attributes| attributes.executable))
        }
    }
}

/// What the bucket's refusal means under `condition`.
pub(super) fn refused(error: CloudError, condition: &Condition) -> StoreError {
    match (error, condition) {
        (CloudError::Precondition | CloudError::Doubtful, Condition::Absent) => StoreError::Exists,
        (CloudError::Precondition | CloudError::Doubtful, _) => StoreError::Conflict,
        (error, _) => error.into_store(),
    }
}

/// What an object has become that was just written, with the ETag that the bucket told of it. What nobody told is looked for.
pub(super) fn written(
    shared: &Shared,
    key: &str,
    size: u64,
    tag: Option<String>,
    attributes: Attributes,
) -> ObjectMeta {
    let told = tag.is_some() && shared.reads_attributes;
    let info = Info { size, tag, changed: 0, attributes: Some(attributes.clone()) };
    let info = if told { info } else { looked_up(shared, key, &attributes).unwrap_or(Info { tag: None, ..info }) };
    let meta = attributes::meta(key, &info);
    shared.known.learn(&meta.etag, Some(&attributes));
    meta
}

/// The object that was written with these attributes. None where another one has taken its place, or the bucket does not tell: then
/// its version has a name that nothing has.
fn looked_up(shared: &Shared, key: &str, attributes: &Attributes) -> Option<Info> {
    let info = shared.wait(shared.cloud.head(key)).ok()?;
    let is_ours = info.attributes.as_ref().is_some_and(|found| found.nonce == attributes.nonce);
    is_ours.then(|| shared.named(info))
}
