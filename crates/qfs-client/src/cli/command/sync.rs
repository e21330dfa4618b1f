//! `pull` and `push`: a line for each step, in the order of the plan, and the total at the end.

use std::path::PathBuf;
use std::sync::Arc;

use qfs_client::error::{Failure, FailureClass};
use qfs_client::plan::sync::{Options, Plan, PlanError, TargetNames};
use qfs_client::session::Session;
use qfs_client::transfer::sync::{
    Direction, Prepared, StepEnd, SyncConfig, SyncError, SyncOutcome, SyncRequest, prepare,
};
use qfs_core::model::{RemotePath, escape_untrusted};

use crate::cli::connection::Context;
use crate::cli::exit::Exit;
use crate::cli::report::sync::{Object, Refused, StepLines};
use crate::cli::report::{Problem, json, problem, sync as report};
use crate::cli::sync_args::{PullArgs, PushArgs, SyncArgs};

/// Names of one kind of trouble that are told of one by one; the others are counted.
const NAMES_TOLD: usize = 20;

pub(crate) async fn pull(context: &Context, args: &PullArgs) -> Result<Exit, Problem> {
    let (prefix, directory) = match &args.places[..] {
        [prefix, directory] => (super::directory(prefix)?, directory),
        [directory] => (None, directory),
        _ => return Err(places()),
    };
    run(context, Direction::Pull, prefix, directory, &args.sync).await
}

pub(crate) async fn push(context: &Context, args: &PushArgs) -> Result<Exit, Problem> {
    let (directory, prefix) = match &args.places[..] {
        [directory, prefix] => (directory, super::directory(prefix)?),
        [directory] => (directory, None),
        _ => return Err(places()),
    };
    run(context, Direction::Push, prefix, directory, &args.sync).await
}

fn places() -> Problem {
    Problem::new(Exit::Usage, "one or two places are needed")
}

async fn run(
    context: &Context,
    direction: Direction,
    prefix: Option<RemotePath>,
    directory: &str,
    args: &SyncArgs,
) -> Result<Exit, Problem> {
    let done = attempt(context, direction, prefix, directory, args).await;
    if let Err(problem) = &done
        && context.settings.json
    {
        let _ = context.screen.result(&format!("{}\n", json::text(&Refused::new(problem))));
    }
    done
}

async fn attempt(
    context: &Context,
    direction: Direction,
    prefix: Option<RemotePath>,
    directory: &str,
    args: &SyncArgs,
) -> Result<Exit, Problem> {
    let fetch = context.settings.fetch;
    let options = Options {
        delete: args.delete,
        max_delete: args.max_delete,
        checksum: fetch.checksum,
        size_only: args.size_only,
        update: args.update,
        links: args.links,
        executable: fetch.perms,
        // What a server publishes is there to be had; what is hidden here is not for others.
        hidden: direction == Direction::Pull,
        filters: args.filter.filters()?,
        target: TargetNames { folds_case: args.fold_case, ..TargetNames::default() },
        ..Options::default()
    };
    let session = context.session().await?;
    let request = SyncRequest { direction, prefix, directory: PathBuf::from(directory), options };
    let prepared = prepare(&session, request).await.map_err(|error| refused(context, direction, directory, error))?;
    // Each class of trouble decides the exit code.
    let mut troubles = tell_troubles(context, direction, &prepared);
    let (plan, unreadable) = (prepared.plan.clone(), prepared.unreadable.clone());
    let outcome = if args.dry_run {
        if !context.settings.json {
            let _ = context.screen.result(&report::lines(&plan));
        }
        context.screen.summary(&report::would(&plan));
        None
    } else {
        let outcome = carry_out(context, direction, &session, prepared, &plan).await?;
        troubles.extend(outcome.failures().map(|(_, failure)| failure.class()));
        Some(outcome)
    };
    if context.settings.json {
        let object = Object::new(&plan, &unreadable, outcome.as_ref());
        let _ = context.screen.result(&format!("{}\n", json::text(&object)));
    }
    if troubles.iter().any(|class| matches!(class, FailureClass::Connection | FailureClass::Trust)) {
        context.drop_session();
    }
    Ok(Exit::of_classes(troubles.into_iter()))
}

async fn carry_out(
    context: &Context,
    direction: Direction,
    session: &Session,
    prepared: Prepared,
    plan: &Plan,
) -> Result<SyncOutcome, Problem> {
    let (settings, screen) = (&context.settings, &context.screen);
    let fetch = settings.fetch;
    let config = SyncConfig {
        parallel: fetch.parallel,
        connections: fetch.connections,
        durable: fetch.durable,
        dense: fetch.dense,
        whole: fetch.whole,
        perms: fetch.perms,
    };
    let mut lines = StepLines::default();
    let mut told = 0;
    let mut each = |number: usize, end: &StepEnd| {
        let step = &plan.steps[number];
        match end {
            StepEnd::Failed(failure) if told < NAMES_TOLD => {
                told += 1;
                screen.problem(&problem::of_step(step.path().as_str(), failure));
            }
            StepEnd::Kept => screen.notice(&format!("note: {}/ is kept: something in it takes no part", step.path())),
            _ => {}
        }
        let due = lines.take(number, step, end);
        if !settings.json && !due.is_empty() {
            let _ = screen.result(&due);
        }
    };
    let drawing = context.progress.begin(screen.may_draw() && !settings.json);
    let observer = Arc::clone(&context.progress) as _;
    let done = prepared.carry_out(session, config, observer, &mut each).await;
    drop(drawing);
    let outcome = done.map_err(|failure| cannot(context, direction, &failure))?;
    let (failed, not_done) = (outcome.failures().count(), outcome.not_done());
    if failed > NAMES_TOLD || not_done > 0 {
        let exit = Exit::of_classes(outcome.failures().map(|(_, failure)| failure.class()));
        let mut what = format!("{failed} of {} steps failed", plan.steps.len());
        if not_done > 0 {
            what += &format!(", and {not_done} were not begun because of that: nothing is removed then");
        }
        screen.problem(&Problem::new(exit, what).hint("the same command again does what is left to do"));
    }
    screen.summary(&report::total(verb(direction), plan, &outcome));
    Ok(outcome)
}

fn verb(direction: Direction) -> &'static str {
    match direction {
        Direction::Pull => "pull",
        Direction::Push => "push",
    }
}

/// Tells what will not be as it should, and of which class that is.
fn tell_troubles(context: &Context, direction: Direction, prepared: &Prepared) -> Vec<FailureClass> {
    let screen = &context.screen;
    let plan = &prepared.plan;
    for line in report::skipped(&plan.skipped) {
        screen.notice(&line);
    }
    let mut classes = Vec::new();
    let target = match direction {
        Direction::Pull => FailureClass::Local,
        Direction::Push => FailureClass::Refused,
    };
    each_told(
        &plan.problems,
        |trouble| screen.problem(&Problem::new(target.into(), trouble.to_string())),
        |more| {
            screen.problem(&Problem::new(target.into(), format!("{more} more names cannot be brought over")));
        },
    );
    classes.extend((!plan.problems.is_empty()).then_some(target));
    let unreadable = |name: &String| {
        screen.problem(&Problem::local(escape_untrusted(name), "it cannot be read"));
    };
    each_told(&prepared.unreadable, unreadable, |more| {
        screen.problem(&Problem::local(format!("{more} more names"), "they cannot be read"));
    });
    classes.extend((!prepared.unreadable.is_empty()).then_some(FailureClass::Local));
    if prepared.server_is_partial {
        screen.problem(&problem::of_partial_listing());
        classes.push(FailureClass::Refused);
    }
    if let Some(why) = plan.withheld {
        screen.notice(&format!("note: nothing is removed: {why}"));
    }
    classes
}

pub(super) fn each_told<T>(all: &[T], tell: impl FnMut(&T), more: impl FnOnce(usize)) {
    all.iter().take(NAMES_TOLD).for_each(tell);
    if all.len() > NAMES_TOLD {
        more(all.len() - NAMES_TOLD);
    }
}

/// What is said when there is no plan.
fn refused(context: &Context, direction: Direction, directory: &str, error: SyncError) -> Problem {
    match error {
        SyncError::Directory(error) => {
            Problem::local(format!("cannot read {directory}"), error).hint("name a directory that is there")
        }
        SyncError::Plan(error) => refused_plan(context, &error),
        SyncError::Failure(failure) => cannot(context, direction, &failure),
        other => Problem::new(Exit::Mixed, other.to_string()),
    }
}

fn refused_plan(context: &Context, error: &PlanError) -> Problem {
    let exit = match error {
        PlanError::Names(names) => {
            let tell = |name: &qfs_client::plan::sync::BadName| {
                context.screen.problem(&Problem::new(Exit::Local, name.to_string()));
            };
            each_told(names, tell, |_| {});
            Exit::Local
        }
        _ => Exit::TooManyRemovals,
    };
    let problem = Problem::new(exit, format!("nothing was done: {error}"));
    match error.hint() {
        Some(hint) => problem.hint(hint),
        None => problem,
    }
}

fn cannot(context: &Context, direction: Direction, failure: &Failure) -> Problem {
    if matches!(failure.class(), FailureClass::Connection | FailureClass::Trust) {
        context.drop_session();
    }
    let preposition = match direction {
        Direction::Pull => "from",
        Direction::Push => "to",
    };
    problem::of_run(&format!("cannot {} {preposition} {}", verb(direction), context.settings.connect.server), failure)
}
