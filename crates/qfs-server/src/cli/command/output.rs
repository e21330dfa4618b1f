//! Results to stdout, notices to stderr.

use std::io::{self, Write};

use super::super::args::Args;
use super::super::failure::Failure;

/// Prints a result. A reader that goes away is no failure.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::output(error)),
        _ => Ok(()),
    }
}

/// Says what a person should know, unless asked not to.
#[expect(clippy::print_stderr, reason = "the command line's own output")]
pub(super) fn notice(args: &Args, text: &str) {
    if !args.quiet {
        eprintln!("{text}");
    }
}
