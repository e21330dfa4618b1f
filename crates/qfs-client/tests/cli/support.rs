//! A place with a server and a client for each test, and what came of running the client there.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use qfs_core::model::Digest;
use qfs_testkit::binaries::{ServerOptions, ServerProcess, without_settings};
use qfs_testkit::certificates::Pem;
use qfs_testkit::udp_proxy::{Bottleneck, Faults, LinkSpec, Loss, PathFaults, UdpProxy};
use serde_json::Value;
use tempfile::TempDir;

/// Longer than anything here takes; a program that needs it has hung.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A directory of its own: `root` is published, the client runs in `home`, its configuration is in `config`.
pub(crate) struct Lab {
    place: TempDir,
    server: Option<ServerProcess>,
}

/// What a run of the client came to.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Lab {
    /// A published directory with these files and no server yet.
    pub(crate) fn without_server(files: &[(&str, &[u8])]) -> Self {
        let place = tempfile::tempdir().unwrap();
        for directory in ["root", "home"] {
            std::fs::create_dir(place.path().join(directory)).unwrap();
        }
        let lab = Self { place, server: None };
        for (name, content) in files {
            lab.publish(name, content);
        }
        lab
    }

    /// A server that publishes these files on loopback.
    pub(crate) fn new(files: &[(&str, &[u8])]) -> Self {
        Self::at("127.0.0.1", files)
    }

    /// A server that publishes these files at an address of this machine.
    pub(crate) fn at(ip: &str, files: &[(&str, &[u8])]) -> Self {
        let mut lab = Self::without_server(files);
        lab.start_server(ip, 0);
        lab
    }

    /// Starts a server, or another one in its place, with the identity of the lab.
    pub(crate) fn start_server(&mut self, ip: &str, port: u16) {
        self.start_server_with(ip, port, &[]);
    }

    /// The same, with more arguments.
    pub(crate) fn start_server_with(&mut self, ip: &str, port: u16, args: &[&str]) {
        self.server = None;
        let (root, certs) = (self.path().join("root"), self.path().join("certs"));
        let args = &[&["--drain-timeout", "200ms"], args].concat();
        let options = ServerOptions { ip, port, certs: Some(&certs), args, ..ServerOptions::new(&root) };
        self.server = Some(ServerProcess::start_with(&options));
    }

    /// The next server has another key.
    pub(crate) fn forget_identity(&self) {
        std::fs::remove_dir_all(self.path().join("certs")).unwrap();
    }

    /// The next server has this identity.
    pub(crate) fn install_identity(&self, identity: &Pem) {
        let certs = self.path().join("certs");
        std::fs::create_dir_all(&certs).unwrap();
        std::fs::write(certs.join("server.crt"), &identity.certificate).unwrap();
        std::fs::write(certs.join("server.key"), &identity.key).unwrap();
        std::fs::set_permissions(certs.join("server.key"), std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    pub(crate) fn server(&self) -> &ServerProcess {
        self.server.as_ref().unwrap()
    }

    /// Ends the server as a crash would.
    pub(crate) fn stop_server(&mut self) {
        self.server = None;
    }

    /// Ends the server in an orderly way: its clients are told.
    pub(crate) fn terminate_server(&mut self) {
        self.server.take().unwrap().terminate().unwrap();
    }

    pub(crate) fn path(&self) -> &Path {
        self.place.path()
    }

    /// Where the client runs.
    pub(crate) fn home(&self) -> PathBuf {
        self.path().join("home")
    }

    pub(crate) fn known_servers(&self) -> PathBuf {
        self.path().join("config").join("known_servers")
    }

    pub(crate) fn publish(&self, name: &str, content: &[u8]) {
        let path = self.path().join("root").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    /// A file as it was saved in the default place.
    pub(crate) fn saved(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.home().join("client_env").join(name)).unwrap()
    }

    /// Puts a file where a download would go.
    pub(crate) fn put(&self, name: &str, content: &[u8]) {
        let path = self.home().join("client_env").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    /// The client, blind to the environment of whoever runs the tests, and not told of any server.
    pub(crate) fn bare(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_qfs-client"));
        without_settings(&mut command)
            .current_dir(self.home())
            .env("QFS_CONFIG_DIR", self.path().join("config"))
            .stdin(Stdio::null());
        command
    }

    /// The client with the port of the lab's server in a variable, which every flag beats; over the way that `QFS_TEST_TRANSPORT` says,
    /// since `scripts/test.sh` runs some of these tests both ways.
    pub(crate) fn client<S: AsRef<std::ffi::OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = self.bare();
        let address = self.server().address();
        command.env("QFS_IP", address.ip().to_string()).env("QFS_PORT", address.port().to_string()).args(args);
        if let Some(way) = std::env::var_os("QFS_TEST_TRANSPORT") {
            command.env("QFS_TRANSPORT", way);
        }
        command
    }

    /// The client, told of what listens at `port` of this machine in the place of the lab's server, and heard.
    pub(crate) fn through(&self, port: u16, args: &[&str]) -> Command {
        let mut command = self.bare();
        command.env("QFS_PORT", port.to_string()).args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs it to its end.
    pub(crate) fn run<S: AsRef<std::ffi::OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Done {
        run(&mut self.client(args))
    }
}

/// The same command, run by somebody for whom the permissions of files hold, which they do not for root.
pub(crate) fn bound_by_permissions(command: &Command) -> Command {
    const CAPABILITIES: &str = "-dac_override,-dac_read_search";
    let mut bound = Command::new(command.get_program());
    if rustix::process::geteuid().is_root() {
        bound = Command::new("setpriv");
        bound.args(["--bounding-set", CAPABILITIES, "--inh-caps", CAPABILITIES]).arg(command.get_program());
    }
    bound.args(command.get_args()).stdin(Stdio::null());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => bound.env(name, value),
            None => bound.env_remove(name),
        };
    }
    if let Some(directory) = command.get_current_dir() {
        bound.current_dir(directory);
    }
    bound
}

/// Runs a command to its end.
pub(crate) fn run(command: &mut Command) -> Done {
    finish(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
}

/// Waits for a program and takes what it wrote.
pub(crate) fn finish(mut child: Child) -> Done {
    let out = child.stdout.take().map(collect);
    let err = child.stderr.take().map(collect);
    let code = wait(&mut child);
    let text = |reader: Option<std::thread::JoinHandle<String>>| reader.map_or_else(String::new, |r| r.join().unwrap());
    Done { code, out: text(out), err: text(err) }
}

fn collect(mut stream: impl std::io::Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    })
}

/// The exit code, once the program has ended.
pub(crate) fn wait(child: &mut Child) -> Option<i32> {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        if begun.elapsed() > PATIENCE {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("the program hangs");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Waits until `ready` says so.
pub(crate) fn wait_until(what: &str, mut ready: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !ready() {
        assert!(begun.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

impl Done {
    /// Asserts the exit code; shows everything when it is another.
    #[track_caller]
    pub(crate) fn ends_with(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        self
    }

    /// Asserts that stderr is one error line and, with `hint`, a hint line; notices aside.
    #[track_caller]
    pub(crate) fn complains(self, what: &str, hint: &str) -> Self {
        let lines: Vec<_> = self.err.lines().filter(|line| !line.starts_with("total ")).collect();
        let error = lines.iter().find(|line| line.starts_with("error: "));
        assert!(error.is_some_and(|line| line.contains(what)), "{self:?}");
        let hinted = lines.iter().any(|line| line.starts_with("hint: ") && line.contains(hint));
        assert!(hint.is_empty() || hinted, "{self:?}");
        let odd: Vec<_> =
            lines.iter().filter(|line| !line.starts_with("error: ") && !line.starts_with("hint: ")).collect();
        assert!(odd.is_empty(), "{odd:?}");
        self
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }
}

/// What sha256sum prints for plain names.
pub(crate) fn sums(files: &[(&str, &[u8])]) -> String {
    files.iter().map(|(name, content)| format!("{}  {name}\n", Digest::of(content))).collect()
}

/// Bytes without a period that a mistake could hide behind.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// A link of 40 Mbit/s in front of `server`: slow enough to do something while a file is under way.
pub(crate) fn slow_link(server: SocketAddr) -> UdpProxy {
    let bottleneck = Some(Bottleneck { bits_per_second: 40_000_000, queue_bytes: 256 << 10 });
    let link = LinkSpec { bottleneck, ..LinkSpec::default() };
    UdpProxy::start(server, Faults::both(PathFaults { link, ..PathFaults::default() })).unwrap()
}

/// A link of 100 ms in each direction in front of `server`.
pub(crate) fn far_link(server: SocketAddr) -> UdpProxy {
    let link = LinkSpec { delay: Duration::from_millis(100), ..LinkSpec::default() };
    UdpProxy::start(server, Faults::both(PathFaults { link, ..PathFaults::default() })).unwrap()
}

/// A link of 20 Mbit/s and 60 ms in each direction in front of `server` that loses every twentieth packet to the client.
pub(crate) fn lossy_link(server: SocketAddr) -> UdpProxy {
    let bottleneck = Some(Bottleneck { bits_per_second: 20_000_000, queue_bytes: 512 << 10 });
    let link = LinkSpec { bottleneck, delay: Duration::from_millis(60), ..LinkSpec::default() };
    let to_client = PathFaults { link: LinkSpec { loss: Loss::Random(0.05), ..link.clone() }, ..PathFaults::default() };
    let to_server = PathFaults { link, ..PathFaults::default() };
    UdpProxy::start(server, Faults { to_client, to_server, seed: 3, ..Faults::default() }).unwrap()
}

/// A port of loopback at which nobody listens.
pub(crate) fn free_port() -> u16 {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// An address of this machine that is not loopback; None where there is none.
pub(crate) fn outward_address() -> Option<IpAddr> {
    // Connecting a UDP socket sends nothing; it makes the kernel look up the route (RFC 5737: nobody is there).
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_loopback() && !ip.is_unspecified()).then_some(ip)
}

/// Whether this machine has IPv6 loopback.
pub(crate) fn has_ipv6() -> bool {
    UdpSocket::bind("[::1]:0").is_ok()
}
