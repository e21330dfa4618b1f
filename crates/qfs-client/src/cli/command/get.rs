//! `get`: a line for each file as it ends, the total at the end.

use std::sync::Arc;

use qfs_client::error::FailureClass;
use qfs_client::insight::bottleneck::bottleneck;
use qfs_client::plan::selection::Selection;
use qfs_client::transfer::delta::library::Library;
use qfs_client::transfer::outcome::{FileOutcome, RunOutcome};
use qfs_client::transfer::run;
use qfs_store::local::{Hidden, LocalStore};

use super::list::parse;
use crate::cli::args::GetArgs;
use crate::cli::connection::{Context, Sources};
use crate::cli::exit::Exit;
use crate::cli::report::human::{FileLine, FileLines};
use crate::cli::report::json::{self, Run};
use crate::cli::report::{Problem, human, mirrors, problem};

/// Fetches what is asked for. A reader of stdout that goes away (`| head`) does not end the downloads: the files are what was
/// asked for, and the exit code says how they ended.
pub(crate) async fn run(context: &Context, args: &GetArgs) -> Result<Exit, Problem> {
    let selection = if args.all { Selection::all() } else { parse(&args.names)? };
    let settings = &context.settings;
    let print = |run: Run<'_>| {
        // A closed stdout is remembered by the screen.
        let _ = context.screen.result(&format!("{}\n", json::text(&run)));
    };
    match download(context, selection).await {
        Ok(outcome) => {
            if settings.json {
                let run = Run::new(&outcome, settings.connect.hash, &settings.save_dir);
                print(run.from(&context.mirror_reports()));
            }
            match context.distrusted() {
                None => Ok(Exit::of_run(&outcome)),
                Some(problem) => {
                    context.screen.problem(&problem);
                    Ok(problem.exit)
                }
            }
        }
        Err(problem) => {
            if settings.json {
                print(Run::stillborn(&args.names, &problem, settings.connect.hash, &settings.save_dir));
            }
            Err(problem)
        }
    }
}

/// Fetches a selection and tells of it, except in JSON.
pub(crate) async fn download(context: &Context, selection: Selection) -> Result<RunOutcome, Problem> {
    let is_all = selection.is_all();
    let sources = context.sources().await?;
    let (settings, screen, progress) = (&context.settings, &context.screen, &context.progress);
    let directory = settings.save_dir.clone();
    // Whoever asks for a hidden file by its name gets it.
    let sparse = !settings.fetch.dense;
    let open = move || LocalStore::create_root(&directory).map(|store| store.hidden(Hidden::Included).sparse(sparse));
    let opened = tokio::task::spawn_blocking(open).await;
    let what = || format!("cannot use {} to save files", settings.save_dir.display());
    let store = match opened {
        Ok(Ok(store)) => Arc::new(store),
        Ok(Err(error)) => return Err(Problem::local(what(), error).hint("choose another place with --save-dir")),
        Err(error) => return Err(Problem::local(what(), error)),
    };
    let library = library(context).await?;
    let mut lines = FileLines::default();
    let mut done = |ended: &[&FileOutcome]| {
        let mut checksums = String::new();
        for outcome in ended {
            progress.ended(outcome);
            for notice in human::live(outcome).into_iter().chain(human::reused(outcome)) {
                screen.notice(&notice);
            }
            match lines.line(outcome, screen.out_is_terminal()) {
                FileLine::Problem(problem) => screen.problem(&problem),
                FileLine::Checksum(line) if !settings.json => checksums.push_str(&line),
                FileLine::Checksum(_) | FileLine::Nothing => {}
            }
        }
        // One write for all that ended together.
        if !checksums.is_empty() {
            let _ = screen.result(&checksums);
        }
    };
    let drawing = progress.begin(screen.may_draw() && !settings.json);
    let observer = Arc::clone(progress) as _;
    let (config, done) = (settings.fetch, &mut done);
    let fetched = match &sources {
        Sources::One(session) => run::fetch_with(session, store, library, selection, config, observer, done).await,
        Sources::Several(fleet) => run::fetch_from(fleet, store, library, selection, config, observer, done).await,
    };
    drop(drawing);
    if let Sources::Several(fleet) = &sources {
        fleet.note_unreached();
    }
    let mut outcome = match fetched {
        Ok(outcome) => outcome,
        Err(failure) => {
            drop_if_lost(context, failure.class());
            return Err(problem::of_run(&format!("cannot download from {}", settings.connect.server), &failure));
        }
    };
    outcome.failures().for_each(|(_, failure)| drop_if_lost(context, failure.class()));
    if let Some(problem) = human::failures(&outcome) {
        screen.problem(&problem);
    }
    if outcome.server_is_partial {
        super::list::partial(context, is_all);
        // What is lacking may lie where nothing was asked for.
        outcome.server_is_partial = is_all;
    }
    if outcome.is_all_unfound() {
        return Ok(outcome);
    }
    screen.summary(&human::total(&outcome));
    if settings.verbose > 0 {
        context.mirror_reports().iter().for_each(|report| screen.notice(&mirrors::summary(report)));
    }
    if settings.verbose > 0
        && let Some(measured) = &outcome.measured
    {
        screen.notice(&human::limited_by(&bottleneck(measured)));
    }
    Ok(outcome)
}

/// The files that `--seed` names.
async fn library(context: &Context) -> Result<Library, Problem> {
    let seeds = context.settings.seeds.clone();
    let gathered = tokio::task::spawn_blocking(move || {
        let mut library = Library::default();
        for path in &seeds {
            let problem = |error| Problem::local(format!("cannot use {} as a seed", path.display()), error);
            library.add(path).map_err(problem)?;
        }
        Ok(library)
    });
    let hint = "name files and directories that are there and can be read";
    gathered.await.map_err(|error| Problem::local("cannot use the seeds", error))?.map_err(|p: Problem| p.hint(hint))
}

fn drop_if_lost(context: &Context, class: FailureClass) {
    if matches!(class, FailureClass::Connection | FailureClass::Trust) {
        context.drop_session();
    }
}
