//! JSON for programs. Names stand there as they are; whatever could act on a terminal that shows the text is written `\uXXXX`, which
//! means the same.

use std::io;
use std::path::Path;

use qfs_client::insight::bottleneck::{Verdict, bottleneck};
use qfs_client::transfer::outcome::{FileOutcome, RunOutcome, Status};
use qfs_core::model::{Digest, EntryMeta, RemotePath};
use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

use super::human::per_second;
use super::problem::Problem;
use crate::cli::sanitize::is_dangerous;

/// The object that `get --json` prints.
#[derive(Debug, Serialize)]
pub(crate) struct Run<'a> {
    files: Vec<File<'a>>,
    bytes: u64,
    /// Bytes that were here already and did not have to be received; only where there are any.
    #[serde(skip_serializing_if = "is_zero")]
    reused: u64,
    seconds: f64,
    bytes_per_second: f64,
    /// What limited the run; null when nothing was measured.
    limited_by: Option<LimitedBy>,
}

#[derive(Debug, Serialize)]
struct LimitedBy {
    what: &'static str,
    /// `udp` or `tcp`: how the bytes travelled in the end.
    over: &'static str,
    because: String,
    hint: Option<&'static str>,
}

#[derive(Debug, Serialize)]
struct File<'a> {
    name: &'a str,
    /// Where it is, or would be; what is not UTF-8 in it is replaced.
    path: String,
    size: Option<u64>,
    sha256: Option<Digest>,
    status: &'static str,
    /// Bytes of it that were here already; only where there are any.
    #[serde(skip_serializing_if = "is_zero")]
    reused: u64,
    seconds: f64,
    error: Option<Error>,
}

#[derive(Debug, Serialize)]
struct Error {
    code: &'static str,
    message: String,
}

impl<'a> Run<'a> {
    /// What a run of downloads came to.
    pub(crate) fn new(outcome: &'a RunOutcome, save_dir: &Path) -> Self {
        Self::with_paths(outcome, &|name| local_path(save_dir, name))
    }

    /// What a run came to that is about the server alone.
    pub(crate) fn on_server(outcome: &'a RunOutcome) -> Self {
        Self::with_paths(outcome, &|_| String::new())
    }

    /// What a run came to whose files lie where `path` says.
    pub(crate) fn with_paths(outcome: &'a RunOutcome, path: &dyn Fn(&str) -> String) -> Self {
        let bytes = outcome.received();
        Self {
            files: outcome.files.iter().map(|file| File::new(file, path(&file.name))).collect(),
            bytes,
            reused: outcome.reused(),
            seconds: rounded(outcome.elapsed.as_secs_f64()),
            bytes_per_second: per_second(bytes, outcome.elapsed).round(),
            limited_by: outcome.measured.as_ref().map(|measured| {
                let Verdict { limit, way, because, hint } = bottleneck(measured);
                LimitedBy { what: limit.name(), over: way.name(), because, hint }
            }),
        }
    }

    /// A run that never began: every file asked for failed, for the one reason.
    pub(crate) fn stillborn(names: &'a [String], problem: &Problem, save_dir: &Path) -> Self {
        let files = names.iter().map(|name| File {
            name,
            path: local_path(save_dir, name),
            size: None,
            sha256: None,
            status: "failed",
            reused: 0,
            seconds: 0.0,
            error: Some(Error { code: problem.code, message: problem.what.clone() }),
        });
        Self { files: files.collect(), bytes: 0, reused: 0, seconds: 0.0, bytes_per_second: 0.0, limited_by: None }
    }
}

impl<'a> File<'a> {
    fn new(outcome: &'a FileOutcome, path: String) -> Self {
        let error = match &outcome.status {
            Status::Failed(failure) => Some(Error { code: failure.code(), message: failure.to_string() }),
            _ => None,
        };
        Self {
            name: &outcome.name,
            path,
            size: outcome.size,
            sha256: outcome.sha256,
            status: outcome.status.name(),
            reused: outcome.reused,
            seconds: rounded(outcome.elapsed.as_secs_f64()),
            error,
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "what serde asks for")]
fn is_zero(bytes: &u64) -> bool {
    *bytes == 0
}

fn local_path(save_dir: &Path, name: &str) -> String {
    // A name that begins with a slash is no name of a file here, and must not look like one elsewhere.
    save_dir.join(name.trim_start_matches('/')).to_string_lossy().into_owned()
}

/// To the microsecond.
fn rounded(seconds: f64) -> f64 {
    (seconds * 1e6).round() / 1e6
}

/// The object that `list --json` prints, row by row: a text that is complete only at its end.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    rows: u64,
}

impl Listing {
    /// Appends a row.
    pub(crate) fn row(&mut self, out: &mut String, name: &RemotePath, meta: &EntryMeta) {
        out.push_str(if self.rows == 0 { "{\n" } else { ",\n" });
        self.rows += 1;
        out.push_str(&text(name.as_str()));
        out.push(':');
        // What rows of it have is promised: no more than this.
        out.push_str(&text(&EntryMeta { executable: false, ..meta.clone() }));
    }

    /// Appends the end.
    pub(crate) fn end(&self, out: &mut String) {
        out.push_str(if self.rows == 0 { "{}\n" } else { "\n}\n" });
    }
}

/// `value` as JSON on one line, without its end.
pub(crate) fn text(value: &(impl Serialize + ?Sized)) -> String {
    let mut bytes = Vec::new();
    // Fails only for maps with keys that are no strings, and none is written here.
    let written = value.serialize(&mut Serializer::with_formatter(&mut bytes, Inert));
    debug_assert!(written.is_ok());
    String::from_utf8(bytes).unwrap_or_default()
}

/// serde_json's compact form, with more escaped.
struct Inert;

impl Formatter for Inert {
    fn write_string_fragment<W: io::Write + ?Sized>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(is_dangerous) {
            let (plain, tail) = rest.split_at(at);
            writer.write_all(plain.as_bytes())?;
            let mut characters = tail.chars();
            if let Some(dangerous) = characters.next() {
                for unit in dangerous.encode_utf16(&mut [0; 2]) {
                    write!(writer, "\\u{unit:04x}")?;
                }
            }
            rest = characters.as_str();
        }
        writer.write_all(rest.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use proptest::prelude::*;
    use qfs_client::error::Failure;
    use qfs_client::insight::bottleneck::Measurements;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_run_is_the_promised_object() {
        let file = |name: &str, status| FileOutcome {
            name: name.to_owned(),
            size: Some(3),
            sha256: None,
            status,
            received: 3,
            reused: 0,
            elapsed: Duration::from_millis(500),
        };
        let files = vec![file("s/a", Status::Downloaded), file("b", Status::Failed(Failure::NoMatch))];
        let measured = Some(Measurements { elapsed: Duration::from_millis(9), bytes: 1, ..Measurements::default() });
        let run = RunOutcome { files, elapsed: Duration::from_secs(2), measured };
        let value: Value = serde_json::from_str(&text(&Run::new(&run, Path::new("d")))).unwrap();
        assert_eq!(
            value,
            json!({"files": [
                {"name": "s/a", "path": "d/s/a", "size": 3, "sha256": null, "status": "downloaded", "seconds": 0.5, "error": null},
                {"name": "b", "path": "d/b", "size": 3, "sha256": null, "status": "failed", "seconds": 0.5,
                 "error": {"code": "not_found", "message": "no file matches"}},
            ], "bytes": 6, "seconds": 2.0, "bytes_per_second": 3.0,
              "limited_by": {"what": "unknown", "over": "udp", "because": "it was over in 9.0 ms", "hint": null}})
        );
    }

    #[test]
    fn a_listing_is_one_object() {
        let meta =
            EntryMeta { size: 1, modified: "2026-11-23T08:09:24Z".parse().unwrap(), sha256: None, executable: false };
        let mut listing = Listing::default();
        let mut out = String::new();
        for name in ["a\"b", "\u{202e}c"] {
            listing.row(&mut out, &RemotePath::parse(name).unwrap(), &meta);
        }
        listing.end(&mut out);
        let value: BTreeMap<String, EntryMeta> = serde_json::from_str(&out).unwrap();
        assert_eq!(
            value.into_iter().collect::<Vec<_>>(),
            [("a\"b".to_owned(), meta.clone()), ("\u{202e}c".to_owned(), meta)]
        );
        let mut empty = String::new();
        Listing::default().end(&mut empty);
        assert_eq!(empty, "{}\n");
    }

    proptest! {
        #[test]
        fn every_string_reads_back_and_none_acts_on_a_terminal(name in "[\\PC\u{0}-\u{1f}\u{7f}-\u{9f}\u{200b}-\u{202e}\u{e0001}\\\\\"]{0,12}") {
            let written = text(&name);
            prop_assert_eq!(serde_json::from_str::<String>(&written).unwrap(), name);
            prop_assert!(!written.contains(is_dangerous));
        }
    }
}
