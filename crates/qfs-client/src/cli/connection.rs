//! The session of a run: made at first need, kept, made anew when it is lost; and the question about a server that nobody
//! knows yet.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use qfs_client::config::ConnectConfig;
use qfs_client::error::{FailureClass, SessionError};
use qfs_client::mirrors::fleet::{DEFAULT_GRACE, Fleet};
use qfs_client::mirrors::report::MirrorReport;
use qfs_client::session::Session;
use qfs_client::trust::TrustStore;
use qfs_client::trust::known_servers::{Keeper, KnownServers, Newcomers};
use qfs_core::observe::{Event, MirrorNews, Observer};
use qfs_transport::SocketBuffers;

use super::input;
use super::progress::Progress;
use super::report::{Problem, problem};
use super::screen::Screen;
use super::settings::Settings;

/// Longest wait at the end for the server to be told; it notices by itself otherwise.
const CLOSE_PATIENCE: Duration = Duration::from_millis(300);

/// Where files are fetched from.
pub(crate) enum Sources {
    One(Session),
    Several(Arc<Fleet>),
}

/// What every command works with.
pub(crate) struct Context {
    pub(crate) settings: Settings,
    pub(crate) screen: Arc<Screen>,
    pub(crate) progress: Arc<Progress>,
    session: Mutex<Option<Session>>,
    fleet: Mutex<Option<Arc<Fleet>>>,
}

impl Context {
    pub(crate) fn new(settings: Settings, screen: Arc<Screen>) -> Self {
        let progress = Progress::new(Arc::clone(&screen));
        Self { settings, screen, progress, session: Mutex::default(), fleet: Mutex::default() }
    }

    /// The session, made now if there is none.
    pub(crate) async fn session(&self) -> Result<Session, Problem> {
        let existing = self.slot().clone();
        if let Some(session) = existing {
            return Ok(session);
        }
        let session = self.first_reachable().await?;
        self.slot().replace(session.clone());
        Ok(session)
    }

    /// A session with the server, or with the first of several that can be reached: the next one is tried when one has failed, or has
    /// not answered for [`DEFAULT_GRACE`].
    async fn first_reachable(&self) -> Result<Session, Problem> {
        let settings = &self.settings;
        let mut rest = settings.mirrors.iter().skip(1).peekable();
        let unreachable = |server: &str, why: &str| {
            self.progress.event(Event::Mirror { server, news: MirrorNews::Unreachable(why) });
        };
        let mut attempts = FuturesUnordered::from_iter([self.try_one(settings.connect.clone())]);
        let mut waiting = vec![settings.connect.server.to_string()];
        // A person is not asked about one server while another one may bring up the same question.
        let may_overtake = settings.accept_new || !Settings::can_ask();
        // Of one that was asked only because another one takes its time: whether that matters must not depend on how long it takes.
        let mut distrust: Option<SessionError> = None;
        loop {
            let is_idle = waiting.is_empty();
            let grace = if is_idle { Duration::ZERO } else { DEFAULT_GRACE };
            tokio::select! {
                Some((server, connected)) = attempts.next() => {
                    waiting.retain(|other| *other != server);
                    match connected {
                        Err(error) if !waiting.is_empty() => {
                            unreachable(&server, &error.to_string());
                            if error.class() != FailureClass::Connection {
                                distrust.get_or_insert(error);
                            }
                        }
                        Err(error) if error.class() == FailureClass::Connection
                            && distrust.is_none() && rest.peek().is_some() =>
                        {
                            unreachable(&server, &error.to_string());
                        }
                        Err(error) => return Err(problem::of_session(distrust.as_ref().unwrap_or(&error))),
                        Ok(session) => {
                            waiting.iter().for_each(|server| unreachable(server, "it did not answer in time"));
                            return Ok(session);
                        }
                    }
                }
                () = tokio::time::sleep(grace), if (is_idle || may_overtake) && distrust.is_none() && rest.peek().is_some() => {
                    if let Some(config) = rest.next() {
                        waiting.push(config.server.to_string());
                        attempts.push(self.try_one(config.clone()));
                    }
                }
            }
        }
    }

    /// What came of connecting to one of several, and which.
    async fn try_one(&self, config: ConnectConfig) -> (String, Result<Session, SessionError>) {
        (config.server.to_string(), self.connect(config, self.keeper()).await)
    }

    /// Where files are fetched from.
    pub(crate) async fn sources(&self) -> Result<Sources, Problem> {
        if self.settings.mirrors.is_empty() {
            return self.session().await.map(Sources::One);
        }
        let existing = lock(&self.fleet).clone().filter(|fleet| fleet.first().is_some());
        if let Some(fleet) = existing {
            return Ok(Sources::Several(fleet));
        }
        let observer: Arc<dyn Observer> = Arc::clone(&self.progress) as _;
        // A person is not asked about one server while the files of another come.
        let grace = (self.settings.accept_new || !Settings::can_ask()).then_some(DEFAULT_GRACE);
        let connected = Fleet::connect(self.settings.mirrors.clone(), self.keeper(), observer, grace).await;
        let fleet = connected.map_err(|e| problem::of_session(&e))?;
        lock(&self.fleet).replace(Arc::clone(&fleet));
        Ok(Sources::Several(fleet))
    }

    /// That one of several servers is not trusted, which was found out when the others had begun.
    pub(crate) fn distrusted(&self) -> Option<Problem> {
        let fleet = lock(&self.fleet).clone()?;
        fleet.take_distrusted().map(|error| problem::of_session(&error))
    }

    /// What each of several servers did; none where there is one.
    pub(crate) fn mirror_reports(&self) -> Vec<MirrorReport> {
        lock(&self.fleet).as_ref().map(|fleet| fleet.reports()).unwrap_or_default()
    }

    fn keeper(&self) -> Arc<dyn TrustStore> {
        Arc::new(Keeper::new(self.settings.known_servers.clone(), self.newcomers()))
    }

    /// A connection to the server of the settings, whose key `trust` decides about.
    pub(crate) async fn connect_with(&self, trust: Arc<dyn TrustStore>) -> Result<Session, Problem> {
        self.connect(self.settings.connect.clone(), trust).await.map_err(|e| problem::of_session(&e))
    }

    async fn connect(&self, config: ConnectConfig, trust: Arc<dyn TrustStore>) -> Result<Session, SessionError> {
        let observer: Arc<dyn Observer> = Arc::clone(&self.progress) as _;
        let session = Session::connect(config, trust, observer).await?;
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
        let fleet = lock(&self.fleet).take();
        if let Some(fleet) = fleet {
            // Nothing depends on it.
            let _ = tokio::time::timeout(CLOSE_PATIENCE, fleet.close()).await;
        }
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
        lock(&self.session)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Asks a person on the terminal; only the whole word means yes. Blocks.
pub(crate) fn confirm(screen: &Screen, question: &str) -> bool {
    screen.raw_error(&format!("{question}\nType yes to trust it: "));
    matches!(input::read_line(), Ok(Some(answer)) if answer.trim() == "yes")
}
