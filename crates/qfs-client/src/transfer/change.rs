//! Small changes of what the server has.

use qfs_core::model::{ETag, RemotePath};
use qfs_core::wire::{Done, Kind, RemoveRequest, Request};

use crate::error::Failure;
use crate::session::{Session, writing};

/// Removes `path`, which is of this `kind`, and if a version is named only that one.
///
/// # Errors
/// [`Failure::Refused`] with `not_found`, `changed`, `not_empty` or `denied`; other kinds as ever.
pub async fn remove(session: &Session, path: &RemotePath, kind: Kind, version: Option<ETag>) -> Result<(), Failure> {
    let request = RemoveRequest { filename: path.as_str().to_owned(), kind, if_match: version };
    writing::request::<Done>(session, &Request::Remove(request)).await.map(drop)
}
