//! The command line: arguments in, text and exit codes out. The only place, with `main`, that uses clap, prints or exits.

mod args;
mod bars;
mod command;
mod connection;
mod exit;
mod input;
mod interrupt;
mod menu;
mod names;
mod progress;
mod report;
mod sanitize;
mod screen;
mod secret;
mod settings;
mod usage;

use std::ffi::OsString;
use std::io::{self, IsTerminal as _};
use std::process::ExitCode;
use std::sync::Arc;

use args::Command;
use connection::Context;
use exit::Exit;
use interrupt::Interrupt;
use report::Problem;
use screen::{LogWriter, Screen};
use settings::{Refusal, Settings};

/// A run that is ready to start.
pub(crate) struct Invocation {
    settings: Settings,
    command: Option<Command>,
    screen: Arc<Screen>,
}

/// Reads the command line. Help, the version and mistakes are dealt with here, and end the program with this code.
pub(crate) fn prepare(args: impl IntoIterator<Item = OsString>) -> Result<Invocation, ExitCode> {
    match settings::parse(args) {
        Ok((settings, command)) => {
            let screen = Screen::new(settings.quiet, command.is_none());
            start_log(&settings, &screen);
            Ok(Invocation { settings, command, screen })
        }
        Err(refusal) => Err(refuse(refusal).into()),
    }
}

fn refuse(refusal: Refusal) -> Exit {
    let problem = match refusal {
        Refusal::Problem(problem) => problem,
        Refusal::Clap(error) => match usage::problem(&error) {
            Some(problem) => problem,
            None => {
                // Fails when nobody reads, and that is no failure.
                let _ = error.print();
                if !error.to_string().ends_with('\n') {
                    let _ = Screen::new(false, false).result("\n");
                }
                return Exit::Done;
            }
        },
    };
    Screen::new(false, false).problem(&problem);
    problem.exit
}

/// Does what the command line says, inside a tokio runtime.
pub(crate) async fn run(invocation: Invocation) -> ExitCode {
    let Invocation { settings, command, screen } = invocation;
    let mut context = Context::new(settings, Arc::clone(&screen));
    let mut interrupt = match Interrupt::install() {
        Ok(interrupt) => interrupt,
        Err(e) => return finish(&screen, Err(Problem::local("cannot watch for signals", e))).into(),
    };
    // Dropping the command's future stops its downloads; they record how far they are.
    let done = tokio::select! {
        done = dispatch(&mut context, command) => done,
        () = interrupt.wait() => Err(Problem::interrupted()),
    };
    // Whoever interrupts the program, or has done so, is not kept waiting.
    if !interrupted(&done) {
        tokio::select! {
            () = context.settled() => {}
            () = interrupt.wait() => {}
        }
    }
    context.close().await;
    finish(&screen, done).into()
}

fn interrupted(done: &Result<Exit, Problem>) -> bool {
    matches!(done, Err(problem) if problem.exit == Exit::Interrupted)
}

async fn dispatch(context: &mut Context, command: Option<Command>) -> Result<Exit, Problem> {
    match command {
        None => menu::run(context).await,
        Some(Command::List(args)) => command::list::run(context, &args.patterns).await,
        Some(Command::Get(args)) => command::get::run(context, &args).await,
        Some(Command::Trust(verb)) => command::trust::run(context, &verb).await,
    }
}

fn finish(screen: &Screen, done: Result<Exit, Problem>) -> Exit {
    let exit = done.unwrap_or_else(|problem| {
        screen.problem(&problem);
        problem.exit
    });
    match screen.take_failure() {
        Some(error) if exit == Exit::Done => {
            let problem = Problem::local("cannot write the output", error);
            screen.problem(&problem);
            problem.exit
        }
        _ => exit,
    }
}

fn start_log(settings: &Settings, screen: &Arc<Screen>) {
    let level = match (settings.quiet, settings.verbose) {
        (_, 1) => "qfs_client=info,qfs_core=info,warn",
        (_, 2) => "qfs_client=debug,qfs_core=debug,info",
        (_, 3..) => "trace",
        (true, 0) => "error",
        (false, 0) => "qfs_client=warn,qfs_core=warn,error",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| level.into());
    let colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) && io::stderr().is_terminal();
    let writer = LogWriter(Arc::clone(screen));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_ansi(colour).init();
}
