//! The command line of `qfs-server` (CLI contract): flags, what it prints, signals, exit codes.

mod announce;
mod args;
#[cfg(feature = "bucket")]
mod bucket;
mod command;
mod expiry;
mod failure;
mod layers;
mod links;
mod log;
mod log_format;
mod parsers;
mod passed;
mod reload;
mod renew;
mod sandbox;
mod service_manager;
mod signals;
mod start;

use std::process::ExitCode;

use qfs_core::store::WriteStore;
use qfs_manual::Mistake;
use qfs_server::BLOCKING_THREADS;

use failure::Failure;
use layers::{Reading, Unread};
use reload::Reload;
use service_manager::ServiceManager;
use signals::Signals;
use start::Started;

/// When the second signal ends the program, as shells have it for SIGINT.
const EXIT_INTERRUPTED: u8 = 130;

/// The program.
pub(crate) fn main() -> ExitCode {
    let reading = match layers::read(std::env::args_os().collect()) {
        Ok(reading) => reading,
        Err(Unread::Clap(error)) => match Mistake::of(&error, "qfs-server") {
            Some(Mistake { what, hint }) => return Failure::refused(what, hint).report(),
            None => error.exit(),
        },
        Err(Unread::File(error)) => return Failure::from(error).report(),
    };
    let args = &reading.args;
    let done = match &args.command {
        _ if args.print_config => command::print(&reading.show()),
        Some(command) => log::set_up(args).and_then(|()| command::run(&reading, command)),
        None => log::set_up(args).and_then(|()| serve(&reading)),
    };
    match done {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}

/// What the program does when no subcommand is named.
fn serve(reading: &Reading) -> Result<ExitCode, Failure> {
    // Before there are threads: the variables that name the sockets are removed.
    let passed = passed::sockets()?;
    #[cfg(feature = "bucket")]
    if let Some(settings) = bucket::settings(&reading.args)? {
        return run(bucket::BLOCKING_THREADS, async |signals, manager| {
            serve_until_told(reading, bucket::start(reading, &settings, passed)?, (signals, manager), || {}).await
        });
    }
    run(BLOCKING_THREADS, async |signals, manager| {
        let (started, (store, survey)) = start::directory(reading, passed).await?;
        serve_until_told(reading, started, (signals, manager), || links::tell(&reading.args, store, survey)).await
    })
}

/// Runs `work` on the runtime of the first end point.
fn run(
    blocking_threads: usize,
    work: impl AsyncFnOnce(Signals, ServiceManager) -> Result<ExitCode, Failure>,
) -> Result<ExitCode, Failure> {
    let runtime = start::runtime(blocking_threads)?;
    let code = runtime.block_on(async {
        // Before anything is printed: whoever reads the first line may already send a signal.
        let signals = Signals::catch().map_err(Failure::runtime)?;
        // Before the sandbox closes, which keeps the server from addresses without a path.
        work(signals, ServiceManager::of_environment()).await
    });
    // A long read may still be under way; nothing of it is wanted.
    runtime.shutdown_background();
    code
}

/// Says where the server is, serves, and ends as the signals say. `tell` says what else there is to say.
async fn serve_until_told<S: WriteStore>(
    reading: &Reading,
    started: Started<S>,
    (mut signals, manager): (Signals, ServiceManager),
    tell: impl FnOnce(),
) -> Result<ExitCode, Failure> {
    let args = &reading.args;
    let Started { server, renewal } = started;
    if !announce::lines(args, &server)? {
        return Ok(ExitCode::SUCCESS);
    }
    announce::notices(args, &server);
    #[cfg(feature = "announce")]
    let beacon = announce::on_the_network(args, &server)?;
    tell();
    let reload = Reload::new(reading, server.controls(), renewal);
    manager.ready();
    let (first, second) = signals.split(|| manager.reload(|| reload.look_anew()));
    let first = async {
        first.await;
        manager.stopping();
    };
    tokio::select! {
        never = manager.keep_alive() => match never {},
        served = server.serve(first) => {
            let drained = served.map_err(Failure::serve)?;
            announce::drained(args, drained);
            #[cfg(feature = "announce")]
            drop(beacon);
            Ok(ExitCode::SUCCESS)
        }
        () = second => Ok(ExitCode::from(EXIT_INTERRUPTED)),
    }
}
