//! `rm`: removes files of the server, and with `--recursive` directories.

use std::ops::ControlFlow;
use std::time::Instant;

use qfs_client::error::Failure;
use qfs_client::session::{Session, exchange};
use qfs_client::transfer::change::{self, Doomed};
use qfs_client::transfer::outcome::{FileOutcome, RunOutcome, Status};
use qfs_core::model::RemotePath;
use qfs_core::wire::Kind;

use super::list::parse;
use crate::cli::connection::Context;
use crate::cli::exit::Exit;
use crate::cli::report::human::{FileLine, FileLines};
use crate::cli::report::json::{self, Run};
use crate::cli::report::{Problem, human, problem};
use crate::cli::verbs::RmArgs;

pub(crate) async fn run(context: &Context, args: &RmArgs) -> Result<Exit, Problem> {
    let begun = Instant::now();
    let selection = parse(&args.names)?;
    let session = context.session().await?;
    let mut outcome = RunOutcome::default();
    let mut lines = FileLines::default();
    for item in selection.items() {
        let doomed = doomed(&session, item.is_pattern().then_some(item), &item.text, args.recursive).await;
        let doomed = doomed.map_err(|failure| problem::of_run("cannot see what to remove", &failure))?;
        if doomed.is_empty() {
            outcome.files.push(ended(&item.text, Err(Failure::NoMatch)));
        }
        for (path, kind, version) in doomed {
            let removed = change::remove(&session, &path, kind, version).await;
            outcome.files.push(ended(path.as_str(), removed));
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

/// What `text` means: one name, the names that match a pattern, or with `recursive` a directory and all below it.
async fn doomed(
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
    exchange::tree(session, None, &mut |rows| {
        let matching = rows.into_iter().filter(|(name, row)| row.kind != Kind::Directory && pattern.matches(name));
        found.extend(matching.map(|(name, row)| (name, row.kind, row.etag)));
        ControlFlow::Continue(())
    })
    .await?;
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
