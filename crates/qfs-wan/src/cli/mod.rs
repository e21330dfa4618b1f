//! The part of `qfs-wan` that parses arguments, prints and exits.

mod args;
mod command;

use args::Args;
use clap::Parser;
use command::EndSignals;
use qfs_wan::{Carried, Wan, WanError, WanStats};
use std::{io, process::ExitCode};

/// Exit code when the link cannot be made.
const EXIT_NO_LINK: u8 = 2;
/// Exit code when the command cannot be run or does not exist, as in shells.
const EXIT_CANNOT_RUN: u8 = 126;
const EXIT_NOT_FOUND: u8 = 127;

/// Why there was no run.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Link(#[from] WanError),
    #[error("cannot start: {0}")]
    Start(#[source] io::Error),
    #[error("cannot run {name}: {source}")]
    Command { name: String, source: io::Error },
}

impl Failure {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Command { source, .. } if source.kind() == io::ErrorKind::NotFound => EXIT_NOT_FOUND,
            Self::Command { .. } => EXIT_CANNOT_RUN,
            Self::Link(_) | Self::Start(_) => EXIT_NO_LINK,
        }
    }

    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Link(error) => error.hint(),
            Self::Start(_) | Self::Command { .. } => None,
        }
    }
}

/// The whole program.
#[expect(clippy::print_stderr, reason = "results of the command go to stdout, ours to stderr")]
pub(crate) fn main() -> ExitCode {
    let args = Args::parse();
    let (stats, code) = match run(&args) {
        Ok(done) => done,
        Err(failure) => {
            eprintln!("error: {failure}");
            if let Some(hint) = failure.hint() {
                eprintln!("hint: {hint}");
            }
            return failure.exit_code().into();
        }
    };
    for (name, Carried { carried, lost, dropped, late, bytes }) in [("a->b", stats.a_to_b), ("b->a", stats.b_to_a)] {
        eprintln!("wan: {name} carried {carried} lost {lost} dropped {dropped} late {late} bytes {bytes}");
    }
    code.into()
}

/// Makes the link, runs the command and removes the link again.
fn run(args: &Args) -> Result<(WanStats, u8), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::Start)?;
    runtime.block_on(async {
        // This comes before the link, so that no signal can leave namespaces behind.
        let mut signals = EndSignals::catch().map_err(Failure::Start)?;
        let wan = Wan::start(&args.config())?;
        let code = command::run(&args.command, &wan, &mut signals).await.map_err(|source| Failure::Command {
            name: args.command.first().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
            source,
        })?;
        Ok((wan.finish()?, code))
    })
}
