//! `qfs-client`: see `qfs-client --help`.

use std::process::ExitCode;

use anyhow::Context as _;

mod cli;

/// Threads for file system calls and name resolution. The disk gains nothing from more, and each may hold a buffer.
const MAX_BLOCKING_THREADS: usize = 4;

/// The exit code for what this machine lacks (CLI.md, "Exit codes").
const EXIT_LOCAL: u8 = 7;

#[allow(clippy::print_stderr, reason = "nothing of the command line is there yet to print it")]
fn main() -> ExitCode {
    start().unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::from(EXIT_LOCAL)
    })
}

fn start() -> anyhow::Result<ExitCode> {
    let invocation = match cli::prepare(std::env::args_os()) {
        Ok(invocation) => invocation,
        Err(code) => return Ok(code),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(MAX_BLOCKING_THREADS)
        .build()
        .context("cannot start the runtime")?;
    let code = runtime.block_on(cli::run(invocation));
    // A thread that waits for somebody to type, or for a slow disk, must not keep the program.
    runtime.shutdown_background();
    Ok(code)
}
