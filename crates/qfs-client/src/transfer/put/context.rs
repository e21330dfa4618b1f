//! What all uploads of a run share: how they are made, over which connections, and how one ends.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use qfs_core::model::{Digest, ETag};
use qfs_core::observe::{Event, FileId, Observer};
use qfs_core::wire::{Precondition, RemoteError, StatusCode};

use super::source::Source;
use crate::error::Failure;
use crate::session::Session;
use crate::transfer::maps::Maps;
use crate::transfer::outcome::{FileOutcome, Status};

/// What may be replaced on the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Replace {
    /// Nothing.
    #[default]
    Never,
    /// The version that was there when the run began, and no other.
    Seen,
    /// Whatever is there.
    Any,
}

/// How files are uploaded.
#[derive(Debug, Clone, Copy, Default)]
pub struct PutConfig {
    /// Files at once; None: one after another, with the next already under way.
    pub parallel: Option<NonZeroUsize>,
    /// Connections over which files take turns; None: one.
    pub connections: Option<NonZeroUsize>,
    /// What may be replaced.
    pub replace: Replace,
    /// Whether files are compared by content even where size and time agree.
    pub checksum: bool,
    /// Whether a file counts only once it is on the server's stable storage.
    pub durable: bool,
    /// Whether it is carried over that a file may be executed.
    pub perms: bool,
    /// Whether files are sent whole, whatever the server has of them.
    pub whole: bool,
    /// Whether holes are sent as the zeros that they read as.
    pub dense: bool,
    /// Whether it is measured what limits the run.
    pub measured: bool,
}

/// What the server has under a name.
#[derive(Debug, Clone)]
pub(crate) struct Present {
    pub(crate) size: u64,
    pub(crate) modified: Timestamp,
    /// None with a server that does not say.
    pub(crate) etag: Option<ETag>,
    pub(crate) digest: Option<Digest>,
    /// Whether it may be executed, where the server says.
    pub(crate) executable: Option<bool>,
}

/// What all uploads of a run share.
#[derive(Clone)]
pub(super) struct Put {
    sessions: Arc<[Session]>,
    pub(super) config: PutConfig,
    pub(super) observer: Arc<dyn Observer>,
    /// For sending what changed alone.
    pub(super) maps: Arc<Maps>,
}

impl Put {
    /// The uploads of one run take turns over `sessions`, of which there is at least one.
    pub(super) fn new(sessions: Arc<[Session]>, config: PutConfig, observer: Arc<dyn Observer>) -> Self {
        Self { sessions, config, observer, maps: Arc::default() }
    }

    /// The connection whose turn it is.
    pub(super) fn session(&self, file: FileId) -> &Session {
        &self.sessions[file.0 % self.sessions.len()]
    }

    /// What must be under a name where `present` was seen.
    pub(super) fn condition(&self, present: Option<&Present>) -> Result<Precondition, Failure> {
        match (self.config.replace, present) {
            (_, None) => Ok(Precondition::ABSENT),
            (Replace::Never, Some(_)) => Err(Failure::Exists),
            (Replace::Any, Some(_)) => Ok(Precondition::ANY),
            (Replace::Seen, Some(present)) => Ok(match &present.etag {
                Some(etag) => Precondition::matches(etag.clone()),
                None => Precondition::ABSENT,
            }),
        }
    }

    /// Tells the end of an upload that began at `begun`.
    pub(super) fn conclude(
        &self,
        source: &Source,
        status: Status,
        digest: Option<Digest>,
        sent: u64,
        begun: Instant,
    ) -> FileOutcome {
        let file = source.id;
        let status = match status {
            // Nobody may write them, whatever else the server allows.
            Status::Failed(Failure::Refused(RemoteError { code: StatusCode::DENIED, message }))
                if source.remote.is_hidden() && message.contains("not allowed") =>
            {
                Status::Failed(Failure::HiddenName)
            }
            status => status,
        };
        self.observer.event(match (&status, digest) {
            (Status::Failed(_), _) => Event::Failed { file },
            (Status::Unchanged, _) | (_, None) => Event::Unchanged { file },
            (_, Some(digest)) => Event::Committed { file, digest },
        });
        FileOutcome {
            name: source.remote.as_str().to_owned(),
            size: Some(source.meta.size),
            digest,
            status,
            received: sent,
            reused: 0,
            elapsed: begun.elapsed(),
        }
    }
}
