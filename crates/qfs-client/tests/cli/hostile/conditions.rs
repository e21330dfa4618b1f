//! CLI.md, "Writing": what `put` replaces when somebody else writes meanwhile.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use qfs_core::model::ETag;
use qfs_core::wire::{Precondition, Request, StatusCode};
use qfs_testkit::hostile_server::{HostileServer, Step};

use super::{head, message, refusal, refused, told, trailer};
use crate::support::Lab;

/// Fails when: a small file that goes with others, and is refused there because somebody was quicker, is sent again in place of what
/// that somebody has written.
#[test]
fn what_was_written_meanwhile_is_not_replaced_if_unchanged() {
    for (before, refusing) in [(Some("v1"), StatusCode::CHANGED), (None, StatusCode::EXISTS)] {
        let lab = Lab::without_server(&[]);
        std::fs::write(lab.home().join("f"), b"mine").unwrap();
        let (asked, log) = (AtomicUsize::new(0), Arc::new(Mutex::new(Vec::new())));
        let conditions = Arc::clone(&log);
        let server = HostileServer::start(move |request| match request {
            // Nothing or the first version before the run, the second one, of another size, from then on.
            Request::Download(_) => match (asked.fetch_add(1, Ordering::Relaxed), before) {
                (0, None) => refusal(StatusCode::NOT_FOUND),
                (0, Some(etag)) => vec![head(5, etag, 0..0), trailer(b"first"), Step::Finish],
                _ => vec![head(6, "v2", 0..0), trailer(b"second"), Step::Finish],
            },
            Request::UploadMany(_) => vec![message(r#"{"code":0}"#), refused(refusing), Step::Finish],
            Request::Upload(upload) => {
                conditions.lock().unwrap().push(upload.condition.clone());
                // It would have to read the body to take it.
                let is_there = upload.condition.if_match.as_ref().is_some_and(|etag| etag.as_str() == "v2");
                refusal(if is_there { StatusCode::NO_SPACE } else { refusing })
            }
            _ => refusal(StatusCode::UNKNOWN_COMMAND),
        })
        .unwrap();
        let done = told(&lab, &server, &["put", "f", "--if-unchanged", "--json"]).ends_with(6);
        assert_eq!(done.json()["files"][0]["error"]["code"], "changed", "{done:?}");
        let seen = before.map_or(Precondition::ABSENT, |etag| Precondition::matches(etag.parse::<ETag>().unwrap()));
        assert!(log.lock().unwrap().iter().all(|condition| *condition == seen), "{log:?}");
    }
}

/// Fails when: a file that is there as it is here fails because its time is another one by now, as after an answer that was lost; or one that
/// became another meanwhile counts as uploaded.
#[test]
fn what_is_there_is_no_failure_because_somebody_was_quicker() {
    for (later, code) in [(&b"mine"[..], 0), (b"else", 6)] {
        let lab = Lab::without_server(&[]);
        std::fs::write(lab.home().join("f"), b"mine").unwrap();
        let is_changed = AtomicUsize::new(0);
        let server = HostileServer::start(move |request| match request {
            Request::Download(_) => match is_changed.load(Ordering::Relaxed) {
                0 => vec![head(4, "v1", 0..0), trailer(b"mine"), Step::Finish],
                _ => vec![head(4, "v2", 0..0), trailer(later), Step::Finish],
            },
            Request::SetMetadata(_) => {
                is_changed.fetch_add(1, Ordering::Relaxed);
                refusal(StatusCode::CHANGED)
            }
            _ => refusal(StatusCode::UNKNOWN_COMMAND),
        })
        .unwrap();
        let done = told(&lab, &server, &["put", "f", "--json"]).ends_with(code);
        let status = if code == 0 { "unchanged" } else { "failed" };
        assert_eq!(done.json()["files"][0]["status"], status, "{done:?}");
    }
}
