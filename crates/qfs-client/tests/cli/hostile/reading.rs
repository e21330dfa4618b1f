//! CLI.md: `cat` and `verify` where the server cuts an answer off or leaves something out.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use qfs_core::model::Digest;
use qfs_core::wire::{Request, StatusCode};
use qfs_testkit::hostile_server::{HostileServer, Step};

use super::{head, message, raw, refusal, told, trailer};
use crate::support::{Lab, run};

/// Lines of text, of which a client hands on a part before it has all.
fn lines() -> String {
    (0..50_000).map(|n| format!("{n:07}\n")).collect()
}

/// A server of one file whose first answer ends with this code in its midst.
fn interrupted(code: StatusCode) -> HostileServer {
    let (content, is_begun) = (lines().into_bytes(), AtomicBool::new(false));
    let size = content.len() as u64;
    HostileServer::start(move |request| {
        let Request::Download(download) = request else { return refusal(StatusCode::UNKNOWN_COMMAND) };
        let range = download.range.map_or(0..size, |range| range.start..range.end.unwrap_or(size));
        let part = content[range.start as usize..range.end as usize].to_vec();
        if is_begun.swap(true, Ordering::Relaxed) {
            return vec![head(size, "v", range), raw(part), trailer(&content), Step::Finish];
        }
        // The client takes what has come, and then hears of the end.
        let some = raw(part[..part.len() * 3 / 4].to_vec());
        vec![head(size, "v", range), some, Step::Wait(Duration::from_secs(1)), Step::Reset(code.0)]
    })
    .unwrap()
}

/// Fails when: whatever the server says in the midst of a file is taken for a change of it, and does not go on.
#[test]
fn cat_goes_on_where_the_server_broke_off() {
    let lab = Lab::without_server(&[]);
    let done = told(&lab, &interrupted(StatusCode::TIMEOUT), &["cat", "f"]).ends_with(0);
    assert!(done.out == lines());
    let done = told(&lab, &interrupted(StatusCode::INTERNAL), &["cat", "f"]).ends_with(5);
    assert!(done.err.contains("internal") && lines().starts_with(&done.out), "{}", done.err);
    let done = told(&lab, &interrupted(StatusCode::CHANGED), &["cat", "f"]).ends_with(6);
    assert!(done.err.contains("the file changed"), "{}", done.err);
}

/// PROTOCOL §4.2, what a client checks.
///
/// Fails when: an answer of another version than the one asked for is taken as its continuation, or one whose head and trailer disagree
/// about the digest is taken at all.
#[test]
fn answers_that_contradict_the_request_or_themselves_are_none() {
    let lab = Lab::without_server(&[]);
    let (content, is_begun) = (lines().into_bytes(), AtomicBool::new(false));
    let size = content.len() as u64;
    let another_version = HostileServer::start(move |request| {
        let Request::Download(download) = request else { return refusal(StatusCode::UNKNOWN_COMMAND) };
        let range = download.range.map_or(0..size, |range| range.start..range.end.unwrap_or(size));
        let part = content[range.start as usize..range.end as usize].to_vec();
        if is_begun.swap(true, Ordering::Relaxed) {
            return vec![head(size, "w", range), raw(part), trailer(&content), Step::Finish];
        }
        let some = raw(part[..part.len() * 3 / 4].to_vec());
        vec![head(size, "v", range), some, Step::Wait(Duration::from_secs(1)), Step::Reset(StatusCode::TIMEOUT.0)]
    });
    let done = told(&lab, &another_version.unwrap(), &["cat", "f"]).ends_with(6);
    assert!(done.err.contains("another version") && lines().starts_with(&done.out), "{}", done.err);

    let two_digests = HostileServer::start(|request| {
        let Request::Download(_) = request else { return refusal(StatusCode::UNKNOWN_COMMAND) };
        let other = Digest::of(b"other");
        let head = format!(
            r#"{{"code":0,"size":5,"modified":"2026-11-23T08:09:24Z","etag":"v","range":{{"start":0,"end":5}},"sha256":"{other}"}}"#
        );
        vec![message(&head), raw(&b"hello"[..]), trailer(b"hello"), Step::Finish]
    });
    let two_digests = two_digests.unwrap();
    for command in ["cat", "get"] {
        let done = told(&lab, &two_digests, &[command, "f"]).ends_with(6);
        assert!(done.err.contains("another digest than the head"), "{command}: {}", done.err);
    }
    assert!(!lab.home().join("client_env/f").exists());
}

/// PROTOCOL §4.2: a server may find out that a file has changed only when all of a part is sent.
///
/// Fails when: bytes of a part are taken for those of one version before the server has said so.
#[test]
fn a_part_of_a_file_that_changed_meanwhile_is_none() {
    let lab = Lab::without_server(&[]);
    for knows_digest in [true, false] {
        let is_taken = AtomicBool::new(false);
        let server = HostileServer::start(move |request| {
            let Request::Download(download) = request else { return refusal(StatusCode::UNKNOWN_COMMAND) };
            let range = download.range.map_or(0..5, |range| range.start..range.end.unwrap_or(5));
            if is_taken.load(Ordering::Relaxed) && download.if_match.is_some() {
                return refusal(StatusCode::CHANGED);
            }
            let digest = if knows_digest { format!(r#","sha256":"{}""#, Digest::of(b"hello")) } else { String::new() };
            let head = message(&format!(
                r#"{{"code":0,"size":5,"modified":"2026-11-23T08:09:24Z","etag":"v","range":{{"start":{},"end":{}}}{digest}}}"#,
                range.start, range.end
            ));
            if range.is_empty() {
                return vec![head, Step::Hang];
            }
            is_taken.store(true, Ordering::Relaxed);
            let part = b"hello"[range.start as usize..range.end as usize].to_vec();
            let end = if knows_digest { Step::Reset(StatusCode::CHANGED.0) } else { Step::Hang };
            // The client takes what has come, and then hears of the end.
            vec![head, raw(part), Step::Wait(Duration::from_secs(1)), end]
        })
        .unwrap();
        let done = told(&lab, &server, &["cat", "--range", "1-3", "f"]).ends_with(6);
        assert!(done.out == "ell" && done.err.contains("the file changed"), "{knows_digest}: {done:?}");
    }
}

/// PROTOCOL §4.1.1: what such a listing lacks is not absent.
///
/// Fails when: a comparison with a listing of which the server could not read all is taken for one that is whole.
#[test]
fn verify_fails_where_the_server_tells_of_a_part() {
    let lab = Lab::without_server(&[]);
    std::fs::create_dir(lab.home().join("here")).unwrap();
    let server = HostileServer::start(|_| {
        let partial = message(r#"{"files":{},"end":{"count":0,"partial":true}}"#);
        vec![message(r#"{"code":0,"tree":true}"#), partial, Step::Finish]
    })
    .unwrap();
    let done = told(&lab, &server, &["verify", "here"]).ends_with(5);
    assert!(done.out.is_empty() && done.err.contains("could not list everything"), "{done:?}");
    std::fs::write(lab.home().join("here/f"), b"f").unwrap();
    let done = told(&lab, &server, &["verify", "here", "--json"]).ends_with(5);
    let expected = serde_json::json!({"same": 0, "missing": [], "differs": [], "extra": [], "partial": true});
    assert_eq!(done.json(), expected);
}

/// Fails when: what a listing says of sizes is added up beyond what a number holds.
#[test]
fn sizes_that_no_sum_holds_are_borne_with() {
    let lab = Lab::without_server(&[]);
    let server = HostileServer::start(|request| match request {
        Request::GetFilesList(_) => {
            let row = |name| format!(r#""{name}":{{"size":{},"modified":"2026-11-23T08:09:24Z"}}"#, u64::MAX);
            let page = format!(r#"{{"files":{{{},{}}},"end":{{"count":2}}}}"#, row("a"), row("b"));
            vec![message(r#"{"code":0}"#), message(&page), Step::Finish]
        }
        _ => refusal(StatusCode::DENIED),
    })
    .unwrap();
    for args in [&["get", "--all"][..], &["get", "--all", "--parallel", "--json"], &["list"]] {
        let done = told(&lab, &server, args).ends_with(if args[0] == "get" { 5 } else { 0 });
        assert!(!done.err.contains("panicked"), "{done:?}");
    }
}

/// PROTOCOL §4.2: a file that cannot be read is answered as one that is not there. The listing still has it.
///
/// Fails when: it is told, and counted, as one that vanished, or one that vanished is not; or a comparison calls it different.
#[test]
fn what_the_server_cannot_read_did_not_vanish() {
    let etag = "0".repeat(64);
    for (stays, code, what) in [(true, 5, "does not hand it out"), (false, 9, "vanished")] {
        let listings = std::sync::atomic::AtomicUsize::new(0);
        let etag = etag.clone();
        let server = HostileServer::start(move |request| match request {
            Request::GetFilesList(_) if stays || listings.fetch_add(1, Ordering::Relaxed) == 0 => {
                let row = format!(r#""f":{{"size":9,"modified":"2026-11-23T08:09:24Z","etag":"{etag}"}}"#);
                let page = format!(r#"{{"files":{{{row}}},"end":{{"count":1}}}}"#);
                vec![message(r#"{"code":0,"tree":true}"#), message(&page), Step::Finish]
            }
            Request::GetFilesList(_) => {
                let page = r#"{"files":{},"end":{"count":0}}"#;
                vec![message(r#"{"code":0,"tree":true}"#), message(page), Step::Finish]
            }
            _ => refusal(StatusCode::NOT_FOUND),
        })
        .unwrap();
        let lab = Lab::without_server(&[]);
        let done = told(&lab, &server, &["pull", "here"]).ends_with(code);
        assert!(done.err.contains(what), "{done:?}");
        if stays {
            std::fs::write(lab.home().join("here/f"), b"123456789").unwrap();
            let done = told(&lab, &server, &["verify", "here", "--json"]).ends_with(5);
            assert_eq!(done.json()["unreadable_on_server"][0], "f", "{done:?}");
        }
    }
}

/// Fails when: a listing of which the server could not read all is taken for one that is whole.
#[test]
fn list_and_get_all_fail_where_the_server_tells_of_a_part() {
    let start = || {
        HostileServer::start(|_| {
            let partial = message(r#"{"files":{},"end":{"count":0,"partial":true}}"#);
            vec![message(r#"{"code":0}"#), partial, Step::Finish]
        })
        .unwrap()
    };
    let (server, another) = (start(), start());
    let lab = Lab::without_server(&[]);
    for args in [&["list"][..], &["get", "--all"]] {
        let done = told(&lab, &server, args).ends_with(5);
        assert!(done.err.contains("could not list everything"), "{done:?}");
    }
    // One of several that is asked: another one may not have it either.
    let [first, second] = [&server, &another].map(|at| format!("qfs://{}#{}", at.address(), at.fingerprint()));
    let several = ["get", "--all", "--json", "--server", &first, "--server", &second];
    let done = run(lab.bare().args(several)).ends_with(5);
    assert!(done.err.contains("could not list everything") && done.json()["partial"] == true, "{done:?}");
    // What is lacking may lie elsewhere.
    let done = told(&lab, &server, &["rm", "*.tmp"]).ends_with(5);
    assert!(done.err.contains("note: the server could not list everything"), "{done:?}");
    let done = told(&lab, &server, &["list", "sub/*"]).ends_with(0);
    assert!(done.err.contains("note: the server could not list everything"), "{done:?}");
    assert_eq!(told(&lab, &server, &["get", "--all", "--json"]).ends_with(5).json()["partial"], true);
}
