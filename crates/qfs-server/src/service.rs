//! What every door shares: the published files, who may see them, and how much may go on at once.
//!
//! Knows no door and no network. A door gets the files through [`Service::view`] and in no other way.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use qfs_core::body::Budget;
use qfs_core::model::Fingerprint;
use qfs_core::store::{DigestCache, Store, Versions, WriteStore};
use tokio::sync::{Semaphore, watch};
use tracing::{debug, error, info, warn};

use crate::config::{Deadlines, Limits, ServerConfig};
use crate::controls::Controls;
use crate::deliveries::Deliveries;
use crate::digest_file::DigestFile;
use crate::gate::access::{Access, Gate};
use crate::gate::admission::{Admission, address_key};
use crate::gate::audit::{self, Refusals};
use crate::identity::Announcer;
use crate::maps::Maps;
use crate::metrics::Metrics;
use crate::pace::{Lane, Pace};
use crate::room::Room;
use crate::view::View;

/// How often digests learnt are written to their file.
const SAVE_INTERVAL: Duration = Duration::from_secs(60);

/// Archives of directories that are sent at once, each of which has a thread that mostly waits.
#[cfg(feature = "http")]
const ARCHIVES: usize = 64;

/// Pages far back in a directory that are made at once, each of which holds up to 250,000 rows of some 200 bytes.
#[cfg(feature = "http")]
const DEEP_PAGES: usize = 2;

/// What all doors of a server share, and every connection that comes through them.
pub(crate) struct Service<S> {
    /// Seen through a [`View`] only.
    versions: Arc<Versions<S>>,
    digest_file: Option<DigestFile>,
    pub(crate) deliveries: Option<Deliveries>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) admission: Arc<Admission>,
    pub(crate) limits: Limits,
    deadlines: Arc<RwLock<Deadlines>>,
    pub(crate) budget: Arc<Budget>,
    /// How fast bytes go.
    pub(crate) pace: Arc<Pace>,
    /// For uploads.
    pub(crate) room: Room,
    /// Those that come in several requests.
    #[cfg(feature = "http")]
    pub(crate) uploads: Arc<crate::uploads::Uploads>,
    pub(crate) commands: Semaphore,
    /// For requests longer than most while they arrive.
    pub(crate) long_requests: Semaphore,
    pub(crate) listings: Arc<Semaphore>,
    /// For walks that wait for no client, as those for pages; as many as listings, which do.
    #[cfg(feature = "http")]
    pub(crate) looks: Arc<Semaphore>,
    /// For archives of directories, which take as long as their clients.
    #[cfg(feature = "http")]
    pub(crate) archives: Arc<Semaphore>,
    /// For pages far back in a directory, for which many rows are held outside the budget.
    #[cfg(feature = "http")]
    pub(crate) deep_pages: Arc<Semaphore>,
    /// For digests of files that were not streamed.
    pub(crate) digest_passes: Arc<Semaphore>,
    /// For digests of files that were just streamed: little is missing of them.
    pub(crate) digest_tails: Arc<Semaphore>,
    /// What published files consist of.
    pub(crate) maps: Maps,
    /// For steps over small files.
    pub(crate) batch_steps: Arc<Semaphore>,
    /// Connections that speak HTTP/3: what QUIC holds for them is outside the budget, and bounded by their number.
    #[cfg(feature = "http")]
    pub(crate) h3_connections: std::sync::atomic::AtomicUsize,
    /// Which key clients are told of.
    pub(crate) announcer: Announcer,
    /// Numbers for whoever runs the server.
    pub(crate) metrics: Metrics,
    /// Who was turned away, and why.
    pub(crate) refusals: Refusals,
    /// True once the server ends.
    pub(crate) drain: watch::Sender<bool>,
}

impl<S: Store> Service<S> {
    /// What `config` allows, over the files of `store`, for a server known by `key`.
    pub(crate) fn new(config: ServerConfig, key: Fingerprint, store: S) -> Self {
        let limits = config.limits;
        let metrics = Metrics::default();
        #[cfg(feature = "metrics")]
        let threads = crate::metrics::timed_threads(&metrics);
        #[cfg(not(feature = "metrics"))]
        let threads = qfs_store::blocking_threads();
        Self {
            versions: Arc::new(Versions::new(store, Arc::new(DigestCache::default()), threads)),
            digest_file: config.digest_file,
            deliveries: config.deliveries,
            gate: Arc::new(config.gate),
            admission: Arc::new(Admission::new(limits)),
            limits,
            deadlines: Arc::new(RwLock::new(config.deadlines)),
            budget: Budget::new(limits.buffer_bytes),
            pace: Pace::new(config.pacing),
            room: Room::new(limits.keep_free, limits.max_upload),
            #[cfg(feature = "http")]
            uploads: Arc::default(),
            commands: Semaphore::new(limits.commands),
            long_requests: Semaphore::new(limits.long_requests),
            listings: Arc::new(Semaphore::new(limits.listings)),
            #[cfg(feature = "http")]
            looks: Arc::new(Semaphore::new(limits.listings)),
            #[cfg(feature = "http")]
            archives: Arc::new(Semaphore::new(ARCHIVES)),
            #[cfg(feature = "http")]
            deep_pages: Arc::new(Semaphore::new(DEEP_PAGES)),
            digest_passes: Arc::new(Semaphore::new(limits.digest_passes)),
            digest_tails: Arc::new(Semaphore::new(limits.digest_passes)),
            maps: Maps::new(limits.map_bytes, limits.map_passes, config.deadlines.queue),
            batch_steps: Arc::new(Semaphore::new(limits.batch_steps)),
            #[cfg(feature = "http")]
            h3_connections: std::sync::atomic::AtomicUsize::new(0),
            announcer: Announcer { current: key, directory: config.renewal },
            metrics,
            refusals: Refusals::default(),
            drain: watch::Sender::new(false),
        }
    }

    /// The published files, as far as `access` reaches.
    pub(crate) fn view(&self, access: Access) -> View<S> {
        View::new(&self.versions, access)
    }
}

impl<S> Service<S> {
    /// The lane of a new connection with `peer`.
    pub(crate) fn lane(&self, peer: SocketAddr) -> Lane {
        self.pace.lane(address_key(peer.ip()))
    }

    /// How long each step may take, as of now.
    pub(crate) fn deadlines(&self) -> Deadlines {
        *self.deadlines.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// What may be changed while the server runs.
    pub(crate) fn controls(&self) -> Controls {
        Controls {
            pace: Arc::clone(&self.pace),
            gate: Arc::clone(&self.gate),
            room: self.room.clone(),
            admission: Arc::clone(&self.admission),
            deadlines: Arc::clone(&self.deadlines),
        }
    }

    pub(crate) fn is_draining(&self) -> bool {
        *self.drain.borrow()
    }

    /// How near its limits the server is.
    #[cfg(feature = "metrics")]
    pub(crate) fn levels(&self) -> crate::metrics::Levels {
        let Limits { commands, listings, digest_passes, buffer_bytes, batch_steps, .. } = self.limits;
        let used = |most: usize, free: usize| most.saturating_sub(free);
        let (map_bytes, most_map_bytes) = self.maps.level();
        let limits = vec![
            ("connections", self.admission.count(), self.admission.most()),
            ("buffer_bytes", used(buffer_bytes, self.budget.free_bytes()), buffer_bytes),
            ("map_bytes", map_bytes, most_map_bytes),
            ("commands", used(commands, self.commands.available_permits()), commands),
            ("listings", used(listings, self.listings.available_permits()), listings),
            ("digest_passes", used(digest_passes, self.digest_passes.available_permits()), digest_passes),
            ("batch_steps", used(batch_steps, self.batch_steps.available_permits()), batch_steps),
        ];
        crate::metrics::Levels { limits, is_draining: self.is_draining() }
    }
}

/// How often the root is searched for uploads that nobody has continued. A search reads every directory once.
const ABANDONED_INTERVAL: Duration = Duration::from_secs(6 * 3600);

impl<S: WriteStore> Service<S> {
    /// What goes on for as long as the server runs: digests are written down, the token file and the refusals are looked at, and what
    /// nobody will continue is removed.
    pub(crate) async fn keep_house(&self) -> Infallible {
        tokio::select! {
            never = self.save_digests_for_ever() => never,
            never = self.gate.follow() => never,
            never = self.tell_refusals_for_ever() => never,
            never = self.sweep_uploads_for_ever() => never,
            never = self.remove_abandoned_for_ever() => never,
        }
    }

    async fn remove_abandoned_for_ever(&self) -> Infallible {
        if !self.gate.is_writable() {
            return std::future::pending().await;
        }
        loop {
            let (versions, age) = (Arc::clone(&self.versions), self.deadlines().partial_age);
            match qfs_store::blocking(move || versions.store().remove_abandoned(age)).await {
                Ok(0) => {}
                Ok(removed) => info!(removed, "uploads that nobody has continued were removed"),
                Err(error) => debug!(%error, "could not look for uploads that nobody has continued"),
            }
            tokio::time::sleep(ABANDONED_INTERVAL).await;
        }
    }
}

impl<S: Store> Service<S> {
    async fn sweep_uploads_for_ever(&self) -> Infallible {
        #[cfg(feature = "http")]
        match self.uploads.sweep_for_ever().await {}
        #[cfg(not(feature = "http"))]
        std::future::pending().await
    }

    /// Reads the digests that an earlier run has written down.
    pub(crate) async fn load_digests(&self) {
        let Some(file) = self.digest_file.clone() else { return };
        let digests = Arc::clone(self.versions.digests());
        on_blocking_thread("read", move || file.load(&digests)).await;
    }

    async fn save_digests_for_ever(&self) -> Infallible {
        loop {
            tokio::time::sleep(SAVE_INTERVAL).await;
            self.save_digests().await;
        }
    }

    async fn tell_refusals_for_ever(&self) -> Infallible {
        loop {
            tokio::time::sleep(audit::INTERVAL).await;
            self.refusals.tell();
        }
    }

    /// Writes down the digests that were learnt.
    pub(crate) async fn save_digests(&self) {
        let Some(file) = self.digest_file.clone() else { return };
        let digests = Arc::clone(self.versions.digests());
        if digests.is_unsaved() {
            on_blocking_thread("written", move || file.save(&digests)).await;
        }
    }
}

/// Runs `work` on the digest file; what fails costs another pass over some files and nothing else.
async fn on_blocking_thread(what: &str, work: impl FnOnce() -> std::io::Result<()> + Send + 'static) {
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => warn!("remembered digests cannot be {what}: {error}"),
        Err(error) => error!("the task for remembered digests failed: {error}"),
    }
}
