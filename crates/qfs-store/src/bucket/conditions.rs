//! Conditions: what a bucket is asked to check, and what its refusal means.

use qfs_core::store::{Condition, ObjectMeta, StoreError};

use super::attributes::{self, Attributes};
use super::cloud::{Info, Only, was_ours};
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

/// What the bucket's refusal means under `condition`.
pub(super) fn refused(error: CloudError, condition: &Condition) -> StoreError {
    match (error, condition) {
        (CloudError::Precondition | CloudError::Doubtful, Condition::Absent) => StoreError::Exists,
        (CloudError::Precondition | CloudError::Doubtful, _) => StoreError::Conflict,
        (error, _) => error.into_store(),
    }
}

/// What an object has become that was just written, with the ETag that the bucket told, or tells when it is asked.
pub(super) fn written(
    shared: &Shared,
    key: &str,
    size: u64,
    tag: Option<String>,
    attributes: Attributes,
) -> ObjectMeta {
    // Where another one has taken its place already, this version has no name, and nothing matches it.
    let tag = tag.or_else(|| shared.wait(was_ours(&*shared.cloud, key, attributes.nonce.as_deref())).ok().flatten());
    let meta = attributes::meta(key, &Info { size, tag, changed: 0, attributes: Some(attributes.clone()) });
    shared.known.learn(&meta.etag, Some(&attributes));
    meta
}
