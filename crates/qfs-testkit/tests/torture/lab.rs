//! A place with a server and a client for each test, and what came of running the client there.

use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use qfs_testkit::binaries::{ServerOptions, ServerProcess, client_bin, without_settings};
use qfs_testkit::udp_proxy::{Bottleneck, Faults, LinkSpec, PathFaults, UdpProxy};
use serde_json::Value;
use tempfile::TempDir;

/// Longer than anything here takes, on a machine that is busy with other things too; what needs it has hung.
pub(crate) const WATCHDOG: Duration = Duration::from_secs(150);

/// A directory of its own: `root` is published, the client runs in `home` and saves in `home/client_env`.
pub(crate) struct Lab {
    place: TempDir,
    server: Option<ServerProcess>,
}

impl Lab {
    /// A published directory without files, and no server yet.
    pub(crate) fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        for directory in ["root", "home"] {
            std::fs::create_dir(place.path().join(directory)).unwrap();
        }
        Self { place, server: None }
    }

    /// A server that publishes these files.
    pub(crate) fn serving(files: &[(&str, &[u8])]) -> Self {
        let mut lab = Self::new();
        for (name, content) in files {
            lab.publish(name, content);
        }
        lab.start();
        lab
    }

    /// Starts the server on a free port.
    pub(crate) fn start(&mut self) {
        self.start_with(&[]);
    }

    /// Starts the server on a free port with more arguments.
    pub(crate) fn start_with(&mut self, args: &[&str]) {
        self.start_at(0, args);
    }

    fn start_at(&mut self, port: u16, args: &[&str]) {
        let (root, certs) = (self.root(), self.place.path().join("certs"));
        let options = ServerOptions { port, certs: Some(&certs), args, ..ServerOptions::new(&root) };
        self.server = Some(ServerProcess::start_with(&options));
    }

    /// Kills the server and starts another one, with the same identity on the same port.
    pub(crate) fn crash_and_restart(&mut self) {
        self.crash_and_restart_with(&[]);
    }

    /// As [`Self::crash_and_restart`], the new one with more arguments.
    pub(crate) fn crash_and_restart_with(&mut self, args: &[&str]) {
        let port = self.address().port();
        self.server_mut().kill().unwrap();
        self.start_at(port, args);
    }

    pub(crate) fn server(&self) -> &ServerProcess {
        self.server.as_ref().unwrap()
    }

    pub(crate) fn server_mut(&mut self) -> &mut ServerProcess {
        self.server.as_mut().unwrap()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server().address()
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.place.path().join("root")
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.place.path().join("home")
    }

    /// Where the client puts files.
    pub(crate) fn saved(&self) -> PathBuf {
        self.home().join("client_env")
    }

    /// What stands under a final name, if anything does.
    pub(crate) fn saved_file(&self, name: &str) -> Option<Vec<u8>> {
        std::fs::read(self.saved().join(name)).ok()
    }

    /// Forgets all that was fetched.
    pub(crate) fn clear(&self) {
        if self.saved().exists() {
            std::fs::remove_dir_all(self.saved()).unwrap();
        }
    }

    pub(crate) fn publish(&self, name: &str, content: &[u8]) {
        let path = self.root().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    /// The client, told to talk to `server`.
    pub(crate) fn client(&self, server: SocketAddr, args: &[&str]) -> Command {
        let mut command = Command::new(client_bin());
        self.prepare(&mut command, server);
        command.args(args);
        command
    }

    /// Gives `command`, which runs the client, its surroundings.
    pub(crate) fn prepare(&self, command: &mut Command, server: SocketAddr) {
        without_settings(command)
            .env("QFS_CONFIG_DIR", self.place.path().join("config"))
            .env("QFS_CACHE_DIR", self.place.path().join("cache"))
            .env("QFS_PORT", server.port().to_string())
            .env("QFS_SAVE_DIR", self.saved())
            .current_dir(self.home())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
    }

    /// Runs the client against the server itself.
    pub(crate) fn run(&self, args: &[&str]) -> Done {
        run(&mut self.client(self.address(), args))
    }

    /// The partial files below the save directory.
    pub(crate) fn partials(&self) -> Vec<PathBuf> {
        files_below(&self.saved()).into_iter().filter(|path| path.to_string_lossy().ends_with(".qfs-part")).collect()
    }
}

/// Every file below `directory`; none when it is not there.
pub(crate) fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).into_iter().flatten() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() { directories.push(entry.path()) } else { found.push(entry.path()) }
        }
    }
    found
}

/// What a run of the client came to.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Done {
    /// Asserts the exit code.
    #[track_caller]
    pub(crate) fn ends_with(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        self
    }

    /// The object that `--json` printed.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Status and bytes received of a run that asked for one file.
    #[track_caller]
    pub(crate) fn one_file(&self) -> (String, u64) {
        let json = self.json();
        (json["files"][0]["status"].as_str().unwrap().to_owned(), json["bytes"].as_u64().unwrap())
    }
}

pub(crate) fn run(command: &mut Command) -> Done {
    finish(command.spawn().unwrap())
}

/// Waits for the end of `child`, whose output is piped.
pub(crate) fn finish(mut child: Child) -> Done {
    let out = collect(child.stdout.take().unwrap());
    let err = collect(child.stderr.take().unwrap());
    let deadline = Instant::now() + WATCHDOG;
    let mut hung = false;
    let code = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status.code();
        }
        if Instant::now() > deadline {
            hung = true;
            child.kill().unwrap();
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let done = Done { code, out: out.join().unwrap(), err: err.join().unwrap() };
    assert!(!hung, "it hung: {done:?}");
    assert!(!done.err.contains("panicked"), "{done:?}");
    done
}

fn collect(mut stream: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// Waits until `ready`, looking again and again.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut ready: impl FnMut() -> bool) {
    let deadline = Instant::now() + WATCHDOG;
    while !ready() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// `length` bytes that no other seed gives.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    fastrand::Rng::with_seed(seed).fill(&mut bytes);
    bytes
}

/// A link on which a few megabytes take long enough to be interrupted.
pub(crate) fn slow_link(server: SocketAddr, bits_per_second: u64) -> UdpProxy {
    let link =
        LinkSpec { bottleneck: Some(Bottleneck { bits_per_second, queue_bytes: 1 << 20 }), ..LinkSpec::default() };
    let faults = Faults { to_client: PathFaults { link, ..PathFaults::default() }, ..Faults::default() };
    UdpProxy::start(server, faults).unwrap()
}

/// Waits until `bytes` have come to the client since the count stood at `before`, or the client ended.
pub(crate) fn wait_for_bytes(proxy: &UdpProxy, before: u64, bytes: u64, child: &mut Child) {
    wait_until("bytes through the proxy", || {
        proxy.stats().to_client.forwarded_bytes - before >= bytes || child.try_wait().unwrap().is_some()
    });
}
