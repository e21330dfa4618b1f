//! What the program tells a service manager, which here is the test: ready, reloading, alive, stopping (sd_notify(3)).

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may panic, and makes the files it publishes"
)]

mod support;

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use rustix::process::Signal;
use support::program::{Home, Running};

/// The next message that is not the sign of life.
fn next(manager: &UnixDatagram) -> String {
    loop {
        let message = receive(manager);
        if message != "WATCHDOG=1" {
            return message;
        }
    }
}

fn receive(manager: &UnixDatagram) -> String {
    let mut buffer = [0; 256];
    let length = manager.recv(&mut buffer).unwrap();
    String::from_utf8(buffer[..length].to_vec()).unwrap()
}

async fn goes_through_its_states(manager: UnixDatagram, name: &str) {
    manager.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let home = Home::new();
    let mut command = home.command();
    command.env("NOTIFY_SOCKET", name).env("WATCHDOG_USEC", "100000");
    let server = Running::start(&mut command);
    assert_eq!(next(&manager), "READY=1");
    for _ in 0..3 {
        assert_eq!(receive(&manager), "WATCHDOG=1");
    }
    server.signal(Signal::HUP);
    let reloading = next(&manager);
    let since = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
    assert!(since.parse::<u64>().unwrap() > 0);
    assert_eq!(next(&manager), "READY=1");
    let (status, _, said) = server.stopped().await;
    assert_eq!(status.code(), Some(0), "{said}");
    assert_eq!(next(&manager), "STOPPING=1");
}

#[tokio::test]
async fn a_manager_with_a_path_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    goes_through_its_states(UnixDatagram::bind(&path).unwrap(), path.to_str().unwrap()).await;
}

#[tokio::test]
async fn a_manager_with_an_abstract_name_is_told_from_within_the_sandbox() {
    let name = format!("qfs-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    goes_through_its_states(UnixDatagram::bind_addr(&address).unwrap(), &format!("@{name}")).await;
}

#[tokio::test]
async fn a_manager_that_is_not_there_keeps_nobody_from_serving() {
    let home = Home::new();
    let mut command = home.command();
    command.env("NOTIFY_SOCKET", "/nowhere/at/all").env("WATCHDOG_USEC", "1000");
    let (status, _, _) = Running::start(&mut command).stopped().await;
    assert_eq!(status.code(), Some(0));
    // What is meant for another process is not taken for one's own.
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    let mut command = home.command();
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "1000").env("WATCHDOG_PID", "1");
    let server = Running::start(&mut command);
    assert_eq!(receive(&manager), "READY=1");
    server.stopped().await;
    assert_eq!(receive(&manager), "STOPPING=1");
}
