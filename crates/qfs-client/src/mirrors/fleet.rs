//! The servers of one set: which of them there are, and which is asked first.
//!
//! Knows connections and clocks, nothing of files; one server by itself is a [`Mirror`].

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use qfs_core::observe::Observer;
use tokio::sync::{Notify, mpsc};

use super::mirror::Mirror;
use super::report::MirrorReport;
use super::unproved::Unproved;
use crate::config::ConnectConfig;
use crate::error::{FailureClass, SessionError};
use crate::session::Session;
use crate::sync::lock;
use crate::trust::TrustStore;

/// How long the servers named first are waited for when another one is there already: the first that has a file decides about it.
pub const DEFAULT_GRACE: Duration = Duration::from_secs(1);

/// How long the others are waited for where one is there already: then it is known of most whether they are trusted.
const OTHERS: Duration = Duration::from_millis(250);

/// How often it is looked whether a run may begin.
const LOOK: Duration = Duration::from_millis(25);

/// The servers, in the order in which they were named.
pub struct Fleet {
    mirrors: Vec<Arc<Mirror>>,
    observer: Arc<dyn Observer>,
    /// Rings whenever a server can be asked again, or has room for more.
    changed: Arc<Notify>,
    unproved: Arc<Unproved>,
    /// Why one is not trusted that answered late.
    distrusted: Mutex<Option<SessionError>>,
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
        let (observer, unproved) = (Arc::clone(&observer), Unproved::new(Arc::clone(&changed)));
        let fleet = Arc::new(Self { mirrors, observer, changed, unproved, distrusted: Mutex::default() });
        let (ended, mut ends) = mpsc::channel(servers.len().max(1));
        for (mirror, config) in fleet.mirrors.iter().cloned().zip(servers) {
            let (trust, ended) = (Arc::clone(&trust), ended.clone());
            let observer = mirror.observer();
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
        let is_settled = |mirror: &&Arc<Mirror>| !mirror.is_connecting();
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
            let (rate, under_way) = mirror.load();
            let owed = (under_way + bytes + 1) as f64;
            // One that has not been measured is tried first of all, where it owes nothing.
            rate.map_or(owed / 1e12, |rate| owed / rate.max(1.0))
        };
        able.min_by(|a, b| wait(a).total_cmp(&wait(b))).map(|(mirror, session)| (Arc::clone(mirror), session))
    }

    /// What came from all of them and is not proved and written yet.
    pub(crate) fn unproved(&self) -> &Arc<Unproved> {
        &self.unproved
    }

    /// Whether another one than that with the number `number` could be asked now, and is asked for no content.
    pub(crate) fn is_another_idle(&self, number: usize) -> bool {
        self.usable().any(|(mirror, _)| mirror.number != number && mirror.is_idle() && !mirror.is_silent())
    }

    /// Waits until a server can be asked again, or has room.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Tells of those that have not been reached by now; they may still be.
    pub fn note_unreached(&self) {
        for mirror in &self.mirrors {
            if mirror.is_connecting() {
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
