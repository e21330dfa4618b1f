//! Several connections to one server, each on a thread of its own.

use std::num::NonZeroUsize;
use std::sync::Arc;

use super::handle::Session;
use super::lane::Lane;
use crate::error::Failure;

/// Connections to one server, at least one. The first is driven where this was made. Each further one has a thread that drives it and does
/// what is done with it, so that the connections meet nowhere but where a batch of a striped file is written. Once this is dropped,
/// nothing runs on these threads any more. It is for whoever owns a run; what runs there has the sessions alone.
pub struct Wide {
    sessions: Arc<[Session]>,
    /// What the threads do is dropped with them.
    _lanes: Vec<Lane>,
}

impl Wide {
    /// One connection.
    pub(crate) fn one(session: Session) -> Self {
        Self { sessions: [session].into(), _lanes: Vec::new() }
    }

    /// The connections.
    #[must_use]
    pub fn sessions(&self) -> &Arc<[Session]> {
        &self.sessions
    }

    /// Ends the further connections, and their threads; the first stays.
    pub async fn close(self) {
        for session in self.sessions.iter().skip(1).cloned() {
            session.close().await;
        }
    }
}

impl Session {
    /// This session and further ones to the same server, `connections` in all, each further one on a thread of its own. They must
    /// show the key this one has.
    ///
    /// # Errors
    /// [`Failure`] when one of them cannot be made.
    pub async fn widen(&self, connections: Option<NonZeroUsize>) -> Result<Wide, Failure> {
        let (mut sessions, mut lanes) = (vec![self.clone()], Vec::new());
        for number in 1..connections.map_or(1, NonZeroUsize::get) {
            let lane = Lane::start(number).map_err(|error| Failure::Local(error.to_string()))?;
            sessions.push(self.further(lane.handle()).await?);
            lanes.push(lane);
        }
        Ok(Wide { sessions: sessions.into(), _lanes: lanes })
    }
}
