//! `qfs-bench`: see `qfs-bench --help`.
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may panic"))]

use std::process::ExitCode;

mod cli;

fn main() -> ExitCode {
    cli::main()
}
