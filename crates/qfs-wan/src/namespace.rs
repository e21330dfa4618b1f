//! Network namespaces, made and removed with `ip(8)`, and TUN devices inside them.

use rustix::{
    fs::{Mode, OFlags},
    thread::{LinkNameSpaceType, move_into_link_name_space},
};
use std::{
    io::{self, Write},
    os::fd::AsFd,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};
use tun_rs::SyncDevice;

use crate::error::WanError;

/// Where `ip(8)` keeps its namespaces.
const NAMESPACES: &str = "/var/run/netns";

/// How long processes have to end by themselves when their namespace is removed.
const GRACE: Duration = Duration::from_secs(1);

/// A named network namespace; removed when dropped, and with it whatever still runs inside.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes the namespace `name`.
    ///
    /// # Errors
    /// When `ip(8)` is missing or refuses.
    pub fn create(name: String) -> Result<Self, WanError> {
        ip(&["netns", "add", &name], "")?;
        Ok(Self { name })
    }

    /// The name, as `ip netns exec` takes it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs lines of `ip` commands inside.
    ///
    /// # Errors
    /// When `ip(8)` refuses one.
    pub fn configure(&self, commands: &str) -> Result<(), WanError> {
        ip(&["-n", &self.name, "-batch", "-"], commands).map(drop)
    }

    /// Makes a TUN device inside, without offloads, so that every packet is seen as it would be on a wire.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn open_tun(&self, device: &str) -> Result<SyncDevice, WanError> {
        // This needs a thread of its own, because a thread enters a namespace for good, and for itself only.
        let opened = thread::scope(|scope| scope.spawn(|| self.open_tun_inside(device)).join());
        opened.unwrap_or_else(|_| Err(io::Error::other("panicked"))).map_err(WanError::Device)
    }

    fn open_tun_inside(&self, device: &str) -> io::Result<SyncDevice> {
        let path = format!("{NAMESPACES}/{}", self.name);
        let namespace = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
        let tun = tun_rs::DeviceBuilder::new().name(device).offload(false).build_sync()?;
        tun.set_nonblocking(true)?;
        Ok(tun)
    }

    fn processes(&self) -> Vec<rustix::process::Pid> {
        let pids = ip(&["netns", "pids", &self.name], "").unwrap_or_default();
        pids.lines().filter_map(|pid| rustix::process::Pid::from_raw(pid.trim().parse().ok()?)).collect()
    }

    /// Ends what still runs inside, first with SIGTERM and then with SIGKILL.
    fn end_processes(&self) {
        let deadline = Instant::now() + GRACE;
        let mut signal = rustix::process::Signal::TERM;
        loop {
            let left = self.processes();
            for pid in &left {
                // A process that has just ended by itself does not matter.
                let _ = rustix::process::kill_process(*pid, signal);
            }
            if left.is_empty() || signal == rustix::process::Signal::KILL {
                return;
            }
            thread::sleep(Duration::from_millis(20));
            if Instant::now() > deadline {
                signal = rustix::process::Signal::KILL;
            }
        }
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        self.end_processes();
        // There is nobody to report a failure to.
        let _ = ip(&["netns", "delete", &self.name], "");
    }
}

/// Runs `ip(8)` with `input`, and returns what it prints.
fn ip(args: &[&str], input: &str) -> Result<String, WanError> {
    let failed = |why: String| WanError::Ip { command: args.join(" "), why };
    let spawned =
        Command::new("ip").args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(WanError::NoIp),
        Err(error) => return Err(failed(error.to_string())),
    };
    if let Some(mut stdin) = child.stdin.take() {
        // If it does not read its input, its output says why.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(failed(said.lines().next().unwrap_or("it did not say why").to_owned()))
}
