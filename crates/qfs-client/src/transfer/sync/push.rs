//! The server as the side that is written to.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::Arc;

use qfs_core::model::{ETag, RemotePath};
use qfs_core::observe::{FileId, Observer};
use qfs_core::store::ObjectMeta;
use qfs_core::wire::{
    CopyRequest, Done, Kind, MakeDirectoryRequest, MakeLinkRequest, Precondition, RemoteError, Request,
    SetMetadataRequest, StatusCode, Written,
};

use super::request::SyncConfig;
use super::target::{Performed, Target, Transferred, Wanted};
use super::there::whole_name;
use crate::error::Failure;
use crate::plan::sync::{Condition, File, Seen, Step};
use crate::session::{Session, writing};
use crate::transfer::change;
use crate::transfer::outcome::Status;
use crate::transfer::put::{Planned, Present, PutConfig, Replace, Source, Tree, upload_all};

/// Files, or streams of small files, at once where nothing else is asked for. Each holds up to 2 MiB of small files.
const UPLOADS_AT_ONCE: NonZeroUsize = NonZeroUsize::new(16).expect("16 is not zero");

/// See the module.
pub(super) struct There {
    pub(super) sessions: Arc<[Session]>,
    pub(super) prefix: Option<RemotePath>,
    pub(super) tree: Tree,
    pub(super) config: SyncConfig,
    pub(super) observer: Arc<dyn Observer>,
    /// Files transferred so far, which numbers the next.
    pub(super) files: usize,
}

impl Target for There {
    const AT_ONCE: usize = 64;

    async fn perform(&self, step: &Step) -> Result<Performed, Failure> {
        match step {
            Step::MakeDirectory { path } => self.make_directory(path, None).await?,
            Step::SetDirectoryTime { path, modified } => self.make_directory(path, Some(*modified)).await?,
            Step::CopyOnTarget { from, seen, to, file } => self.copy(from, seen, to, file).await?,
            Step::MakeLink { path, text, onto } => {
                if let Condition::Link(_) = onto {
                    change::remove(self.session(), &self.whole(path)?, Kind::Link, None).await?;
                }
                let request = MakeLinkRequest { filename: self.name(path)?, target: text.clone() };
                self.ask::<Done>(Request::MakeLink(request)).await.map(drop)?;
            }
            Step::SetMetadata { path, seen, modified, executable } => {
                let request = SetMetadataRequest {
                    filename: self.name(path)?,
                    if_match: Some(version(seen)?),
                    modified: *modified,
                    executable: *executable,
                };
                self.ask::<Written>(Request::SetMetadata(request)).await.map(drop)?;
            }
            Step::RemoveFile { path, seen } => self.remove(path, Kind::File, Some(version(seen)?)).await?,
            Step::RemoveLink { path, .. } => self.remove(path, Kind::Link, None).await?,
            Step::RemoveDirectory { path } => match self.remove(path, Kind::Directory, None).await {
                Err(Failure::Refused(RemoteError { code: StatusCode::NOT_EMPTY, .. })) => return Ok(Performed::Kept),
                removed => removed?,
            },
            Step::Transfer { .. } => return Err(Failure::Protocol("a transfer is no small step".to_owned())),
        }
        Ok(Performed::Done)
    }

    async fn transfer(&mut self, files: Vec<Wanted>, done: &mut (dyn FnMut(Transferred) + Send)) {
        let mut steps = HashMap::with_capacity(files.len());
        let mut planned = Vec::with_capacity(files.len());
        for Wanted { step, path, file, onto } in files {
            match self.planned(FileId(self.files), path, file, &onto) {
                Ok(file) => {
                    self.files += 1;
                    steps.insert(file.source.remote.as_str().to_owned(), step);
                    planned.push(file);
                }
                Err(failure) => done(Transferred::failed(step, failure)),
            }
        }
        let config = PutConfig {
            parallel: self.config.parallel.or(Some(UPLOADS_AT_ONCE)),
            connections: self.config.connections,
            replace: Replace::Seen,
            durable: self.config.durable,
            perms: self.config.perms,
            whole: self.config.whole,
            dense: self.config.dense,
            ..PutConfig::default()
        };
        let (sessions, observer) = (Arc::clone(&self.sessions), Arc::clone(&self.observer));
        upload_all(sessions, planned, config, observer, &mut |outcome| {
            if let Some(step) = steps.remove(&outcome.name) {
                let ended = match &outcome.status {
                    Status::Failed(failure) => Err(failure.clone()),
                    _ => Ok(()),
                };
                done(Transferred::of(step, &outcome, ended));
            }
        })
        .await;
    }

    async fn finish(&mut self) -> Result<(), Failure> {
        Ok(())
    }
}

impl There {
    fn session(&self) -> &Session {
        &self.sessions[0]
    }

    fn whole(&self, path: &RemotePath) -> Result<RemotePath, Failure> {
        whole_name(self.prefix.as_ref(), path).map_err(Failure::InvalidName)
    }

    fn name(&self, path: &RemotePath) -> Result<String, Failure> {
        Ok(self.whole(path)?.as_str().to_owned())
    }

    async fn ask<T: serde::de::DeserializeOwned>(&self, request: Request) -> Result<T, Failure> {
        match writing::request(self.session(), &request).await {
            Err(Failure::Changed | Failure::Refused(RemoteError { code: StatusCode::EXISTS, .. })) => {
                Err(Failure::TargetChanged)
            }
            answer => answer,
        }
    }

    async fn make_directory(&self, path: &RemotePath, modified: Option<jiff::Timestamp>) -> Result<(), Failure> {
        let request = MakeDirectoryRequest { filename: self.name(path)?, modified };
        self.ask::<Done>(Request::MakeDirectory(request)).await.map(drop)
    }

    async fn copy(&self, from: &RemotePath, seen: &Seen, to: &RemotePath, file: &File) -> Result<(), Failure> {
        let request = CopyRequest {
            from: self.name(from)?,
            from_etag: Some(version(seen)?),
            filename: self.name(to)?,
            modified: Some(file.modified),
            executable: file.executable.filter(|_| self.config.perms),
            condition: Precondition::ABSENT,
            hash: self.session().digest_kind(),
        };
        let copy: Written = self.ask(Request::Copy(request)).await?;
        if let (Some(made), Some(wanted)) = (copy.digest, file.sha256)
            // One of another kind cannot be compared: the server copies one version, and that is what the plan looked at.
            && (made == wanted || made.kind() != wanted.kind())
        {
            return Ok(());
        }
        // The version had another digest than the server said. What came of it may not stay.
        change::remove(self.session(), &self.whole(to)?, Kind::File, Some(copy.etag)).await?;
        Err(Failure::TargetChanged)
    }

    /// What is to be removed may have been removed by somebody else, or by an attempt whose answer was lost.
    async fn remove(&self, path: &RemotePath, kind: Kind, version: Option<ETag>) -> Result<(), Failure> {
        match change::remove(self.session(), &self.whole(path)?, kind, version).await {
            Err(Failure::Refused(RemoteError { code: StatusCode::NOT_FOUND, .. })) => Ok(()),
            Err(Failure::Changed) => Err(Failure::TargetChanged),
            removed => removed,
        }
    }

    fn planned(&self, id: FileId, local: RemotePath, file: File, onto: &Condition) -> Result<Planned, Failure> {
        let remote = self.whole(&local)?;
        let (condition, present) = match onto {
            Condition::File(seen) => {
                let Seen { size, modified, etag } = seen.clone();
                (
                    Precondition::matches(version(seen)?),
                    Some(Present { size, modified, etag, digest: None, executable: None }),
                )
            }
            Condition::Absent | Condition::Link(_) => (Precondition::ABSENT, None),
        };
        let etag = file.etag.ok_or_else(|| Failure::Local("a file without a version".to_owned()))?;
        let executable = file.executable.unwrap_or_default();
        // Whoever sends it opens it anew, and sends what it is then.
        let meta = ObjectMeta { size: file.size, modified: file.modified, etag, unsettled: true, executable };
        Ok(Planned { source: Source { id, tree: Arc::clone(&self.tree), local, remote, meta }, condition, present })
    }
}

/// The version that was listed. Nothing is changed that has none.
fn version(seen: &Seen) -> Result<ETag, Failure> {
    seen.etag.clone().ok_or_else(|| Failure::Protocol("the listing names no version of a file".to_owned()))
}
