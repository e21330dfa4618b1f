//! `list`: rows are written as they arrive.

use std::ops::ControlFlow;

use qfs_client::error::FailureClass;
use qfs_client::plan::selection::{Selection, SelectionError};
use qfs_client::session::exchange;
use qfs_core::model::{EntryMeta, RemotePath};

use crate::cli::connection::Context;
use crate::cli::exit::Exit;
use crate::cli::report::json::Listing;
use crate::cli::report::{Problem, human, problem};

/// Lists what the patterns select; without any, everything. A pattern that matches nothing is no failure: it filters.
///
/// A listing that fails halfway leaves a JSON object without its end, so that nobody takes it for the whole.
pub(crate) async fn run(context: &Context, patterns: &[String]) -> Result<Exit, Problem> {
    let selection = if patterns.is_empty() { Selection::all() } else { parse(patterns)? };
    show(Rows::new(context, selection, None), patterns.is_empty()).await
}

/// Lists everything with a number before each name, which is then the name's place in `numbered`, counted from 1.
pub(crate) async fn run_numbered(context: &Context, numbered: &mut Vec<RemotePath>) -> Result<Exit, Problem> {
    numbered.clear();
    show(Rows::new(context, Selection::all(), Some(numbered)), true).await
}

/// Tells of a listing that lacks something. Where not all of it was asked for, that may lie elsewhere.
pub(super) fn partial(context: &Context, is_all: bool) -> Exit {
    let problem = problem::of_partial_listing();
    if is_all {
        context.screen.problem(&problem);
        return problem.exit;
    }
    context.screen.notice(&format!("note: {}", problem.what));
    Exit::Done
}

async fn show(mut rows: Rows<'_>, is_all: bool) -> Result<Exit, Problem> {
    let context = rows.context;
    let is_partial = each_page(context, &mut |page| rows.write(&page)).await?;
    rows.end();
    Ok(if is_partial { partial(context, is_all) } else { Exit::Done })
}

/// Gives the rows of the listing to `on_page`, as they arrive. Whether the server could not read everything.
pub(crate) async fn each_page(
    context: &Context,
    on_page: &mut (dyn FnMut(Vec<(RemotePath, EntryMeta)>) -> ControlFlow<()> + Send),
) -> Result<bool, Problem> {
    let session = context.session().await?;
    exchange::list_telling(&session, on_page).await.map(|listed| listed.is_partial).map_err(|failure| {
        if failure.class() == FailureClass::Connection {
            context.drop_session();
        }
        problem::of_run(&format!("cannot list the files of {}", context.settings.connect.server), &failure)
    })
}

/// A selection from the command line, or why it is none.
pub(crate) fn parse(names: &[String]) -> Result<Selection, Problem> {
    Selection::parse(names).map_err(|e| malformed(&e))
}

/// What is said of a pattern that is none.
pub(crate) fn malformed(error: &SelectionError) -> Problem {
    Problem::new(Exit::Usage, error.to_string())
        .hint("put a backslash before a bracket, brace, star or question mark that is meant as it stands")
}

struct Rows<'a> {
    context: &'a Context,
    selection: Selection,
    /// The JSON object being written, or None for text.
    json: Option<Listing>,
    /// Where the names go that are shown with a number.
    numbered: Option<&'a mut Vec<RemotePath>>,
    files: u64,
    bytes: u64,
}

/// Most names that have a number: they are remembered, and may have 4 KiB each, so 40 MiB at worst.
const MAX_NUMBERED: usize = 10_000;

impl<'a> Rows<'a> {
    fn new(context: &'a Context, selection: Selection, numbered: Option<&'a mut Vec<RemotePath>>) -> Self {
        let json = context.settings.json.then(|| Listing::new(context.settings.connect.hash));
        Self { context, selection, json, numbered, files: 0, bytes: 0 }
    }

    fn write(&mut self, page: &[(RemotePath, EntryMeta)]) -> ControlFlow<()> {
        let mut out = String::new();
        for (name, meta) in page.iter().filter(|(name, _)| self.selection.matches(name)) {
            if let Some(numbered) = &mut self.numbered {
                let is_numbered = numbered.len() < MAX_NUMBERED;
                numbered.extend(is_numbered.then(|| name.clone()));
                human::list_number(&mut out, is_numbered.then_some(numbered.len()));
            }
            match &mut self.json {
                Some(listing) => listing.row(&mut out, name, meta),
                None => human::list_row(&mut out, name, meta),
            }
            self.files += 1;
            // The sizes are a stranger's claims.
            self.bytes = self.bytes.saturating_add(meta.size);
        }
        self.context.screen.result(&out)
    }

    fn end(&self) {
        if let Some(listing) = &self.json {
            let mut out = String::new();
            listing.end(&mut out);
            // Whether anybody reads it is found out by whoever looks at the screen's failure.
            let _ = self.context.screen.result(&out);
        }
        self.context.screen.summary(&human::list_summary(self.files, self.bytes));
    }
}
