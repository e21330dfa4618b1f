//! The servers of one set: whether each can be asked, how fast it is, and what came of it.
//!
//! Knows connections and clocks, nothing of files.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use qfs_core::observe::{Event, MirrorNews, Observer};
use qfs_core::stream::Lost;
use tokio::sync::{Notify, mpsc};

use super::report::{MirrorReport, MirrorState};
use super::schedule::Pace;
use crate::config::ConnectConfig;
use crate::error::{AttemptError, FailureClass, SessionError};
use crate::session::{Lease, Session};
use crate::sync::lock;
use crate::trust::TrustStore;

/// How long the servers named first are waited for when another one is there already: the first that has a file decides about it.
pub const DEFAULT_GRACE: Duration = Duration::from_secs(1);

/// How long the others are waited for where one is there already: then it is known of most whether they are trusted.
const OTHERS: Duration = Duration::from_millis(250);

/// How often it is looked whether a run may begin.
const LOOK: Duration = Duration::from_millis(25);

/// A server that owes an answer and has sent nothing for so long, and a round trip, is silent: what it owes is asked of others.
const SILENCE: Duration = Duration::from_millis(600);

/// After so long a silence its connection is taken for lost, and another one is made.
const LONGEST_SILENCE: Duration = Duration::from_secs(5);

/// What a rate is measured over.
const WINDOW: Duration = Duration::from_millis(200);

/// How much the latest window counts in a rate.
const LATEST: f64 = 0.4;

/// The servers, in the order in which they were named.
pub struct Fleet {
    mirrors: Vec<Arc<Mirror>>,
    observer: Arc<dyn Observer>,
    /// Rings whenever a server can be asked again, or has room for more.
    changed: Arc<Notify>,
    /// Why one is not trusted that answered late.
    distrusted: Mutex<Option<SessionError>>,
}

/// One of them.
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

struct Traffic {
    bytes: u64,
    /// Bytes asked of it, and questions.
    under_way: u64,
    questions: usize,
    /// When it last sent something, or began to owe an answer.
    heard: Instant,
    busy: Duration,
    busy_since: Option<Instant>,
    /// Since when, and how many bytes had come by then.
    window: (Instant, u64),
    rate: Option<f64>,
}

impl Fleet {
    /// Connects to all of them, and returns soon after there is one to begin with: the first, or any when `grace` is over. The others
    /// join when they are reached. Without a `grace` all are waited for.
    ///
    /// # Errors
    /// [`SessionError`] when none of them is reached, or the key of one is not trusted.
    pub async fn connect(
        servers: Vec<ConnectConfig>,
        trust: Arc<dyn TrustStore>,
        observer: Arc<dyn Observer>,
        grace: Option<Duration>,
    ) -> Result<Arc<Self>, SessionError> {
        let changed = Arc::<Notify>::default();
        let mirror = |(number, config): (usize, &ConnectConfig)| {
            let (name, observer) = (config.server.to_string(), Arc::clone(&observer));
            Arc::new(Mirror::new(number, name, observer, Arc::clone(&changed)))
        };
        let mirrors: Vec<_> = servers.iter().enumerate().map(mirror).collect();
        let fleet = Arc::new(Self { mirrors, observer: Arc::clone(&observer), changed, distrusted: Mutex::default() });
        let (ended, mut ends) = mpsc::channel(servers.len().max(1));
        for (mirror, config) in fleet.mirrors.iter().cloned().zip(servers) {
            let (trust, ended) = (Arc::clone(&trust), ended.clone());
            let observer: Arc<dyn Observer> = Arc::new(Labelled(Arc::clone(&mirror)));
            tokio::spawn(async move {
                let connected = Session::connect(config, trust, observer).await;
                // Nobody receives any more only when the run is over.
                let _ = ended.send((mirror, connected)).await;
            });
        }
        drop(ended);
        let mut first_error: Option<(usize, SessionError)> = None;
        let begun = Instant::now();
        let mut up_since = None;
        while !grace.is_some_and(|grace| fleet.may_begin(begun.elapsed() >= grace, up_since)) {
            tokio::select! {
                end = ends.recv() => match end {
                    None => break,
                    Some((mirror, Ok(session))) => {
                        mirror.joined(session);
                        up_since.get_or_insert_with(Instant::now);
                    }
                    Some((_, Err(error))) if error.class() == FailureClass::Trust => return Err(error),
                    Some((mirror, Err(error))) => {
                        mirror.unreachable(&error.to_string());
                        if first_error.as_ref().is_none_or(|(number, _)| mirror.number < *number) {
                            first_error = Some((mirror.number, error));
                        }
                    }
                },
                () = tokio::time::sleep(LOOK) => {}
            }
        }
        if let (None, Some((_, error))) = (fleet.first(), first_error) {
            return Err(error);
        }
        let waiting = Arc::clone(&fleet);
        tokio::spawn(async move {
            while let Some((mirror, connected)) = ends.recv().await {
                match connected {
                    Ok(session) => mirror.joined(session),
                    Err(error) => {
                        mirror.unreachable(&error.to_string());
                        if error.class() == FailureClass::Trust {
                            lock(&waiting.distrusted).get_or_insert(error);
                        }
                    }
                }
            }
        });
        Ok(fleet)
    }

    /// Whether there is one to begin with: one is there for [`OTHERS`], and those before it have failed or are not waited for any longer.
    fn may_begin(&self, is_over: bool, up_since: Option<Instant>) -> bool {
        let is_settled = |mirror: &&Arc<Mirror>| !matches!(*lock(&mirror.state), State::Connecting);
        let others_had_time = up_since.is_some_and(|since| since.elapsed() >= OTHERS);
        let mut before = self.mirrors.iter().take_while(|mirror| is_over || is_settled(mirror));
        others_had_time && before.any(|mirror| mirror.session().is_some())
            || self.mirrors.iter().all(|m| is_settled(&m))
    }

    /// All of them.
    pub(crate) fn mirrors(&self) -> &[Arc<Mirror>] {
        &self.mirrors
    }

    /// Those that can be asked now, in the order in which they were named.
    pub(crate) fn usable(&self) -> impl Iterator<Item = (&Arc<Mirror>, Session)> {
        self.mirrors.iter().filter_map(|mirror| Some((mirror, mirror.session()?)))
    }

    /// The first that can be asked now.
    #[must_use]
    pub fn first(&self) -> Option<Session> {
        self.usable().next().map(|(_, session)| session)
    }

    /// The one that is expected to answer a question for `bytes` first, of those for which `may_be` holds.
    pub(crate) fn lightest(&self, bytes: u64, may_be: impl Fn(usize) -> bool) -> Option<(Arc<Mirror>, Session)> {
        let able = self.usable().filter(|(mirror, _)| may_be(mirror.number) && !mirror.is_silent());
        let wait = |(mirror, _): &(&Arc<Mirror>, Session)| {
            let traffic = lock(&mirror.traffic);
            let owed = (traffic.under_way + bytes + 1) as f64;
            // One that has not been measured is tried first of all, where it owes nothing.
            traffic.rate.map_or(owed / 1e12, |rate| owed / rate.max(1.0))
        };
        able.min_by(|a, b| wait(a).total_cmp(&wait(b))).map(|(mirror, session)| (Arc::clone(mirror), session))
    }

    /// Waits until a server can be asked again, or has room.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Tells of those that have not been reached by now; they may still be.
    pub fn note_unreached(&self) {
        for mirror in &self.mirrors {
            if matches!(*lock(&mirror.state), State::Connecting) {
                mirror.unreachable("it did not answer before the end");
            }
        }
    }

    /// Tells all of them that nothing more is wanted.
    pub async fn close(&self) {
        join_all(self.usable().map(|(_, session)| session.close())).await;
    }

    /// Why one is not trusted that answered when the others had begun. It was asked for nothing; whoever runs this has to know.
    pub fn take_distrusted(&self) -> Option<SessionError> {
        lock(&self.distrusted).take()
    }

    /// What each of them did.
    #[must_use]
    pub fn reports(&self) -> Vec<MirrorReport> {
        self.mirrors.iter().map(|mirror| mirror.report()).collect()
    }

    pub(crate) fn observer(&self) -> &Arc<dyn Observer> {
        &self.observer
    }
}

impl Mirror {
    fn new(number: usize, name: String, observer: Arc<dyn Observer>, changed: Arc<Notify>) -> Self {
        let now = Instant::now();
        let traffic = Traffic {
            bytes: 0,
            under_way: 0,
            questions: 0,
            heard: now,
            busy: Duration::ZERO,
            busy_since: None,
            window: (now, 0),
            rate: None,
        };
        Self { number, name, observer, changed, state: Mutex::new(State::Connecting), traffic: Mutex::new(traffic) }
    }

    fn tell(&self, news: MirrorNews<'_>) {
        self.observer.event(Event::Mirror { server: &self.name, news });
    }

    fn joined(&self, session: Session) {
        tracing::info!("connected to mirror {} over {}", self.name, session.way());
        *lock(&self.state) = State::Up(session);
        self.changed.notify_waiters();
    }

    fn unreachable(&self, why: &str) {
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
        let mut traffic = lock(&self.traffic);
        traffic.bytes += bytes;
        traffic.heard = Instant::now();
    }

    /// Whether it owes an answer and has sent nothing for too long.
    pub(crate) fn is_silent(&self) -> bool {
        let rtt = self.session().map_or(Duration::ZERO, |session| session.path_report().rtt);
        self.silent_for() > SILENCE + rtt.min(LONGEST_SILENCE)
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
        let traffic = lock(&self.traffic);
        if traffic.questions == 0 { Duration::ZERO } else { traffic.heard.elapsed() }
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
        Pace { is_usable, is_silent, rate: traffic.rate, under_way: traffic.under_way }
    }

    /// Counts a question for `bytes` as long as it lives.
    pub(crate) fn question(self: &Arc<Self>, bytes: u64) -> Question {
        let mut traffic = lock(&self.traffic);
        if traffic.questions == 0 {
            let now = Instant::now();
            (traffic.heard, traffic.busy_since) = (now, Some(now));
            traffic.window = (now, traffic.bytes);
        }
        traffic.questions += 1;
        traffic.under_way += bytes;
        drop(traffic);
        Question { mirror: Arc::clone(self), bytes }
    }

    fn report(&self) -> MirrorReport {
        let state = match &*lock(&self.state) {
            State::Up(_) => MirrorState::Ok,
            State::Connecting => MirrorState::Unreachable("it did not answer before the end".to_owned()),
            State::Unreachable(why) => MirrorState::Unreachable(why.clone()),
            State::Down(why) | State::Dropped(why) => MirrorState::Dropped(why.clone()),
        };
        let traffic = lock(&self.traffic);
        let busy = traffic.busy + traffic.busy_since.map_or(Duration::ZERO, |since| since.elapsed());
        MirrorReport { server: self.name.clone(), bytes: traffic.bytes, busy, state }
    }
}

impl Traffic {
    fn measure(&mut self) {
        let (since, before) = self.window;
        let elapsed = since.elapsed();
        if self.questions == 0 || elapsed < WINDOW {
            return;
        }
        let latest = (self.bytes - before) as f64 / elapsed.as_secs_f64();
        self.rate = Some(self.rate.map_or(latest, |rate| rate + LATEST * (latest - rate)));
        self.window = (Instant::now(), self.bytes);
    }
}

/// Something asked of a server.
pub(crate) struct Question {
    mirror: Arc<Mirror>,
    bytes: u64,
}

impl Drop for Question {
    fn drop(&mut self) {
        let mut traffic = lock(&self.mirror.traffic);
        traffic.measure();
        traffic.under_way -= self.bytes;
        traffic.questions -= 1;
        if traffic.questions == 0
            && let Some(since) = traffic.busy_since.take()
        {
            traffic.busy += since.elapsed();
        }
        drop(traffic);
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
