//! The real programs, for tests that run them: found beside the test, built when they are missing or older than their sources,
//! started with a place of their own and ended with the test.
//!
//! Owns processes only; what they say on the wire is not known here.
#![allow(clippy::disallowed_methods, reason = "the tests' own directories, nothing published or downloaded")]

use std::io::{self, BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use rustix::process::{Pid, Signal, kill_process};

/// How long a server may take until it has said where it listens, and until it has ended once it was told to.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where ready-made programs are, for runs that shall use those of another profile: nothing is built then.
const READY_MADE: &str = "QFS_TORTURE_BIN";

/// The server's program, of the profile that the running test was built with.
///
/// # Panics
/// When it is missing and cannot be built: no test that needs it can go on.
pub fn server_bin() -> PathBuf {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| find_or_build("qfs-server").unwrap_or_else(|why| panic!("no qfs-server: {why}"))).clone()
}

/// The client's program, as [`server_bin`].
///
/// # Panics
/// As [`server_bin`].
pub fn client_bin() -> PathBuf {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| find_or_build("qfs-client").unwrap_or_else(|why| panic!("no qfs-client: {why}"))).clone()
}

/// The example `name` of `package`, as [`server_bin`].
///
/// # Panics
/// As [`server_bin`].
#[must_use]
pub fn example(package: &str, name: &str) -> PathBuf {
    let found = find_or_build_in("examples", "--example", package, name);
    found.unwrap_or_else(|why| panic!("no example {name} of {package}: {why}"))
}

fn find_or_build(name: &str) -> Result<PathBuf, String> {
    if let Some(directory) = std::env::var_os(READY_MADE) {
        return std::path::absolute(Path::new(&directory).join(name)).map_err(|e| e.to_string());
    }
    find_or_build_in("", "--bin", name, name)
}

/// Finds `name` in the folder `below` of the target directory, where cargo puts what is chosen by `choice`, or builds it.
fn find_or_build_in(below: &str, choice: &str, package: &str, name: &str) -> Result<PathBuf, String> {
    let test = std::env::current_exe().map_err(|e| e.to_string())?;
    // A test is target/PROFILE/deps/NAME-HASH, a program target/PROFILE/NAME.
    let directory = test.parent().and_then(Path::parent).ok_or("the test is not in a target directory")?;
    let program = directory.join(below).join(name);
    if is_fresh(&program, package) {
        return Ok(program);
    }
    let profile = match directory.file_name().and_then(|name| name.to_str()) {
        None | Some("debug") => "dev",
        Some(other) => other,
    };
    let target = directory.parent().ok_or("the test is not in a target directory")?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    // What the outer cargo says of this package; ring's build script listens, and everything above it would be built anew.
    for (name, _) in std::env::vars_os() {
        let is_of_package = |prefix| name.to_string_lossy().starts_with(prefix);
        if ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_CRATE_", "CARGO_PRIMARY_"].into_iter().any(is_of_package) {
            build.env_remove(&name);
        }
    }
    let built = build
        // The workspace's selection, not the package's: that has other features, and would build every dependency anew.
        .args(["build", "--quiet", "--workspace", choice, name, "--profile", profile, "--target-dir"])
        .arg(target)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .map_err(|e| format!("cargo cannot be run: {e}"))?;
    if built.success() { Ok(program) } else { Err(format!("cargo build ended with {built}")) }
}

/// The crates that every program is made of.
const LIBRARIES: [&str; 4] = ["qfs-congestion", "qfs-core", "qfs-store", "qfs-transport"];

/// Whether `program` is there and younger than the sources that it is made of.
fn is_fresh(program: &Path, package: &str) -> bool {
    let Some(built) = changed(program) else { return false };
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let example = program.file_name().map(|name| crates.join(package).join("examples").join(name).with_extension("rs"));
    let sources = LIBRARIES.iter().chain([&package]).map(|name| newest(&crates.join(name).join("src")));
    sources
        .chain([example.and_then(|path| changed(&path)).or(Some(SystemTime::UNIX_EPOCH))])
        .all(|source| source.is_some_and(|source| source <= built))
}

/// When the file was changed; None when that cannot be told.
fn changed(path: &Path) -> Option<SystemTime> {
    path.metadata().and_then(|meta| meta.modified()).ok()
}

/// When the youngest file below `directory` was changed; None when that cannot be told.
fn newest(directory: &Path) -> Option<SystemTime> {
    let mut youngest = SystemTime::UNIX_EPOCH;
    for entry in directory.read_dir().ok()? {
        let entry = entry.ok()?;
        let changed = if entry.file_type().ok()?.is_dir() {
            newest(&entry.path())?
        } else {
            entry.metadata().ok()?.modified().ok()?
        };
        youngest = youngest.max(changed);
    }
    Some(youngest)
}

/// Takes the variables away from `command` that would change what the programs do: whoever runs the tests may have set them.
pub fn without_settings(command: &mut Command) -> &mut Command {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("QFS_") || ["RUST_LOG", "NO_COLOR", "XDG_CONFIG_HOME"].contains(&text.as_ref()) {
            command.env_remove(&name);
        }
    }
    command
}

/// What a server is started with.
#[derive(Debug)]
pub struct ServerOptions<'a> {
    /// The published directory.
    pub root: &'a Path,
    /// Address to listen on.
    pub ip: &'a str,
    /// Port; 0 for any free one.
    pub port: u16,
    /// Where the identity is; None for a fresh one.
    pub certs: Option<&'a Path>,
    /// The cache directory; None for one that goes with the server.
    pub cache: Option<&'a Path>,
    /// More arguments.
    pub args: &'a [&'a str],
}

impl<'a> ServerOptions<'a> {
    /// `root` on any free port of 127.0.0.1, with a fresh identity.
    #[must_use]
    pub fn new(root: &'a Path) -> Self {
        Self { root, ip: "127.0.0.1", port: 0, certs: None, cache: None, args: &[] }
    }
}

/// A running `qfs-server`; killed when dropped.
#[derive(Debug)]
pub struct ServerProcess {
    child: Child,
    address: SocketAddr,
    fingerprint: String,
    ticket: String,
    said: Arc<Mutex<Vec<u8>>>,
    /// Identity and cache, when they are its own.
    _place: tempfile::TempDir,
}

impl ServerProcess {
    /// Serves `root` on a free port of 127.0.0.1.
    ///
    /// # Panics
    /// As [`Self::start_with`].
    #[must_use]
    pub fn start(root: &Path) -> Self {
        Self::start_with(&ServerOptions::new(root))
    }

    /// Starts a server and waits until it has said how it can be reached.
    ///
    /// # Panics
    /// When it does not get that far: what it wrote to stderr is in the message.
    #[must_use]
    pub fn start_with(options: &ServerOptions<'_>) -> Self {
        try_start(options).unwrap_or_else(|why| panic!("the server did not start: {why}"))
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The fingerprint it printed, `sha256:HEX`.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The (first) ticket it printed.
    #[must_use]
    pub fn ticket(&self) -> &str {
        &self.ticket
    }

    /// What it has written to stderr so far.
    #[must_use]
    pub fn said(&self) -> String {
        String::from_utf8_lossy(&self.said.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it at once, as a crash would.
    ///
    /// # Errors
    /// When it cannot be ended or waited for.
    pub fn kill(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }

    /// Sends it SIGTERM and waits for its end.
    ///
    /// # Errors
    /// When it cannot be told or waited for, or does not end.
    pub fn terminate(&mut self) -> io::Result<ExitStatus> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Err(io::Error::new(io::ErrorKind::TimedOut, "the server does not end"))
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.kill();
    }
}

fn try_start(options: &ServerOptions<'_>) -> Result<ServerProcess, String> {
    let place = tempfile::tempdir().map_err(|e| e.to_string())?;
    let certs = options.certs.map_or_else(|| place.path().join("certs"), Path::to_owned);
    let mut command = Command::new(server_bin());
    without_settings(&mut command)
        .args(["--ip", options.ip, "--port", &options.port.to_string()])
        .arg("--root")
        .arg(options.root)
        .arg("--certs")
        .arg(certs)
        .arg("--cache-dir")
        .arg(options.cache.map_or_else(|| place.path().join("cache"), Path::to_owned))
        // Whoever runs the tests may have a configuration file.
        .env("QFS_CONFIG_DIR", place.path())
        .args(options.args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|e| e.to_string())?;
    let stderr = child.stderr.take().ok_or("no stderr")?;
    let mut stdout = BufReader::new(child.stdout.take().ok_or("no stdout")?);
    let mut lines: Vec<String> = Vec::new();
    while !lines.last().is_some_and(|line| line.starts_with("ticket ")) {
        let mut line = String::new();
        if stdout.read_line(&mut line).map_err(|e| e.to_string())? == 0 {
            return Err(last_words(&mut child, stderr));
        }
        lines.push(line.trim_end().to_owned());
    }
    let value = |key: &str| {
        let found = lines.iter().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
        found.map(str::to_owned).ok_or_else(|| format!("it printed no {key:?}: {lines:?}"))
    };
    let (address, fingerprint, ticket) = (value("listening on")?, value("fingerprint")?, value("ticket")?);
    let address = address.parse().map_err(|_| format!("it listens on {address:?}"))?;
    // Whatever it says from now on must not fill a pipe and stop it.
    std::thread::spawn(move || io::copy(&mut stdout, &mut io::sink()));
    let said = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&said);
    std::thread::spawn(move || listen(stderr, &keep));
    Ok(ServerProcess { child, address, fingerprint, ticket, said, _place: place })
}

/// Most of a server's stderr that is kept, in bytes: a soak logs for an hour.
const MAX_SAID: usize = 1 << 20;

fn listen(mut stderr: ChildStderr, said: &Mutex<Vec<u8>>) {
    let mut buffer = [0; 4096];
    while let Ok(n @ 1..) = stderr.read(&mut buffer) {
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.len() < MAX_SAID {
            said.extend_from_slice(&buffer[..n]);
        }
    }
}

fn last_words(child: &mut Child, mut stderr: ChildStderr) -> String {
    let mut said = String::new();
    // Whatever could be read of it is better than nothing.
    let _ = stderr.read_to_string(&mut said);
    let _ = child.wait();
    said
}
