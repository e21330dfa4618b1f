//! JSON for programs. Names stand there as they are; whatever could act on a terminal that shows the text is written `\uXXXX`, which
//! means the same.

use std::io;
use std::path::Path;

use qfs_client::insight::bottleneck::{Verdict, bottleneck};
use qfs_client::mirrors::report::MirrorReport;
use qfs_client::transfer::outcome::{FileOutcome, RunOutcome, Status};
use qfs_core::model::{Digest, EntryMeta, HashKind, RemotePath};
use serde::Serialize;
use serde::ser::SerializeMap as _;
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
    /// Whether the server could not list everything; only where that is so.
    #[serde(skip_serializing_if = "is_false")]
    partial: bool,
    /// What each of several servers did; only where there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    mirrors: Vec<Mirror>,
}

#[derive(Debug, Serialize)]
struct Mirror {
    server: String,
    /// Bytes of content that it sent.
    bytes: u64,
    /// How long something was asked of it.
    seconds: f64,
    /// `ok`, `dropped` or `unreachable`.
    state: &'static str,
    reason: Option<String>,
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
    #[serde(flatten)]
    digest: Keyed,
    status: &'static str,
    /// Bytes of it that were here already; only where there are any.
    #[serde(skip_serializing_if = "is_zero")]
    reused: u64,
    seconds: f64,
    error: Option<Error>,
}

/// A digest under the key of its kind; null under that of the kind asked for where there is none.
#[derive(Debug, Clone, Copy)]
struct Keyed {
    asked: HashKind,
    digest: Option<Digest>,
}

impl Serialize for Keyed {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let kind = self.digest.map_or(self.asked, |digest| digest.kind());
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(kind.name(), &self.digest)?;
        map.end()
    }
}

#[derive(Debug, Serialize)]
struct Error {
    code: &'static str,
    message: String,
}

impl<'a> Run<'a> {
    /// What a run of downloads came to, of which digests of `hash` were asked for.
    pub(crate) fn new(outcome: &'a RunOutcome, hash: HashKind, save_dir: &Path) -> Self {
        Self::with_paths(outcome, hash, &|name| local_path(save_dir, name))
    }

    /// What a run came to that is about the server alone.
    pub(crate) fn on_server(outcome: &'a RunOutcome, hash: HashKind) -> Self {
        Self::with_paths(outcome, hash, &|_| String::new())
    }

    /// What a run came to whose files lie where `path` says.
    pub(crate) fn with_paths(outcome: &'a RunOutcome, hash: HashKind, path: &dyn Fn(&str) -> String) -> Self {
        let bytes = outcome.received();
        Self {
            files: outcome.files.iter().map(|file| File::new(file, hash, path(&file.name))).collect(),
            bytes,
            reused: outcome.reused(),
            seconds: rounded(outcome.elapsed.as_secs_f64()),
            bytes_per_second: per_second(bytes, outcome.elapsed).round(),
            limited_by: outcome.measured.as_ref().map(|measured| {
                let Verdict { limit, way, because, hint } = bottleneck(measured);
                LimitedBy { what: limit.name(), over: way.name(), because, hint }
            }),
            partial: outcome.server_is_partial,
            mirrors: Vec::new(),
        }
    }

    /// The same, with what each of several servers did.
    pub(crate) fn from(self, reports: &[MirrorReport]) -> Self {
        let mirror = |report: &MirrorReport| Mirror {
            server: report.server.clone(),
            bytes: report.bytes,
            seconds: rounded(report.busy.as_secs_f64()),
            state: report.state.name(),
            reason: report.state.reason().map(str::to_owned),
        };
        Self { mirrors: reports.iter().map(mirror).collect(), ..self }
    }

    /// A run that never began: every file asked for failed, for the one reason.
    pub(crate) fn stillborn(names: &'a [String], problem: &Problem, hash: HashKind, save_dir: &Path) -> Self {
        Self::stillborn_at(names, problem, hash, &|name| local_path(save_dir, name))
    }

    /// The same, of files that lie where `path` says.
    pub(crate) fn stillborn_at(
        names: &'a [String],
        problem: &Problem,
        hash: HashKind,
        path: &dyn Fn(&str) -> String,
    ) -> Self {
        let files = names.iter().map(|name| File {
            name,
            path: path(name),
            size: None,
            digest: Keyed { asked: hash, digest: None },
            status: "failed",
            reused: 0,
            seconds: 0.0,
            error: Some(Error { code: problem.code, message: problem.what.clone() }),
        });
        Self {
            files: files.collect(),
            bytes: 0,
            reused: 0,
            seconds: 0.0,
            bytes_per_second: 0.0,
            limited_by: None,
            partial: false,
            mirrors: Vec::new(),
        }
    }
}

impl<'a> File<'a> {
    fn new(outcome: &'a FileOutcome, asked: HashKind, path: String) -> Self {
        let error = match &outcome.status {
            Status::Failed(failure) => Some(Error { code: failure.code(), message: failure.to_string() }),
            _ => None,
        };
        Self {
            name: &outcome.name,
            path,
            size: outcome.size,
            digest: Keyed { asked, digest: outcome.digest },
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

#[expect(clippy::trivially_copy_pass_by_ref, reason = "what serde asks for")]
fn is_false(flag: &bool) -> bool {
    !*flag
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
#[derive(Debug)]
pub(crate) struct Listing {
    hash: HashKind,
    rows: u64,
}

/// What rows of it have is promised: no more than this.
#[derive(Debug, Serialize)]
struct Row {
    size: u64,
    modified: jiff::Timestamp,
    #[serde(flatten)]
    digest: Keyed,
}

impl Listing {
    /// An empty one, for which digests of `hash` were asked for.
    pub(crate) fn new(hash: HashKind) -> Self {
        Self { hash, rows: 0 }
    }

    /// Appends a row.
    pub(crate) fn row(&mut self, out: &mut String, name: &RemotePath, meta: &EntryMeta) {
        out.push_str(if self.rows == 0 { "{\n" } else { ",\n" });
        self.rows += 1;
        out.push_str(&text(name.as_str()));
        out.push(':');
        let digest = Keyed { asked: self.hash, digest: meta.digest };
        out.push_str(&text(&Row { size: meta.size, modified: meta.modified, digest }));
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
            digest: None,
            status,
            received: 3,
            reused: 0,
            elapsed: Duration::from_millis(500),
        };
        let files = vec![file("s/a", Status::Downloaded), file("b", Status::Failed(Failure::NoMatch))];
        let measured = Some(Measurements { elapsed: Duration::from_millis(9), bytes: 1, ..Measurements::default() });
        let run = RunOutcome { files, elapsed: Duration::from_secs(2), measured, ..RunOutcome::default() };
        let value: Value = serde_json::from_str(&text(&Run::new(&run, HashKind::Sha256, Path::new("d")))).unwrap();
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
            EntryMeta { size: 1, modified: "2026-11-23T08:09:24Z".parse().unwrap(), digest: None, executable: false };
        let mut listing = Listing::new(HashKind::Sha256);
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
        Listing::new(HashKind::Sha256).end(&mut empty);
        assert_eq!(empty, "{}\n");
    }

    /// Fails when the key is not that of the digest: a reader would compare it with a digest of another kind.
    #[test]
    fn the_key_says_the_kind() {
        let row = |hash, digest| {
            let modified = "2026-11-23T08:09:24Z".parse().unwrap();
            let meta = EntryMeta { size: 1, modified, digest, executable: true };
            let mut out = String::new();
            Listing::new(hash).row(&mut out, &RemotePath::parse("a").unwrap(), &meta);
            out
        };
        let (sha256, blake3) = (Digest::of(b"x"), Digest::of_kind(HashKind::Blake3, b"x"));
        let expected = |rest: &str| format!("{{\n\"a\":{{\"size\":1,\"modified\":\"2026-11-23T08:09:24Z\",{rest}}}");
        assert_eq!(row(HashKind::Blake3, Some(blake3)), expected(&format!("\"blake3\":\"{blake3}\"")));
        assert_eq!(row(HashKind::Blake3, None), expected("\"blake3\":null"));
        assert_eq!(row(HashKind::Blake3, Some(sha256)), expected(&format!("\"sha256\":\"{sha256}\"")));
        assert_eq!(row(HashKind::Sha256, None), expected("\"sha256\":null"));
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
