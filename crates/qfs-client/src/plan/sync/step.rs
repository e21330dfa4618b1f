//! What a plan consists of, and the line that `--dry-run` shows of it.

use std::fmt;

use jiff::Timestamp;
use qfs_core::model::{ETag, RemotePath, escape_untrusted};

use super::listing::File;

/// The version of a file that was listed. Whoever carries out a step on it checks that it is still there in the same step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Size in bytes.
    pub size: u64,
    /// Modification time.
    pub modified: Timestamp,
    /// The etag, where the side has etags. Where there is one, it alone decides.
    pub etag: Option<ETag>,
}

impl Seen {
    pub(super) fn of(file: &File) -> Self {
        Self { size: file.size, modified: file.modified, etag: file.etag.clone() }
    }
}

/// What must be under a name for something to be put there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// Nothing.
    Absent,
    /// This version of a file.
    File(Seen),
    /// A link with this text.
    Link(String),
}

/// Why a file is transferred.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The target lacks it.
    Missing,
    /// The sizes differ.
    Size,
    /// The times differ, and nothing shows that the contents do not.
    Time,
    /// The digests differ, or are to be compared and are not known.
    Digest,
}

/// One change of the target. Its [`fmt::Display`] is a line with the names escaped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Makes a directory where there is nothing.
    MakeDirectory {
        /// Its name.
        path: RemotePath,
    },
    /// Copies a file of the target to another name there, instead of transferring the same content.
    CopyOnTarget {
        /// What is copied.
        from: RemotePath,
        /// The version of it.
        seen: Seen,
        /// Where to; there is nothing.
        to: RemotePath,
        /// The file of the source, whose digest, time and executable bit the copy has in the end.
        file: File,
    },
    /// Transfers a file.
    Transfer {
        /// Its name.
        path: RemotePath,
        /// The file of the source.
        file: File,
        /// Why.
        why: Why,
        /// What it replaces.
        onto: Condition,
    },
    /// Makes a symbolic link.
    MakeLink {
        /// Its name.
        path: RemotePath,
        /// Where it leads.
        text: String,
        /// What it replaces.
        onto: Condition,
    },
    /// Sets what belongs to a file beside its content, which is right already.
    SetMetadata {
        /// Its name.
        path: RemotePath,
        /// The version it is on.
        seen: Seen,
        /// The modification time, where that differs.
        modified: Option<Timestamp>,
        /// The executable bit, where that differs.
        executable: Option<bool>,
    },
    /// Removes a file that the source lacks.
    RemoveFile {
        /// Its name.
        path: RemotePath,
        /// The version that is removed.
        seen: Seen,
    },
    /// Removes a symbolic link that the source lacks.
    RemoveLink {
        /// Its name.
        path: RemotePath,
        /// Where it leads.
        text: String,
    },
    /// Removes a directory that the source lacks, if it is empty by then.
    RemoveDirectory {
        /// Its name.
        path: RemotePath,
    },
    /// Sets the modification time of a directory, in which everything is done by then.
    SetDirectoryTime {
        /// Its name.
        path: RemotePath,
        /// The time.
        modified: Timestamp,
    },
}

impl Step {
    /// The name on the target that it changes.
    #[must_use]
    pub fn path(&self) -> &RemotePath {
        match self {
            Self::MakeDirectory { path }
            | Self::CopyOnTarget { to: path, .. }
            | Self::Transfer { path, .. }
            | Self::MakeLink { path, .. }
            | Self::SetMetadata { path, .. }
            | Self::RemoveFile { path, .. }
            | Self::RemoveLink { path, .. }
            | Self::RemoveDirectory { path }
            | Self::SetDirectoryTime { path, .. } => path,
        }
    }

    /// Whether something is gone after it. Such a step is carried out only if all before it succeeded.
    #[must_use]
    pub fn is_removal(&self) -> bool {
        matches!(self, Self::RemoveFile { .. } | Self::RemoveLink { .. } | Self::RemoveDirectory { .. })
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Missing => "missing",
            Self::Size => "size",
            Self::Time => "time",
            Self::Digest => "digest",
        })
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MakeDirectory { path } => write!(f, "make {path}/"),
            Self::CopyOnTarget { from, to, .. } => write!(f, "copy {from} -> {to}"),
            Self::Transfer { path, file, why, .. } => write!(f, "transfer {path} ({why}, {} bytes)", file.size),
            Self::MakeLink { path, text, .. } => write!(f, "link {path} -> {}", escape_untrusted(text)),
            Self::SetMetadata { path, modified, executable, .. } => {
                let bit = executable.map(|bit| if bit { "+x" } else { "-x" });
                let parts: Vec<_> =
                    modified.map(|time| time.to_string()).into_iter().chain(bit.map(str::to_owned)).collect();
                write!(f, "set {path} ({})", parts.join(", "))
            }
            Self::RemoveFile { path, .. } | Self::RemoveLink { path, .. } => write!(f, "remove {path}"),
            Self::RemoveDirectory { path } => write!(f, "remove {path}/"),
            Self::SetDirectoryTime { path, modified } => write!(f, "set {path}/ ({modified})"),
        }
    }
}
