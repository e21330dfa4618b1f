//! `--limit` over HTTPS and HTTP/3: the other doors, the same lane. Every time that is asserted is a least one.

#![cfg(feature = "http")]
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may panic, and makes the files it publishes"
)]

mod support;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use bytes::Buf as _;
use support::program::Home;
use support::{http, noise, soon};

const SIZE: usize = 2 << 20;

/// The least that `SIZE` bytes take at 1 MiB a second, after what may pass at once.
const LEAST: f64 = 2.0 * 0.95 - 0.25;

async fn get_over_http_3(address: SocketAddr, target: &str) -> usize {
    let config = quinn::crypto::rustls::QuicClientConfig::try_from(http::tls(&[b"h3"])).unwrap();
    let mut endpoint = quinn::Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(config)));
    let connection = endpoint.connect(address, "localhost").unwrap().await.unwrap();
    let (mut driver, mut client) = h3::client::new(h3_quinn::Connection::new(connection)).await.unwrap();
    let driving = tokio::spawn(async move { std::future::poll_fn(|cx| driver.poll_close(cx)).await });
    let request = ::http::Request::get(format!("https://localhost{target}")).body(()).unwrap();
    let mut stream = client.send_request(request).await.unwrap();
    stream.finish().await.unwrap();
    assert_eq!(stream.recv_response().await.unwrap().status(), 200);
    let mut length = 0;
    while let Some(part) = stream.recv_data().await.unwrap() {
        length += part.remaining();
    }
    driving.abort();
    length
}

#[tokio::test]
async fn browsers_are_held_to_the_limit_too() {
    let home = Home::new();
    let content = noise(SIZE);
    home.tree.write("root/large", &content);
    let server = home.start(&["--limit", "1M,off"]);
    let begun = Instant::now();
    let answer = soon(http::get(server.address(), "/large", &[])).await;
    assert!(begun.elapsed().as_secs_f64() >= LEAST && answer.body == content);
    let begun = Instant::now();
    assert_eq!(soon(get_over_http_3(server.address(), "/large")).await, SIZE);
    assert!(begun.elapsed().as_secs_f64() >= LEAST);
}

#[tokio::test]
async fn what_browsers_send_is_held_to_the_second_rate() {
    let home = Home::new();
    let server = home.start(&["--limit", "off,1M", "--allow", "read,write"]);
    let begun = Instant::now();
    let answer = soon(http::send(server.address(), "PUT", "/up", &[], &noise(SIZE))).await;
    assert!(begun.elapsed().as_secs_f64() >= LEAST && answer.status == 201, "{}", answer.text());
    assert_eq!(std::fs::read(home.path().join("root/up")).unwrap(), noise(SIZE));
}
