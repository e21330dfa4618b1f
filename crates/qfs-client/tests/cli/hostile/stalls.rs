//! Servers that keep the connection alive and stop reading.

use std::io::Write as _;
use std::process::Stdio;

use qfs_core::wire::{Request, StatusCode};
use qfs_testkit::hostile_server::{HostileServer, Step};
use qfs_transport::ServerTuning;

use super::{message, refusal, refused, told};
use crate::support::{Done, Lab, finish, noise};

/// More than a server's window and what is sent ahead.
const LARGE: usize = 8 << 20;

/// A server that has nothing, and answers every upload with its head, and then with `steps`, without reading on.
fn stalling(steps: &[Step]) -> HostileServer {
    let steps: Vec<_> = [&[message(r#"{"code":0}"#)], steps, &[Step::Hang]].concat();
    HostileServer::start(move |request| match request {
        Request::Upload(_) | Request::UploadMany(_) => steps.clone(),
        _ => refusal(StatusCode::NOT_FOUND),
    })
    .unwrap()
}

/// Uploads a large file, in one of the ways there are.
fn put(server: &HostileServer, how: &str) -> Done {
    let lab = Lab::without_server(&[]);
    let content = noise(LARGE);
    match how {
        "file" => std::fs::write(lab.home().join("f"), content).unwrap(),
        "small" => {
            std::fs::create_dir(lab.home().join("f")).unwrap();
            for (n, part) in content.chunks(64 << 10).enumerate() {
                std::fs::write(lab.home().join(format!("f/{n}")), part).unwrap();
            }
        }
        _ => {
            let port = server.address().port();
            let mut command = lab.through(port, &["put", "-", "--as", "f", "--json", "--retry-timeout", "1s"]);
            let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
            let mut input = child.stdin.take().unwrap();
            // It takes what it can, and ends before it has all.
            std::thread::spawn(move || drop(input.write_all(&content)));
            return finish(child);
        }
    }
    told(&lab, server, &["put", "f", "--json", "--retry-timeout", "1s"])
}

/// Fails when: only the wait for an answer has a bound (`Patience`), and not what is sent; what is sent again counts as progress.
#[test]
fn a_server_that_stops_reading_is_given_up() {
    let server = stalling(&[]);
    std::thread::scope(|scope| {
        for how in ["file", "small", "pipe"] {
            let server = &server;
            scope.spawn(move || put(server, how).ends_with(3));
        }
        // One that grants no stream does not even take a question.
        scope.spawn(|| {
            let tuning = ServerTuning { max_streams: 0, ..ServerTuning::default() };
            let server = HostileServer::start_tuned(tuning, |_| Vec::new()).unwrap();
            told(&Lab::without_server(&[]), &server, &["list", "--retry-timeout", "1s"]).ends_with(3);
        });
    });
}

/// PROTOCOL §4.5.2: the server may answer with an error before all was sent, and need not read the rest, nor say so.
///
/// Fails when: the answer is read only behind the last byte.
#[test]
fn the_reason_of_a_server_that_stops_reading_is_heard() {
    for how in ["file", "small", "pipe"] {
        for steps in [&[refused(StatusCode::NO_SPACE), Step::Finish][..], &[Step::Reset(StatusCode::NO_SPACE.0)]] {
            // On a stream with many files a message is of one of them.
            if how != "small" || matches!(steps, [Step::Reset(_)]) {
                let done = put(&stalling(steps), how).ends_with(5);
                assert!(done.err.contains("no_space"), "{how} {steps:?}: {done:?}");
            }
        }
    }
}
