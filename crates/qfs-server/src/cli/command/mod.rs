//! What the program does besides serving: a file for each subcommand. All but `share` need no network.

mod identity;
mod output;
mod qr;
mod share;
mod tally;
mod token;

use std::process::ExitCode;

use clap::CommandFactory as _;

use super::args::{Args, Command};
use super::failure::Failure;
use super::layers::Reading;

/// Prints a text, and that is all.
pub(crate) fn print(text: &str) -> Result<ExitCode, Failure> {
    output::print(text).map(|()| ExitCode::SUCCESS)
}

/// Runs `command`, whose common flags are in `args`.
pub(crate) fn run(reading: &Reading, command: &Command) -> Result<ExitCode, Failure> {
    let args = &reading.args;
    match command {
        Command::Share(share) => share::run(reading, share),
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
