//! The program against servers that tests script: what others do on the server meanwhile, and what the server leaves out, cuts off or
//! gets wrong.

mod conditions;
mod reading;
mod removing;
mod stalls;

use bytes::Bytes;
use qfs_core::wire::{RemoteError, StatusCode, encode, frame};
use qfs_testkit::hostile_server::{HostileServer, Step};

use crate::support::{Done, Lab, run};

/// A message as it stands in JSON.
fn message(json: &str) -> Step {
    Step::Send(frame(json.as_bytes()).unwrap())
}

/// A whole answer that refuses.
fn refusal(code: StatusCode) -> Vec<Step> {
    vec![refused(code), Step::Finish]
}

/// A message that refuses.
fn refused(code: StatusCode) -> Step {
    Step::Send(encode(&RemoteError::new(code, "")).unwrap())
}

/// The head of a download of the version `etag`, of `size` bytes.
fn head(size: u64, etag: &str, range: std::ops::Range<u64>) -> Step {
    let (start, end) = (range.start, range.end);
    let head = format!(r#"{{"code":0,"size":{size},"modified":"2026-11-23T08:09:24Z","etag":"{etag}""#);
    message(&format!(r#"{head},"range":{{"start":{start},"end":{end}}}}}"#))
}

/// The trailer of a file with this content.
fn trailer(content: &[u8]) -> Step {
    Step::Send(encode(&qfs_core::wire::Trailer::new(qfs_core::model::Digest::of(content))).unwrap())
}

/// Runs the client of `lab` against `server`.
fn told(lab: &Lab, server: &HostileServer, args: &[&str]) -> Done {
    run(&mut lab.through(server.address().port(), args))
}

/// The only page of a listing of files with these names.
fn page(names: &[&str]) -> Step {
    let row = |name: &&str| format!(r#""{name}":{{"size":9,"modified":"2026-11-23T08:09:24Z"}}"#);
    let rows: Vec<_> = names.iter().map(row).collect();
    message(&format!(r#"{{"files":{{{}}},"end":{{"count":{}}}}}"#, rows.join(","), rows.len()))
}

/// Bytes as they are.
fn raw(bytes: impl Into<Bytes>) -> Step {
    Step::Send(bytes.into())
}
