//! `list`: rows are written as they arrive.

use std::ops::ControlFlow;

use qfs_client::error::FailureClass;
use qfs_client::plan::selection::Selection;
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
    let session = context.session().await?;
    let mut rows = Rows { context, selection, json: context.settings.json.then(Listing::default), files: 0, bytes: 0 };
    let listed = exchange::list(&session, &mut |page| rows.write(&page)).await;
    if let Err(failure) = listed {
        if failure.class() == FailureClass::Connection {
            context.drop_session();
        }
        let what = format!("cannot list the files of {}", context.settings.connect.server);
        return Err(problem::of_run(&what, &failure));
    }
    rows.end();
    Ok(Exit::Done)
}

/// A selection from the command line, or why it is none.
pub(crate) fn parse(names: &[String]) -> Result<Selection, Problem> {
    Selection::parse(names).map_err(|e| {
        Problem::new(Exit::Usage, e.to_string())
            .hint("put a backslash before a bracket, brace, star or question mark that is meant as it stands")
    })
}

struct Rows<'a> {
    context: &'a Context,
    selection: Selection,
    /// The JSON object being written, or None for text.
    json: Option<Listing>,
    files: u64,
    bytes: u64,
}

impl Rows<'_> {
    fn write(&mut self, page: &[(RemotePath, EntryMeta)]) -> ControlFlow<()> {
        let mut out = String::new();
        for (name, meta) in page.iter().filter(|(name, _)| self.selection.matches(name)) {
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
