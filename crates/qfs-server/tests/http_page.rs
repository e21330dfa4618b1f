//! The page in a real browser: what people do there, and what strangers' names must not.
#![cfg(feature = "http")]
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may panic, and makes the files it publishes"
)]

mod support;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use qfs_core::model::Digest;
use serde_json::json;
use support::browser::Browser;
use support::program::{Home, Running};

const DOWN: &str = "\u{e015}";
const ENTER: &str = "\u{e007}";
const ESCAPE: &str = "\u{e00c}";

fn place(files: &[(&str, &str)], flags: &[&str]) -> (Home, Running, String, Browser) {
    let home = Home::new();
    for (name, content) in files {
        home.tree.write(&format!("root/{name}"), content.as_bytes());
    }
    let server = home.start(flags);
    let base = format!("https://{}", server.address());
    (home, server, base, Browser::start())
}

/// The names of the rows that are shown, in order.
const NAMES: &str = "[...document.querySelectorAll('tbody tr[data-name]:not([hidden])')].map(row => row.dataset.name)";

#[test]
fn people_search_sort_and_look_at_files() {
    let files = [
        ("b-10.txt", "1234567890"),
        ("b-9.txt", "1"),
        ("a.md", "# Title\n\n*text*"),
        ("dir/inner.txt", "in"),
        ("README.md", "# Welcome"),
    ];
    let (_home, _server, base, browser) = place(&files, &[]);
    browser.go(&format!("{base}/"));
    browser.wait("document.documentElement.classList.contains('scripted')");
    assert_eq!(browser.value("document.querySelector('.readme h1').textContent"), "Welcome");
    browser.picture("page");
    // Sorting, without asking the server again.
    browser.value("document.querySelector('th.size a').click()");
    assert_eq!(browser.value(NAMES), json!(["dir", "a.md", "b-10.txt", "README.md", "hello.txt", "b-9.txt"]));
    assert_eq!(browser.value("document.querySelector('th.size').getAttribute('aria-sort')"), "descending");
    browser.value("document.querySelector('th.name a').click()");
    assert_eq!(browser.value(NAMES), json!(["dir", "a.md", "b-9.txt", "b-10.txt", "hello.txt", "README.md"]));
    assert_eq!(browser.value("location.search"), "");
    // Searching with the keyboard, from anywhere, and back.
    browser.press("/b-");
    assert_eq!(browser.value(NAMES), json!(["b-9.txt", "b-10.txt"]));
    browser.press(ESCAPE);
    assert_eq!(browser.value(&format!("({NAMES}).length")), 6);
    // Down to the first row and in; a search that the server answers finds what is below.
    browser.press(&format!("{DOWN}{ENTER}"));
    browser.wait("location.pathname === '/dir/'");
    assert_eq!(browser.value(NAMES), json!(["inner.txt"]));
    browser.go(&format!("{base}/?q=INNER"));
    assert_eq!(browser.value(NAMES), json!(["dir/inner.txt"]));
    browser.value("document.querySelector('td.view a').click()");
    browser.wait("location.pathname === '/dir/inner.txt'");
    assert_eq!(browser.value("document.querySelector('pre.text').textContent"), "in");
    assert_eq!(browser.value("document.querySelectorAll('.crumbs a').length"), 2);
    browser.go(&format!("{base}/a.md?view"));
    assert_eq!(browser.value("document.querySelector('.readme em').textContent"), "text");
    assert!(browser.value("document.querySelector('.facts').innerText").as_str().unwrap().contains("SHA-256"));
}

/// Fails when a name or a file of a stranger runs a script in the page, or in a page of its own beside it.
#[test]
fn names_and_files_run_no_scripts() {
    let evil = "window.pwned = 1; alert(1)";
    let files = [
        (format!("<img src=x onerror='{evil}'>.txt"), String::new()),
        (format!("\"><script>{evil}<"), format!("<script>{evil}</script>")),
        (format!("'><svg onload='{evil}'"), String::new()),
        ("javascript:alert(1)".to_owned(), String::new()),
        ("&lt;script&gt;alert(1)&lt;".to_owned(), String::new()),
        (
            "README.md".to_owned(),
            format!("<script>{evil}</script>\n\n<img src=x onerror='{evil}'>\n\n[x](javascript:alert(1))"),
        ),
        ("page.html".to_owned(), format!("<p id=shown>shown</p><script>{evil}</script><img src=x onerror='{evil}'>")),
        (
            "picture.svg".to_owned(),
            format!("<svg xmlns='http://www.w3.org/2000/svg' onload='{evil}'><script>{evil}</script></svg>"),
        ),
    ];
    let files: Vec<_> = files.iter().map(|(name, content)| (name.as_str(), content.as_str())).collect();
    let (_home, _server, base, browser) = place(&files, &[]);
    let is_clean = |what: &str| {
        assert!(!browser.has_dialogue(), "{what} opened a dialogue");
        assert_eq!(browser.value("String(window.pwned)"), "undefined", "{what}");
        assert_eq!(
            browser.value("document.querySelectorAll('body script, body svg, [onerror], [onload]').length"),
            0,
            "{what}"
        );
    };
    browser.go(&format!("{base}/"));
    browser.wait("document.documentElement.classList.contains('scripted')");
    assert_eq!(browser.value(&format!("({NAMES}).length")), files.len() + 1);
    is_clean("the page");
    browser.press("/<script");
    is_clean("a search");
    let links = browser.value("[...document.querySelectorAll('td.view a')].map(a => a.href)");
    for link in links.as_array().unwrap() {
        browser.go(link.as_str().unwrap());
        is_clean(link.as_str().unwrap());
    }
    browser.go(&format!("{base}/?q=%3Cscript%3Ealert(1)%3C/script%3E\"onfocus=alert(1)"));
    is_clean("a search in the address");
    browser.go(&format!("{base}/page.html"));
    assert!(!browser.has_dialogue());
    for name in ["page.html", "picture.svg"] {
        let frame = format!(
            "(() => {{ const x = new XMLHttpRequest(); x.open('GET', '/{name}', false); x.send(); return x.getResponseHeader('content-security-policy'); }})()"
        );
        browser.go(&format!("{base}/"));
        assert!(browser.value(&frame).as_str().unwrap().starts_with("sandbox; default-src 'none'"), "{name}");
    }
    // The sandbox is what keeps it from running: an origin of its own, without scripts.
    browser.go(&format!("{base}/page.html"));
    assert_eq!(browser.value("String(window.pwned)"), "undefined");
}

#[test]
fn it_suits_telephones_the_dark_and_readers() {
    let long = "a-very-long-name-without-a-place-to-break-it-".repeat(4);
    let name = format!("{long}.txt");
    let (_home, _server, base, browser) = place(&[(&name, "x"), ("dir/x", "")], &[]);
    browser.go(&format!("{base}/"));
    let light = browser.value("getComputedStyle(document.body).backgroundColor");
    browser.devtools(
        "Emulation.setEmulatedMedia",
        &json!({"features": [{"name": "prefers-color-scheme", "value": "dark"}]}),
    );
    let dark = browser.value("getComputedStyle(document.body).backgroundColor");
    assert_eq!((light, dark), (json!("rgb(251, 251, 250)"), json!("rgb(20, 23, 26)")));
    browser.picture("page-dark");
    browser.devtools(
        "Emulation.setDeviceMetricsOverride",
        &json!({"width": 360, "height": 740, "deviceScaleFactor": 3, "mobile": true}),
    );
    browser.go(&format!("{base}/"));
    assert_eq!(browser.value("document.documentElement.scrollWidth <= 360"), true);
    browser.picture("page-telephone");
    assert_eq!(browser.value("[...document.querySelectorAll('td.name a, .button, input')].every(e => e.offsetParent === null || e.offsetHeight >= 32)"), true);
    let tree = browser.devtools("Accessibility.getFullAXTree", &json!({}));
    let of = |role: &str| {
        let nodes = tree["nodes"].as_array().unwrap().iter().filter(|node| node["role"]["value"] == role);
        nodes.map(|node| node["name"]["value"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(of("navigation"), ["Where you are"]);
    assert_eq!(
        (of("main").len(), of("search").len(), of("heading").first().map(String::as_str)),
        (1, 1, Some("Files"))
    );
    assert!(of("searchbox")[0].contains("Search"));
    assert!(of("link").iter().any(|link| link.contains(&long)) && of("link").iter().all(|link| !link.is_empty()));
}

/// Fails when the page needs its script: links, sorting and searching are the server's.
#[test]
fn it_works_without_a_script() {
    let (_home, _server, base, browser) = place(&[("small.txt", "1"), ("large.txt", "12345678")], &[]);
    browser.devtools("Emulation.setScriptExecutionDisabled", &json!({"value": true}));
    browser.go(&format!("{base}/?sort=size&order=desc"));
    assert_eq!(browser.value("document.documentElement.className"), "");
    assert_eq!(browser.value(NAMES), json!(["large.txt", "hello.txt", "small.txt"]));
    browser.go(&format!("{base}/?q=small"));
    assert_eq!(browser.value(NAMES), json!(["small.txt"]));
}

#[test]
fn thousands_of_rows_come_in_pages() {
    let names: Vec<_> = (0..2500).map(|n| format!("many/{n:05}")).collect();
    let files: Vec<_> = names.iter().map(|name| (name.as_str(), "")).collect();
    let (_home, _server, base, browser) = place(&files, &[]);
    browser.go(&format!("{base}/many/"));
    assert_eq!(browser.value(&format!("({NAMES}).length")), 1000);
    browser.go(&format!("{base}/many/?page=3"));
    assert_eq!(browser.value(&format!("[({NAMES}).length, ({NAMES})[0]]")), json!([500, "02000"]));
    assert_eq!(
        browser.value("document.querySelector('[rel=prev]') !== null && document.querySelector('[rel=next]') === null"),
        true
    );
    browser.go(&format!("{base}/many/?q=0249"));
    assert_eq!(browser.value(&format!("({NAMES}).length")), 11);
}

#[test]
fn a_token_is_asked_for_once() {
    let home = Home::new();
    let made = home.command().args(["token", "create"]).output().unwrap();
    let token = String::from_utf8(made.stdout).unwrap().trim().to_owned();
    let server = home.start(&["--auth", "tokens", "-v"]);
    let browser = Browser::start();
    browser.go(&format!("https://{}/", server.address()));
    browser.wait("document.getElementById('token') === document.activeElement");
    browser.press(&format!("wrong{ENTER}"));
    browser.wait("document.querySelector('[role=alert]') !== null");
    browser.press(&format!("{token}{ENTER}"));
    browser.wait("document.getElementById('files') !== null");
    assert_eq!(browser.value(NAMES), json!(["hello.txt"]));
    assert_eq!((browser.value("document.cookie"), browser.value("location.search")), (json!(""), json!("")));
    browser.go(&format!("https://{}/hello.txt?view", server.address()));
    assert_eq!(browser.value("document.querySelector('pre.text').textContent"), "hello");
}

/// The browser's connection goes to the UDP port that qfs has, and never to another.
///
/// Fails when: the end point does not offer `h3` beside `qfs/1`, or what comes over it is not the page and the file.
#[test]
fn it_comes_over_http3() {
    let home = Home::new();
    let content = support::noise(3_000_000);
    home.tree.write("root/large.bin", &content);
    let server = home.start(&[]);
    let port = server.address().port();
    let fingerprint: Digest = server.fingerprint().to_string().trim_start_matches("sha256:").parse().unwrap();
    let key = BASE64_STANDARD.encode(fingerprint.as_bytes());
    let browser = Browser::start_with(&[
        format!("--origin-to-force-quic-on=localhost:{port}"),
        format!("--ignore-certificate-errors-spki-list={key}"),
        "--host-resolver-rules=MAP localhost 127.0.0.1".to_owned(),
    ]);
    browser.go(&format!("https://localhost:{port}/"));
    assert_eq!(browser.value("performance.getEntriesByType('navigation')[0].nextHopProtocol"), "h3");
    assert_eq!(browser.value(NAMES), json!(["hello.txt", "large.bin"]));
    browser.value(
        "void fetch('/large.bin').then(answer => answer.arrayBuffer()).then(bytes => crypto.subtle.digest('SHA-256', bytes))
         .then(digest => window.digest = [...new Uint8Array(digest)].map(byte => byte.toString(16).padStart(2, '0')).join(''))",
    );
    browser.wait("window.digest !== undefined");
    assert_eq!(browser.value("window.digest"), Digest::of(&content).to_string());
    let of_it = "performance.getEntriesByType('resource').filter(entry => entry.name.endsWith('/large.bin'))";
    assert_eq!(browser.value(&format!("{of_it}.map(entry => entry.nextHopProtocol)")), json!(["h3"]));
}
