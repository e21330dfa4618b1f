//! The command line of `qfs-server` (CLI contract): flags, what it prints, signals, exit codes.

mod announce;
mod args;
#[cfg(feature = "bucket")]
mod bucket;
mod command;
mod expiry;
mod failure;
mod links;
mod log;
mod log_format;
mod renew;
mod sandbox;
mod signals;
mod start;

use std::process::ExitCode;

use clap::Parser;
use qfs_core::store::WriteStore;
use qfs_server::BLOCKING_THREADS;

use args::Args;
use failure::Failure;
use signals::Signals;
use start::Started;

/// When the second signal ends the program, as shells have it for SIGINT.
const EXIT_INTERRUPTED: u8 = 130;

/// The program.
pub(crate) fn main() -> ExitCode {
    let args = Args::parse();
    let done = log::set_up(&args).and_then(|()| match &args.command {
        Some(command) => command::run(&args, command),
        None => serve(&args),
    });
    match done {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}

/// What the program does when no subcommand is named.
fn serve(args: &Args) -> Result<ExitCode, Failure> {
    #[cfg(feature = "bucket")]
    if let Some(settings) = bucket::settings(args)? {
        return run(bucket::BLOCKING_THREADS, async |signals| {
            serve_until_told(args, bucket::start(args, &settings)?, signals, || {}).await
        });
    }
    run(BLOCKING_THREADS, async |signals| {
        let (started, (store, survey)) = start::directory(args).await?;
        serve_until_told(args, started, signals, || links::tell(args, store, survey)).await
    })
}

/// Runs `work` on the runtime of the first end point.
fn run(
    blocking_threads: usize,
    work: impl AsyncFnOnce(Signals) -> Result<ExitCode, Failure>,
) -> Result<ExitCode, Failure> {
    // One thread for the network: for a QUIC end point several are slower, not faster. More end points bring their own.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(blocking_threads)
        .build()
        .map_err(Failure::runtime)?;
    let code = runtime.block_on(async {
        // Before anything is printed: whoever reads the first line may already send a signal.
        work(Signals::catch().map_err(Failure::runtime)?).await
    });
    // A long read may still be under way; nothing of it is wanted.
    runtime.shutdown_background();
    code
}

/// Says where the server is, serves, and ends as the signals say. `tell` says what else there is to say.
async fn serve_until_told<S: WriteStore>(
    args: &Args,
    started: Started<S>,
    mut signals: Signals,
    tell: impl FnOnce(),
) -> Result<ExitCode, Failure> {
    let Started { server, renewal } = started;
    if !announce::lines(args, &server)? {
        return Ok(ExitCode::SUCCESS);
    }
    announce::notices(args, &server);
    tell();
    let (first, second) = signals.split(|| renewal.look_anew());
    tokio::select! {
        served = server.serve(first) => {
            let drained = served.map_err(Failure::serve)?;
            announce::drained(args, drained);
            Ok(ExitCode::SUCCESS)
        }
        () = second => Ok(ExitCode::from(EXIT_INTERRUPTED)),
    }
}
