//! Sockets that a service manager has bound and passes on, with the test and with systemd's own program as the manager.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may panic, and makes the files it publishes"
)]

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use qfs_testkit::binaries::{client_bin, server_bin, without_settings};
use rustix::process::{Pid, Signal, kill_process};

/// What the shell that runs this has as descriptors 0 and 2 become the sockets of its successor, as systemd passes them; what the
/// program says goes to a file.
const PASS: &str = r#"exec 3<&0 4<&2 2>said </dev/null; LISTEN_PID=$$ LISTEN_FDS=$1 exec "$2""#;

/// A directory with something to serve.
fn place() -> tempfile::TempDir {
    let place = tempfile::tempdir().unwrap();
    std::fs::create_dir(place.path().join("root")).unwrap();
    std::fs::write(place.path().join("root/hello.txt"), "hello").unwrap();
    place
}

/// The settings of a server in `place`. What would be bound, if it counted, cannot be.
fn settings(place: &Path) -> Vec<(&'static str, String)> {
    let below = |name: &str| place.join(name).to_str().unwrap().to_owned();
    let text = str::to_owned;
    vec![
        ("QFS_ROOT", below("root")),
        ("QFS_CERTS", below("certs")),
        ("QFS_CACHE_DIR", below("cache")),
        ("QFS_IP", text("192.0.2.1")),
        ("QFS_PORT", text("1")),
        ("QFS_ENDPOINTS", text("4")),
    ]
}

/// Both kinds of one port.
fn sockets() -> (UdpSocket, TcpListener, SocketAddr) {
    loop {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = udp.local_addr().unwrap();
        // Another program may have that number for TCP.
        if let Ok(tcp) = TcpListener::bind(address) {
            return (udp, tcp, address);
        }
    }
}

/// A server in `place` to which `count` of these sockets are passed.
fn with_sockets(place: &Path, first: OwnedFd, second: OwnedFd, count: usize) -> Command {
    let mut shell = Command::new("sh");
    without_settings(&mut shell).args(["-c", PASS, "sh", &count.to_string()]).arg(server_bin());
    shell.envs(settings(place)).current_dir(place).stdin(first).stderr(second);
    shell
}

/// A program that ends with the test.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> (Self, SocketAddr) {
        let mut server = Self(command.stdout(Stdio::piped()).spawn().unwrap());
        let mut lines = BufReader::new(server.0.stdout.take().unwrap()).lines().map(Result::unwrap);
        let address = lines.find_map(|line| line.strip_prefix("listening on ")?.parse().ok());
        lines.find(|line| line.starts_with("ticket ")).expect("the server started");
        (server, address.unwrap())
    }

    fn stop(mut self) -> ExitStatus {
        kill_process(Pid::from_child(&self.0), Signal::TERM).unwrap();
        self.0.wait().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

fn fetch(place: &Path, address: SocketAddr, transport: &str) {
    let mut client = Command::new(client_bin());
    let output = without_settings(&mut client)
        .args(["--server", &format!("qfs://{address}"), "--transport", transport, "--connect-timeout", "30s"])
        .args(["cat", "hello.txt"])
        .env("QFS_CONFIG_DIR", place.join("client"))
        .output()
        .unwrap();
    assert_eq!(output.stdout, b"hello", "{transport}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn sockets_in_any_order_are_served() {
    for stream_first in [false, true] {
        let place = place();
        let (udp, tcp, address) = sockets();
        let (kept_udp, kept_tcp) = (udp.try_clone().unwrap(), tcp.try_clone().unwrap());
        let (first, second): (OwnedFd, OwnedFd) =
            if stream_first { (tcp.into(), udp.into()) } else { (udp.into(), tcp.into()) };
        let (server, listening) = Running::start(&mut with_sockets(place.path(), first, second, 2));
        assert_eq!(listening, address);
        fetch(place.path(), address, "udp");
        fetch(place.path(), address, "tcp");
        assert_eq!(server.stop().code(), Some(0));
        // The manager still has them: the next server goes on where the first one ended.
        let mut next = with_sockets(place.path(), kept_udp.into(), kept_tcp.into(), 2);
        let (server, listening) = Running::start(&mut next);
        assert_eq!(listening, address);
        fetch(place.path(), address, "udp");
        assert_eq!(server.stop().code(), Some(0));
    }
}

#[test]
fn sockets_that_are_not_what_is_needed_start_nothing() {
    for two_of_a_kind in [true, false] {
        let place = place();
        let (udp, tcp, _) = sockets();
        let other = UdpSocket::bind("127.0.0.1:0").unwrap();
        let first: OwnedFd = if two_of_a_kind { other.into() } else { tcp.into() };
        let count = if two_of_a_kind { 2 } else { 1 };
        let status = with_sockets(place.path(), first, udp.into(), count).stdout(Stdio::null()).status().unwrap();
        let said = std::fs::read_to_string(place.path().join("said")).unwrap();
        assert_eq!(status.code(), Some(2), "{said}");
        assert!(said.contains("sockets that were passed") && said.contains("ListenDatagram="), "{said}");
    }
}

#[test]
fn sockets_for_another_process_are_not_taken() {
    let place = place();
    let mut command = Command::new(server_bin());
    without_settings(&mut command).envs(settings(place.path())).env("QFS_IP", "127.0.0.1").env("QFS_PORT", "0");
    command.env("LISTEN_PID", "1").env("LISTEN_FDS", "2").stderr(Stdio::null());
    let (server, address) = Running::start(&mut command);
    fetch(place.path(), address, "udp");
    assert_eq!(server.stop().code(), Some(0));
}

/// The real one makes sockets of one kind at a time and passes on those that it was given: two of it, one inside the other. The first packet of
/// the first client starts the server.
#[test]
fn systemd_socket_activate_starts_the_server_with_the_first_client() {
    let place = place();
    let (udp, tcp, address) = sockets();
    drop((udp, tcp));
    let port = address.to_string();
    let mut command = Command::new("systemd-socket-activate");
    command.args(["--datagram", "--listen", &port, "systemd-socket-activate", "--listen", &port, "env"]);
    command.args(settings(place.path()).iter().map(|(name, value)| format!("{name}={value}"))).arg(server_bin());
    let said = std::fs::File::create(place.path().join("said")).unwrap();
    let manager = command.current_dir(place.path()).stdout(Stdio::null()).stderr(said).spawn();
    let manager = Running(manager.expect("systemd-socket-activate, of Debian's package systemd"));
    // A packet that comes before the socket is there is refused, and the client ends. To bind it here would be in the way.
    let bound = format!(" 0100007F:{:04X} ", address.port());
    let begun = Instant::now();
    while !std::fs::read_to_string("/proc/net/udp").unwrap().contains(&bound) {
        assert!(begun.elapsed() < Duration::from_secs(30), "nothing is bound");
        std::thread::sleep(Duration::from_millis(5));
    }
    fetch(place.path(), address, "udp");
    fetch(place.path(), address, "tcp");
    assert_eq!(manager.stop().code(), Some(0), "{}", std::fs::read_to_string(place.path().join("said")).unwrap());
}
