//! A whole run of uploads: what the server has already, which files are under way at once, and what came of them.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use futures_util::stream::{self, StreamExt as _};
use qfs_core::body::Stages;
use qfs_core::model::RemotePath;
use qfs_core::observe::{Event, FileId, Observer};
use qfs_core::wire::{Kind, RemoteError, StatusCode, TreeEntry};

use super::batch::{self, BATCH_FILES, BATCHED_BYTES, Ended, Item};
use super::context::{Present, Put, PutConfig, Replace};
use super::source::Source;
use super::upload;
use crate::error::Failure;
use crate::insight::gauge::Gauge;
use crate::session::{Session, exchange};
use crate::transfer::outcome::{FileOutcome, RunOutcome};

/// Up to this many files each one is asked about by itself; for more, the directory that holds them all is listed once.
const ASKED_SINGLY: usize = 4;

/// Files or batches under way when they come one after another.
const IN_SEQUENCE: usize = 2;

/// Uploads `sources`, tells `observer` of it, and `done` of each as it ends: in order when one after another.
///
/// # Errors
/// [`Failure`] when it cannot be found out what the server has. Failures of single files are in the outcome.
pub async fn put(
    session: &Session,
    sources: Vec<Source>,
    config: PutConfig,
    observer: Arc<dyn Observer>,
    done: &mut (dyn FnMut(&[&FileOutcome]) + Send),
) -> Result<RunOutcome, Failure> {
    let begun = Instant::now();
    let session = &session.observed_by(Arc::clone(&observer));
    let wide = session.widen(config.connections).await?;
    let sessions = Arc::clone(wide.sessions());
    let bytes = sources.iter().map(|source| source.meta.size).sum();
    observer.event(Event::Planned { files: sources.len(), bytes });
    let put = Put::new(Arc::clone(&sessions), config, observer);
    let count = sources.len() as u64;
    let work = transfer(put, session, sources, done);
    let (gauge, files) = if config.measured {
        let mut gauge = Gauge::begin(&sessions).await;
        let files = gauge.watch(work).await;
        (Some(gauge), files)
    } else {
        (None, work.await)
    };
    let elapsed = begun.elapsed();
    let measured = match gauge {
        Some(gauge) => Some(gauge.end(Stages::default().times()).await),
        None => None,
    };
    wide.close().await;
    let mut outcome = RunOutcome { files: files?, elapsed, ..RunOutcome::default() };
    let at_once = config.parallel.map_or(IN_SEQUENCE, NonZeroUsize::get) as u64;
    outcome.measured = measured.map(|measured| crate::insight::bottleneck::Measurements {
        elapsed,
        bytes: outcome.received(),
        files: count,
        at_once,
        ..measured
    });
    Ok(outcome)
}

/// Files that go together on one stream, or one alone.
enum Unit {
    Batch(Vec<Item>),
    Alone(Source, Option<Present>),
}

impl Unit {
    fn first(&self) -> FileId {
        match self {
            Self::Batch(items) => items.first().map_or(FileId(0), |item| item.source.id),
            Self::Alone(source, _) => source.id,
        }
    }
}

async fn transfer(
    put: Put,
    session: &Session,
    sources: Vec<Source>,
    done: &mut (dyn FnMut(&[&FileOutcome]) + Send),
) -> Result<Vec<FileOutcome>, Failure> {
    let present = present(session, &sources).await?;
    let units = units(&put, sources, present);
    let at_once = put.config.parallel.map_or(IN_SEQUENCE, NonZeroUsize::get);
    let work = stream::iter(units).map(|unit| {
        let (put, session) = (put.clone(), put.session(unit.first()).clone());
        // Where its connection is driven.
        async move { session.alongside(perform(put, unit)).await }
    });
    let mut files = Vec::new();
    let mut take = |ended: Vec<FileOutcome>| {
        done(&ended.iter().collect::<Vec<_>>());
        files.extend(ended);
    };
    if put.config.parallel.is_some() {
        let mut work = work.buffer_unordered(at_once);
        while let Some(ended) = work.next().await {
            take(ended);
        }
    } else {
        let mut work = work.buffered(at_once);
        while let Some(ended) = work.next().await {
            take(ended);
        }
    }
    Ok(files)
}

async fn perform(put: Put, unit: Unit) -> Vec<FileOutcome> {
    match unit {
        Unit::Alone(source, present) => vec![upload::upload(put, source, present).await],
        Unit::Batch(items) => {
            let mut files = Vec::with_capacity(items.len());
            for ended in batch::upload(put.clone(), items).await {
                files.push(match ended {
                    Ended::Done(outcome) => outcome,
                    // What is there by now was not seen when the run began, and is not looked at to be replaced.
                    Ended::Alone(Item { source, condition }) if put.config.replace == Replace::Seen => {
                        upload::upload_planned(put.clone(), source, condition, None).await
                    }
                    Ended::Alone(Item { source, .. }) => {
                        let session = put.session(source.id).clone();
                        let present = upload::probe(&session, &source, true).await.ok();
                        upload::upload(put.clone(), source, present).await
                    }
                });
            }
            files
        }
    }
}

/// Small files that are not there go together; the others alone.
fn units(put: &Put, sources: Vec<Source>, mut present: HashMap<RemotePath, Present>) -> Vec<Unit> {
    let mut units = Vec::new();
    let mut batch = Vec::new();
    for source in sources {
        let there = present.remove(&source.remote);
        let is_small = source.meta.size <= BATCHED_BYTES;
        match put.condition(there.as_ref()) {
            Ok(condition) if is_small && !may_be_same(&source, there.as_ref()) => {
                batch.push(Item { source, condition });
                if batch.len() == BATCH_FILES {
                    units.push(Unit::Batch(std::mem::take(&mut batch)));
                }
            }
            _ => {
                // The order of the names is that of the lines.
                if !batch.is_empty() && put.config.parallel.is_none() {
                    units.push(Unit::Batch(std::mem::take(&mut batch)));
                }
                units.push(Unit::Alone(source, there));
            }
        }
    }
    if !batch.is_empty() {
        units.push(Unit::Batch(batch));
    }
    units
}

/// Whether only a look can tell that nothing has to be sent.
fn may_be_same(source: &Source, there: Option<&Present>) -> bool {
    there.is_some_and(|there| there.size == source.meta.size)
}

/// What the server has of `sources`.
async fn present(session: &Session, sources: &[Source]) -> Result<HashMap<RemotePath, Present>, Failure> {
    let mut present = HashMap::new();
    let not_found = |failure: &Failure| {
        matches!(failure, Failure::Refused(RemoteError { code: StatusCode::NOT_FOUND | StatusCode::DENIED, .. }))
    };
    if sources.len() <= ASKED_SINGLY {
        for source in sources {
            match upload::probe(session, source, false).await {
                Ok(found) => drop(present.insert(source.remote.clone(), found)),
                // Who may only write learns from the upload whether the name is taken.
                Err(failure) if not_found(&failure) => {}
                Err(failure) => return Err(failure),
            }
        }
        return Ok(present);
    }
    let wanted: std::collections::HashSet<_> = sources.iter().map(|source| &source.remote).collect();
    let prefix = common_directory(sources);
    let mut take = |rows: Vec<(RemotePath, TreeEntry)>| {
        for (name, row) in rows {
            if row.kind == Kind::File && wanted.contains(&name) {
                let TreeEntry { size, modified, etag, digest, executable, .. } = row;
                present.insert(name, Present { size, modified, etag, digest, executable: Some(executable) });
            }
        }
        ControlFlow::Continue(())
    };
    match exchange::tree(session, prefix.as_ref(), &mut take).await {
        Ok(_) => {}
        Err(failure) if not_found(&failure) => {}
        Err(failure) => return Err(failure),
    }
    Ok(present)
}

/// The deepest directory on the server that holds all of `sources`; None for the root.
fn common_directory(sources: &[Source]) -> Option<RemotePath> {
    let mut common: Option<Vec<&str>> = None;
    for source in sources {
        let parent: Vec<_> = source.remote.parent().map(|parent| parent.split('/').collect()).unwrap_or_default();
        common = Some(match common {
            None => parent,
            Some(common) => common.iter().zip(&parent).take_while(|(a, b)| a == b).map(|(a, _)| *a).collect(),
        });
    }
    RemotePath::parse(&common?.join("/")).ok()
}
