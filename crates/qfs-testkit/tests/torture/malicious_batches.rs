//! A malicious server that is asked for many small files at once.
//!
//! Each file is verified by itself, and whatever is wrong with the stream, what is missing is asked for one by one: so every lie
//! about the stream ends in nothing worse than a further request, and a lie about a file in that file missing.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use qfs_core::model::Digest;
use qfs_core::wire::Request;
use qfs_testkit::hostile_server::{HostileServer, Step};

use crate::lab::{Lab, run};
use crate::lies::{honest, message, raw};
use crate::tally::Tally;

const NAMES: [&str; 3] = ["a", "b", "c"];

fn content(name: &str) -> Vec<u8> {
    name.repeat(900).into_bytes()
}

fn record_of(size: usize, digest: Digest) -> Step {
    message(&format!(r#"{{"code":0,"size":{size},"modified":"2026-11-23T08:09:24Z","sha256":"{digest}"}}"#))
}

fn record(name: &str) -> [Step; 2] {
    let content = content(name);
    [record_of(content.len(), Digest::of(&content)), raw(content)]
}

fn answer(parts: impl IntoIterator<Item = Step>) -> Vec<Step> {
    [message(r#"{"code":0}"#)].into_iter().chain(parts).collect()
}

/// An answer whose second record is another.
fn with_second(second: impl IntoIterator<Item = Step>) -> Vec<Step> {
    answer(record("a").into_iter().chain(second).chain(record("c")).chain([Step::Finish]))
}

/// What is answered, which of the files are had in the end, and how often one is asked for by itself.
struct Lie {
    name: &'static str,
    steps: Vec<Step>,
    had: &'static [&'static str],
    alone: RangeInclusive<usize>,
}

fn lies() -> Vec<Lie> {
    let all = || NAMES.iter().flat_map(|name| record(name));
    let lie = |name, steps, had, alone| Lie { name, steps, had, alone: alone..=alone };
    let mut flipped = content("b");
    flipped[7] ^= 1;
    let huge =
        format!(r#"{{"code":0,"size":262145,"modified":"2026-11-23T08:09:24Z","sha256":"{}"}}"#, Digest::of(b""));
    vec![
        lie("the truth", answer(all().chain([Step::Finish])), &NAMES, 0),
        lie("a flipped bit", with_second([record_of(900, Digest::of(&content("b"))), raw(flipped)]), &["a", "c"], 0),
        lie(
            "the digest of another",
            with_second([record_of(900, Digest::of(b"x")), raw(content("b"))]),
            &["a", "c"],
            0,
        ),
        lie("a file that is gone", with_second([message(r#"{"code":3,"message":"\u001b[2J gone"}"#)]), &NAMES, 1),
        lie("a file that is large", with_second([message(r#"{"code":13}"#)]), &NAMES, 1),
        lie("a code that is none", with_second([message(r#"{"code":4000}"#)]), &NAMES, 1),
        lie("a size too large", with_second([message(&huge)]), &NAMES, 2),
        lie("a record that is none", with_second([message("{}")]), &NAMES, 2),
        lie("a record of 4 GiB", with_second([raw([0xff; 4])]), &NAMES, 2),
        lie(
            "a body too short",
            with_second([record_of(901, Digest::of(&content("b"))), raw(content("b"))]),
            &["a", "c"],
            1,
        ),
        lie("no records", answer([Step::Finish]), &NAMES, 3),
        lie("one record too few", answer(record("a").into_iter().chain(record("b")).chain([Step::Finish])), &NAMES, 1),
        lie("one record too many", answer(all().chain(record("d")).chain([Step::Finish])), &NAMES, 1),
        lie("no end", answer(all().chain([Step::Forever(Bytes::from(vec![b'x'; 60_000]))])), &NAMES, 1),
        lie("a refusal of everything", vec![message(r#"{"code":4,"message":"no"}"#), Step::Finish], &NAMES, 3),
        lie("a command that nobody knows", vec![message(r#"{"code":2}"#), Step::Finish], &NAMES, 3),
        lie("a head that is none", vec![message("[]"), Step::Finish], &NAMES, 3),
        lie("a stream without an answer", vec![Step::Finish], &NAMES, 3),
        // What a reset overtakes is lost.
        Lie { alone: 1..=3, ..lie("a reset at the end", answer(all().chain([Step::Reset(7)])), &NAMES, 1) },
    ]
}

/// Fails when: a record's digest is not compared, or the last file counts before the end of the stream was seen
/// (`Committer::run`); a file of a failed batch is not fetched by itself (`batch::run`); what is committed is fetched again.
#[test]
fn lies_about_many_files() {
    let all = lies();
    let mut tally = Tally::new("malicious_batches", all.len() as u64);
    for Lie { name, steps, had, alone } in all {
        let lab = Lab::new();
        let singly = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&singly);
        let server = HostileServer::start(move |request| match request {
            Request::GetFilesList(_) => {
                let row = |name: &&str| format!(r#""{name}":{{"size":900,"modified":"2026-11-23T08:09:24Z"}}"#);
                let rows = NAMES.iter().map(row).collect::<Vec<_>>().join(",");
                answer([message(&format!(r#"{{"files":{{{rows}}},"end":{{"count":3}}}}"#)), Step::Finish])
            }
            Request::DownloadMany(_) => steps.clone(),
            Request::Download(download) => {
                counted.fetch_add(1, Ordering::Relaxed);
                honest(&content(&download.filename))
            }
            _ => Vec::new(),
        })
        .unwrap();
        let args = ["get", "--all", "--parallel", "--json", "--retry-timeout", "1s"];
        let done = run(&mut lab.client(server.address(), &args));
        let exit = if had.len() == NAMES.len() { 0 } else { 6 };
        assert_eq!(done.code, Some(exit), "{name}: {done:?}");
        for file in NAMES {
            let wanted = had.contains(&file).then(|| content(file));
            assert!(lab.saved_file(file) == wanted, "{name}: {file}: {done:?}");
        }
        let singly = singly.load(Ordering::Relaxed);
        assert!(alone.contains(&singly), "{name}: {singly} asked for alone: {done:?}");
        tally.note(&format!("exit {exit}"));
    }
    tally.end("each file right or missing");
}
