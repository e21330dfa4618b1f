//! `rm`: removes files of the server, and with `--recursive` directories.

use std::ops::ControlFlow;
use std::time::Instant;

use qfs_client::error::{Failure, FailureClass};
use qfs_client::session::{Session, exchange};
use qfs_client::transfer::change::{self, Doomed};
use qfs_client::transfer::look;
use qfs_client::transfer::outcome::{FileOutcome, RunOutcome, Status};
use qfs_core::model::RemotePath;
use qfs_core::wire::{Kind, StatusCode};

use super::list::parse;
use crate::cli::connection::Context;
use crate::cli::exit::Exit;
use crate::cli::report::human::{FileLine, FileLines};
use crate::cli::report::json::{self, Run};
use crate::cli::report::{Problem, human};
use crate::cli::verbs::RmArgs;

pub(crate) async fn run(context: &Context, args: &RmArgs) -> Result<Exit, Problem> {
    let done = attempt(context, args).await;
    if let Err(problem) = &done
        && context.settings.json
    {
        let run = Run::stillborn_at(&args.names, problem, context.settings.connect.hash, &|_| String::new());
        let _ = context.screen.result(&format!("{}\n", json::text(&run)));
    }
    done
}

async fn attempt(context: &Context, args: &RmArgs) -> Result<Exit, Problem> {
    let begun = Instant::now();
    let selection = parse(&args.names)?;
    let session = context.session().await?;
    let mut outcome = RunOutcome::default();
    let mut lines = FileLines::default();
    for item in selection.items() {
        let pattern = item.is_pattern().then_some(item);
        let doomed = match doomed(context, &session, pattern, &item.text, args.recursive).await {
            Ok(doomed) if doomed.is_empty() => Err(Failure::NoMatch),
            doomed => doomed,
        };
        match doomed {
            Ok(doomed) => {
                for (path, kind, version) in doomed {
                    let mut removed = change::remove(&session, &path, kind, version).await;
                    if is_missing(&removed) && kind == Kind::File && is_directory(&session, &path).await {
                        removed = Err(Failure::DirectoryThere);
                    }
                    outcome.files.push(ended(path.as_str(), removed));
                }
            }
            // One that fails does not stop the others.
            Err(failure) => outcome.files.push(ended(&item.text, Err(failure))),
        }
        if outcome.failures().any(|(_, failure)| is_lost(failure)) {
            context.drop_session();
            break;
        }
    }
    for file in &outcome.files {
        if let FileLine::Problem(problem) = lines.line(file, false) {
            context.screen.problem(&problem);
        }
    }
    outcome.elapsed = begun.elapsed();
    if context.settings.json {
        let _ = context
            .screen
            .result(&format!("{}\n", json::text(&Run::on_server(&outcome, context.settings.connect.hash))));
    }
    if let Some(problem) = human::failures(&outcome) {
        context.screen.problem(&problem);
    }
    let removed = outcome.files.iter().filter(|file| matches!(file.status, Status::Removed)).count();
    if removed > 0 {
        context.screen.summary(&format!("{removed} removed"));
    }
    Ok(Exit::of_run(&outcome))
}

/// Whether there is no sense in asking for more.
fn is_lost(failure: &Failure) -> bool {
    matches!(failure.class(), FailureClass::Connection | FailureClass::Trust)
}

fn is_missing(removed: &Result<(), Failure>) -> bool {
    matches!(removed, Err(Failure::Refused(error)) if error.code == StatusCode::NOT_FOUND)
}

/// Whether a directory has the name. Who may not look is not told.
async fn is_directory(session: &Session, path: &RemotePath) -> bool {
    look::stat(session, path).await.is_ok_and(|found| found.is_some_and(|found| found.kind == Kind::Directory))
}

/// What `text` means: one name, the names that match a pattern, or with `recursive` a directory and all below it. Says it where the server
/// could not list everything, so that more may match.
async fn doomed(
    context: &Context,
    session: &Session,
    pattern: Option<&qfs_client::plan::selection::Item>,
    text: &str,
    recursive: bool,
) -> Result<Doomed, Failure> {
    let Some(pattern) = pattern else {
        let path = RemotePath::parse(text.trim_end_matches('/')).map_err(Failure::InvalidName)?;
        return if recursive { change::doomed(session, path).await } else { Ok(vec![(path, Kind::File, None)]) };
    };
    let mut found = Vec::new();
    let listed = exchange::tree(session, None, &mut |rows| {
        let matching = rows.into_iter().filter(|(name, row)| row.kind != Kind::Directory && pattern.matches(name));
        found.extend(matching.map(|(name, row)| (name, row.kind, row.etag)));
        ControlFlow::Continue(())
    })
    .await?;
    if !listed.is_whole {
        super::list::partial(context, false);
    }
    Ok(found)
}

fn ended(name: &str, removed: Result<(), Failure>) -> FileOutcome {
    FileOutcome {
        name: name.to_owned(),
        size: None,
        digest: None,
        status: removed.map_or_else(Status::Failed, |()| Status::Removed),
        received: 0,
        reused: 0,
        elapsed: std::time::Duration::ZERO,
    }
}
