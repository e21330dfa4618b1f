//! `completions` and `man`: the program about itself.

use clap::CommandFactory as _;
use qfs_manual::Manual;

use crate::cli::args::Args;
use crate::cli::completion;
use crate::cli::connection::Context;
use crate::cli::exit::Exit;
use crate::cli::report::Problem;

/// Prints the completions or the page, or writes the pages.
pub(crate) fn run(context: &Context, manual: &Manual) -> Result<Exit, Problem> {
    let text = manual
        .text(Args::command())
        .map_err(|e| Problem::local("cannot write the man pages", e).hint("choose another directory with --out"))?;
    let text = match manual {
        Manual::Completions { shell } => completion::with_names(*shell, text),
        Manual::Man { .. } => text,
    };
    // Nobody reading is no failure.
    let _ = context.screen.result(&text);
    Ok(Exit::Done)
}
