//! Planned changes of a known server's key: asks what the server announces, keeps it on record, and follows it.
//!
//! Only for servers on record. Whoever was told a key by hand (a ticket, `--fingerprint`) meant that key.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use qfs_core::model::Fingerprint;
use qfs_core::observe::{Event, Observer};
use qfs_transport::Trust;
use tokio::task::JoinHandle;

use crate::config::ServerAddress;
use crate::error::AttemptError;
use crate::sync::lock;
use crate::trust::{Known, TrustError, TrustStore};

/// Longest wait at the end for an answer that has not come. It was asked for before anything else, so an honest server's is
/// there with the first answer that was wanted.
const ANSWER_PATIENCE: Duration = Duration::from_secs(1);

/// What a session knows of its server's key, now and after a change.
pub(crate) struct Renewal {
    store: Arc<dyn TrustStore>,
    server: ServerAddress,
    /// The record as it was last seen.
    known: Mutex<Known>,
    /// Ends when the answer was dealt with.
    asking: Mutex<Option<JoinHandle<()>>>,
}

impl Renewal {
    /// Follows the server whose record in `store` is `known`.
    pub(crate) fn new(store: Arc<dyn TrustStore>, server: ServerAddress, known: Known) -> Arc<Self> {
        Arc::new(Self { store, server, known: Mutex::new(known), asking: Mutex::default() })
    }

    /// Whom further connections may meet.
    pub(crate) fn trust(&self) -> Trust {
        lock(&self.known).trust()
    }

    /// A connection was made with a key that [`Self::trust`] allows: if it is the announced one, that is the key from now on.
    pub(crate) async fn met(&self, presented: Option<Fingerprint>, observer: &dyn Observer) {
        let old = *lock(&self.known);
        let Some(new) = presented.filter(|key| old.next == Some(*key)) else { return };
        *lock(&self.known) = Known { key: new, next: None };
        let promoted = self.on_disk(move |store, server| store.promote(server, old.key, new)).await;
        match promoted {
            Ok(true) => {
                let server = self.server.to_string();
                observer.event(Event::KeyRenewed { server: &server, old: old.key, new });
            }
            // Somebody else has done it, or changed the record meanwhile.
            Ok(false) => {}
            // What is on record goes on allowing both.
            Err(error) => {
                tracing::warn!("the server has the key {new}, as announced, and that cannot be put on record: {error}")
            }
        }
    }

    /// Waits for what the server announces, beside whatever else the session does. Nothing depends on the answer: a server that
    /// does not know the command says so, and then nothing is known.
    pub(crate) fn ask(self: &Arc<Self>, announced: impl Future<Output = Result<Known, AttemptError>> + Send + 'static) {
        let renewal = Arc::clone(self);
        let asking = tokio::spawn(async move {
            match announced.await {
                Ok(found) => renewal.keep(found).await,
                Err(error) => tracing::debug!(%error, "the server's next key is not known"),
            }
        });
        *lock(&self.asking) = Some(asking);
    }

    /// Puts on record what the holder of `found.key` announces, if that is still the server's key there.
    async fn keep(&self, found: Known) {
        if *lock(&self.known) == found {
            return;
        }
        match self.on_disk(move |store, server| store.announce(server, found)).await {
            Ok(true) => {
                let mut known = lock(&self.known);
                // Unless a reconnect has met another key since.
                if known.key == found.key {
                    *known = found;
                }
            }
            Ok(false) => tracing::debug!("the record has changed meanwhile: it stays as it is"),
            Err(error) => tracing::warn!("the server's next key cannot be put on record: {error}"),
        }
    }

    /// Waits until the answer was dealt with, but not for long.
    pub(crate) async fn settled(&self) {
        let asking = lock(&self.asking).take();
        if let Some(asking) = asking {
            // Next time is good enough.
            let _ = tokio::time::timeout(ANSWER_PATIENCE, asking).await;
        }
    }

    async fn on_disk(
        &self,
        change: impl FnOnce(&dyn TrustStore, &ServerAddress) -> Result<bool, TrustError> + Send + 'static,
    ) -> Result<bool, TrustError> {
        let (store, server) = (Arc::clone(&self.store), self.server.clone());
        let changed = tokio::task::spawn_blocking(move || change(&*store, &server)).await;
        changed.unwrap_or_else(|e| Err(TrustError::Store(e.to_string())))
    }
}
