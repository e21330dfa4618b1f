//! Several end points on one port: whatever socket a packet lands at, it gets to the end point that it is for.

use std::net::SocketAddr;
use std::process::Command;

use qfs_core::body::{Answer, collect};
use qfs_core::model::Digest;
use qfs_core::stream::Lost;
use qfs_core::wire::{DownloadHead, DownloadRequest, Request, StatusCode, decode_response};
use qfs_testkit::binaries::{server_bin, without_settings};
use qfs_transport::{ClientEndpoint, ClientTuning, ConnectError, Connection, Source, Trust};

use crate::lab::{Lab, WATCHDOG, finish, noise, run, slow_link, wait_for_bytes, wait_until};
use crate::tally::{Tally, count, seed};

const THREE: &[&str] = &["--endpoints", "3"];

fn lab(files: &[(&str, &[u8])], args: &[&str]) -> Lab {
    let mut lab = Lab::new();
    for (name, content) in files {
        lab.publish(name, content);
    }
    lab.start_with(args);
    lab
}

/// Clients side by side, each with several files at once, and the listing.
///
/// Fails when: the end points do not share the port (only the first one answers, and the threads are not there); what one
/// hashed is not known to the others (a listing shows no digest).
#[test]
fn every_end_point_serves() {
    let content: Vec<_> = (0..12).map(|i| noise(seed() ^ i, 40_000 * i as usize)).collect();
    let names: Vec<_> = (0..12).map(|i| format!("d/{i}")).collect();
    let files: Vec<_> = names.iter().zip(&content).map(|(name, content)| (&**name, &**content)).collect();
    let lab = lab(&files, THREE);
    // They start when the server serves, a moment after it has said where.
    wait_until("a thread for each further end point", || {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", lab.server().id())).unwrap();
        // A thread that ended meanwhile has no name any more.
        let names = tasks.filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).ok());
        let mut names: Vec<_> = names.filter(|name| name.starts_with("qfs-endpoint")).collect();
        names.sort_unstable();
        names == ["qfs-endpoint-2\n", "qfs-endpoint-3\n"]
    });

    let homes: Vec<_> = (0..count("endpoint_clients", 10)).map(|_| tempfile::tempdir().unwrap()).collect();
    let start = |home: &tempfile::TempDir| {
        let args = ["get", "--all", "--parallel", "--json", "--save-dir", home.path().to_str().unwrap()];
        lab.client(lab.address(), &args).spawn().unwrap()
    };
    let clients: Vec<_> = homes.iter().map(start).collect();
    assert_eq!(lab.run(&["list", "--json"]).ends_with(0).json().as_object().unwrap().len(), files.len());
    for (client, home) in clients.into_iter().zip(&homes) {
        finish(client).ends_with(0);
        for (name, content) in &files {
            assert!(std::fs::read(home.path().join(name)).unwrap() == *content, "{name}");
        }
    }
}

async fn connect(server: SocketAddr) -> Result<(ClientEndpoint, Connection), ConnectError> {
    let endpoint = ClientEndpoint::bind(server.ip(), None)?;
    let connection = endpoint.connect(server, "localhost", Trust::AnyKey, &ClientTuning::default(), WATCHDOG).await?;
    Ok((endpoint, connection))
}

async fn ask(connection: &Connection, name: &str) -> (DownloadHead, Answer<Source>) {
    let request = DownloadRequest { filename: name.into(), ..DownloadRequest::default() };
    let (sink, source) = connection.open_stream().await.unwrap();
    sink.send_request(Request::Download(request).encode().unwrap()).await.unwrap();
    let mut answer = Answer::new(source);
    let head = decode_response::<DownloadHead>(&answer.next_frame().await.unwrap()).unwrap().unwrap();
    (head, answer)
}

/// Downloads over one connection whose address changes again and again; nothing of it may be noticed.
///
/// Fails when `BoundEndpoint::start` leaves out the `SteeredSocket` (seen: `Restarted`, the stateless reset of an end point that does
/// not know the connection), or when the connection IDs do not say which end point they belong to.
#[tokio::test]
async fn a_client_whose_address_changes_stays_with_its_end_point() {
    let total = count("endpoint_rebinds", 12);
    let content = noise(seed() ^ 21, 12 << 20);
    let lab = lab(&[("large", &content)], THREE);
    let proxy = slow_link(lab.address(), 100_000_000);
    let (_endpoint, connection) = connect(proxy.addr()).await.unwrap();
    let (head, answer) = ask(&connection, "large").await;
    let mut body = answer.into_body(head.size);
    let (mut received, mut rebinds) = (0, 0);
    let pieces = collect(&mut body, |bytes| {
        received += bytes;
        if received > head.size * (rebinds + 1) / (total + 1) {
            proxy.rebind();
            rebinds += 1;
        }
    });
    let pieces = tokio::time::timeout(WATCHDOG, pieces).await.unwrap().unwrap();
    assert!(Digest::of(&pieces.concat()) == Digest::of(&content));
    assert_eq!(connection.close_reason(), None);
    // The probe that looks for an open port is a client of the proxy too.
    assert!(proxy.stats().rebinds >= total);
}

/// A client of a server that crashed learns it from the first packet it sends, whichever end point that lands at, and even
/// where the new server has fewer or more of them.
///
/// Fails when the secret of the connection IDs is random per start, or when those of other end points are not recognised: the
/// client then hears nothing for the idle time-out ([`Lost::TimedOut`]).
#[tokio::test]
async fn a_restart_is_noticed_whichever_end_point_hears_of_it() {
    let mut lab = lab(&[("x", b"x")], THREE);
    for next in [THREE, &["--endpoints", "1"], &["--endpoints", "5"]] {
        let mut clients = Vec::new();
        for _ in 0..count("endpoint_restarts", 5) {
            let client = connect(lab.address()).await.unwrap();
            ask(&client.1, "x").await;
            clients.push(client);
        }
        lab.crash_and_restart_with(next);
        for (_endpoint, connection) in &clients {
            // May fail at once, which is as good.
            let opened = connection.open_stream().await;
            if let Ok((sink, _source)) = opened {
                let _ = sink.send_request(Request::GetFilesList(Default::default()).encode().unwrap()).await;
            }
            let lost = tokio::time::timeout(WATCHDOG, connection.closed()).await.unwrap();
            assert_eq!(lost, Lost::Restarted);
        }
    }
}

/// Limits and the end hold over all end points.
///
/// Fails when each end point has an `Admission` of its own (more than four are let in).
#[tokio::test]
async fn limits_hold_over_all_end_points() {
    let lab = lab(&[("x", b"x")], &["--endpoints", "3", "--max-connections", "4"]);
    let mut let_in = Vec::new();
    for attempt in 0..16 {
        match connect(lab.address()).await {
            Ok(client) => let_in.push(client),
            Err(error) => {
                assert!(matches!(error, ConnectError::Turned(StatusCode::BUSY)), "{error}");
                assert!(attempt >= 4, "{attempt}");
            }
        }
    }
    assert_eq!(let_in.len(), 4);
}

/// Transfers at all end points finish before the server ends.
///
/// Fails when only the end point of the main thread drains.
#[test]
fn all_end_points_drain() {
    let content = noise(seed() ^ 22, 4 << 20);
    let mut lab = lab(&[("large", &content)], THREE);
    let mut tally = Tally::new("endpoint_drains", 8);
    let mut clients: Vec<_> = (0..8)
        .map(|_| {
            let (home, proxy) = (tempfile::tempdir().unwrap(), slow_link(lab.address(), 40_000_000));
            let args = ["get", "large", "--json", "--save-dir", home.path().to_str().unwrap()];
            let child = lab.client(proxy.addr(), &args).spawn().unwrap();
            (home, proxy, child)
        })
        .collect();
    for (_, proxy, child) in &mut clients {
        wait_for_bytes(proxy, 0, 100_000, child);
    }
    assert!(lab.server_mut().terminate().unwrap().success());
    for (home, _proxy, child) in clients {
        let done = finish(child).ends_with(0);
        assert_eq!(done.one_file(), ("downloaded".to_owned(), content.len() as u64), "{done:?}");
        assert!(std::fs::read(home.path().join("large")).unwrap() == content);
        tally.note("finished");
    }
    tally.end("server exit 0, nothing cut");
}

/// A port with several sockets is still taken for a second server, also for one that would share it.
///
/// Fails when the first socket is bound with SO_REUSEPORT.
#[test]
fn a_shared_port_is_shared_with_nobody_else() {
    let lab = lab(&[("x", b"x")], THREE);
    let port = lab.address().port().to_string();
    for count in ["1", "2"] {
        let mut second = Command::new(server_bin());
        without_settings(&mut second).current_dir(lab.home()).env("XDG_CACHE_HOME", lab.home());
        second.args(["--root", ".", "--certs"]).arg(lab.home().join("../certs2"));
        second.args(["--port", &port, "--endpoints", count]);
        second.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        let done = run(&mut second).ends_with(2);
        assert!(done.err.contains("another program has this port"), "{done:?}");
    }
    // Not even for a moment was the first one disturbed.
    lab.run(&["list"]).ends_with(0);
}
