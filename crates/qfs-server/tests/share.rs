//! `share` through the real program: what it hands out and what not, to whom, and how it ends.

#![cfg(feature = "http")]
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may panic, and makes the files it publishes"
)]

mod support;

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use support::browser::Browser;
use support::program::Home;
use support::{http, soon};

/// A share of loopback and what it printed.
struct Shared {
    child: Child,
    stdout: BufReader<ChildStdout>,
    lines: Vec<String>,
}

impl Shared {
    fn start(home: &Home, args: &[&str]) -> Self {
        let mut command = home.command();
        let mut child = command.env_remove("QFS_PORT").args(["--ip", "127.0.0.1", "share"]).args(args).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut lines = Vec::new();
        while !lines.last().is_some_and(|line: &String| line.starts_with("link ")) {
            let mut line = String::new();
            if stdout.read_line(&mut line).unwrap() == 0 {
                let mut said = String::new();
                child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
                panic!("it did not start: {said}");
            }
            lines.push(line.trim_end().to_owned());
        }
        Self { child, stdout, lines }
    }

    fn value(&self, key: &str) -> &str {
        self.lines.iter().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')).unwrap()
    }

    fn address(&self) -> SocketAddr {
        self.value("listening on").parse().unwrap()
    }

    fn token(&self) -> &str {
        self.value("ticket").split_once("&token=").unwrap().1
    }

    /// The answer to a request with the token.
    async fn get(&self, target: &str) -> http::Answer {
        http::get(self.address(), target, &[&format!("authorization: Bearer {}", self.token())]).await
    }

    /// How it ends by itself, and what it said to people.
    async fn ended(mut self) -> (Option<i32>, String) {
        let ended = async {
            while self.child.try_wait().unwrap().is_none() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        soon(ended).await;
        let (mut more, mut said) = (String::new(), String::new());
        self.stdout.read_to_string(&mut more).unwrap();
        assert_eq!(more, "", "no picture where nobody sees it");
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (self.child.wait().unwrap().code(), said)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn home() -> Home {
    let home = Home::new();
    for name in
        ["docs/report.txt", "docs/secret.txt", "photos/a.jpg", "photos/.hidden", "photos/deep/b.jpg", "beside.txt"]
    {
        home.tree.write(name, name.as_bytes());
    }
    home
}

#[tokio::test]
async fn what_was_named_is_handed_out_and_nothing_beside_it() {
    let home = home();
    let shared = Shared::start(&home, &["docs/report.txt", "photos"]);
    for (target, content) in [
        ("/report.txt", "docs/report.txt"),
        ("/photos/a.jpg", "photos/a.jpg"),
        ("/photos/deep/b.jpg", "photos/deep/b.jpg"),
    ] {
        assert_eq!(shared.get(target).await.text(), content);
    }
    for target in [
        "/secret.txt",
        "/docs/secret.txt",
        "/docs/report.txt",
        "/beside.txt",
        "/photos/.hidden",
        "/photos/../beside.txt",
        "/hello.txt",
        "/root/hello.txt",
    ] {
        assert_ne!(shared.get(target).await.status, 200, "{target}");
    }
    let page = http::get(
        shared.address(),
        "/",
        &[&format!("authorization: Bearer {}", shared.token()), "accept: application/json"],
    )
    .await
    .text();
    assert!(
        page.contains("report.txt") && page.contains("photos") && !page.contains("secret") && !page.contains("beside"),
        "{page}"
    );
    // Nothing is written where the share was started from.
    assert!(!home.path().join("certs").exists());
    assert_eq!(
        shared.lines.iter().map(|line| line.split(' ').next().unwrap()).collect::<Vec<_>>(),
        ["listening", "fingerprint", "ticket", "link"]
    );
    kill_process(Pid::from_child(&shared.child), Signal::TERM).unwrap();
    assert_eq!(shared.ended().await.0, Some(0));
}

#[tokio::test]
async fn who_has_no_token_gets_nothing() {
    let home = home();
    let shared = Shared::start(&home, &["docs/report.txt"]);
    assert_eq!(http::get(shared.address(), "/report.txt", &[]).await.status, 401);
    let other = Shared::start(&home, &["beside.txt"]);
    assert_ne!(shared.token(), other.token());
    let wrong = format!("authorization: Bearer {}", other.token());
    assert_eq!(http::get(shared.address(), "/report.txt", &[&wrong]).await.status, 401);
    let link = format!("https://{}/#token={}", shared.address(), shared.token());
    assert_eq!(shared.value("link"), link);

    let open = Shared::start(&home, &["beside.txt", "--open"]);
    assert_eq!(http::get(open.address(), "/beside.txt", &[]).await.text(), "beside.txt");
    assert_eq!(open.value("link"), format!("https://{}/", open.address()));
    assert!(!open.value("ticket").contains("token"));
}

// Fails when part of a file counts as all of it, or one file as everything.
#[tokio::test]
async fn it_ends_when_everything_was_downloaded_so_many_times() {
    let home = home();
    home.tree.write("docs/large", &vec![7; 1 << 20]);
    let shared = Shared::start(&home, &["docs/report.txt", "docs/large", "--times", "2"]);
    let bearer = format!("authorization: Bearer {}", shared.token());
    let part = |lines: &'static str| {
        let (address, bearer) = (shared.address(), bearer.clone());
        async move { http::get(address, "/large", &[&bearer, lines]).await.status }
    };
    for _ in 0..2 {
        assert_eq!(shared.get("/report.txt").await.status, 200);
    }
    assert_eq!(shared.get("/large").await.status, 200);
    assert_eq!(part("range: bytes=0-524287").await, 206);
    assert_eq!(http::ask(shared.address(), "HEAD", "/large", &[&bearer], "").await.status, 200);
    assert_eq!(part("range: bytes=524288-").await, 206);
    let (code, said) = shared.ended().await;
    assert_eq!(code, Some(0));
    assert!(said.contains("everything was downloaded"), "{said}");
}

#[tokio::test]
async fn an_archive_is_a_download_of_all_that_is_in_it() {
    let home = home();
    let shared = Shared::start(&home, &["photos", "--times", "1"]);
    assert_eq!(shared.get("/photos/").await.status, 200);
    assert_eq!(shared.get("/photos/?tar").await.status, 200);
    assert_eq!(shared.ended().await.0, Some(0));
}

#[tokio::test]
async fn it_ends_when_its_time_is_over() {
    let home = home();
    let shared = Shared::start(&home, &["photos", "--for", "1s"]);
    let (code, said) = shared.ended().await;
    assert_eq!(code, Some(0));
    assert!(said.contains("the time is over"), "{said}");
}

#[test]
fn what_cannot_be_shared_starts_nothing() {
    let home = home();
    for (args, what) in [
        (&["missing"][..], "cannot share missing"),
        (&["docs/report.txt", "docs/../docs/report.txt"], "two of the paths are called report.txt"),
        (&["/dev/null"], "neither a file nor a directory"),
        (&["photos", "--for", "1"], "expected a time"),
        (&["photos", "--times", "0"], "0 is not in"),
        (&[], "PATH"),
    ] {
        let said = home.refused(&[&["share"], args].concat());
        assert!(said.contains(what), "{said}");
    }
}

// Fails when the link needs anything typed, or leaves the token where the address is shown.
#[test]
fn a_browser_opens_the_link_without_a_word() {
    let home = home();
    let shared = Shared::start(&home, &["docs/report.txt"]);
    let browser = Browser::start();
    browser.go(shared.value("link"));
    browser.wait("document.getElementById('files') !== null");
    assert_eq!(
        browser.value("[...document.querySelectorAll('tbody tr[data-name]')].map(row => row.dataset.name)"),
        json!(["report.txt"])
    );
    assert_eq!(browser.value("location.href"), json!(format!("https://{}/", shared.address())));
    assert_eq!(browser.value("document.cookie"), json!(""));
}
