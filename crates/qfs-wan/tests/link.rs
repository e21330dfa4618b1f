//! The `qfs-wan` program on a real machine. These tests need root, `ip(8)` and TUN devices; where one is missing, they
//! say so and pass. No test asserts that anything is fast, only what the link must not do: deliver early, or carry more
//! than its rate.
#![expect(clippy::print_stderr, reason = "a skipped test says so")]

use rustix::{
    fd::AsFd,
    fs::{Mode, OFlags},
    process::{Pid, Signal, kill_process},
    thread::{LinkNameSpaceType, move_into_link_name_space},
};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    path::Path,
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_qfs-wan");
const A: &str = "10.77.0.1:9000";
const PATIENCE: Duration = Duration::from_secs(20);

/// Whether links can be made here; otherwise says why not.
fn possible() -> bool {
    let name = format!("probe{}-{:?}", std::process::id(), thread::current().id()).replace(['(', ')'], "-");
    let ip = |args: &[&str]| Command::new("ip").args(args).output().is_ok_and(|output| output.status.success());
    let missing = if !rustix::process::geteuid().is_root() {
        "root"
    } else if !Path::new("/dev/net/tun").exists() {
        "/dev/net/tun"
    } else if !(ip(&["netns", "add", &name]) && ip(&["netns", "delete", &name])) {
        "a working ip netns"
    } else {
        return true;
    };
    eprintln!("SKIPPED: making a link needs {missing}");
    false
}

/// The program around a shell that waits for a line on its input and exits with 7.
struct Link {
    program: Child,
    a: String,
    b: String,
}

impl Link {
    fn start(args: &str) -> Self {
        Self::start_around(args, "echo $WAN_A $WAN_B $WAN_A_IP $WAN_B_IP; read line; exit 7")
    }

    fn start_around(args: &str, script: &str) -> Self {
        let mut program = Command::new(PROGRAM)
            .args(args.split_whitespace())
            .args(["--", "sh", "-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut line = String::new();
        let stdout = program.stdout.as_mut().expect("piped");
        BufReader::new(stdout).read_line(&mut line).expect("a line of the command");
        let [a, b, "10.77.0.1", "10.77.0.2"] = line.split_whitespace().collect::<Vec<_>>()[..] else {
            panic!("the ends of the link, not {line:?}");
        };
        Self { a: a.to_owned(), b: b.to_owned(), program }
    }

    /// Lets the command end, and returns the lines of the two directions.
    fn finish(mut self) -> [Counts; 2] {
        self.program.stdin.take().expect("piped").write_all(b"\n").expect("the command reads");
        let Output { status, stderr, .. } = self.program.wait_with_output().expect("it ends");
        assert_eq!(status.code(), Some(7), "the code of the command");
        assert!(!exists(&self.a) && !exists(&self.b), "the namespaces are gone");
        let text = String::from_utf8(stderr).expect("text");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        [Counts::parse(lines[0], "wan: a->b "), Counts::parse(lines[1], "wan: b->a ")]
    }
}

#[derive(Debug)]
struct Counts {
    carried: u64,
    lost: u64,
    dropped: u64,
}

impl Counts {
    fn parse(line: &str, start: &str) -> Self {
        let words: Vec<&str> = line.strip_prefix(start).expect(line).split(' ').collect();
        let count = |name| {
            let at = words.iter().position(|word| *word == name).expect(line);
            words[at + 1].parse().expect(line)
        };
        Self { carried: count("carried"), lost: count("lost"), dropped: count("dropped") }
    }
}

fn exists(namespace: &str) -> bool {
    Path::new("/var/run/netns").join(namespace).exists()
}

/// Runs `work` on a thread inside a namespace. Sockets made there stay there.
fn inside<T: Send>(namespace: &str, work: impl FnOnce() -> T + Send) -> T {
    let enter = || {
        let path = Path::new("/var/run/netns").join(namespace);
        let file = rustix::fs::open(path, OFlags::RDONLY, Mode::empty()).expect("the namespace");
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).expect("root may enter");
        work()
    };
    thread::scope(|scope| scope.spawn(enter).join()).expect("no panic")
}

/// A UDP socket on either end, that of B connected to that of A.
fn udp(link: &Link) -> (UdpSocket, UdpSocket) {
    let a = inside(&link.a, || UdpSocket::bind(A)).expect("bind");
    let b = inside(&link.b, || UdpSocket::bind("10.77.0.2:0")).expect("bind");
    b.connect(A).expect("connect");
    (a, b)
}

/// How many packets come until none has come for a while.
fn count(socket: &UdpSocket) -> u64 {
    socket.set_read_timeout(Some(Duration::from_millis(300))).expect("timeout");
    std::iter::from_fn(|| socket.recv(&mut [0; 2000]).ok()).count() as u64
}

#[test]
fn a_round_trip_takes_its_time() {
    if !possible() {
        return;
    }
    let link = Link::start("--rate 50 --delay 40");
    let (a, b) = udp(&link);
    for socket in [&a, &b] {
        socket.set_read_timeout(Some(PATIENCE)).expect("timeout");
    }
    let start = Instant::now();
    b.send(b"ping").expect("send");
    let mut buffer = [0; 100];
    let (len, from) = a.recv_from(&mut buffer).expect("the ping");
    assert!(start.elapsed() >= Duration::from_millis(40), "{:?}", start.elapsed());
    a.send_to(&buffer[..len], from).expect("send");
    assert_eq!(b.recv(&mut buffer).expect("the echo"), 4);
    assert!(start.elapsed() >= Duration::from_millis(80), "{:?}", start.elapsed());
    let [a_to_b, b_to_a] = link.finish();
    assert!(a_to_b.carried >= 1 && b_to_a.carried >= 1, "{a_to_b:?} {b_to_a:?}");
}

#[test]
fn losses_and_a_full_queue_are_counted() {
    if !possible() {
        return;
    }
    let link = Link::start("--rate 100 --delay 1 --back-loss 30 --queue 100000");
    let (a, b) = udp(&link);
    for _ in 0..100 {
        b.send(&[0; 1000]).expect("send");
    }
    let got = count(&a);
    // Beside our packets the kernel may send one or two of its own (IPv6 neighbours).
    let [_, back] = link.finish();
    assert!(back.carried >= got && back.carried + back.lost >= 100, "{got} {back:?}");
    assert!((10..60).contains(&back.lost) && back.dropped == 0, "{back:?}");

    // A queue for ten packets, which take 0.8 s to pass.
    let link = Link::start("--rate 0.1 --delay 1 --queue 10.28");
    let (a, b) = udp(&link);
    for _ in 0..100 {
        b.send(&[0; 1000]).expect("send");
    }
    a.set_read_timeout(Some(PATIENCE)).expect("timeout");
    a.recv(&mut [0; 2000]).expect("the first packet");
    let [_, back] = link.finish();
    assert!(back.dropped >= 80, "{back:?}");
}

#[test]
fn tcp_crosses_a_lossy_link_whole_and_not_faster_than_its_rate() {
    if !possible() {
        return;
    }
    let link = Link::start("--rate 80 --delay 2 --loss 0.5 --seed 5");
    let data: Vec<u8> = (0..2_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let listener = inside(&link.a, || TcpListener::bind(A)).expect("bind");
    let address: SocketAddr = A.parse().expect("an address");
    let start = Instant::now();
    let got = thread::scope(|scope| {
        scope.spawn(|| listener.accept().expect("a client").0.write_all(&data).expect("written"));
        let mut client = inside(&link.b, || TcpStream::connect_timeout(&address, PATIENCE)).expect("connected");
        client.set_read_timeout(Some(PATIENCE)).expect("timeout");
        let mut got = Vec::new();
        client.read_to_end(&mut got).expect("the data");
        got
    });
    assert!(got == data, "every byte as it was sent");
    // 2 MB at 10 MB/s.
    assert!(start.elapsed() > Duration::from_millis(200), "{:?}", start.elapsed());
    let [there, _] = link.finish();
    assert!(there.carried > 2_000_000 / 1500, "no packet above the MTU: {there:?}");
}

#[test]
fn a_signal_ends_the_command_and_cleans_up() {
    if !possible() {
        return;
    }
    for signal in [Signal::TERM, Signal::INT] {
        let mut link = Link::start("--rate 10");
        // This is kept open, because the end of its input would end the command too.
        let _input = link.program.stdin.take();
        let pid = Pid::from_raw(link.program.id() as i32).expect("a pid");
        kill_process(pid, signal).expect("it runs");
        let output = link.program.wait_with_output().expect("it ends");
        assert_eq!(output.status.code(), Some(128 + Signal::TERM.as_raw()), "that of the command, ended by SIGTERM");
        assert!(!exists(&link.a) && !exists(&link.b), "the namespaces are gone");
    }
}

#[test]
fn what_the_command_left_running_is_ended() {
    if !possible() {
        return;
    }
    let mut program = Command::new(PROGRAM)
        .args(["--", "sh", "-c", "ip netns exec $WAN_A sleep 600 >/dev/null 2>&1 & echo $!; read line"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let mut pid = String::new();
    BufReader::new(program.stdout.take().expect("piped")).read_line(&mut pid).expect("the pid");
    let process = Path::new("/proc").join(pid.trim());
    #[expect(clippy::disallowed_methods, reason = "no published file")]
    let runs = || std::fs::read_to_string(process.join("comm")).is_ok_and(|name| name.trim() == "sleep");
    let deadline = Instant::now() + PATIENCE;
    while !runs() {
        assert!(Instant::now() < deadline, "the sleep starts");
        thread::sleep(Duration::from_millis(5));
    }
    drop(program.stdin.take());
    program.wait().expect("it ends");
    while process.exists() {
        assert!(Instant::now() < deadline, "the sleep ends");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn failures_have_their_codes() {
    let code = |program: &mut Command| program.output().expect("it runs").status.code();
    assert_eq!(code(Command::new(PROGRAM).args(["--rate", "0", "--", "true"])), Some(2), "a bad option");
    assert_eq!(code(Command::new(PROGRAM).args(["--rate", "5"])), Some(2), "no command");
    let output = Command::new(PROGRAM).args(["--", "true"]).env("PATH", "/nonexistent").output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "no ip(8), or no root");
    assert!(said.starts_with("error: cannot make network namespaces: ") && said.contains("\nhint: "), "{said}");
    if possible() {
        assert_eq!(code(Command::new(PROGRAM).args(["--", "/nonexistent/program"])), Some(127));
    }
}
