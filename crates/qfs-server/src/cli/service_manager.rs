//! Tells a service manager how the server is (sd_notify(3)): ready, taking up files anew, alive, stopping. Does nothing where none
//! asked to be told.

use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tracing::warn;

/// Who wants to be told.
pub(crate) struct ServiceManager {
    socket: Option<UnixDatagram>,
    /// How often it wants to hear that the server is alive.
    watchdog: Option<Duration>,
}

impl ServiceManager {
    /// The one that the environment names. The socket is connected here, because the sandbox lets nobody do that later.
    pub(crate) fn of_environment() -> Self {
        let socket = std::env::var_os("NOTIFY_SOCKET").and_then(|name| match connect(name.as_bytes()) {
            Ok(socket) => Some(socket),
            Err(error) => {
                warn!("the service manager cannot be told anything: {error}");
                None
            }
        });
        let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
        let is_for_this = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let watchdog = number("WATCHDOG_USEC").filter(|micros| *micros > 0 && is_for_this).map(Duration::from_micros);
        Self { socket, watchdog }
    }

    /// The server listens.
    pub(crate) fn ready(&self) {
        self.tell("READY=1");
    }

    /// Files are taken up anew by `work`.
    pub(crate) fn reload(&self, work: impl FnOnce()) {
        let now = clock_gettime(ClockId::Monotonic);
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={}", now.tv_sec * 1_000_000 + now.tv_nsec / 1_000));
        work();
        self.ready();
    }

    /// No more clients are let in.
    pub(crate) fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    /// Says again and again that the server is alive, as long as it is polled: by the thread of the network, which is the one that may
    /// not hang.
    pub(crate) async fn keep_alive(&self) -> std::convert::Infallible {
        let Some(every) = self.watchdog.filter(|_| self.socket.is_some()) else { return std::future::pending().await };
        // Twice as often as has to be.
        let mut ticks = tokio::time::interval(every / 2);
        loop {
            ticks.tick().await;
            self.tell("WATCHDOG=1");
        }
    }

    fn tell(&self, state: &str) {
        if let Some(Err(error)) = self.socket.as_ref().map(|socket| socket.send(state.as_bytes())) {
            warn!("the service manager was not told {}: {error}", state.lines().next().unwrap_or_default());
        }
    }
}

fn connect(name: &[u8]) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    match name.split_first() {
        Some((b'@', abstract_name)) => socket.connect_addr(&SocketAddr::from_abstract_name(abstract_name)?)?,
        Some((b'/', _)) => socket.connect(std::ffi::OsStr::from_bytes(name))?,
        _ => {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "NOTIFY_SOCKET is neither a path nor an abstract name",
            ));
        }
    }
    Ok(socket)
}
