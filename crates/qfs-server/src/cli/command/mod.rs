//! What the program does besides serving: a file for each subcommand. None of them needs the network.

mod identity;
mod output;
mod token;

use std::process::ExitCode;

use super::args::{Args, Command};
use super::failure::Failure;

/// Prints a text, and that is all.
pub(crate) fn print(text: &str) -> Result<ExitCode, Failure> {
    output::print(text).map(|()| ExitCode::SUCCESS)
}

/// Runs `command`, whose common flags are in `args`.
pub(crate) fn run(args: &Args, command: &Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Token(verb) => token::run(args, verb),
        Command::Identity(verb) => identity::run(args, verb),
    }
}
