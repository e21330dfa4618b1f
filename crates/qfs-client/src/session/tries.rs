//! Whether and when an exchange is attempted again.

use std::time::Duration;

use qfs_core::wire::StatusCode;

use super::handle::{Lease, Session};
use crate::error::{AttemptError, Failure};

/// Further attempts when the server is busy, before that is reported.
const MAX_TRANSIENT: u32 = 5;

/// Further attempts when the file turned out to have changed. Each fetches all of it, and one that is being written to has changed
/// every time.
const MAX_CHANGED: u32 = 1;

/// Wait before asking again what was refused for the moment; doubles.
const TRANSIENT_WAIT: Duration = Duration::from_millis(100);

/// Repeated attempts at one exchange: at once on a new connection, after a wait when the server asks for one, and after a wait on a new
/// connection when it shuts down.
pub(crate) struct Tries {
    session: Session,
    /// The connection for the next attempt.
    pub(crate) lease: Lease,
    transient: u32,
    changed: u32,
    /// How often the server was shutting down.
    refused: u32,
}

impl Tries {
    pub(crate) fn new(session: &Session) -> Self {
        Self { session: session.clone(), lease: session.lease(), transient: 0, changed: 0, refused: 0 }
    }

    /// Gets ready for a further attempt, or gives up.
    ///
    /// # Errors
    /// What is reported when `error` is final.
    pub(crate) async fn after(&mut self, error: AttemptError) -> Result<(), Failure> {
        if let Some(lost) = error.lost() {
            if matches!(error, AttemptError::Remote(_)) {
                // Whoever answers next may be shutting down too.
                tokio::time::sleep(TRANSIENT_WAIT * (1 << self.refused.min(MAX_TRANSIENT))).await;
                self.refused += 1;
            }
            // What else is under way on the one before goes on there.
            self.lease = self.session.renew(&self.lease, &lost).await?;
            return Ok(());
        }
        let is_changed = matches!(&error, AttemptError::Remote(error) if error.code == StatusCode::CHANGED);
        let (count, most) = match is_changed {
            true => (&mut self.changed, MAX_CHANGED),
            false => (&mut self.transient, MAX_TRANSIENT),
        };
        *count += 1;
        if !error.is_retryable() || *count > most {
            return Err(error.into_failure());
        }
        tokio::time::sleep(TRANSIENT_WAIT * (1 << *count)).await;
        self.lease = self.session.lease();
        Ok(())
    }
}
