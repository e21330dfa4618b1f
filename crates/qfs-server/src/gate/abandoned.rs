//! Clients that give up what they asked for: how much of it is fair. Knows no door.

use tokio::time::Instant;

use crate::config::Limits;

/// A token bucket for streams that the client gave up.
#[derive(Debug)]
pub(crate) struct Abandoned {
    tokens: f64,
    most: f64,
    refilled: Instant,
}

impl Abandoned {
    /// Tokens a second.
    const REFILL: f64 = 200.0;

    pub(crate) fn new(limits: &Limits, now: Instant) -> Self {
        let most = f64::from(limits.abandoned_streams);
        Self { tokens: most, most, refilled: now }
    }

    /// Takes a token; false when there is none.
    pub(crate) fn note(&mut self, now: Instant) -> bool {
        let refill = now.duration_since(self.refilled).as_secs_f64() * Self::REFILL;
        self.refilled = now;
        self.tokens = (self.tokens + refill).min(self.most) - 1.0;
        self.tokens >= 0.0
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn abandoning_is_free_up_to_a_point() {
        let start = Instant::now();
        let limits = Limits { abandoned_streams: 10, ..Limits::default() };
        let mut abandoned = Abandoned::new(&limits, start);
        assert!((0..10).all(|_| abandoned.note(start)));
        assert!(!abandoned.note(start));
        let later = start + Duration::from_secs(1);
        assert!((0..10).all(|_| abandoned.note(later)));
        assert!(!abandoned.note(later));
    }
}
