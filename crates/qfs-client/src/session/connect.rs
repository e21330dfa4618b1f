//! The first connection of a session: whom it may meet, whether whom it met is trusted, and what that server announces.

use std::sync::Arc;

use qfs_core::model::Fingerprint;
use qfs_core::observe::Observer;
use qfs_core::wire::StatusCode;
use qfs_transport::{ConnectError, Roots, RootsError, Trust};

use super::dial::connect;
use super::exchange;
use super::handle::{Session, Whom};
use super::path_note;
use super::renewal::Renewal;
use crate::config::{ConnectConfig, Vouching};
use crate::error::SessionError;
use crate::trust::{Known, TrustError, TrustStore};

impl Session {
    /// Connects, and makes sure that the server's key is trusted, before anything is asked.
    ///
    /// # Errors
    /// [`SessionError`].
    pub async fn connect(
        mut config: ConnectConfig,
        trust: Arc<dyn TrustStore>,
        observer: Arc<dyn Observer>,
    ) -> Result<Self, SessionError> {
        let path = path_note::recall(&mut config).await;
        let (wanted, known) = wanted(&config, &*trust).await?;
        let is_open = matches!(wanted, Trust::AnyKey);
        let link = connect(&config, config.transport, &wanted, config.patience)
            .await
            .map_err(|e| with_origin(e, known.is_some()))?;
        let presented = link.connection.peer_fingerprint().ok_or_else(|| SessionError::Connect {
            server: config.server.clone(),
            source: ConnectError::Handshake("the server shows no key".to_owned()),
        })?;
        if is_open {
            let peer = link.connection.remote_address().ip();
            let (store, server) = (Arc::clone(&trust), config.server.clone());
            // May ask a person: not on the thread that keeps the connection alive.
            let decision = tokio::task::spawn_blocking(move || store.approve(&server, peer, presented)).await;
            let refused = match decision {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error),
                Err(e) => Some(TrustError::Store(e.to_string())),
            };
            if let Some(error) = refused {
                link.connection.close(StatusCode::CANCELLED);
                link.flush().await;
                return Err(error.into());
            }
        }
        // Who was approved may be on record by now.
        let known = if is_open { trust.lookup(&config.server).ok().flatten() } else { known };
        let Some(known) = known.filter(|known| [Some(known.key), known.next].contains(&Some(presented))) else {
            let session =
                Self::over(link, config.clone(), observer, Whom::Told(again(wanted, presented)), Arc::default(), None);
            path_note::bring(&session, &config, path).await;
            return Ok(session);
        };
        let renewal = Renewal::new(trust, config.server.clone(), known);
        renewal.met(Some(presented), &*observer).await;
        let session =
            Self::over(link, config.clone(), observer, Whom::Known(Arc::clone(&renewal)), Arc::default(), None);
        path_note::bring(&session, &config, path).await;
        // First of all: so its answer comes no later than that of the first command.
        let asking = session.clone();
        renewal.ask(async move { exchange::announced(&asking).await });
        Ok(session)
    }
}

/// Whom the first connection may meet, and the record that says so, if one does.
async fn wanted(config: &ConnectConfig, trust: &dyn TrustStore) -> Result<(Trust, Option<Known>), SessionError> {
    if config.vouching == Vouching::Certificate {
        let loaded = tokio::task::spawn_blocking(Roots::of_this_machine).await;
        let roots = loaded.unwrap_or_else(|e| Err(RootsError::Nobody(format!(": {e}"))))?;
        return Ok((Trust::Certified { roots, pin: config.pin }, None));
    }
    if let Some(pin) = config.pin {
        return Ok((Trust::Pinned(pin), None));
    }
    let known = trust.lookup(&config.server)?;
    Ok((known.map_or(Trust::AnyKey, Known::trust), known))
}

/// Whom further connections may meet: where a key counts, that key.
fn again(first: Trust, presented: Fingerprint) -> Trust {
    match first {
        Trust::Certified { .. } => first,
        Trust::Pinned(_) | Trust::Renewing { .. } | Trust::AnyKey => Trust::Pinned(presented),
    }
}

fn with_origin(error: SessionError, from_the_store: bool) -> SessionError {
    match error {
        SessionError::WrongKey { server, expected, presented, .. } => {
            SessionError::WrongKey { server, expected, presented, from_store: from_the_store }
        }
        other => other,
    }
}
