//! The session of a run: made at first need, kept, made anew when it is lost; and the question about a server that nobody
//! knows yet.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use qfs_client::session::Session;
use qfs_client::trust::TrustStore;
use qfs_client::trust::known_servers::{Keeper, KnownServers, Newcomers};
use qfs_core::observe::Observer;
use qfs_transport::SocketBuffers;

use super::input;
use super::progress::Progress;
use super::report::{Problem, problem};
use super::screen::Screen;
use super::settings::Settings;

/// Longest wait at the end for the server to be told; it notices by itself otherwise.
const CLOSE_PATIENCE: Duration = Duration::from_millis(300);

/// What every command works with.
pub(crate) struct Context {
    pub(crate) settings: Settings,
    pub(crate) screen: Arc<Screen>,
    pub(crate) progress: Arc<Progress>,
    session: Mutex<Option<Session>>,
}

impl Context {
    pub(crate) fn new(settings: Settings, screen: Arc<Screen>) -> Self {
        let progress = Progress::new(Arc::clone(&screen));
        Self { settings, screen, progress, session: Mutex::default() }
    }

    /// The session, made now if there is none.
    pub(crate) async fn session(&self) -> Result<Session, Problem> {
        let existing = self.slot().clone();
        if let Some(session) = existing {
            return Ok(session);
        }
        let trust = Keeper::new(self.settings.known_servers.clone(), self.newcomers());
        let session = self.connect_with(Arc::new(trust)).await?;
        self.slot().replace(session.clone());
        Ok(session)
    }

    /// A connection to the server of the settings, whose key `trust` decides about.
    pub(crate) async fn connect_with(&self, trust: Arc<dyn TrustStore>) -> Result<Session, Problem> {
        let observer: Arc<dyn Observer> = Arc::clone(&self.progress) as _;
        let connected = Session::connect(self.settings.connect.clone(), trust, observer).await;
        let session = connected.map_err(|e| problem::of_session(&e))?;
        let buffers = session.socket_buffers();
        let key = session.fingerprint().map(|key| format!("; its key is {key}")).unwrap_or_default();
        tracing::info!("connected to {} over {}{key}", session.peer(), session.way());
        if let Some(SocketBuffers { wanted, send, receive }) = buffers.filter(SocketBuffers::are_short) {
            tracing::info!(
                "the kernel granted {} KiB of socket buffer for sending and {} KiB for receiving; {} KiB are better on fast \
                 networks; as root: sysctl -w net.core.wmem_max={wanted} net.core.rmem_max={wanted}",
                send >> 10,
                receive >> 10,
                wanted >> 10
            );
        }
        Ok(session)
    }

    /// Forgets a session that failed: the next need makes another.
    pub(crate) fn drop_session(&self) {
        self.slot().take();
    }

    /// Gives what the session does besides its work a moment to end.
    pub(crate) async fn settled(&self) {
        let session = self.slot().clone();
        if let Some(session) = session {
            session.settled().await;
        }
    }

    /// Tells the server that nothing more is wanted.
    pub(crate) async fn close(&self) {
        let session = self.slot().take();
        if let Some(session) = session {
            let path = session.path_report();
            tracing::info!(
                "the connection over {} is closed: a round trip took {:.1} ms, a packet carried up to {} bytes, and {} of the \
                 client's packets were lost",
                session.way(),
                path.rtt.as_secs_f64() * 1e3,
                path.payload,
                path.lost_packets
            );
            // Nothing depends on it.
            let _ = tokio::time::timeout(CLOSE_PATIENCE, session.close()).await;
        }
    }

    fn newcomers(&self) -> Newcomers {
        if self.settings.accept_new {
            return Newcomers::Accept;
        }
        if !Settings::can_ask() {
            return Newcomers::Refuse;
        }
        let screen = Arc::clone(&self.screen);
        Newcomers::Ask(Box::new(move |server, presented| {
            confirm(
                &screen,
                &format!(
                    "The server {server} is not known yet. Its key is\n  {presented}\nIs that the fingerprint it prints?"
                ),
            )
        }))
    }

    pub(crate) fn known_servers(&self) -> &KnownServers {
        &self.settings.known_servers
    }

    fn slot(&self) -> MutexGuard<'_, Option<Session>> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks a person on the terminal; only the whole word means yes. Blocks.
pub(crate) fn confirm(screen: &Screen, question: &str) -> bool {
    screen.raw_error(&format!("{question}\nType yes to trust it: "));
    matches!(input::read_line(), Ok(Some(answer)) if answer.trim() == "yes")
}
