//! CLI.md, "Writing": what `rm` removes where the server lists more than was asked for.

use std::sync::{Arc, Mutex};

use qfs_core::wire::{Request, StatusCode};
use qfs_testkit::hostile_server::{HostileServer, Step};

use super::{message, page, refusal, told};
use crate::support::Lab;

/// Runs `rm --recursive name` at a server that lists these files, with `head`, whatever was asked for; what it was told to remove.
fn removed(head: &'static str, files: &'static [&str], name: &str) -> Vec<String> {
    let lab = Lab::without_server(&[]);
    let log = Arc::new(Mutex::new(Vec::new()));
    let removed = Arc::clone(&log);
    let server = HostileServer::start(move |request| match request {
        Request::GetFilesList(_) => vec![message(head), page(files), Step::Finish],
        Request::Remove(remove) => {
            removed.lock().unwrap().push(format!("{:?} {}", remove.kind, remove.filename));
            vec![message(r#"{"code":0}"#), Step::Finish]
        }
        _ => refusal(StatusCode::UNKNOWN_COMMAND),
    })
    .unwrap();
    told(&lab, &server, &["rm", "--recursive", name]).ends_with(0);
    log.lock().unwrap().clone()
}

/// PROTOCOL §4.1.1: a server that does not know trees lists every file, wherever it lies.
///
/// Fails when: what does not lie below the directory is removed with it, or a file that has nothing below it as a directory.
#[test]
fn only_what_lies_below_is_removed() {
    let files = &["keep/x", "sub!/x", "sub/y", "subway/z"];
    for head in [r#"{"code":0}"#, r#"{"code":0,"tree":true}"#] {
        assert_eq!(removed(head, files, "sub"), ["File sub/y", "Directory sub"], "{head}");
    }
    assert_eq!(removed(r#"{"code":0}"#, files, "keep/x"), ["File keep/x"]);
    assert_eq!(removed(r#"{"code":0,"tree":true}"#, files, "empty"), ["Directory empty"]);
}
