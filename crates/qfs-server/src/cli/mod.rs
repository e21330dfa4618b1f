//! The command line of `qfs-server` (CLI contract): flags, what it prints, signals, exit codes.

mod announce;
mod args;
mod command;
mod expiry;
mod failure;
mod links;
mod log;
mod log_format;
mod renew;
mod sandbox;
mod service_manager;
mod signals;
mod start;

use std::process::ExitCode;

use clap::Parser;
use qfs_server::BLOCKING_THREADS;

use args::Args;
use failure::Failure;
use service_manager::ServiceManager;
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
    // One thread for the network: for a QUIC end point several are slower, not faster. More end points bring their own.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .build()
        .map_err(Failure::runtime)?;
    let code = runtime.block_on(async {
        // Before anything is printed: whoever reads the first line may already send a signal.
        let mut signals = Signals::catch().map_err(Failure::runtime)?;
        let manager = ServiceManager::of_environment();
        let Started { server, store, survey, renewal } = start::start(args).await?;
        if !announce::lines(args, &server)? {
            return Ok(ExitCode::SUCCESS);
        }
        announce::notices(args, &server);
        #[cfg(feature = "announce")]
        let beacon = announce::on_the_network(args, &server)?;
        links::tell(args, store, survey);
        manager.ready();
        let (first, second) = signals.split(|| manager.reload(|| renewal.look_anew()));
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
    });
    // A long read may still be under way; nothing of it is wanted.
    runtime.shutdown_background();
    code
}
