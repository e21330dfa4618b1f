//! How often, and after which waits, a server that is too busy for one file is asked again. Pure; time is what the caller says.

use std::time::{Duration, Instant};

/// Most times that a server is busy, and nothing comes of it in between, before it is asked no more for the file.
const MOST: u32 = 5;

/// How long it is left alone; doubles.
const WAIT: Duration = Duration::from_millis(100);

/// What is known of one server and one file.
#[derive(Debug, Default)]
pub(super) struct Busy {
    times: u32,
    until: Option<Instant>,
}

impl Busy {
    /// It says that it is busy. Whether it is asked again when it has been left alone for a while. What was asked of it before it was left
    /// alone does not count by itself.
    pub(super) fn again(&mut self, now: Instant) -> bool {
        if self.is_left_alone(now) {
            return true;
        }
        if self.times == MOST {
            return false;
        }
        self.times += 1;
        self.until = Some(now + WAIT * (1 << self.times));
        true
    }

    /// Whether nothing is asked of it now.
    pub(super) fn is_left_alone(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| until > now)
    }

    /// Something came of asking it.
    pub(super) fn served(&mut self) {
        self.times = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_server_is_left_alone_for_longer_each_time_and_is_given_up_in_the_end() {
        let begun = Instant::now();
        let (mut busy, mut now) = (Busy::default(), begun);
        assert!(!busy.is_left_alone(now));
        for wait in [200, 400, 800, 1600, 3200] {
            // Others of its answers to what was asked at once.
            assert!((0..9).all(|_| busy.again(now)) && busy.is_left_alone(now));
            now += Duration::from_millis(wait);
            assert!(!busy.is_left_alone(now), "{wait}");
        }
        assert!(!busy.again(now), "given up");
        busy.served();
        assert!(busy.again(now) && busy.is_left_alone(now), "as if it had not been busy before");
    }
}
