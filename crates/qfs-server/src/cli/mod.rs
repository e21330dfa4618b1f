//! The command line of `qfs-server` (CLI contract): flags, what it prints, signals, exit codes.

mod announce;
mod args;
mod command;
mod expiry;
mod failure;
mod sandbox;
mod signals;
mod start;

use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

use args::Args;
use failure::Failure;
use signals::Signals;

/// Threads for disks and hashing. More than two on a small machine only wait for each other; a few more keep short reads going
/// while long passes for digests run.
const BLOCKING_THREADS: usize = 8;

/// When the second signal ends the program, as shells have it for SIGINT.
const EXIT_INTERRUPTED: u8 = 130;

/// The program.
pub(crate) fn main() -> ExitCode {
    let args = Args::parse();
    set_up_log(args.quiet, args.verbose);
    let done = match &args.command {
        Some(command) => command::run(&args, command),
        None => serve(&args),
    };
    match done {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}

/// What the program does when no subcommand is named.
fn serve(args: &Args) -> Result<ExitCode, Failure> {
    // One thread for the network: for a QUIC end point several are slower, not faster.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .build()
        .map_err(Failure::runtime)?;
    let code = runtime.block_on(async {
        // Before anything is printed: whoever reads the first line may already send a signal.
        let mut signals = Signals::catch().map_err(Failure::runtime)?;
        let server = start::start(args).await?;
        if !announce::lines(args, &server)? {
            return Ok(ExitCode::SUCCESS);
        }
        announce::notices(args, &server);
        let (first, second) = signals.split();
        tokio::select! {
            served = server.serve(first) => {
                let drained = served.map_err(Failure::serve)?;
                announce::drained(args, drained);
                Ok(ExitCode::SUCCESS)
            }
            () = second => Ok(ExitCode::from(EXIT_INTERRUPTED)),
        }
    });
    // A long read may still be under way; nothing of it is wanted.
    runtime.shutdown_background();
    code
}

/// Logs go to stderr: warnings, or with `-v` more, or what `RUST_LOG` asks for.
fn set_up_log(quiet: bool, verbose: u8) {
    let level = match (quiet, verbose) {
        (true, _) => "error",
        (false, 0) => "warn",
        (false, 1) => "qfs_server=info,qfs_core=info,warn",
        (false, 2) => "qfs_server=debug,qfs_core=debug,info",
        (false, _) => "trace",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr()) && std::env::var_os("NO_COLOR").is_none();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(ansi).init();
}
