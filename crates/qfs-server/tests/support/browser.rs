//! A real browser: Chromium, led by chromedriver (W3C WebDriver, JSON over HTTP on loopback).

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::{Value, json};

/// A browser with one window, which believes any certificate.
pub(crate) struct Browser {
    driver: Child,
    port: u16,
    session: String,
    _profile: tempfile::TempDir,
}

impl Browser {
    /// Starts one. It fails where there is none: `.ci/run` installs it.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts one with these arguments more.
    pub(crate) fn start_with(more: &[String]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), more, &json!({}))
    }

    /// Starts one whose `HOME` is `profile`, with these arguments and preferences more.
    pub(crate) fn start_in(profile: tempfile::TempDir, more: &[String], preferences: &Value) -> Self {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .env("HOME", profile.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("chromedriver is needed for this test (see .ci/run): {error}"));
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = lines
            .find_map(|line| line.unwrap().split("successfully on port ").nth(1)?.trim_end_matches('.').parse().ok());
        let mut browser = Self { driver, port: port.unwrap(), session: String::new(), _profile: profile };
        // Its output is read to the end, so that it never waits for a reader.
        std::thread::spawn(move || lines.for_each(drop));
        let data = format!("--user-data-dir={}", browser._profile.path().join("data").display());
        let always = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--window-size=1200,900",
            &data,
        ];
        let arguments: Vec<&str> = always.into_iter().chain(more.iter().map(String::as_str)).collect();
        let made = browser.send(
            "POST",
            "",
            &json!({"capabilities": {"alwaysMatch": {
                "acceptInsecureCerts": true,
                "unhandledPromptBehavior": "ignore",
                "goog:chromeOptions": {"args": arguments, "prefs": preferences},
            }}}),
        );
        browser.session = format!("/{}", made["sessionId"].as_str().unwrap_or_else(|| panic!("no browser: {made}")));
        browser
    }

    fn send(&self, method: &str, path: &str, body: &Value) -> Value {
        let body = if method == "GET" { String::new() } else { body.to_string() };
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let head = format!(
            "{method} /session{}{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            self.session,
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body.as_bytes()).unwrap();
        // The driver keeps the connection, whatever it was asked: the answer's length tells its end.
        stream.set_read_timeout(Some(2 * super::PATIENCE)).unwrap();
        let mut reader = BufReader::new(stream);
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            match line.trim_end().split_once(':') {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    length = value.trim().parse().unwrap()
                }
                None if line.trim_end().is_empty() => break,
                _ => {}
            }
        }
        let mut answer = vec![0; length];
        reader.read_exact(&mut answer).unwrap();
        let mut answer: Value = serde_json::from_slice(&answer).unwrap();
        answer["value"].take()
    }

    /// Loads a page.
    pub(crate) fn go(&self, url: &str) {
        let said = self.send("POST", "/url", &json!({"url": url}));
        assert!(said.is_null(), "{url}: {said}");
    }

    /// Tries to load a page that may not come, and returns what the window shows then.
    pub(crate) fn try_go(&self, url: &str) -> String {
        self.send("POST", "/url", &json!({"url": url}));
        self.value("document.documentElement.innerText").as_str().unwrap_or_default().to_owned()
    }

    /// The value of an expression in the page.
    pub(crate) fn value(&self, expression: &str) -> Value {
        self.send("POST", "/execute/sync", &json!({"script": format!("return {expression}"), "args": []}))
    }

    /// The same, once it is true; the test fails when it never is.
    pub(crate) fn wait(&self, expression: &str) {
        let end = std::time::Instant::now() + super::PATIENCE;
        while self.value(expression) != json!(true) {
            assert!(
                std::time::Instant::now() < end,
                "never true: {expression}; the page is {}",
                self.value("document.body.innerText")
            );
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    /// Presses keys, one after the other, wherever the focus is. Special ones by their WebDriver code points.
    pub(crate) fn press(&self, keys: &str) {
        let actions: Vec<_> = keys
            .chars()
            .flat_map(|key| {
                [
                    json!({"type": "keyDown", "value": key.to_string()}),
                    json!({"type": "keyUp", "value": key.to_string()}),
                ]
            })
            .collect();
        let said =
            self.send("POST", "/actions", &json!({"actions": [{"type": "key", "id": "keys", "actions": actions}]}));
        assert!(said.is_null(), "{said}");
    }

    /// Chooses files in the input that `selector` finds, one path a line.
    pub(crate) fn choose(&self, selector: &str, paths: &str) {
        let found = self.send("POST", "/element", &json!({"using": "css selector", "value": selector}));
        let element = found.as_object().and_then(|found| found.values().next()?.as_str());
        let element = element.unwrap_or_else(|| panic!("{selector}: {found}"));
        let said = self.send("POST", &format!("/element/{element}/value"), &json!({"text": paths}));
        assert!(said.is_null(), "{said}");
    }

    /// A command of the DevTools protocol.
    pub(crate) fn devtools(&self, command: &str, parameters: &Value) -> Value {
        self.send("POST", "/goog/cdp/execute", &json!({"cmd": command, "params": parameters}))
    }

    /// Writes what the window shows to the file `NAME.png` in the directory that `QFS_TEST_PICTURES` names, if it names one.
    pub(crate) fn picture(&self, name: &str) {
        let Some(directory) = std::env::var_os("QFS_TEST_PICTURES") else { return };
        let shot = self.send("GET", "/screenshot", &Value::Null);
        let png = BASE64_STANDARD.decode(shot.as_str().unwrap()).unwrap();
        std::fs::write(std::path::Path::new(&directory).join(format!("{name}.png")), png).unwrap();
    }

    /// Whether the page has opened a dialogue, as `alert` does.
    pub(crate) fn has_dialogue(&self) -> bool {
        self.send("GET", "/alert/text", &Value::Null).is_string()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Ends the browser too. A driver that is gone has none.
        if !self.session.is_empty() && TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
            self.send("DELETE", "", &json!({}));
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
