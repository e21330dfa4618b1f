//! Tokens over HTTP: by header, by form and cookie; what another site can make a browser do.
#![cfg(feature = "http")]
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may panic, and makes the files it publishes"
)]

mod support;

use std::net::SocketAddr;

use qfs_server::Gate;
use qfs_server::gate::tokens::{Issue, Scope, TokenFile};
use support::http::{ask, get};
use support::{Rig, Tree};

const BROWSER: &str = "Accept: text/html";
const SAME: &str = "Sec-Fetch-Site: same-origin";

struct Place {
    rig: Rig,
    _home: tempfile::TempDir,
    /// Reaches everything.
    all: String,
    /// Reaches `in`.
    some: String,
}

fn place() -> Place {
    let home = tempfile::tempdir().unwrap();
    let file = TokenFile::in_directory(home.path());
    let all = file.create(Issue::default()).unwrap().0.reveal().to_owned();
    let scope = Scope::parse(&["in".to_owned()]).unwrap();
    let some = file.create(Issue { scope: Some(scope), ..Issue::default() }).unwrap().0.reveal().to_owned();
    let tree = Tree::new();
    tree.write("in/a.txt", b"inside");
    tree.write("out/b.txt", b"outside");
    let rig = Rig::start(tree, |config| config.gate = Gate::tokens(file).unwrap());
    Place { rig, _home: home, all, some }
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}")
}

async fn log_in(address: SocketAddr, lines: &[&str], token: &str, next: &str) -> support::http::Answer {
    let form = format!("token={token}&next={next}");
    ask(address, "POST", "/.qfs/token", lines, &form).await
}

#[tokio::test]
async fn a_token_opens_what_it_reaches() {
    let place = place();
    let address = place.rig.address;
    let denied = get(address, "/in/a.txt", &[]).await;
    assert_eq!((denied.status, denied.header("www-authenticate")), (401, "Bearer realm=\"qfs\""));
    assert_eq!(get(address, "/in/a.txt", &[&bearer("qfs_00")]).await.status, 401);
    assert_eq!(get(address, "/none", &[&bearer("qfs_00")]).await.text(), denied.text());
    assert_eq!(get(address, &format!("/in/a.txt?token={}", place.all), &[]).await.status, 401, "a URL is written down");
    assert_eq!(get(address, "/out/b.txt", &[&bearer(&place.all)]).await.text(), "outside");
    assert_eq!(get(address, "/in/a.txt", &[&bearer(&place.some)]).await.text(), "inside");
    // What lies outside, and what is not there, are not told apart.
    let some = bearer(&place.some);
    for target in ["/out/b.txt", "/out/none.txt", "/out/", "/out", "/out/?tar", "/none"] {
        let answer = get(address, target, &[&some]).await;
        assert_eq!((answer.status, answer.text().as_str()), (404, "not_found: no such file\n"), "{target}");
    }
    let list = get(address, "/", &[&some, "Accept: application/json"]).await.text();
    assert!(list.contains("\"in\"") && !list.contains("out"), "{list}");
    let archive = get(address, "/?tar", &[&some]).await.text();
    assert!(archive.contains("inside") && !archive.contains("outside"));
}

#[tokio::test]
async fn a_browser_gets_a_form_and_keeps_a_cookie() {
    let place = place();
    let address = place.rig.address;
    let form = get(address, "/in/", &[BROWSER]).await;
    assert_eq!(form.status, 401);
    assert!(form.text().contains("action=\"/.qfs/token\"") && form.text().contains("type=\"password\""));
    assert_eq!(get(address, "/.qfs/page.css", &[]).await.status, 200, "the form has its style");
    let wrong = log_in(address, &[BROWSER, SAME], "qfs_00", "/in/").await;
    assert_eq!((wrong.status, wrong.header("set-cookie")), (401, ""));
    assert!(wrong.text().contains("role=\"alert\""));
    let answer = log_in(address, &[BROWSER, SAME], &place.some, "/in/").await;
    assert_eq!((answer.status, answer.header("location")), (303, "/in/"));
    let cookie = answer.header("set-cookie");
    assert_eq!(
        cookie,
        format!("__Host-qfs-{}={}; Path=/; Secure; HttpOnly; SameSite=Strict", address.port(), place.some)
    );
    let cookie = format!("Cookie: {}", cookie.split(';').next().unwrap());
    assert!(get(address, "/in/", &[BROWSER, &cookie]).await.text().contains("a.txt"));
    assert_eq!(get(address, "/out/b.txt", &[&cookie]).await.status, 404);
    let elsewhere = log_in(address, &[SAME], &place.all, "//evil.example/").await;
    assert_eq!((elsewhere.status, elsewhere.header("location")), (303, "/"));
    let forgotten = ask(address, "POST", "/.qfs/forget", &[SAME, &cookie], "").await;
    assert!(forgotten.header("set-cookie").contains("Max-Age=0"), "{forgotten:?}");
}

/// Fails when another site can have a browser log in or out.
#[tokio::test]
async fn what_another_site_sends_changes_nothing() {
    let place = place();
    let address = place.rig.address;
    for lines in [
        &["Sec-Fetch-Site: cross-site"][..],
        &["Sec-Fetch-Site: same-site"],
        &["Origin: https://evil.example"],
        &["Origin: null"],
        &["Origin: http://localhost"],
        &[],
    ] {
        let answer = log_in(address, lines, &place.all, "/").await;
        assert_eq!((answer.status, answer.header("set-cookie")), (403, ""), "{lines:?}");
        let answer = ask(address, "POST", "/.qfs/forget", lines, "").await;
        assert_eq!((answer.status, answer.header("set-cookie")), (403, ""), "{lines:?}");
    }
    // A host that lies changes nothing but what it is compared with.
    let answer = log_in(address, &["Origin: https://localhost"], &place.all, "/").await;
    assert_eq!(answer.status, 303);
}

#[tokio::test]
async fn who_goes_on_guessing_is_turned_out() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let place = place();
    let mut stream = support::http::connect(place.rig.address, &[b"http/1.1"]).await;
    let request = format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n\r\n", bearer("qfs_00"));
    let mut said = Vec::new();
    for _ in 0..200 {
        if stream.write_all(request.as_bytes()).await.is_err() {
            break;
        }
    }
    let _ = support::soon(stream.read_to_end(&mut said)).await;
    let tries = String::from_utf8_lossy(&said).matches("401 Unauthorized").count();
    assert!((1..=18).contains(&tries), "{tries}");
}
