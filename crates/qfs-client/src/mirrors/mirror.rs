//! One server of a set: whether it can be asked, and what came of it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use qfs_core::observe::{Event, MirrorNews, Observer};
use qfs_core::stream::Lost;
use tokio::sync::Notify;

use super::coming::Coming;
use super::report::{MirrorReport, MirrorState};
use super::schedule::Pace;
use super::traffic::{Traffic, WINDOW};
use crate::error::AttemptError;
use crate::session::{Lease, Session};
use crate::sync::lock;

/// A server that owes an answer and has sent nothing for so long, and a round trip, is silent: what it owes is asked of others.
const SILENCE: Duration = Duration::from_millis(600);

/// After so long a silence its connection is taken for lost, and another one is made.
const LONGEST_SILENCE: Duration = Duration::from_secs(5);

/// A server.
pub(crate) struct Mirror {
    pub(crate) number: usize,
    name: String,
    observer: Arc<dyn Observer>,
    changed: Arc<Notify>,
    state: Mutex<State>,
    traffic: Mutex<Traffic>,
}

enum State {
    Connecting,
    Up(Session),
    /// Its connection was lost, for this reason, and another one is being made.
    Down(String),
    Unreachable(String),
    Dropped(String),
}

impl Mirror {
    pub(super) fn new(number: usize, name: String, observer: Arc<dyn Observer>, changed: Arc<Notify>) -> Self {
        let traffic = Mutex::new(Traffic::new());
        Self { number, name, observer, changed, state: Mutex::new(State::Connecting), traffic }
    }

    /// Tells of its connection as of that of one of several.
    pub(super) fn observer(self: &Arc<Self>) -> Arc<dyn Observer> {
        Arc::new(Labelled(Arc::clone(self)))
    }

    /// Whether it has not been reached, and may be.
    pub(super) fn is_connecting(&self) -> bool {
        matches!(*lock(&self.state), State::Connecting)
    }

    fn tell(&self, news: MirrorNews<'_>) {
        self.observer.event(Event::Mirror { server: &self.name, news });
    }

    pub(super) fn joined(&self, session: Session) {
        tracing::info!("connected to mirror {} over {}", self.name, session.way());
        *lock(&self.state) = State::Up(session);
        self.changed.notify_waiters();
    }

    pub(super) fn unreachable(&self, why: &str) {
        *lock(&self.state) = State::Unreachable(why.to_owned());
        self.tell(MirrorNews::Unreachable(why));
        self.changed.notify_waiters();
    }

    /// The session, while it can be used.
    pub(crate) fn session(&self) -> Option<Session> {
        match &*lock(&self.state) {
            State::Up(session) => Some(session.clone()),
            _ => None,
        }
    }

    /// Whether it may still come or come back.
    pub(crate) fn has_hope(&self) -> bool {
        !matches!(*lock(&self.state), State::Unreachable(_) | State::Dropped(_))
    }

    /// Nothing more is asked of it: it sent what is not so.
    pub(crate) fn lied(&self, what: &str) {
        if self.drop_for(what) {
            self.tell(MirrorNews::Lied(what));
        }
    }

    fn drop_for(&self, why: &str) -> bool {
        let former = std::mem::replace(&mut *lock(&self.state), State::Dropped(why.to_owned()));
        self.changed.notify_waiters();
        match former {
            State::Dropped(first) => {
                *lock(&self.state) = State::Dropped(first);
                false
            }
            State::Up(session) => {
                tokio::spawn(session.close());
                true
            }
            State::Connecting | State::Down(_) | State::Unreachable(_) => true,
        }
    }

    /// It has another version of a file than the one that is wanted.
    pub(crate) fn differs(&self, name: &str) {
        self.tell(MirrorNews::Differs(name));
    }

    /// Its connection `lease` is lost: another one is made, for as long as that is tried.
    pub(crate) fn lost(self: &Arc<Self>, lease: Lease, why: Lost) {
        let session = {
            let mut state = lock(&self.state);
            let State::Up(session) = &*state else { return };
            let session = session.clone();
            if !session.is_current(&lease) {
                return;
            }
            *state = State::Down(why.to_string());
            session
        };
        self.tell(MirrorNews::Lost(&why.to_string()));
        let mirror = Arc::clone(self);
        tokio::spawn(async move {
            match session.renew(&lease, &why).await {
                Ok(_) => mirror.back(session),
                Err(failure) => {
                    let why = failure.to_string();
                    if mirror.drop_for(&why) {
                        mirror.tell(MirrorNews::Dropped(&why));
                    }
                }
            }
        });
    }

    fn back(&self, session: Session) {
        let mut state = lock(&self.state);
        if let State::Down(_) = &*state {
            *state = State::Up(session);
            drop(state);
            self.tell(MirrorNews::Back);
            self.changed.notify_waiters();
        }
    }

    /// Bytes of content arrived from it.
    pub(crate) fn sent(&self, bytes: u64) {
        lock(&self.traffic).came(bytes);
    }

    /// Counts what arrived from it over `took` for a file that it was asked for alone.
    pub(super) fn sent_alone(&self, bytes: u64, took: Duration) {
        lock(&self.traffic).came_besides(bytes, took);
    }

    /// Whether it owes an answer and has sent nothing for too long.
    pub(crate) fn is_silent(&self) -> bool {
        let rtt = self.session().map_or(Duration::ZERO, |session| session.path_report().rtt);
        self.silent_for() > SILENCE + rtt.min(LONGEST_SILENCE)
    }

    /// Whether `coming`, which is asked of it, trickles: somebody else who has nothing to do may well be quicker.
    pub(crate) fn is_slow_with(&self, coming: &Coming) -> bool {
        coming.is_slow(self.session().map_or(Duration::ZERO, |session| session.path_report().rtt))
    }

    /// What `work` comes to, or a loss when the server falls silent over it.
    pub(crate) async fn unless_silent<T>(
        &self,
        work: impl Future<Output = Result<T, AttemptError>>,
    ) -> Result<T, AttemptError> {
        tokio::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                () = tokio::time::sleep(WINDOW) => self.sent_or_silent(0)?,
            }
        }
    }

    /// Counts bytes that arrived from it.
    ///
    /// # Errors
    /// A loss when it is silent.
    pub(crate) fn sent_or_silent(&self, bytes: u64) -> Result<(), AttemptError> {
        if bytes > 0 {
            self.sent(bytes);
        }
        if self.is_silent() { Err(AttemptError::Lost(Lost::TimedOut)) } else { Ok(()) }
    }

    /// Asking it over `lease` failed: its connection is made anew, or it broke the protocol, which is said as `what`.
    pub(crate) fn failed(self: &Arc<Self>, lease: &Lease, error: &AttemptError, what: &str) {
        match error {
            AttemptError::Lost(Lost::TimedOut) => self.give_up_if_dead(),
            AttemptError::Lost(why) => self.lost(lease.clone(), why.clone()),
            AttemptError::Protocol(why) => self.lied(&format!("{what}: {why}")),
            _ => {}
        }
    }

    fn silent_for(&self) -> Duration {
        lock(&self.traffic).silent_for()
    }

    /// Takes its connection for lost when it has been silent for so long that waiting makes no sense.
    pub(crate) fn give_up_if_dead(self: &Arc<Self>) {
        if self.silent_for() > LONGEST_SILENCE
            && let Some(session) = self.session()
        {
            self.lost(session.lease(), Lost::TimedOut);
        }
    }

    /// How it does at the moment; `is_usable` for a file of which it is a source.
    pub(crate) fn pace(&self, is_source: bool) -> Pace {
        let (is_usable, is_silent) = (is_source && self.session().is_some(), self.is_silent());
        let mut traffic = lock(&self.traffic);
        traffic.measure();
        Pace { is_usable, is_silent, rate: traffic.rate(), under_way: traffic.under_way() }
    }

    /// Its rate in bytes a second, where that is known, and the bytes asked of it.
    pub(super) fn load(&self) -> (Option<f64>, u64) {
        let traffic = lock(&self.traffic);
        (traffic.rate(), traffic.under_way())
    }

    /// Whether no content is asked of it.
    pub(super) fn is_idle(&self) -> bool {
        self.load().1 == 0
    }

    /// Counts a question for `bytes` as long as it lives.
    pub(crate) fn question(self: &Arc<Self>, bytes: u64) -> Question {
        lock(&self.traffic).begun(bytes);
        Question { mirror: Arc::clone(self), bytes }
    }

    pub(super) fn report(&self) -> MirrorReport {
        let state = match &*lock(&self.state) {
            State::Up(_) => MirrorState::Ok,
            State::Connecting => MirrorState::Unreachable("it did not answer before the end".to_owned()),
            State::Unreachable(why) => MirrorState::Unreachable(why.clone()),
            State::Down(why) | State::Dropped(why) => MirrorState::Dropped(why.clone()),
        };
        let traffic = lock(&self.traffic);
        MirrorReport { server: self.name.clone(), bytes: traffic.bytes(), busy: traffic.busy(), state }
    }
}

/// Something asked of a server.
pub(crate) struct Question {
    mirror: Arc<Mirror>,
    bytes: u64,
}

impl Drop for Question {
    fn drop(&mut self) {
        lock(&self.mirror.traffic).ended(self.bytes);
        self.mirror.changed.notify_waiters();
    }
}

/// Tells of one server's connection as of that of one of several.
struct Labelled(Arc<Mirror>);

impl Observer for Labelled {
    fn event(&self, event: Event<'_>) {
        match event {
            // It was told that it is lost, and it will be told when it is back.
            Event::Reconnecting { .. } => {}
            event => self.0.observer.event(event),
        }
    }
}
