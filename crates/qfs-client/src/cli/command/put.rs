//! `put`: a line for each file as it ends, the total at the end.

mod sources;

use std::collections::HashMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use qfs_client::error::FailureClass;
use qfs_client::insight::bottleneck::bottleneck;
use qfs_client::transfer::outcome::{FileOutcome, RunOutcome};
use qfs_client::transfer::put::{self, PutConfig, Replace};
use tokio::sync::mpsc;

use crate::cli::connection::Context;
use crate::cli::exit::Exit;
use crate::cli::report::human::{FileLine, FileLines};
use crate::cli::report::json::{self, Run};
use crate::cli::report::{Problem, human, problem};
use crate::cli::verbs::PutArgs;
use sources::{Gathered, gather, remote_name};

/// Bytes read from standard input at once, and how many of such blocks wait to be sent.
const BLOCK_BYTES: usize = 256 << 10;
const BLOCKS_AHEAD: usize = 4;

pub(crate) async fn run(context: &Context, args: &PutArgs) -> Result<Exit, Problem> {
    let done = attempt(context, args).await;
    if let Err(problem) = &done
        && context.settings.json
    {
        let names: Vec<_> = args.paths.iter().map(|path| path.to_string_lossy().into_owned()).collect();
        let run = Run::stillborn_at(&names, problem, context.settings.connect.hash, &str::to_owned);
        let _ = context.screen.result(&format!("{}\n", json::text(&run)));
    }
    done
}

async fn attempt(context: &Context, args: &PutArgs) -> Result<Exit, Problem> {
    let settings = &context.settings;
    let config = PutConfig {
        parallel: settings.fetch.parallel,
        connections: settings.fetch.connections,
        replace: match (args.if_unchanged, settings.fetch.overwrite) {
            (true, _) => Replace::Seen,
            (false, true) => Replace::Any,
            (false, false) => Replace::Never,
        },
        checksum: settings.fetch.checksum,
        durable: settings.fetch.durable,
        perms: settings.fetch.perms,
        whole: settings.fetch.whole,
        dense: settings.fetch.dense,
        measured: settings.fetch.measured,
    };
    if args.paths.iter().any(|path| path == Path::new("-")) {
        return from_stdin(context, args, config).await;
    }
    let Gathered { sources, paths, failed } = gather(context, args)?;
    if sources.is_empty() && !failed.is_empty() {
        return conclude(context, &RunOutcome { files: failed, ..RunOutcome::default() }, &paths);
    }
    let session = context.session().await?;
    let mut report = Report { context, lines: FileLines::default() };
    let drawing = context.progress.begin(context.screen.may_draw() && !settings.json);
    let observer = Arc::clone(&context.progress) as _;
    let done = put::put(&session, sources, config, observer, &mut |ended| report.files(ended)).await;
    drop(drawing);
    let mut outcome = done.map_err(|failure| {
        drop_if_lost(context, failure.class());
        problem::of_run(&format!("cannot upload to {}", settings.connect.server), &failure)
    })?;
    outcome.files.splice(..0, failed);
    conclude(context, &outcome, &paths)
}

fn conclude(context: &Context, outcome: &RunOutcome, paths: &HashMap<String, PathBuf>) -> Result<Exit, Problem> {
    outcome.failures().for_each(|(_, failure)| drop_if_lost(context, failure.class()));
    let (settings, screen) = (&context.settings, &context.screen);
    if settings.json {
        let path = |name: &str| paths.get(name).map(|path| path.to_string_lossy().into_owned()).unwrap_or_default();
        let _ = screen.result(&format!("{}\n", json::text(&Run::with_paths(outcome, settings.connect.hash, &path))));
    }
    if let Some(problem) = human::failures(outcome) {
        screen.problem(&problem);
    }
    screen.summary(&human::total_upload(outcome));
    if settings.verbose > 0
        && let Some(measured) = &outcome.measured
    {
        screen.notice(&human::limited_by(&bottleneck(measured)));
    }
    Ok(Exit::of_run(outcome))
}

struct Report<'a> {
    context: &'a Context,
    lines: FileLines,
}

impl Report<'_> {
    fn files(&mut self, ended: &[&FileOutcome]) {
        let screen = &self.context.screen;
        let mut checksums = String::new();
        for outcome in ended {
            self.context.progress.ended(outcome);
            if let Some(notice) = human::reused_there(outcome) {
                screen.notice(&notice);
            }
            match self.lines.line(outcome, screen.out_is_terminal()) {
                FileLine::Problem(problem) => screen.problem(&problem),
                FileLine::Checksum(line) if !self.context.settings.json => checksums.push_str(&line),
                FileLine::Checksum(_) | FileLine::Nothing => {}
            }
        }
        if !checksums.is_empty() {
            let _ = screen.result(&checksums);
        }
    }
}

fn drop_if_lost(context: &Context, class: FailureClass) {
    if matches!(class, FailureClass::Connection | FailureClass::Trust) {
        context.drop_session();
    }
}

/// Standard input as one file.
async fn from_stdin(context: &Context, args: &PutArgs, config: PutConfig) -> Result<Exit, Problem> {
    let name = match (&args.paths[..], &args.name) {
        ([_], Some(name)) => name,
        ([_], None) => {
            return Err(
                Problem::new(Exit::Usage, "standard input has no name").hint("give it one: qfs-client put - --as NAME")
            );
        }
        _ => return Err(Problem::new(Exit::Usage, "standard input is uploaded alone").hint("put the files first")),
    };
    let remote = remote_name(Path::new("-"), None, Some(name))?;
    let session = context.session().await?;
    let (sender, blocks) = mpsc::channel(BLOCKS_AHEAD);
    // Ends by itself with the input, or when nobody takes its blocks any more.
    std::thread::spawn(move || {
        let mut input = std::io::stdin().lock();
        loop {
            let mut block = Vec::with_capacity(BLOCK_BYTES);
            let read = input.by_ref().take(BLOCK_BYTES as u64).read_to_end(&mut block);
            let block = match read {
                Ok(0) => return,
                Ok(_) => Ok(Bytes::from(block)),
                Err(error) => Err(error),
            };
            if sender.blocking_send(block).is_err() {
                return;
            }
        }
    });
    let begun = std::time::Instant::now();
    let observer = Arc::clone(&context.progress) as _;
    let done = put::put_stream(&session, &remote, blocks, config, observer).await;
    let file = done.unwrap_or_else(|failure| FileOutcome {
        name: remote.as_str().to_owned(),
        size: None,
        digest: None,
        status: qfs_client::transfer::outcome::Status::Failed(failure),
        received: 0,
        reused: 0,
        elapsed: begun.elapsed(),
    });
    let mut report = Report { context, lines: FileLines::default() };
    report.files(&[&file]);
    let outcome = RunOutcome { files: vec![file], elapsed: begun.elapsed(), ..RunOutcome::default() };
    conclude(context, &outcome, &HashMap::from([(remote.as_str().to_owned(), PathBuf::from("-"))]))
}
