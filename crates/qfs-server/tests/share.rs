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

use qfs_core::body::Answer;
use qfs_core::model::{ByteRange, Token};
use qfs_core::wire::{DownloadRequest, Request};
use qfs_transport::{ClientEndpoint, ClientTuning, Source, Trust};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use support::browser::Browser;
use support::program::Home;
use support::{Client, PATIENCE, finish, head, http, soon};

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

/// Bytes of a file that is too large for what the network holds on its way.
const LARGE: usize = 24 << 20;

/// Most of it: what a client has taken when it is cut off.
const MOST: usize = 18 << 20;

/// Takes so much of the answer at `target` over HTTP, and goes away.
async fn take_most(shared: &Shared, target: &str) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = http::connect(shared.address(), &[b"http/1.1"]).await;
    let request = format!("GET {target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n", shared.token());
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut taken = vec![0; MOST + 4096];
    soon(stream.read_exact(&mut taken)).await.unwrap();
}

/// What a client of qfs asks for with the token.
async fn ask(client: &Client, shared: &Shared, start: u64) -> Answer<Source> {
    let range = Some(ByteRange { start, end: None });
    let request = DownloadRequest { filename: "large".into(), range, ..DownloadRequest::default() };
    let token: Token = shared.token().parse().unwrap();
    client.send(Request::Download(request).encode_with(Some(&token)).unwrap()).await
}

// Fails when what was handed out before a client was cut off is forgotten: then who goes on where it was gets the whole file, and the
// share stays up.
#[tokio::test]
async fn what_was_handed_out_before_a_client_was_cut_off_counts() {
    let home = home();
    home.tree.write("docs/large", &vec![7; LARGE]);
    let start = || Shared::start(&home, &["docs/large", "--times", "1"]);
    let ended = async |shared: Shared| {
        let (code, said) = shared.ended().await;
        assert!(code == Some(0) && said.contains("everything was downloaded"), "{said}");
    };

    let shared = start();
    take_most(&shared, "/large").await;
    let bearer = format!("authorization: Bearer {}", shared.token());
    let rest = http::get(shared.address(), "/large", &[&bearer, &format!("range: bytes={MOST}-")]).await;
    assert_eq!((rest.status, rest.body.len()), (206, LARGE - MOST));
    ended(shared).await;

    let shared = start();
    for _ in 0..2 {
        take_most(&shared, "/?tar").await;
    }
    ended(shared).await;

    let shared = start();
    let connect = async || {
        let endpoint = ClientEndpoint::bind(shared.address().ip(), None).unwrap();
        let tuning = ClientTuning::default();
        let connection =
            endpoint.connect(shared.address(), "localhost", Trust::AnyKey, &tuning, PATIENCE).await.unwrap();
        Client { endpoint, connection }
    };
    let client = connect().await;
    let mut answer = ask(&client, &shared, 0).await;
    head(&mut answer).await.unwrap();
    assert_eq!(soon(answer.next_bytes(MOST)).await.unwrap().len(), MOST);
    drop((answer, client));
    let client = connect().await;
    let mut answer = ask(&client, &shared, MOST as u64).await;
    let head = head(&mut answer).await.unwrap();
    assert_eq!(finish(answer, head).await.unwrap().body.len(), LARGE - MOST);
    drop(client);
    ended(shared).await;
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
        (
            &["docs/report.txt", "docs/../docs/report.txt"],
            "error: cannot share report.txt: two of the paths have this name\nhint: share one of them by itself",
        ),
        (&["/dev/null"], "neither a file nor a directory"),
        (&["photos", "--for", "1"], "expected a time"),
        (&["photos", "--times", "0"], "0 is not in"),
        (&[], "PATH"),
    ] {
        let said = home.refused(&[&["share"], args].concat());
        assert!(said.contains(what), "{said}");
        assert!(said.lines().count() == 2 && said.contains("\nhint: "), "{said}");
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
