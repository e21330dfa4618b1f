//! What is said of a `pull` or `push`: a line for each step, the total, and the same as JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use qfs_client::plan::sync::{Plan, Skipped, Step, Summary};
use qfs_client::transfer::sync::{StepEnd, SyncOutcome};
use serde::Serialize;

use super::human::{bytes_text, count, per_second, rate};
use super::problem::Problem;

/// Lines of steps in the order of the plan, as soon as all before them have ended.
#[derive(Debug, Default)]
pub(crate) struct StepLines {
    /// The line of each step that has ended and was not printed; an empty one where nothing is to be said.
    ended: BTreeMap<usize, String>,
    next: usize,
}

impl StepLines {
    /// Takes the end of a step; returns the lines that are due.
    pub(crate) fn take(&mut self, number: usize, step: &Step, end: &StepEnd) -> String {
        let line = if matches!(end, StepEnd::Done) { format!("{step}\n") } else { String::new() };
        self.ended.insert(number, line);
        let mut due = String::new();
        while let Some(line) = self.ended.remove(&self.next) {
            due.push_str(&line);
            self.next += 1;
        }
        due
    }
}

/// All lines of a plan.
pub(crate) fn lines(plan: &Plan) -> String {
    plan.steps.iter().map(|step| format!("{step}\n")).collect()
}

/// The last line of a run: `total pull time: 1.234 s (…)`.
pub(crate) fn total(verb: &str, plan: &Plan, outcome: &SyncOutcome) -> String {
    let done = plan.steps.iter().zip(&outcome.ends).filter(|(_, end)| matches!(end, StepEnd::Done));
    let summary = Summary::of(done.map(|(step, _)| step));
    let mut text = format!("total {verb} time: {:.3} s (", outcome.elapsed.as_secs_f64());
    parts(&mut text, &summary, &plan.summary);
    let _ = write!(text, ", {}", bytes_text(outcome.bytes));
    if outcome.reused_bytes() > 0 {
        let _ = write!(text, ", {} reused", bytes_text(outcome.reused_bytes()));
    }
    let _ = write!(text, ", {})", rate(outcome.bytes, outcome.elapsed));
    text
}

/// The last line of a dry run.
pub(crate) fn would(plan: &Plan) -> String {
    let mut text = "nothing was changed; to do: ".to_owned();
    parts(&mut text, &plan.summary, &plan.summary);
    let _ = write!(text, ", {}", bytes_text(plan.summary.transfer_bytes));
    text
}

/// What was, or is to be `done`, and what is left as it is.
fn parts(text: &mut String, done: &Summary, all: &Summary) {
    text.push_str(&count(done.transfers, "file"));
    let more = [
        (done.copies, "copied"),
        (done.links, "linked"),
        (done.metadata, "set"),
        (done.removals + done.removed_directories, "removed"),
        (all.kept, "unchanged"),
        (all.newer, "newer"),
        (all.excluded, "excluded"),
        (all.hidden, "hidden"),
    ];
    for (number, what) in more.into_iter().filter(|(number, _)| *number > 0) {
        let _ = write!(text, ", {number} {what}");
    }
}

/// What is said of what the source has and is not carried: one line for each reason.
pub(crate) fn skipped(skipped: &[Skipped]) -> Vec<String> {
    let mut reasons: Vec<(String, u64, &Skipped)> = Vec::new();
    for one in skipped {
        let why = one.why.to_string();
        match reasons.iter_mut().find(|(known, _, _)| *known == why) {
            Some((_, count, _)) => *count += 1,
            None => reasons.push((why, 1, one)),
        }
    }
    let line = |(why, count, first): (String, u64, &Skipped)| {
        let hint = if first.why == qfs_client::plan::sync::LinkFault::NotAsked { "; --links carries it" } else { "" };
        match count {
            1 => format!("note: left out: {}: {why}{hint}", first.path),
            _ => format!("note: left out: {} and {} more: each {why}{hint}", first.path, count - 1),
        }
    };
    reasons.into_iter().map(line).collect()
}

/// The object that `pull --json` and `push --json` print.
#[derive(Debug, Serialize)]
pub(crate) struct Object<'a> {
    steps: Vec<StepObject<'a>>,
    dry_run: bool,
    unchanged: u64,
    newer: u64,
    excluded: u64,
    hidden: u64,
    skipped: Vec<NameObject<'a>>,
    problems: Vec<NameObject<'a>>,
    unreadable: &'a [String],
    /// Why nothing was removed although it was asked for.
    withheld: Option<String>,
    bytes: u64,
    /// Bytes of transferred files that were on the target already; only where there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    reused: Option<u64>,
    seconds: f64,
    bytes_per_second: f64,
}

#[derive(Debug, Serialize)]
struct StepObject<'a> {
    step: &'static str,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    /// Bytes of the file that were on the target already; only where there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    reused: Option<u64>,
    /// `planned`, `done`, `kept`, `failed` or `not_done`.
    status: &'static str,
    error: Option<ErrorObject>,
}

#[derive(Debug, Serialize)]
struct ErrorObject {
    code: &'static str,
    message: String,
}

#[derive(Debug, Serialize)]
struct NameObject<'a> {
    name: &'a str,
    why: String,
}

impl<'a> Object<'a> {
    /// Of a plan that was carried out, or with None of one that was not.
    pub(crate) fn new(plan: &'a Plan, unreadable: &'a [String], outcome: Option<&SyncOutcome>) -> Self {
        let end = |number: usize| outcome.map(|outcome| &outcome.ends[number]);
        let (bytes, elapsed) = outcome.map_or((0, std::time::Duration::ZERO), |done| (done.bytes, done.elapsed));
        let name = |name: &'a qfs_core::model::RemotePath, why: &dyn std::fmt::Display| NameObject {
            name: name.as_str(),
            why: why.to_string(),
        };
        let reused = |number: usize| outcome.and_then(|outcome| outcome.reused.get(&number)).copied();
        let steps = plan.steps.iter().enumerate();
        Self {
            steps: steps.map(|(number, step)| StepObject::new(step, end(number), reused(number))).collect(),
            dry_run: outcome.is_none(),
            unchanged: plan.summary.kept,
            newer: plan.summary.newer,
            excluded: plan.summary.excluded,
            hidden: plan.summary.hidden,
            skipped: plan.skipped.iter().map(|skipped| name(&skipped.path, &skipped.why)).collect(),
            problems: plan.problems.iter().map(|problem| name(&problem.path, &problem.why)).collect(),
            unreadable,
            withheld: plan.withheld.map(|why| why.to_string()),
            bytes,
            reused: outcome.map(SyncOutcome::reused_bytes).filter(|reused| *reused > 0),
            seconds: (elapsed.as_secs_f64() * 1e6).round() / 1e6,
            bytes_per_second: per_second(bytes, elapsed).round(),
        }
    }
}

impl<'a> StepObject<'a> {
    fn new(step: &'a Step, end: Option<&StepEnd>, reused: Option<u64>) -> Self {
        let (word, from, target, why, size) = match step {
            Step::MakeDirectory { .. } => ("make_directory", None, None, None, None),
            Step::CopyOnTarget { from, file, .. } => ("copy", Some(from.as_str()), None, None, Some(file.size)),
            Step::Transfer { file, why, .. } => ("transfer", None, None, Some(why.to_string()), Some(file.size)),
            Step::MakeLink { text, .. } => ("make_link", None, Some(text.as_str()), None, None),
            Step::SetMetadata { .. } => ("set_metadata", None, None, None, None),
            Step::RemoveFile { .. } => ("remove_file", None, None, None, None),
            Step::RemoveLink { .. } => ("remove_link", None, None, None, None),
            Step::RemoveDirectory { .. } => ("remove_directory", None, None, None, None),
            Step::SetDirectoryTime { .. } => ("set_directory_time", None, None, None, None),
        };
        let (status, error) = match end {
            None => ("planned", None),
            Some(StepEnd::Done) => ("done", None),
            Some(StepEnd::Kept) => ("kept", None),
            Some(StepEnd::NotDone) => ("not_done", None),
            Some(StepEnd::Failed(failure)) => {
                ("failed", Some(ErrorObject { code: failure.code(), message: failure.to_string() }))
            }
        };
        Self { step: word, name: step.path().as_str(), from, target, why, size, reused, status, error }
    }
}

/// What `--json` prints of a run that was not begun.
#[derive(Debug, Serialize)]
pub(crate) struct Refused {
    steps: [(); 0],
    error: ErrorObject,
}

impl Refused {
    pub(crate) fn new(problem: &Problem) -> Self {
        Self { steps: [], error: ErrorObject { code: problem.code, message: problem.what.clone() } }
    }
}
