//! The command line: arguments in, text and exit codes out. The only place, with `main`, that uses clap, prints or exits.

mod args;
mod bars;
mod choice;
mod command;
mod completion;
mod connection;
mod exit;
mod input;
mod interrupt;
mod layers;
mod log;
mod menu;
mod names;
mod options;
mod parsers;
mod progress;
mod report;
mod sanitize;
mod screen;
mod secret;
mod settings;
mod sync_args;
mod usage;
mod verbs;

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;

use args::Command;
use completion::Asking;
use connection::Context;
use exit::Exit;
use interrupt::Interrupt;
use report::Problem;
use screen::Screen;
use settings::{Refusal, Settings};

/// A run that is ready to start.
pub(crate) struct Invocation {
    settings: Settings,
    command: Option<Command>,
    screen: Arc<Screen>,
}

/// Reads the command line. Help, the version and mistakes are dealt with here, and end the program with this code.
pub(crate) fn prepare(args: impl IntoIterator<Item = OsString>) -> Result<Invocation, ExitCode> {
    let mut args: Vec<OsString> = args.into_iter().collect();
    let asking = Asking::of(&args);
    if asking.is_some() {
        // What the environment says counts for it as for every command.
        args.splice(1.., ["-q", "list"].map(OsString::from));
    }
    match settings::parse(args, asking.is_none()) {
        Ok((settings, command)) => {
            let command = asking.map(Command::CompleteNames).or(command);
            let screen = Screen::new(settings.quiet, command.is_none());
            log::start(settings.quiet, settings.verbose, &screen);
            Ok(Invocation { settings, command, screen })
        }
        Err(refusal) => Err(refuse(refusal).into()),
    }
}

fn refuse(refusal: Refusal) -> Exit {
    let problem = match refusal {
        Refusal::Problem(problem) => problem,
        Refusal::Shown(text) => {
            let screen = Screen::new(false, false);
            let _ = screen.result(&text);
            return finish(&screen, Ok(Exit::Done));
        }
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
        Some(Command::Put(args)) => command::put::run(context, &args).await,
        Some(Command::Rm(args)) => command::rm::run(context, &args).await,
        Some(Command::Cat(args)) => command::cat::run(context, &args).await,
        Some(Command::Verify(args)) => command::verify::run(context, &args).await,
        Some(Command::Pull(args)) => command::sync::pull(context, &args).await,
        Some(Command::Push(args)) => command::sync::push(context, &args).await,
        Some(Command::Trust(verb)) => command::trust::run(context, &verb).await,
        Some(Command::Doctor(_)) => Ok(command::doctor::run(context).await),
        Some(Command::Discover(args)) => command::discover::run(context, args.time).await,
        Some(Command::Manual(manual)) => command::manual::run(context, &manual),
        Some(Command::CompleteNames(asking)) => Ok(command::complete_names::run(asking).await),
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
