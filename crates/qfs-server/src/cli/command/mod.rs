//! What the program does besides serving: a file for each subcommand. None of them needs the network.

mod identity;
mod output;
mod token;

use std::process::ExitCode;

use clap::CommandFactory as _;

use super::args::{Args, Command};
use super::failure::Failure;

/// Runs `command`, whose common flags are in `args`.
pub(crate) fn run(args: &Args, command: &Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Token(verb) => token::run(args, verb),
        Command::Identity(verb) => identity::run(args, verb),
        Command::Manual(manual) => {
            let text = manual.text(Args::command()).map_err(|e| {
                let what = format!("cannot write the man pages: {e}");
                Failure::refused(what, "choose another directory with --out")
            })?;
            output::print(&text).map(|()| ExitCode::SUCCESS)
        }
    }
}
