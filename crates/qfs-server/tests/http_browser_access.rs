//! Who is let in, in a real browser: by a certificate, by a token, and not.
#![cfg(feature = "http")]
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may panic, and makes the files it publishes"
)]

mod support;

use std::path::Path;
use std::process::Command;

use serde_json::json;
use support::browser::Browser;
use support::program::Home;

const ENTER: &str = "\u{e007}";

/// The names of the rows that are shown, in order.
const NAMES: &str = "[...document.querySelectorAll('tbody tr[data-name]')].map(row => row.dataset.name)";

/// Runs a program that has to succeed, in `place`.
fn run(place: &Path, line: &str) {
    let mut words = line.split(' ');
    let mut command = Command::new(words.next().unwrap());
    let done = command.args(words).current_dir(place).output();
    let done = done.unwrap_or_else(|error| panic!("{line} (see .ci/run): {error}"));
    assert!(done.status.success(), "{line}: {}", String::from_utf8_lossy(&done.stderr));
}

/// An authority, and a browser's home with a certificate that it signed, for `name`.
fn authority(place: &Path, name: &str) -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let database = home.path().join(".pki/nssdb");
    std::fs::create_dir_all(&database).unwrap();
    let database = database.display();
    std::fs::write(place.join("use"), "extendedKeyUsage=clientAuth\n").unwrap();
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    for line in [
        format!("openssl req -x509 {key} -keyout ca.key -out ca.pem -days 30 -subj /CN=authority"),
        format!("openssl req {key} -keyout client.key -out client.csr -subj /CN={name}"),
        "openssl x509 -req -in client.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out client.pem -days 30 -extfile use"
            .to_owned(),
        "openssl pkcs12 -export -in client.pem -inkey client.key -out client.p12 -passout pass:test".to_owned(),
        format!("certutil -N -d sql:{database} --empty-password"),
        format!("pk12util -i client.p12 -d sql:{database} -W test"),
    ] {
        run(place, &line);
    }
    home
}

/// Fetches a file as a link of the page would, and returns its text.
fn fetched(browser: &Browser, path: &str) -> serde_json::Value {
    browser.value(&format!(
        "void fetch('{path}').then(answer => answer.ok ? answer.text() : String(answer.status)).then(text => window.fetched = text)"
    ));
    browser.wait("window.fetched !== undefined");
    browser.value("(() => { const text = window.fetched; delete window.fetched; return text; })()")
}

/// Chromium takes certificates from the database in its home, and chooses among them as its preferences say.
///
/// Fails when a browser without a certificate sees anything of what is published or does not hear why, or one with a certificate is not let
/// in, over each connection that it makes.
#[test]
fn a_certificate_opens_the_page() {
    let home = Home::new();
    let browsers = authority(home.path(), "alice");
    let server = home.start(&["--client-ca", home.path().join("ca.pem").to_str().unwrap(), "-v"]);
    let base = format!("https://{}", server.address());

    let stranger = Browser::start();
    let said = stranger.try_go(&format!("{base}/"));
    assert!(said.contains("ERR_BAD_SSL_CLIENT_AUTH_CERT") && !said.contains("hello.txt"), "{said}");
    drop(stranger);

    let choice = json!({"pattern": base, "filter": {}}).to_string();
    let browser =
        Browser::start_in(browsers, &[], &json!({"profile.managed_auto_select_certificate_for_urls": [choice]}));
    browser.go(&format!("{base}/"));
    assert_eq!(browser.value(NAMES), json!(["hello.txt"]));
    assert_eq!(fetched(&browser, "/hello.txt"), "hello");
    browser.go(&format!("{base}/hello.txt?view"));
    assert_eq!(browser.value("document.querySelector('pre.text').textContent"), "hello");
}

/// Fails when the page loses its token on the way to a file or an upload, a wrong one is not told so, or one that was given up still opens.
#[test]
fn a_token_is_good_for_everything_until_it_is_forgotten() {
    let home = Home::new();
    let made = home.command().args(["token", "create", "--can", "read,write"]).output().unwrap();
    let token = String::from_utf8(made.stdout).unwrap().trim().to_owned();
    home.tree.write("from/up.bin", &support::noise(300_000));
    let server = home.start(&["--auth", "tokens"]);
    let base = format!("https://{}", server.address());
    let browser = Browser::start();
    browser.go(&format!("{base}/"));
    browser.wait("document.getElementById('token') === document.activeElement");
    assert_eq!(fetched(&browser, "/hello.txt"), "401");
    browser.press(&format!("qfs_00{ENTER}"));
    browser.wait("document.querySelector('[role=alert]') !== null");
    let alert = browser.value("document.querySelector('[role=alert]').innerText");
    assert!(alert.as_str().unwrap().contains("token"), "{alert}");
    assert_eq!(fetched(&browser, "/hello.txt"), "401");
    browser.press(&format!("{token}{ENTER}"));
    browser.wait("document.getElementById('files') !== null");
    assert_eq!(fetched(&browser, "/hello.txt"), "hello");
    browser.wait("document.getElementById('choose') !== null && !document.getElementById('choose').hidden");
    browser.choose("#pick", home.path().join("from/up.bin").to_str().unwrap());
    browser.wait(&format!("({NAMES}).includes('up.bin')"));
    assert!(std::fs::read(home.path().join("root/up.bin")).unwrap() == support::noise(300_000));
    browser.value("document.querySelector('form[action=\"/.qfs/forget\"] button').click()");
    browser.wait("document.getElementById('token') !== null");
    assert_eq!(fetched(&browser, "/hello.txt"), "401");
    browser.go(&format!("{base}/up.bin"));
    browser.wait("document.getElementById('token') !== null");
}
