//! A file for each command.

use qfs_core::model::RemotePath;

use crate::cli::exit::Exit;
use crate::cli::report::Problem;

pub(crate) mod cat;
pub(crate) mod complete_names;
pub(crate) mod discover;
pub(crate) mod doctor;
pub(crate) mod get;
pub(crate) mod list;
pub(crate) mod manual;
pub(crate) mod put;
pub(crate) mod rm;
pub(crate) mod sync;
pub(crate) mod trust;
pub(crate) mod verify;

/// A directory on the server as people name one: with or without a slash at its end; None for all of it.
pub(super) fn directory(text: &str) -> Result<Option<RemotePath>, Problem> {
    let name = text.trim_end_matches('/');
    if name.is_empty() || name == "." {
        return Ok(None);
    }
    RemotePath::parse(name)
        .map(Some)
        .map_err(|error| Problem::new(Exit::Usage, format!("{}: {error}", qfs_core::model::escape_untrusted(text))))
}
