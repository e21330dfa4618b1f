//! What may pass at a speed: a bucket that fills with time. Pure, with the time given to it.

use std::num::NonZeroU64;
use std::time::Duration;

use tokio::time::Instant;

/// What is saved up while nothing passes, as a part of a second's worth. It makes up for timers that are late, and is the largest
/// burst.
const SAVED: f64 = 0.2;

/// Bytes that may pass now, and more with time. Whoever passes may leave it in debt, which those who follow wait out.
#[derive(Debug)]
pub(super) struct Bucket {
    /// Bytes a second.
    speed: f64,
    level: f64,
    at: Instant,
}

impl Bucket {
    pub(super) fn new(speed: NonZeroU64, now: Instant) -> Self {
        // Exact up to 2^53 bytes a second.
        let speed = speed.get() as f64;
        Self { speed, level: speed * SAVED, at: now }
    }

    /// Goes on at another speed. Neither what was saved nor the debt is more than a second's worth of it.
    pub(super) fn set_speed(&mut self, speed: NonZeroU64, now: Instant) {
        self.fill(now);
        self.speed = speed.get() as f64;
        self.level = self.level.clamp(-self.speed, self.speed * SAVED);
    }

    /// How long to wait until something may pass; none when it may now.
    pub(super) fn wait(&mut self, now: Instant) -> Duration {
        self.fill(now);
        if self.level >= 1.0 { Duration::ZERO } else { Duration::from_secs_f64((1.0 - self.level) / self.speed) }
    }

    /// Counts `bytes` as passed.
    pub(super) fn pass(&mut self, bytes: usize) {
        self.level -= bytes as f64;
    }

    fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.level = (self.level + passed * self.speed).min(self.speed * SAVED);
        self.at = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEED: u64 = 1 << 20;

    /// Bytes that pass in pieces within `seconds`, with a timer that is `late`.
    fn passed(bucket: &mut Bucket, start: Instant, seconds: u64, piece: usize, late: Duration) -> u64 {
        let (mut now, mut bytes) = (start, 0);
        loop {
            let wait = bucket.wait(now);
            if wait > Duration::ZERO {
                now += wait + late;
            } else {
                bucket.pass(piece);
                bytes += piece as u64;
            }
            if now >= start + Duration::from_secs(seconds) {
                return bytes;
            }
        }
    }

    /// Fails when: what is saved up is too much, or late timers are not made up for.
    #[test]
    fn ten_seconds_are_right_within_five_percent() {
        for late in [0, 1, 20, 100] {
            let start = Instant::now();
            let mut bucket = Bucket::new(NonZeroU64::new(SPEED).unwrap(), start);
            let bytes = passed(&mut bucket, start, 10, 10 << 10, Duration::from_millis(late));
            let share = bytes as f64 / (10 * SPEED) as f64;
            assert!((0.97..1.04).contains(&share), "{late} ms late: {share}");
        }
    }

    #[test]
    fn no_burst_after_a_rest_is_beyond_a_seconds_worth() {
        let start = Instant::now();
        let mut bucket = Bucket::new(NonZeroU64::new(SPEED).unwrap(), start);
        let (rested, mut bytes) = (start + Duration::from_secs(3600), 0);
        while bucket.wait(rested) == Duration::ZERO {
            bucket.pass(1000);
            bytes += 1000;
        }
        assert!(bytes <= SPEED / 4, "{bytes}");
    }

    #[test]
    fn another_speed_leaves_no_debt_that_takes_longer_than_a_second() {
        let start = Instant::now();
        let mut bucket = Bucket::new(NonZeroU64::new(100 * SPEED).unwrap(), start);
        bucket.pass(200 << 20);
        bucket.set_speed(NonZeroU64::new(SPEED).unwrap(), start);
        assert!(bucket.wait(start) <= Duration::from_millis(1001));
    }
}
