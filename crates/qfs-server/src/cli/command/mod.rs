//! What the program does besides serving: a file for each subcommand. None of them needs the network.

mod identity;
mod token;

use std::io::{self, Write};
use std::process::ExitCode;

use super::args::{Args, Command};
use super::failure::Failure;

/// Runs `command`, whose common flags are in `args`.
pub(crate) fn run(args: &Args, command: &Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Token(verb) => token::run(args, verb),
        Command::Identity(verb) => identity::run(args, verb),
    }
}

/// Prints a result. A reader that goes away is no failure.
fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::output(error)),
        _ => Ok(()),
    }
}

/// Says what a person should know, unless asked not to.
#[expect(clippy::print_stderr, reason = "the command line's own output")]
fn notice(args: &Args, text: &str) {
    if !args.quiet {
        eprintln!("{text}");
    }
}
