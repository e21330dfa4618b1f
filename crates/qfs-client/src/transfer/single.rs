//! One file of the server to a path of this machine, whatever it is called there.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use qfs_core::body::{Stages, flush_bytes};
use qfs_core::model::RemotePath;
use qfs_core::observe::{Event, FileId, Observer};
use qfs_core::store::{Condition, TargetMeta, WriteStore};
use qfs_store::blocking;
use qfs_store::local::{Hidden, LocalStore};

use super::delta::Means;
use super::delta::library::Library;
use super::download;
use super::job::{Context, Job, settled, told};
use super::outcome::FileOutcome;
use super::planned_store::PlannedStore;
use crate::config::FetchConfig;
use crate::error::{Failure, store_failure};
use crate::session::Session;

/// Fetches the file `name` to `path`: verified before it appears there, resumed, and skipped when it is there already, as by
/// [`fetch`](super::run::fetch). Directories on the way to `path` are made.
///
/// # Errors
/// [`Failure`] when `path` cannot be used. How the transfer ended, a failure too, is in the outcome.
pub async fn fetch_file(
    session: &Session,
    name: &RemotePath,
    path: &Path,
    config: FetchConfig,
    observer: Arc<dyn Observer>,
) -> Result<FileOutcome, Failure> {
    let session = session.observed_by(Arc::clone(&observer));
    let (store, local) = open(name.clone(), path.to_owned(), config).await?;
    let wide = session.widen(config.connections).await?;
    let sessions = Arc::clone(wide.sessions());
    observer.event(Event::Planned { files: 1, bytes: 0 });
    let context = Context {
        sessions: Arc::clone(&sessions),
        store: Arc::clone(&store),
        config,
        flush: flush_bytes(sessions.len()),
        stages: Arc::new(Stages::default()),
        delta: Arc::new(Means::new(Library::default())),
        fleet: None,
        singly: Arc::default(),
    };
    let job = Job {
        id: FileId(0),
        path: name.clone(),
        remote: None,
        digest: None,
        local: Ok(local),
        replaced: None,
        priority: 0,
    };
    let outcome = match settled(&context, &job) {
        Some(outcome) => outcome,
        None => told(&context, &job, download::attempt(&context, &job).await),
    };
    wide.close().await;
    if config.durable {
        blocking(move || store.sync_directories()).await.map_err(|error| store_failure(&error))?;
    }
    Ok(outcome)
}

/// The directory that `path` is in, as a store in which `path` is called `name`, and what is there already.
async fn open(
    name: RemotePath,
    path: PathBuf,
    config: FetchConfig,
) -> Result<(Arc<dyn WriteStore>, Option<TargetMeta>), Failure> {
    let local = path.file_name().and_then(|local| local.to_str()).and_then(|local| RemotePath::parse(local).ok());
    let local = local.ok_or_else(|| Failure::Local("its path does not end in a name of a file".to_owned()))?;
    let opening = blocking(move || {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let inner = LocalStore::create_root(parent)?.hidden(Hidden::Included).sparse(!config.dense);
        let condition = if config.overwrite { Condition::Any } else { Condition::Absent };
        let store = PlannedStore::new(inner, HashMap::from([(name.clone(), (local, condition))]));
        let existing = store.existing(&name)?;
        Ok((Arc::new(store) as Arc<dyn WriteStore>, existing))
    });
    opening.await.map_err(|error| store_failure(&error))
}
