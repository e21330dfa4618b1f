//! From what is asked for to a plan, and from the plan to what came of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use qfs_core::model::{MAX_PATH_BYTES, RemotePath};
use qfs_core::observe::{Event, Observer};
use qfs_core::store::StoreError;
use qfs_core::wire::{RemoteError, StatusCode};
use qfs_store::blocking;
use qfs_store::local::LocalStore;

use super::carry_out::{Moved, carry_out};
use super::outcome::{StepEnd, SyncOutcome};
use super::request::{Direction, SyncConfig, SyncRequest};
use super::{digests, here, pull, push, there};
use crate::error::{Failure, store_failure};
use crate::plan::sync::{Listing, Options, Plan, PlanError, plan, undecided};
use crate::session::Session;
use crate::transfer::put::Tree;

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SyncError {
    /// A side could not be listed.
    #[error("{0}")]
    Failure(#[from] Failure),
    /// The directory here cannot be opened.
    #[error("{0}")]
    Directory(StoreError),
    /// Nothing at all may be done.
    #[error("{0}")]
    Plan(#[from] PlanError),
}

/// A plan, and what is needed to carry it out.
pub struct Prepared {
    /// What is to be done.
    pub plan: Plan,
    /// Names here that could not be read and take part; not safe to print.
    pub unreadable: Vec<String>,
    /// Whether the server has something below the directory that it could not list.
    pub server_is_partial: bool,
    direction: Direction,
    prefix: Option<RemotePath>,
    directory: PathBuf,
    /// None where it is yet to be made.
    tree: Option<Tree>,
    begun: Instant,
}

/// Lists both sides and plans what is asked for. Nothing is changed.
///
/// # Errors
/// [`SyncError`].
pub async fn prepare(session: &Session, request: SyncRequest) -> Result<Prepared, SyncError> {
    let begun = Instant::now();
    let SyncRequest { direction, prefix, directory, mut options } = request;
    let tree = here::open(&directory, false, true).await.map_err(SyncError::Directory)?;
    if tree.is_none() && direction == Direction::Push {
        return Err(SyncError::Directory(StoreError::NotFound));
    }
    adapt(&mut options, direction, prefix.as_ref(), &directory).await;
    let listing_here = async {
        match &tree {
            Some(tree) => here::list(tree, &options.filters).await,
            None => Ok(here::Here::default()),
        }
    };
    let (found, served) = tokio::join!(listing_here, there::list(session, prefix.as_ref()));
    let here::Here { listing: mut at_home, unreadable } = found?;
    let mut served = match (served?, direction) {
        (Some(served), _) => served,
        (None, Direction::Push) => Listing::default(),
        (None, Direction::Pull) => {
            return Err(Failure::Refused(RemoteError::new(StatusCode::NOT_FOUND, "no such directory")).into());
        }
    };
    let wanted = match direction {
        Direction::Pull => {
            let wanted = undecided(&served, &at_home, &options);
            (wanted.target, wanted.source)
        }
        Direction::Push => {
            let wanted = undecided(&at_home, &served, &options);
            (wanted.source, wanted.target)
        }
    };
    if let Some(tree) = &tree {
        let filling = digests::fill_here(tree, session.digest_kind(), &wanted.0, &mut at_home);
        let asking = digests::fill_there(session, prefix.as_ref(), &wanted.1, &mut served);
        let ((), asked) = tokio::join!(filling, asking);
        asked?;
    }
    let plan = match direction {
        Direction::Pull => plan(&served, &at_home, &options)?,
        Direction::Push => plan(&at_home, &served, &options)?,
    };
    let server_is_partial = served.incomplete;
    Ok(Prepared { plan, unreadable, server_is_partial, direction, prefix, directory, tree, begun })
}

/// Finds out which names the target can carry.
async fn adapt(options: &mut Options, direction: Direction, prefix: Option<&RemotePath>, directory: &Path) {
    match direction {
        Direction::Push => {
            let taken = prefix.map_or(0, |prefix| prefix.as_str().len() + 1);
            options.target.max_path_bytes = MAX_PATH_BYTES.saturating_sub(taken);
        }
        Direction::Pull => {
            // One that is yet to be made will be as the one that it is made in.
            let directory = directory.to_owned();
            let folds = blocking(move || {
                let there =
                    directory.ancestors().map(|path| if path.as_os_str().is_empty() { Path::new(".") } else { path });
                Ok(there
                    .into_iter()
                    .find_map(|path| LocalStore::open_root(path).ok())
                    .is_some_and(|store| store.folds_case()))
            });
            options.target.folds_case |= folds.await.unwrap_or_default();
        }
    }
}

impl Prepared {
    /// Carries out the plan, tells `observer` of its transfers, and `report` of each step, by its number in the plan, as it ends.
    ///
    /// # Errors
    /// [`Failure`] when it cannot be begun, or what was done cannot be brought to stable storage. Failures of single steps are in the
    /// outcome.
    pub async fn carry_out(
        self,
        session: &Session,
        config: SyncConfig,
        observer: Arc<dyn Observer>,
        report: &mut (dyn FnMut(usize, &StepEnd) + Send),
    ) -> Result<SyncOutcome, Failure> {
        let steps = &self.plan.steps;
        let mut ends = vec![StepEnd::NotDone; steps.len()];
        let mut moved = Moved::default();
        if !steps.is_empty() {
            let summary = self.plan.summary;
            let files = usize::try_from(summary.transfers).unwrap_or(usize::MAX);
            observer.event(Event::Planned { files, bytes: summary.transfer_bytes });
            let tree = self.tree(config).await?;
            let session = &session.observed_by(Arc::clone(&observer));
            let wide = session.widen(config.connections).await?;
            let sessions = Arc::clone(wide.sessions());
            let mut note = |step: usize, end: StepEnd| {
                report(step, &end);
                ends[step] = end;
            };
            let prefix = self.prefix.clone();
            let done = match self.direction {
                Direction::Pull => {
                    let sessions = Arc::clone(&sessions);
                    let mut target = pull::Here { sessions, prefix, tree, config, files: 0 };
                    carry_out(&mut target, steps, &mut note).await
                }
                Direction::Push => {
                    let sessions = Arc::clone(&sessions);
                    let mut target = push::There { sessions, prefix, tree, config, observer, files: 0 };
                    carry_out(&mut target, steps, &mut note).await
                }
            };
            wide.close().await;
            moved = done?;
        }
        let Moved { bytes, reused } = moved;
        Ok(SyncOutcome { ends, bytes, reused, elapsed: self.begun.elapsed() })
    }

    /// The directory here, made now if it is missing, and writing as `config` says.
    async fn tree(&self, config: SyncConfig) -> Result<Tree, Failure> {
        match &self.tree {
            Some(tree) if !config.dense => Ok(Arc::clone(tree)),
            _ => {
                let make = self.direction == Direction::Pull;
                let opened = here::open(&self.directory, make, !config.dense).await.map_err(|e| store_failure(&e))?;
                opened.ok_or(Failure::Vanished)
            }
        }
    }
}
