//! The audit trail of the real server: what is in it, at which level, and that nobody outside can write a line of it.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may panic, and makes the files it publishes"
)]

mod support;

use std::os::unix::fs::MetadataExt;

use bytes::Bytes;
use qfs_core::wire::{DownloadRequest, StatusCode, frame};
use qfs_transport::ClientTuning;
use serde_json::Value;
use support::program::Home;

/// Names that would end a line, begin one, colour it or turn it around.
const NAMES: &[&str] = &[
    "a\nb",
    "a\r\nINFO qfs_server::audit: command peer=192.0.2.1:1 status=\"ok\"",
    "x\" status=\"ok",
    "esc\u{1b}[2J\u{1b}]0;title\u{7}",
    "c1\u{9b}31m",
    "bidi\u{202e}gpj.exe",
    "sep\u{2028}\u{2029}\u{85}",
    "nul\u{0}tab\tdel\u{7f}",
    "\"}\n{\"level\":\"INFO\",\"message\":\"command\",\"status\":\"ok\"}",
];

/// A visit with every kind of line: a file, names that are traps, an unknown command, no request at all.
async fn visit(home: &Home, flags: &[&str]) -> String {
    let server = home.start(flags);
    let client = server.connect(&ClientTuning::default()).await;
    client.list().await;
    assert!(client.get("hello.txt").await.is_ok());
    for name in NAMES {
        let request = DownloadRequest { filename: (*name).into(), ..DownloadRequest::default() };
        assert_eq!(client.download(&request).await.unwrap_err().code(), Some(StatusCode::NOT_FOUND));
    }
    for _ in 0..20 {
        let unknown = frame("{\"command\":\"for\\nged\u{202e}\"}".as_bytes()).unwrap();
        assert_eq!(client.refusal(unknown).await.code, StatusCode::UNKNOWN_COMMAND);
        assert_eq!(client.refusal(Bytes::from_static(b"\0\0\0\x02\xff\n")).await.code, StatusCode::BAD_REQUEST);
    }
    drop(client);
    let (status, _, said) = server.stopped().await;
    assert_eq!(status.code(), Some(0), "{said}");
    said
}

fn is_clean(text: &str) {
    let acts =
        |c: char| (c.is_control() && c != '\n') || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    assert_eq!(text.chars().find(|c| acts(*c)), None, "{text:?}");
}

/// Fails when a `download_many` leaves no line for each file, an unescaped name, or one that names a file not delivered as delivered.
#[tokio::test]
async fn each_of_many_files_is_in_the_trail() {
    let home = Home::new();
    let server = home.start(&["-v", "--log-format", "json"]);
    let client = server.connect(&ClientTuning::default()).await;
    let names = ["hello.txt", r"esc\u001b[2J", "gone"];
    let files: Vec<_> = names.iter().map(|name| format!("\"{name}\"")).collect();
    client.whole(&format!(r#"{{"command":"download_many","files":[{}]}}"#, files.join(","))).await;
    drop(client);
    let (_, _, said) = server.stopped().await;
    is_clean(&said);
    let events: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |kind: &str| events.iter().filter(|event| event["message"] == kind).cloned().collect::<Vec<_>>();
    let (commands, files) = (of("command"), of("file"));
    assert_eq!((commands.len(), &commands[0]["command"]), (1, &"download_many".into()), "{said}");
    let told: Vec<_> =
        files.iter().map(|file| (file["name"].as_str().unwrap(), file["status"].as_str().unwrap())).collect();
    assert_eq!(told, [("hello.txt", "ok"), ("esc\\u{1b}[2J", "not_found"), ("gone", "not_found")], "{said}");
    assert!(files[0]["bytes"].as_u64().unwrap() > 0 && files[1]["bytes"] == 0, "{said}");
    assert_eq!(files[0]["peer"], commands[0]["peer"]);
}

/// Fails when: a structure is shown as the program has it, by default or with `-v`.
#[tokio::test]
async fn people_are_shown_no_structures() {
    for flags in [&[][..], &["-v"]] {
        let home = Home::new();
        std::os::unix::fs::symlink("hello.txt", home.path().join("root/link")).unwrap();
        let server = home.start(flags);
        let client = server.connect(&ClientTuning::default()).await;
        client.list().await;
        let request = DownloadRequest { filename: "nope".into(), ..DownloadRequest::default() };
        assert!(client.get("hello.txt").await.is_ok() && client.download(&request).await.is_err());
        client.refusal(Bytes::from_static(b"\0\0\0\x02\xff\n")).await;
        drop(client);
        let (_, _, said) = server.stopped().await;
        assert!(flags.is_empty() || (said.contains(" command ") && said.contains("shutting down")), "{said}");
        for line in said.lines() {
            // The trail's target, and IPv6 addresses.
            let text = line.replace("qfs_server::", "").replace("[::1]", "");
            let signs = ["{", "}", "Some(", "None", "Ok(", "Err(", "::"];
            assert!(!signs.iter().any(|sign| text.contains(sign)), "{line}");
        }
    }
}

/// Promise: one line for each event, whatever names are asked for, in both formats; kinds that a stranger causes at will are counted.
///
/// Fails when: a name or a parser's message is logged as it came (`audit::command`); each bad request has a line of its own.
#[tokio::test]
async fn nobody_outside_writes_a_line() {
    let home = Home::new();
    let text = visit(&home, &["-v"]).await;
    is_clean(&text);
    let trail: Vec<_> = text.lines().filter(|line| line.contains("qfs_server::audit: ")).collect();
    assert_eq!(trail.iter().filter(|line| line.contains("audit: command ")).count(), 2 + NAMES.len(), "{text}");
    assert_eq!(text.matches("audit: opened ").count() - text.matches("\\naudit: opened").count(), 1, "{text}");
    assert!(text.lines().all(|line| line.starts_with("20")), "every line begins with a time: {text}");

    let json = visit(&home, &["-v", "--log-format", "json"]).await;
    is_clean(&json);
    let events: Vec<Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |kind: &str| events.iter().filter(|event| event["message"] == kind).cloned().collect::<Vec<_>>();
    let commands = of("command");
    assert_eq!(commands.len(), 2 + NAMES.len(), "{json}");
    let hello = commands.iter().find(|event| event["name"] == "hello.txt").unwrap();
    assert_eq!((&hello["command"], &hello["status"]), (&"download".into(), &"ok".into()));
    assert!(hello["bytes"].as_u64().unwrap() > 5 && hello["seconds"].as_f64().unwrap() >= 0.0, "{hello}");
    assert!(commands.iter().filter(|event| event["status"] == "not_found").count() == NAMES.len());
    assert!(commands.iter().any(|event| event["name"] == "a\\nb"), "escaped, as everywhere: {json}");
    let (opened, closed) = (of("opened"), of("closed"));
    assert_eq!((opened.len(), closed.len()), (1, 1));
    assert_eq!(opened[0]["peer"], closed[0]["peer"]);
    assert_eq!(closed[0]["commands"].as_u64(), Some(2 + NAMES.len() as u64 + 40));
    assert!(closed[0]["reason"].is_string() && closed[0]["seconds"].is_number());
    let refused = of("refused");
    assert_eq!(refused.iter().map(|event| event["count"].as_u64().unwrap()).sum::<u64>(), 40);
    assert!(refused.len() <= 3, "counted, not told one by one: {json}");
}

/// The levels that `docs/CLI.md` promises.
///
/// Fails when: the trail shows without being asked for, or `--audit-log` follows the level of stderr.
#[tokio::test]
async fn the_trail_is_kept_apart() {
    let home = Home::new();
    let said = visit(&home, &["--audit-log", "trail", "--log-format", "json"]).await;
    assert!(!said.contains("audit"), "warnings only: {said}");
    let file = home.path().join("trail");
    assert_eq!(std::fs::metadata(&file).unwrap().mode() & 0o7777, 0o600);
    let first = std::fs::read_to_string(&file).unwrap();
    assert!(first.lines().count() >= NAMES.len() + 4, "{first}");
    assert!(first.lines().all(|line| serde_json::from_str::<Value>(line).unwrap()["target"] == "qfs_server::audit"));
    visit(&home, &["-q", "--audit-log", "trail", "--log-format", "json"]).await;
    assert!(std::fs::read_to_string(&file).unwrap().starts_with(&first), "appended to");
}

#[test]
fn a_trail_that_cannot_be_kept_is_refused() {
    let home = Home::new();
    let said = home.refused(&["--audit-log", "root/trail"]);
    assert!(
        said.starts_with("error: cannot write the audit trail to root/trail: it would be published\nhint: "),
        "{said}"
    );
    assert!(!home.path().join("root/trail").exists());
    assert!(home.refused(&["--audit-log", "missing/trail"]).contains("\nhint: name a file"));
}
