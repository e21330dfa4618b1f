//! The real program through its command line: what it prints, what it refuses, how it ends (the CLI contract).

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may panic, and makes the files it publishes"
)]

mod support;

use std::io::Read;
use std::net::{IpAddr, TcpListener, UdpSocket};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::{Duration, Instant};

use qfs_core::body::Answer;
use qfs_core::model::{Digest, Ticket};
use qfs_core::stream::Lost;
use qfs_core::wire::{DownloadHead, DownloadRequest, StatusCode};
use qfs_transport::{ClientEndpoint, ClientTuning, Source, Trust, connect_tcp};
use rustix::process::Signal;
use support::program::{Home, Running};
use support::{Client, PATIENCE, finish, head, narrow, noise, soon};

#[tokio::test]
async fn it_says_where_it_is_and_serves() {
    let home = Home::new();
    let server = home.start(&[]);
    let address = server.address();
    assert_eq!(address.ip(), IpAddr::from([127, 0, 0, 1]));
    assert_ne!(address.port(), 0);
    let fingerprint = server.fingerprint();
    let expected = [
        format!("listening on {address}"),
        "serving root".to_owned(),
        format!("fingerprint {fingerprint}"),
        format!("ticket qfs://{address}#{fingerprint}"),
    ];
    assert_eq!(server.lines, expected);
    let client = server.connect(&ClientTuning::default()).await;
    assert_eq!(client.list().await.0, [("hello.txt".to_owned(), 5)]);
    assert_eq!(client.get("hello.txt").await.unwrap().body, b"hello");
    let (status, more, _) = server.stopped().await;
    assert_eq!((status.code(), more.as_str()), (Some(0), ""));
}

#[test]
fn the_identity_is_kept_and_private() {
    let home = Home::new();
    let first = home.start(&[]).fingerprint();
    let key = home.path().join("certs/server.key");
    assert_eq!(std::fs::metadata(&key).unwrap().mode() & 0o7777, 0o600);
    assert!(home.path().join("certs/server.crt").exists());
    assert_eq!(home.start(&[]).fingerprint(), first);
    assert_ne!(home.start(&["--certs", "other"]).fingerprint(), first);
}

#[test]
fn servers_started_at_once_share_one_identity() {
    let home = Home::new();
    let fingerprints: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| home.start(&[]).fingerprint())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(fingerprints.iter().all(|fingerprint| *fingerprint == fingerprints[0]));
}

#[test]
fn it_refuses_roots_that_are_none() {
    let home = Home::new();
    home.tree.write("file", b"x");
    let said = home.refused(&["--root", "missing"]);
    assert!(said.starts_with("error: cannot publish missing: no such directory\nhint: "), "{said}");
    let said = home.refused(&["--root", "file"]);
    assert!(said.starts_with("error: cannot publish file: not a directory\nhint: "), "{said}");
}

#[test]
fn it_refuses_a_key_that_others_can_read() {
    let home = Home::new();
    drop(home.start(&[]));
    let key = home.path().join("certs/server.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let said = home.refused(&[]);
    assert!(said.contains("certs/server.key can be read by others (mode 0644)"), "{said}");
    assert!(said.contains("hint: chmod 600"), "{said}");
    assert_eq!(std::fs::metadata(&key).unwrap().mode() & 0o7777, 0o644, "it is the user's to mend");
}

#[test]
fn it_refuses_half_an_identity_and_a_broken_one() {
    let home = Home::new();
    drop(home.start(&[]));
    let certificate = home.path().join("certs/server.crt");
    std::fs::write(&certificate, "rubbish").unwrap();
    let said = home.refused(&[]);
    assert!(said.contains("error: cannot use the identity in certs") && said.contains("hint: restore"), "{said}");
    std::fs::remove_file(&certificate).unwrap();
    let said = home.refused(&[]);
    assert!(said.contains("server.crt is missing") && said.contains("hint: restore"), "{said}");
}

#[test]
fn it_refuses_to_publish_its_key() {
    let home = Home::new();
    for certs in ["root", "root/sub", "root/.hidden"] {
        let said = home.refused(&["--certs", certs]);
        assert!(said.contains("the server's private key is in it"), "{said}");
        assert!(said.contains("hint: name another directory"), "{said}");
    }
    std::os::unix::fs::symlink("root/sub", home.path().join("link")).unwrap();
    assert!(home.refused(&["--certs", "link"]).contains("private key is in it"));
}

#[test]
fn it_refuses_a_taken_port() {
    let home = Home::new();
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let said = home.refused(&["--port", &address.port().to_string()]);
    assert!(said.starts_with(&format!("error: cannot listen on {address}: ")), "{said}");
    assert!(said.contains("hint: another program has this port"), "{said}");
    assert!(!said.contains("--tcp"), "it is not TCP that is in the way: {said}");
    let said = home.refused(&["--ip", "192.0.2.1"]);
    assert!(said.contains("hint: this machine does not have that address"), "{said}");
}

/// Fails when something is spoken on the TCP port that was to be closed, or the port is closed when HTTP alone was to be, or what is
/// hinted at does not help.
#[tokio::test]
async fn tcp_off_closes_the_tcp_port_and_http_off_only_http() {
    let home = Home::new();
    let taken = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let flags = ["--ip", "0.0.0.0", "--port", &port];
    let said = home.refused(&flags);
    assert!(said.contains("hint: another program has this TCP port") && said.contains("--tcp off"), "{said}");
    // With the port taken still: nothing is bound there.
    let server = home.start(&[&flags[..], &["--tcp", "off"]].concat());
    let (_, _, said) = server.stopped().await;
    assert!(said.contains("note: everybody who can reach UDP port"), "{said}");
    assert!(!said.contains("https://"), "{said}");

    let server = home.start(&["--http", "off"]);
    let endpoint = ClientEndpoint::bind(server.address().ip(), None).unwrap();
    let trust = || Trust::Pinned(server.fingerprint());
    let tuning = ClientTuning::default();
    let connection = connect_tcp(server.address(), "localhost", trust(), None, &tuning, PATIENCE).await.unwrap();
    assert_eq!(Client { endpoint, connection }.get("hello.txt").await.unwrap().body, b"hello");
}

#[test]
fn it_refuses_flags_that_make_no_sense() {
    let home = Home::new();
    for (flags, hint) in [
        (&["--port", "x"][..], "qfs-server --help shows"),
        (&["--ip", "localhost"], "qfs-server --help shows"),
        (&["--drain-timeout", "soon"], "qfs-server --help shows"),
        (&["--prot", "1"], "did you mean --port?"),
        (&["x"], "qfs-server --help shows"),
        (&["token"], "qfs-server token --help shows"),
        (&["token", "revoke"], "qfs-server token revoke --help shows"),
        (&["share"], "qfs-server share --help shows"),
    ] {
        let said = home.refused(flags);
        let lines: Vec<_> = said.lines().collect();
        assert!(lines.len() == 2 && lines[0].starts_with("error: "), "{flags:?}: {said}");
        assert!(lines[1].starts_with("hint: ") && lines[1].contains(hint), "{flags:?}: {said}");
    }
}

#[test]
fn flags_come_from_the_environment_too_and_win_over_it() {
    let home = Home::new();
    let free = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let mut command = home.command();
    command.env("QFS_PORT", &free).env("QFS_CERTS", "elsewhere").env("QFS_IP", "127.0.0.2");
    let server = Running::start(&mut command);
    assert_eq!(server.address().to_string(), format!("127.0.0.2:{free}"));
    assert!(home.path().join("elsewhere/server.key").exists());
    drop(server);
    let server = Running::start(command.args(["--ip", "127.0.0.1", "--port", "0"]));
    assert_eq!(server.address().ip(), IpAddr::from([127, 0, 0, 1]));
}

#[tokio::test]
async fn ipv6_works() {
    let home = Home::new();
    let server = home.start(&["--ip", "::1"]);
    let address = server.address();
    assert!(server.lines[3].starts_with(&format!("ticket qfs://[::1]:{}#", address.port())), "{:?}", server.lines);
    let client = server.connect(&ClientTuning::default()).await;
    assert_eq!(client.get("hello.txt").await.unwrap().body, b"hello");
}

#[tokio::test]
async fn a_wildcard_has_a_ticket_for_each_address_and_a_warning() {
    let home = Home::new();
    let mut server = home.start(&["--ip", "0.0.0.0"]);
    let lines = std::mem::take(&mut server.lines);
    let (status, more, said) = server.stopped().await;
    assert_eq!(status.code(), Some(0));
    assert!(more.lines().all(|line| line.starts_with("ticket ")));
    let tickets = lines.iter().map(String::as_str).chain(more.lines()).filter_map(|line| line.strip_prefix("ticket "));
    let tickets: Vec<Ticket> = tickets.map(|ticket| ticket.parse().unwrap()).collect();
    assert!(tickets.iter().any(|ticket| ticket.host == "127.0.0.1"), "{tickets:?}");
    assert!(tickets.iter().all(|ticket| ticket.host != "0.0.0.0" && ticket.fingerprint.is_some()));
    assert!(said.contains("note: everybody who can reach UDP or TCP port"), "{said}");
}

/// Sends a signal and waits until the server has seen it, which closes a connection without anything under way.
async fn signal_seen(server: &Running, signal: Signal) {
    let idle = server.connect(&ClientTuning::default()).await;
    idle.list().await;
    server.signal(signal);
    assert_eq!(soon(idle.connection.closed()).await, Lost::Closed(StatusCode::SHUTTING_DOWN));
}

/// A transfer that goes on for as long as nobody reads it.
async fn unread_transfer(client: &Client) -> (DownloadHead, Answer<Source>) {
    let request = DownloadRequest { filename: "x".into(), ..DownloadRequest::default() };
    let mut answer = client.request(&request).await;
    (head(&mut answer).await.unwrap(), answer)
}

#[tokio::test]
async fn a_signal_lets_a_running_transfer_finish() {
    let home = Home::new();
    let content = noise(3_000_000);
    home.tree.write("root/x", &content);
    for signal in [Signal::TERM, Signal::INT] {
        let server = home.start(&[]);
        let client = server.connect(&narrow()).await;
        let (head, answer) = unread_transfer(&client).await;
        signal_seen(&server, signal).await;
        assert_eq!(finish(answer, head).await.unwrap().digest, Digest::of(&content));
        let (status, _, said) = server.ended().await;
        assert_eq!((status.code(), said.contains("cut off")), (Some(0), false), "{said}");
    }
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let home = Home::new();
    home.tree.write("root/x", &noise(3_000_000));
    let server = home.start(&[]);
    let client = server.connect(&narrow()).await;
    let _unread = unread_transfer(&client).await;
    signal_seen(&server, Signal::TERM).await;
    server.signal(Signal::INT);
    assert_eq!(server.ended().await.0.code(), Some(130));
}

#[tokio::test]
async fn the_drain_has_an_end() {
    let home = Home::new();
    home.tree.write("root/x", &noise(3_000_000));
    let server = home.start(&["--drain-timeout", "200ms"]);
    let client = server.connect(&narrow()).await;
    let _unread = unread_transfer(&client).await;
    let (status, _, said) = server.stopped().await;
    assert_eq!(status.code(), Some(0));
    assert!(said.contains("note: 1 connections still had transfers under way"), "{said}");
}

#[tokio::test]
async fn digests_are_remembered_between_runs() {
    let home = Home::new();
    let large = home.tree.write("root/x", &noise(1_000_000));
    // A file that changed a moment ago might change again without a trace; only older ones are remembered.
    let old = std::time::SystemTime::now() - Duration::from_secs(3600);
    std::fs::File::options().write(true).open(large).unwrap().set_modified(old).unwrap();
    let server = home.start(&[]);
    let client = server.connect(&ClientTuning::default()).await;
    let first = client.get("x").await.unwrap();
    drop(client);
    assert_eq!(server.stopped().await.0.code(), Some(0));
    let server = home.start(&[]);
    let client = server.connect(&ClientTuning::default()).await;
    let again = client.get("x").await.unwrap();
    assert_eq!((again.head.digest, again.head.etag), (Some(first.digest), first.head.etag));
    let files = std::fs::read_dir(home.path().join("cache/qfs")).unwrap().count();
    assert_eq!(files, 1);
}

#[test]
fn help_and_version_are_there() {
    let home = Home::new();
    let help = home.command().arg("--help").output().unwrap();
    let text = String::from_utf8(help.stdout).unwrap();
    assert!(help.status.success() && text.contains("Example") && text.contains("QFS_DRAIN_TIMEOUT"), "{text}");
    let version = home.command().arg("--version").output().unwrap();
    assert!(version.status.success());
    assert!(String::from_utf8(version.stdout).unwrap().starts_with("qfs-server "));
}

#[test]
fn a_reader_that_is_gone_ends_it_quietly() {
    let home = Home::new();
    let (reader, writer) = std::io::pipe().unwrap();
    // Before it starts: what it has written by then would be a pipe's worth of nobody's business.
    drop(reader);
    let mut child = home.command().stdout(writer).spawn().unwrap();
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if start.elapsed() > PATIENCE {
            child.kill().unwrap();
            panic!("it does not end");
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!((status.code(), said.contains("error")), (Some(0), false), "{said}");
}

/// An upload that nobody continues is removed when it is old, by a server that takes uploads and by no other.
#[test]
fn abandoned_uploads_are_removed_by_age() {
    let home = Home::new();
    let plant = |name: &str, days: u64| {
        let path = home.path().join("root").join(name);
        std::fs::write(&path, b"half").unwrap();
        let age = Duration::from_secs(days * 24 * 3600);
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(std::time::SystemTime::now() - age).unwrap();
        path
    };
    let (old, young) = (plant(".a.v1.qfs-part", 3), plant(".b.v1.qfs-part", 1));
    // Its own work comes before that of clients: when it is stopped, it has looked.
    drop(home.start(&["--partial-age", "2d"]));
    assert!(old.exists(), "a server that only reads removes nothing");
    let server = home.start(&["--allow", "read,write", "--partial-age", "2d"]);
    let deadline = Instant::now() + PATIENCE;
    while old.exists() {
        assert!(Instant::now() < deadline, "it is still there");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(young.exists());
    drop(server);
}
