//! Texts for people.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;
use std::time::Duration;

use qfs_client::error::Failure;
use qfs_client::insight::bottleneck::Verdict;
use qfs_client::transfer::outcome::{FileOutcome, RunOutcome, Status};
use qfs_core::model::{EntryMeta, RemotePath, escape_untrusted};

use super::problem::{Problem, of_file};
use crate::cli::exit::Exit;
use crate::cli::sanitize::checksum_line;

/// Width of the size column: right-aligned, and fixed, because rows are shown before the largest is known.
const SIZE_COLUMN: usize = 15;

/// Width of the column of numbers in the menu's list.
const NUMBER_COLUMN: usize = 5;

/// What stands before a row of the menu's list: its number, where it has one.
pub(crate) fn list_number(out: &mut String, number: Option<usize>) {
    let number = number.map(|n| n.to_string()).unwrap_or_default();
    let _ = write!(out, "{number:>NUMBER_COLUMN$}  ");
}

/// One row of a listing: size in bytes, modification time (UTC), name; aligned.
pub(crate) fn list_row(out: &mut String, name: &RemotePath, meta: &EntryMeta) {
    let modified = meta.modified.strftime("%Y-%m-%d %H:%M:%S");
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{:>SIZE_COLUMN$}  {modified}  {name}", meta.size);
}

/// The last line of a listing.
pub(crate) fn list_summary(files: u64, bytes: u64) -> String {
    format!("{}, {}", count(files, "file"), bytes_text(bytes))
}

/// Tells of files as they end; a hint that was given once is not given again.
#[derive(Debug, Default)]
pub(crate) struct FileLines {
    hinted: HashSet<String>,
}

/// What is said about one file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum FileLine {
    /// A line of sha256sum or b3sum, for stdout.
    Checksum(String),
    /// A failure.
    Problem(Problem),
    /// Unchanged, and its digest is not known without reading it.
    Nothing,
}

impl FileLines {
    pub(crate) fn line(&mut self, outcome: &FileOutcome, for_terminal: bool) -> FileLine {
        match (&outcome.status, outcome.digest) {
            (Status::Failed(failure), _) => FileLine::Problem(self.problem(&outcome.name, failure)),
            (_, Some(digest)) => FileLine::Checksum(checksum_line(digest, &outcome.name, for_terminal)),
            (_, None) => FileLine::Nothing,
        }
    }

    fn problem(&mut self, name: &str, failure: &Failure) -> Problem {
        let mut problem = of_file(name, failure);
        problem.hint = problem.hint.filter(|hint| self.hinted.insert(hint.clone()));
        problem
    }
}

/// The line that ends a run: `total download time: 1.234 s (…)`.
pub(crate) fn total(outcome: &RunOutcome) -> String {
    total_of("download", outcome)
}

/// The line that ends a run of uploads.
pub(crate) fn total_upload(outcome: &RunOutcome) -> String {
    total_of("upload", outcome)
}

fn total_of(what: &str, outcome: &RunOutcome) -> String {
    let (bytes, seconds) = (outcome.received(), outcome.elapsed.as_secs_f64());
    let done = outcome.files.iter().filter(|file| !matches!(file.status, Status::Failed(_))).count();
    let unchanged = outcome.files.iter().filter(|file| matches!(file.status, Status::Unchanged)).count();
    let mut text = format!("total {what} time: {seconds:.3} s ({}", count(done as u64, "file"));
    if unchanged > 0 {
        let _ = write!(text, ", {unchanged} unchanged");
    }
    let live = outcome.files.iter().filter(|file| matches!(file.status, Status::Live)).count();
    if live > 0 {
        let _ = write!(text, ", {live} live");
    }
    let _ = write!(text, ", {}", bytes_text(bytes));
    if outcome.reused() > 0 {
        let _ = write!(text, ", {} reused", bytes_text(outcome.reused()));
    }
    let _ = write!(text, ", {})", rate(bytes, outcome.elapsed));
    text
}

/// What is said of a file that has grown while it was fetched.
pub(crate) fn live(outcome: &FileOutcome) -> Option<String> {
    let is_live = matches!(outcome.status, Status::Live);
    is_live.then(|| {
        let size = bytes_text(outcome.size.unwrap_or_default());
        format!(
            "live: {} has grown meanwhile; here is what it was when it was opened, {size}",
            escape_untrusted(&outcome.name)
        )
    })
}

/// What is said of a file of which a part was here already.
pub(crate) fn reused(outcome: &FileOutcome) -> Option<String> {
    reused_where(outcome, "here", "received")
}

/// What is said of an upload of which the server had a part already.
pub(crate) fn reused_there(outcome: &FileOutcome) -> Option<String> {
    reused_where(outcome, "there", "sent")
}

fn reused_where(outcome: &FileOutcome, place: &str, moved: &str) -> Option<String> {
    let was_put_together = outcome.reused > 0 && !matches!(outcome.status, Status::Failed(_));
    was_put_together.then(|| {
        let (reused, received) = (bytes_text(outcome.reused), bytes_text(outcome.received));
        format!("reused: {reused} of {} were {place}, {received} were {moved}", escape_untrusted(&outcome.name))
    })
}

/// What limited a run: `limited by the network path, over tcp: …`.
pub(crate) fn limited_by(verdict: &Verdict) -> String {
    let mut text = format!("limited by {}, over {}: {}", verdict.limit.words(), verdict.way, verdict.because);
    if let Some(hint) = verdict.hint {
        let _ = write!(text, "; what may help: {hint}");
    }
    text
}

/// What is said at the end when several files failed.
pub(crate) fn failures(outcome: &RunOutcome) -> Option<Problem> {
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, failure) in outcome.failures() {
        *kinds.entry(failure.code()).or_default() += 1;
    }
    let failed: usize = kinds.values().sum();
    if failed < 2 {
        return None;
    }
    let kinds: Vec<_> = kinds.iter().map(|(code, n)| format!("{n} {code}")).collect();
    let what = format!("{failed} of {} failed: {}", count(outcome.files.len() as u64, "file"), kinds.join(", "));
    Some(Problem::new(Exit::of_run(outcome), what))
}

pub(crate) fn count(n: u64, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

/// `1234567 bytes (1.2 MiB)`.
pub(crate) fn bytes_text(bytes: u64) -> String {
    let exact = count(bytes, "byte");
    if bytes < 1024 { exact } else { format!("{exact} = {}", binary(bytes)) }
}

/// `512 B`, `1.25 MiB`.
pub(crate) fn binary(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut value = bytes as f64;
    let mut unit = "B";
    for larger in UNITS {
        // What would be rounded to 1024.00 has the larger unit.
        if value < 1023.995 {
            break;
        }
        (value, unit) = (value / 1024.0, larger);
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{value:.2} {unit}") }
}

/// Bytes a second.
pub(crate) fn rate(bytes: u64, elapsed: Duration) -> String {
    format!("{}/s", binary(per_second(bytes, elapsed) as u64))
}

/// Bytes a second; 0 when no time has passed.
pub(crate) fn per_second(bytes: u64, elapsed: Duration) -> f64 {
    let seconds = elapsed.as_secs_f64();
    if seconds > 0.0 { bytes as f64 / seconds } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use qfs_client::insight::bottleneck::Limit;
    use qfs_core::model::Digest;

    use qfs_transport::Way;

    use super::*;

    fn outcome(name: &str, status: Status) -> FileOutcome {
        let digest = (!matches!(status, Status::Failed(_))).then(|| Digest::of(b""));
        FileOutcome {
            name: name.to_owned(),
            size: Some(1),
            digest,
            status,
            received: 1 << 20,
            reused: 0,
            elapsed: Duration::ZERO,
        }
    }

    #[test]
    fn rows_are_aligned_and_escaped() {
        let mut out = String::new();
        let meta = |size| EntryMeta {
            size,
            modified: "2026-11-23T08:09:24.9Z".parse().unwrap(),
            digest: None,
            executable: false,
        };
        list_row(&mut out, &RemotePath::parse("a b").unwrap(), &meta(5));
        list_row(&mut out, &RemotePath::parse("x\x1b[2J").unwrap(), &meta(123_456_789_012_345));
        assert_eq!(
            out,
            "              5  2026-11-23 08:09:24  a b\n123456789012345  2026-11-23 08:09:24  x\\u{1b}[2J\n"
        );
    }

    #[test]
    fn sizes_have_the_unit_that_suits_them() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.00 KiB"),
            (1_048_575, "1.00 MiB"),
            (5 << 20, "5.00 MiB"),
            (u64::MAX, "16.00 EiB"),
        ] {
            assert_eq!(binary(bytes), text);
        }
    }

    #[test]
    fn the_total_begins_as_promised() {
        let files = vec![
            outcome("a", Status::Downloaded),
            outcome("b", Status::Unchanged),
            outcome("c", Status::Failed(Failure::Exists)),
        ];
        let run = RunOutcome { files, elapsed: Duration::from_millis(1500), ..RunOutcome::default() };
        assert_eq!(
            total(&run),
            "total download time: 1.500 s (2 files, 1 unchanged, 3145728 bytes = 3.00 MiB, 2.00 MiB/s)"
        );
        let reused = FileOutcome { reused: 5 << 20, ..outcome("a", Status::Downloaded) };
        assert_eq!(
            super::reused(&reused).unwrap(),
            "reused: 5242880 bytes = 5.00 MiB of a were here, 1048576 bytes = 1.00 MiB were received"
        );
        let run = RunOutcome { files: vec![reused], elapsed: Duration::from_secs(1), ..RunOutcome::default() };
        assert_eq!(
            total(&run),
            "total download time: 1.000 s (1 file, 1048576 bytes = 1.00 MiB, 5242880 bytes = 5.00 MiB reused, 1.00 MiB/s)"
        );
        assert_eq!(super::reused(&outcome("a", Status::Downloaded)), None);
        assert!(total(&RunOutcome::default()).starts_with("total download time: 0.000 s (0 files, 0 bytes, 0 B/s)"));
    }

    #[test]
    fn the_limit_is_one_line() {
        let verdict =
            Verdict { limit: Limit::Latency, way: Way::Tcp, because: "so".to_owned(), hint: Some("--parallel") };
        assert_eq!(limited_by(&verdict), "limited by round trips, over tcp: so; what may help: --parallel");
        assert_eq!(limited_by(&Verdict { hint: None, ..verdict }), "limited by round trips, over tcp: so");
    }

    #[test]
    fn hints_come_once_and_several_failures_are_counted() {
        let mut lines = FileLines::default();
        let failed = |name| outcome(name, Status::Failed(Failure::Exists));
        let FileLine::Problem(first) = lines.line(&failed("a"), false) else { panic!() };
        let FileLine::Problem(second) = lines.line(&failed("b"), false) else { panic!() };
        assert!(first.hint.is_some() && second.hint.is_none());
        let files = vec![failed("a"), failed("b"), outcome("c", Status::Failed(Failure::NoMatch))];
        let run = RunOutcome { files, ..RunOutcome::default() };
        assert_eq!(failures(&run).unwrap().what, "3 of 3 files failed: 2 exists, 1 not_found");
        assert_eq!(failures(&run).unwrap().exit, Exit::Mixed);
        assert_eq!(failures(&RunOutcome { files: vec![failed("a")], ..run }), None);
    }
}
