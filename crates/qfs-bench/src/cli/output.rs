//! Results to stdout, notices to stderr.

use std::io::{self, Write as _};

use qfs_bench::BenchError;
use qfs_bench::process::ProcessError;

use super::args::Common;

/// Prints something that is not a result, unless `-q` was given.
pub(super) fn notice(common: &Common, text: &str) {
    if !common.quiet {
        eprintln!("{text}");
    }
}

/// Writes a result. A reader that has gone away (`| head`) is not a failure.
pub(super) fn result(text: &str) -> Result<(), BenchError> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(BenchError::Process(ProcessError::Watch(error))),
        _ => Ok(()),
    }
}
