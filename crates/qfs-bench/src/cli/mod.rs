//! The command line: arguments in, text and exit codes out. Nothing else in this crate prints.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "printing is this module's job")]
#![allow(clippy::disallowed_methods, reason = "writes its reports where the caller says, by path")]

mod args;
mod crowd;
mod draw;
mod output;
mod suite;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::parser::ValueSource;
use clap::{CommandFactory as _, FromArgMatches as _};
use qfs_bench::BenchError;
use qfs_bench::process::{ProcessError, Supervisor};
use qfs_bench::qfs::has_token;
use qfs_bench::report::escape;
use qfs_manual::{Manual, Mistake};

use args::{Args, Command, Common};

/// As with clap's own refusals, and those of the other programs.
const EXIT_USAGE: u8 = 2;

/// Parses the arguments, does what they say, and turns what came of it into an exit code.
pub(crate) fn main() -> ExitCode {
    let read = Args::command().try_get_matches().and_then(|matches| Ok((Args::from_arg_matches(&matches)?, matches)));
    let (args, matches) = match read {
        Ok((args, matches)) => (args.with_split_variables(&matches), matches),
        Err(error) => return refuse(&error),
    };
    start_log(&args.common);
    let on_line = matches.value_source("server") == Some(ValueSource::CommandLine);
    if on_line && args.crowd.server.as_deref().is_some_and(has_token) {
        return fail(&BenchError::Exposed);
    }
    let supervisor = Supervisor::default();
    if let Err(error) = supervisor.stop_on_signals() {
        return fail(&BenchError::Process(ProcessError::Watch(error)));
    }
    let done = match &args.command {
        None => crowd::run(&args.crowd, &args.common, &supervisor),
        Some(Command::Run(run)) => suite::run(run, &args.common, &supervisor),
        Some(Command::Draw(drawing)) => draw::run(drawing, &args.common),
        Some(Command::Manual(manual)) => describe(manual),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => fail(&error),
    }
}

/// Says what is wrong with the command line, or shows what it asks for.
fn refuse(error: &clap::Error) -> ExitCode {
    match Mistake::of(error, "qfs-bench") {
        Some(Mistake { what, hint }) => {
            eprintln!("error: {}", escape(&what));
            eprintln!("hint: {}", escape(&hint));
            ExitCode::from(EXIT_USAGE)
        }
        None => error.exit(),
    }
}

/// The program's own man pages and completions.
fn describe(manual: &Manual) -> Result<bool, BenchError> {
    let path = match manual {
        Manual::Man { out: Some(directory) } => directory.clone(),
        _ => PathBuf::new(),
    };
    let text = manual.text(Args::command()).map_err(|source| BenchError::Local { doing: "write", path, source })?;
    output::result(&text).map(|()| true)
}

fn fail(error: &BenchError) -> ExitCode {
    eprintln!("error: {}", escape(&error.to_string()));
    if let Some(hint) = error.hint() {
        eprintln!("hint: {hint}");
    }
    ExitCode::from(error.exit_code())
}

fn start_log(common: &Common) {
    let level = match (common.quiet, common.verbose) {
        (true, _) => "error",
        (false, 0) => "warn",
        (false, 1) => "qfs_bench=debug,warn",
        (false, _) => "trace",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| level.into());
    let colour = std::env::var_os("NO_COLOR").is_none() && io::IsTerminal::is_terminal(&io::stderr());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(colour).init();
}
