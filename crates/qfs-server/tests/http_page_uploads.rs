//! Uploads from the page and removing there, in a real browser.
#![cfg(feature = "http")]
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may panic, and makes the files it publishes"
)]

mod support;

use std::io::Read;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};

use serde_json::json;
use support::browser::Browser;
use support::noise;
use support::program::{Home, Running};

fn place(flags: &[&str]) -> (Home, Running, String, Browser) {
    let home = Home::new();
    let server = home.start(flags);
    let base = format!("https://{}", server.address());
    (home, server, base, Browser::start())
}

const EVERYTHING: &[&str] = &["--allow", "read,write,delete"];

/// The names of the rows that are shown, in order.
const NAMES: &str = "[...document.querySelectorAll('tbody tr[data-name]')].map(row => row.dataset.name)";

/// The states of the uploads in the page.
const STATES: &str = "[...document.querySelectorAll('#uploads li')].map(row => row.dataset.state)";

/// Drops a file on the page.
fn drop_file(browser: &Browser, name: &str, content: &str) {
    let (name, content) = (json!(name), json!(content));
    browser.value(&format!(
        "(() => {{ const data = new DataTransfer(); data.items.add(new File([{content}], {name}, {{ lastModified: 1e12 }}));
        document.dispatchEvent(new DragEvent('drop', {{ dataTransfer: data, bubbles: true, cancelable: true }})); }})()"
    ));
}

/// Fails when: a directory that is dropped is taken for a file, loses a name, or brings a hidden one.
#[test]
fn a_directory_is_dropped_with_all_that_is_below_it() {
    let (home, _server, base, browser) = place(EVERYTHING);
    for (name, content) in [("d/a", "1"), ("d/deep er/50%#?.txt", "2"), ("d/.hidden", "3")] {
        home.tree.write(&format!("from/{name}"), content.as_bytes());
    }
    browser.go(&format!("{base}/"));
    browser.wait("document.getElementById('choose') !== null && !document.getElementById('choose').hidden");
    let dropped = home.path().join("from/d").to_str().unwrap().to_owned();
    let data = json!({"items": [], "files": [dropped], "dragOperationsMask": 1});
    for kind in ["dragEnter", "dragOver", "drop"] {
        browser.devtools("Input.dispatchDragEvent", &json!({"type": kind, "x": 50, "y": 50, "data": data}));
    }
    // What was left out is said, so the page is not read anew.
    browser.wait(&format!("({STATES}).sort().join() === 'done,done,failed'"));
    let text = browser.value("document.getElementById('uploads').textContent");
    assert!(text.as_str().unwrap().contains("hidden names left out: 1"), "{text}");
    let at = |name: &str| home.path().join("root").join(name);
    assert_eq!(std::fs::read(at("d/a")).unwrap(), b"1");
    assert_eq!(std::fs::read(at("d/deep er/50%#?.txt")).unwrap(), b"2");
    assert!(!at("d/.hidden").exists());
}

#[test]
fn files_are_dropped_and_chosen_and_removed() {
    let (home, _server, base, browser) = place(EVERYTHING);
    home.tree.write("from/b.bin", &noise(300_000));
    let at = |name: &str| home.path().join("root").join(name);
    browser.go(&format!("{base}/"));
    browser.wait("document.getElementById('choose') !== null && !document.getElementById('choose').hidden");
    drop_file(&browser, "a 100%.txt", "dropped");
    browser.wait(&format!("({NAMES}).includes('a 100%.txt')"));
    assert_eq!(std::fs::read(at("a 100%.txt")).unwrap(), b"dropped");
    let modified = at("a 100%.txt").metadata().unwrap().modified().unwrap();
    assert_eq!(modified.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs(), 1_000_000_000);
    browser.choose("#pick", home.path().join("from/b.bin").to_str().unwrap());
    browser.wait(&format!("({NAMES}).includes('b.bin')"));
    assert!(std::fs::read(at("b.bin")).unwrap() == noise(300_000));
    // What is there is replaced only by who says so.
    for (button, content) in [("Keep", &b"dropped"[..]), ("Replace", b"another")] {
        browser.wait(&format!("({STATES}).length === 0 || ({STATES}).includes('kept')"));
        drop_file(&browser, "a 100%.txt", "another");
        browser.wait(&format!("({STATES}).includes('asking')"));
        assert_eq!(std::fs::read(at("a 100%.txt")).unwrap(), b"dropped");
        browser.value(&format!(
            "[...document.querySelectorAll('#uploads button')].find(button => button.textContent === '{button}').click()"
        ));
        let end = std::time::Instant::now() + support::PATIENCE;
        browser.wait(&format!("({STATES}).every(state => ['kept', 'done'].includes(state))"));
        while std::fs::read(at("a 100%.txt")).unwrap() != content {
            assert!(std::time::Instant::now() < end);
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
    // Pressed twice, it removes.
    browser.go(&format!("{base}/"));
    browser.wait("document.querySelector('button.remove') !== null");
    let press = "document.querySelector('tr[data-name=\"b.bin\"] button.remove').click()";
    browser.value(press);
    assert!(at("b.bin").exists());
    browser.value(press);
    browser.wait(&format!("!({NAMES}).includes('b.bin')"));
    assert!(!at("b.bin").exists());
}

/// A way to `server` on which each connection ends when it has carried `bytes` there.
fn cut_off_after(server: SocketAddr, bytes: u64) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (Ok(client), Ok(upstream)) = (client, TcpStream::connect(server)) else { continue };
            let (mut from_server, mut to_client) = (upstream.try_clone().unwrap(), client.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut from_server, &mut to_client));
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut (&client).take(bytes), &mut &upstream);
                let _ = (client.shutdown(Shutdown::Both), upstream.shutdown(Shutdown::Both));
            });
        }
    });
    address
}

/// Has the page wait for moments where it would wait for seconds.
fn hurry(browser: &Browser) {
    browser
        .value("void (window.setTimeout = ((real) => (done, after) => real(done, Math.min(after, 20)))(setTimeout))");
}

/// Loads the page and waits for its button.
fn open(browser: &Browser, base: &str) {
    browser.go(&format!("{base}/"));
    browser.wait("document.getElementById('choose') !== null && !document.getElementById('choose').hidden");
}

/// Lets so many bytes a second out of the browser; -1: as many as there are.
fn at_a_rate(browser: &Browser, bytes: i64) {
    let network = json!({"offline": false, "latency": 0, "downloadThroughput": -1, "uploadThroughput": bytes});
    browser.devtools("Network.enable", &json!({}));
    browser.devtools("Network.emulateNetworkConditions", &network);
}

/// Fails when an upload is given up although each try brings something.
#[test]
fn an_upload_goes_on_for_as_long_as_something_arrives() {
    let home = Home::new();
    let server = home.start(EVERYTHING);
    let content = noise(20_000_000);
    home.tree.write("from/large.bin", &content);
    let browser = Browser::start_with(&["--disable-quic".to_owned()]);
    open(&browser, &format!("https://{}", cut_off_after(server.address(), 1 << 20)));
    hurry(&browser);
    browser.choose("#pick", home.path().join("from/large.bin").to_str().unwrap());
    browser.wait(&format!("({NAMES}).includes('large.bin') || ({STATES}).includes('failed')"));
    assert!(std::fs::read(home.path().join("root/large.bin")).is_ok_and(|arrived| arrived == content));
}

/// Begins an upload that takes long, and kills the server when some of it has arrived. Returns where the server was.
fn begin_and_kill(home: &Home, mut server: Running, browser: &Browser) -> SocketAddr {
    home.tree.write("from/large.bin", &noise(24_000_000));
    at_a_rate(browser, 4_000_000);
    browser.choose("#pick", home.path().join("from/large.bin").to_str().unwrap());
    browser.wait("Number(document.querySelector('#uploads progress').value) > 16e6");
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    server.address()
}

/// Fails when what was given up for now begins anew, or the page does not say what is wrong.
#[test]
fn a_file_that_is_chosen_again_goes_on_where_it_failed() {
    let (home, server, base, browser) = place(EVERYTHING);
    open(&browser, &base);
    hurry(&browser);
    let address = begin_and_kill(&home, server, &browser);
    browser.wait(&format!("({STATES}).includes('failed')"));
    let said = browser.value("document.querySelector('#uploads .state').textContent");
    assert_eq!(said, json!("the server cannot be reached; choose the file again to go on"));
    let _server = home.start(&[EVERYTHING, &["--port", &address.port().to_string()]].concat());
    at_a_rate(&browser, -1);
    browser.choose("#pick", home.path().join("from/large.bin").to_str().unwrap());
    browser.wait(&format!("({STATES}).includes('done')"));
    let from = browser.value("Number([...document.querySelectorAll('#uploads li')].at(-1).dataset.from)");
    assert!(from.as_u64().unwrap() > 0, "it began anew");
    assert!(std::fs::read(home.path().join("root/large.bin")).unwrap() == noise(24_000_000));
}

/// Fails when an upload that waits for the server is not to be stopped, and is published although it was.
#[test]
fn an_upload_that_waits_is_cancelled() {
    let (home, server, base, browser) = place(EVERYTHING);
    open(&browser, &base);
    let address = begin_and_kill(&home, server, &browser);
    browser.wait("document.querySelector('#uploads .state').textContent.includes('waiting')");
    browser.value("document.querySelector('#uploads button').click()");
    let _server = home.start(&[EVERYTHING, &["--port", &address.port().to_string()]].concat());
    browser.wait(&format!("['cancelled', 'done'].includes(({STATES})[0]) || ({NAMES}).includes('large.bin')"));
    assert_eq!(browser.value(STATES), json!(["cancelled"]));
    assert!(!home.path().join("root/large.bin").exists());
}

/// Presses the button with this text in the list of uploads.
fn press(browser: &Browser, text: &str) {
    browser.value(&format!(
        "[...document.querySelectorAll('#uploads button')].find(button => button.textContent === '{text}').click()"
    ));
}

/// Fails when who agreed to replace one version replaces another, or removes it.
#[test]
fn only_what_was_seen_is_replaced_and_removed() {
    let (home, _server, base, browser) = place(EVERYTHING);
    home.tree.write("from/a.bin", &noise(12_000_000));
    let target = home.tree.write("root/a.bin", b"first");
    open(&browser, &base);
    at_a_rate(&browser, 3_000_000);
    browser.choose("#pick", home.path().join("from/a.bin").to_str().unwrap());
    browser.wait(&format!("({STATES}).includes('asking')"));
    press(&browser, "Replace");
    browser.wait("Number(document.querySelector('#uploads progress').value) > 1e6");
    home.tree.write("root/a.bin", b"somebody else's");
    browser.wait(&format!("({STATES}).some(state => ['asking', 'done', 'failed'].includes(state))"));
    assert_eq!(
        (browser.value(STATES), std::fs::read(&target).unwrap()),
        (json!(["asking"]), b"somebody else's".to_vec())
    );
    press(&browser, "Keep");
    browser.wait(&format!("({STATES}).includes('kept')"));

    open(&browser, &base);
    let press = "document.querySelector('tr[data-name=\"a.bin\"] button.remove').click()";
    home.tree.write("root/a.bin", b"yet another");
    browser.value(press);
    browser.value(press);
    browser
        .wait("!document.getElementById('told').hidden || document.querySelector('tr[data-name=\"a.bin\"]') === null");
    let told = browser.value("document.getElementById('told').textContent");
    assert_eq!(
        (told, target.exists()),
        (json!("a.bin was not deleted: it has changed since the page was loaded"), true)
    );
    open(&browser, &base);
    browser.value(press);
    browser.value(press);
    browser.wait("document.querySelector('tr[data-name=\"a.bin\"]') === null");
    assert!(!target.exists());
}

/// Fails when something cannot be reached on a telephone, a button is called otherwise than it reads, or every step of an upload is
/// read out.
#[test]
fn whoever_reads_on_a_telephone_or_listens_can_do_the_same() {
    let (home, _server, base, browser) = place(EVERYTHING);
    home.tree.write("from/a.bin", &noise(3_000_000));
    home.tree.write("root/dir/x", b"");
    browser.devtools(
        "Emulation.setDeviceMetricsOverride",
        &json!({"width": 360, "height": 740, "deviceScaleFactor": 3, "mobile": true}),
    );
    open(&browser, &base);
    browser.picture("page-telephone-changes");
    let reachable = "[...document.querySelectorAll('tr[data-name] td.view a, button.remove, th.modified a')].map(one => one.offsetParent !== null && getComputedStyle(one).opacity === '1')";
    assert_eq!(browser.value(reachable), json!([true, true, true, true]));
    assert_eq!(browser.value("document.documentElement.scrollWidth <= 360"), true);
    let names = || {
        let tree = browser.devtools("Accessibility.getFullAXTree", &json!({}));
        let nodes = tree["nodes"].as_array().unwrap().iter().filter(|node| node["role"]["value"] == "button");
        nodes.map(|node| node["name"]["value"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    assert!(names().contains(&"Delete hello.txt".to_owned()));
    browser.value("document.querySelector('tr[data-name=\"hello.txt\"] button.remove').click()");
    assert!(names().contains(&"Really delete hello.txt?".to_owned()), "{:?}", names());

    browser.value(
        "void new MutationObserver(() => sessionStorage.setItem('said', (sessionStorage.getItem('said') ?? '') + \
         document.querySelector('#uploads [role=status]').textContent + ';'))\
         .observe(document.getElementById('uploads'), { childList: true, characterData: true, subtree: true })",
    );
    at_a_rate(&browser, 2_000_000);
    browser.choose("#pick", home.path().join("from/a.bin").to_str().unwrap());
    browser.wait(&format!("({NAMES}).includes('a.bin')"));
    let said = browser.value("sessionStorage.getItem('said')");
    let said = said.as_str().unwrap();
    assert!(said.contains("uploading") && !said.contains('%'), "{said}");
}

/// The size is that of `QFS_TEST_UPLOAD_MB`: `scripts/browser.sh` has 1,074 there.
///
/// Fails when an upload begins anew after its connection was cut, or does not go on by itself.
#[test]
fn an_upload_goes_on_when_the_server_is_killed_and_started_again() {
    let (home, mut server, base, browser) = place(EVERYTHING);
    let megabytes: usize = std::env::var("QFS_TEST_UPLOAD_MB").map_or(48, |text| text.parse().unwrap());
    let content = noise(megabytes * 1_000_000);
    home.tree.write("from/large.bin", &content);
    browser.go(&format!("{base}/"));
    browser.wait("document.getElementById('choose') !== null && !document.getElementById('choose').hidden");
    let slow =
        json!({"offline": false, "latency": 0, "downloadThroughput": -1, "uploadThroughput": megabytes * 250_000});
    browser.devtools("Network.enable", &json!({}));
    browser.devtools("Network.emulateNetworkConditions", &slow);
    browser.choose("#pick", home.path().join("from/large.bin").to_str().unwrap());
    let partial = || {
        let entries = std::fs::read_dir(home.path().join("root")).unwrap().map(Result::unwrap);
        let sizes = entries.filter(|entry| entry.file_name().to_string_lossy().ends_with(".qfs-part"));
        // With the record behind it, it is longer than the whole.
        sizes.map(|entry| entry.metadata().unwrap().len()).max().unwrap_or(0)
    };
    let end = std::time::Instant::now() + 2 * support::PATIENCE;
    while partial() < content.len() as u64 {
        assert!(std::time::Instant::now() < end, "{} {}", partial(), browser.value("document.body.innerText"));
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    browser.wait("document.querySelector('#uploads .state').textContent.includes('waiting')");
    browser.devtools(
        "Network.emulateNetworkConditions",
        &json!({"offline": false, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}),
    );
    let address = server.address();
    drop(server);
    // What it goes on from is looked at before the page is loaded anew.
    browser.value(
        "void (window.froms = [], new MutationObserver(() => sessionStorage.setItem('from', \
         document.querySelector('#uploads li').dataset.from)).observe(document.getElementById('uploads'), \
         { attributes: true, subtree: true }))",
    );
    let _server = home.start(&[EVERYTHING, &["--port", &address.port().to_string()]].concat());
    browser.wait(&format!("({NAMES}).includes('large.bin')"));
    assert!(std::fs::read(home.path().join("root/large.bin")).unwrap() == content);
    let from = browser.value("Number(sessionStorage.getItem('from'))").as_u64().unwrap();
    assert!(from >= 8 << 20, "it began anew at {from}");
}

/// Fails when the name of a file, or what a server says of it, becomes markup in the page.
#[test]
fn names_of_uploads_run_no_scripts() {
    let (home, _server, base, browser) = place(EVERYTHING);
    browser.go(&format!("{base}/"));
    browser.wait("document.getElementById('choose') !== null && !document.getElementById('choose').hidden");
    let evil = [
        "<img src=x onerror='window.pwned = 1'>.txt",
        "\"><script>window.pwned = 1<",
        "'><svg onload='window.pwned = 1'",
        "%2e%2e%2fx",
    ];
    for (index, name) in evil.iter().enumerate() {
        drop_file(&browser, name, "x");
        browser.wait(&format!("({NAMES}).length === {}", index + 2));
    }
    // One that the server does not take stays in the page with what was wrong.
    drop_file(&browser, ".<b>hidden</b>", "x");
    browser.wait(&format!("({STATES}).includes('failed')"));
    let clean =
        "[String(window.pwned), document.querySelectorAll('main b, main img, main svg, [onerror], [onload]').length]";
    assert_eq!(browser.value(clean), json!(["undefined", 0]));
    assert_eq!(browser.value("document.querySelector('#uploads bdi').textContent"), ".<b>hidden</b>");
    for name in evil {
        assert_eq!(std::fs::read(home.path().join("root").join(name)).unwrap(), b"x", "{name}");
    }
    browser.value("[...document.querySelectorAll('tr[data-name] button.remove')].forEach(button => { if (button.closest('tr').dataset.name.includes('script')) { button.click(); button.click(); } })");
    browser.wait(&format!("!({NAMES}).some(name => name.includes('script'))"));
    assert_eq!(browser.value(clean), json!(["undefined", 0]));
}

/// Fails when a page offers what whoever looks at it may not do.
#[test]
fn nothing_is_offered_that_is_not_allowed() {
    let (_home, _server, base, browser) = place(&[]);
    browser.go(&format!("{base}/"));
    browser.wait("document.documentElement.classList.contains('scripted')");
    assert_eq!(browser.value("document.querySelectorAll('#choose, #uploads, button.remove').length"), json!(0));
    drop(browser);
    let (_home, _server, base, browser) = place(&["--allow", "read,write"]);
    browser.go(&format!("{base}/"));
    browser.wait("document.getElementById('choose') !== null && !document.getElementById('choose').hidden");
    assert_eq!(browser.value("document.querySelectorAll('button.remove').length"), json!(0));
    // Without a script there is nothing to press that would do nothing.
    browser.devtools("Emulation.setScriptExecutionDisabled", &json!({"value": true}));
    browser.go(&format!("{base}/"));
    assert_eq!(browser.value("document.getElementById('choose').hidden"), json!(true));
    assert_eq!(browser.value(NAMES), json!(["hello.txt"]));
}
