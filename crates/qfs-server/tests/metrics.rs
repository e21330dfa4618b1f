//! `--metrics`: numbers for Prometheus, and health.
#![cfg(feature = "metrics")]
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may panic, and makes the files it publishes"
)]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Stdio;

use qfs_transport::ClientTuning;
use support::http::{get, parse};
use support::program::{Home, Running};

fn ask(address: &str, path: &str) -> support::http::Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    parse(&answer)
}

/// Fails when a door does not count, a name is among the labels, or health is not told.
#[tokio::test]
async fn both_doors_count_and_no_name_is_told() {
    let home = Home::new();
    home.tree.write("root/secret-name.txt", b"secret");
    let mut server = Running::start(home.command().args(["--metrics", "0"]).stderr(Stdio::piped()));
    let mut said = BufReader::new(server.child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let address = said
        .find_map(|line| Some(line.split("http://").nth(1)?.split("/metrics").next()?.to_owned()))
        .expect("where the numbers are is said");
    // Nobody may stop reading what the server says.
    std::thread::spawn(move || said.for_each(drop));
    assert!(address.starts_with("127.0.0.1:"), "{address}");
    let client = server.connect(&ClientTuning::default()).await;
    client.get("secret-name.txt").await.unwrap();
    client.get("another-name").await.unwrap_err();
    assert_eq!(get(server.address(), "/secret-name.txt", &[]).await.text(), "secret");
    assert_eq!(get(server.address(), "/strange-name", &[]).await.status, 404);
    let answer = ask(&address, "/metrics");
    assert!(answer.header("content-type").starts_with("application/openmetrics-text"));
    let text = answer.text();
    for line in [
        "qfs_connections_open{door=\"qfs\"} 1",
        "qfs_commands_total{door=\"qfs\",command=\"download\",status=\"ok\"} 1",
        "qfs_commands_total{door=\"qfs\",command=\"download\",status=\"not_found\"} 1",
        "qfs_commands_total{door=\"http/1.1\",command=\"GET\",status=\"ok\"} 1",
        "qfs_commands_total{door=\"http/1.1\",command=\"GET\",status=\"not_found\"} 1",
        "qfs_level{of=\"connections\",kind=\"most\"} 4096",
        "qfs_draining 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    assert!(!text.contains("name"), "{text}");
    let reading = text.lines().find_map(|line| line.strip_prefix("qfs_reading_seconds_total ")).unwrap();
    assert!(reading.parse::<f64>().unwrap() > 0.0);
    assert_eq!((ask(&address, "/healthz").text().as_str(), ask(&address, "/readyz").status), ("ok\n", 200));
    assert_eq!(ask(&address, "/").status, 404);
}
