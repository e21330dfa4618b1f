//! Whether and when an exchange is attempted again.

use std::time::Duration;

use super::handle::{Lease, Session};
use crate::error::{AttemptError, Failure};

/// Attempts in which the file turned out to have changed, or the server was busy, before that is reported.
const MAX_TRANSIENT: u32 = 5;

/// Wait before asking again what was refused for the moment; doubles.
const TRANSIENT_WAIT: Duration = Duration::from_millis(100);

/// Repeated attempts at one exchange: at once on a new connection, after a wait when the server asks for one.
pub(crate) struct Tries {
    session: Session,
    /// The connection for the next attempt.
    pub(crate) lease: Lease,
    transient: u32,
}

impl Tries {
    pub(crate) fn new(session: &Session) -> Self {
        Self { session: session.clone(), lease: session.lease(), transient: 0 }
    }

    /// Gets ready for a further attempt, or gives up.
    ///
    /// # Errors
    /// What is reported when `error` is final.
    pub(crate) async fn after(&mut self, error: AttemptError) -> Result<(), Failure> {
        if let AttemptError::Lost(lost) = &error {
            self.lease = self.session.renew(&self.lease, lost).await?;
            return Ok(());
        }
        self.transient += 1;
        if !error.is_retryable() || self.transient > MAX_TRANSIENT {
            return Err(error.into_failure());
        }
        tokio::time::sleep(TRANSIENT_WAIT * (1 << self.transient)).await;
        self.lease = self.session.lease();
        Ok(())
    }
}
