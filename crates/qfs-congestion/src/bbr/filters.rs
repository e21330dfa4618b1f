//! Rates, and the windowed filters that turn noisy samples into a model of the path.

use std::time::{Duration, Instant};

/// A data rate in bytes per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rate(u64);

impl Rate {
    /// The mean rate of `bytes` over `time`; `None` when no time passed.
    pub(super) fn of(bytes: u64, time: Duration) -> Option<Self> {
        let nanos = time.as_nanos();
        let rate = (u128::from(bytes) * 1_000_000_000).checked_div(nanos)?;
        Some(Self(u64::try_from(rate).unwrap_or(u64::MAX)))
    }

    pub(super) fn bytes_per_second(self) -> u64 {
        self.0
    }

    /// What flows in `time` at this rate, in bytes.
    pub(super) fn over(self, time: Duration) -> u64 {
        let bytes = u128::from(self.0) * time.as_nanos() / 1_000_000_000;
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }

    pub(super) fn scaled(self, gain: f64) -> Self {
        Self(scale(self.0, gain))
    }
}

/// `bytes` times `gain`, saturating.
pub(super) fn scale(bytes: u64, gain: f64) -> u64 {
    (bytes as f64 * gain) as u64
}

/// The highest delivery rate of this bandwidth-probing cycle and the one before
/// (draft-ietf-ccwg-bbr §5.5.3 to §5.5.6, `BBR.max_bw_filter`).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct MaxBandwidth {
    previous: Rate,
    current: Rate,
}

impl MaxBandwidth {
    pub(super) fn get(self) -> Rate {
        self.previous.max(self.current)
    }

    pub(super) fn insert(&mut self, sample: Rate) {
        self.current = self.current.max(sample);
    }

    /// Begins a cycle and forgets what was measured two cycles ago.
    pub(super) fn advance(&mut self) {
        // A cycle without a single sample (nothing was sent) says nothing about the path.
        if self.current > Rate::default() {
            self.previous = std::mem::take(&mut self.current);
        }
    }
}

/// How long a minimum stays believed without being seen again (`BBR.MinRTTFilterLen`).
const MIN_RTT_WINDOW: Duration = Duration::from_secs(10);
/// How long until the queue must be drained on purpose to see the minimum again
/// (`BBR.ProbeRTTInterval`).
const RECENT_RTT_WINDOW: Duration = Duration::from_secs(5);
/// A sample this close above the recent minimum (one part in 32) counts as having seen it again:
/// clocks and timers never repeat a minimum to the microsecond. Only the time stamp is renewed, so
/// the estimate cannot creep upwards.
const RTT_TOLERANCE: u32 = 32;

/// Minimum round trips on two time scales (draft §5.3.4.3, `UpdateMinRTT`).
///
/// The long one estimates the propagation delay. The recent one tells when it was last seen, and
/// takes its place when that is too long ago.
#[derive(Clone, Copy, Debug)]
pub(super) struct MinRtt {
    long: Option<Timed>,
    recent: Option<Timed>,
}

#[derive(Clone, Copy, Debug)]
struct Timed {
    rtt: Duration,
    at: Instant,
}

impl MinRtt {
    pub(super) fn new() -> Self {
        Self { long: None, recent: None }
    }

    /// The path's round-trip propagation delay, as far as known.
    pub(super) fn get(&self) -> Option<Duration> {
        self.long.map(|min| min.rtt)
    }

    /// Takes a sample; true when the recent minimum had expired, so that the caller should drain
    /// the queue to measure it anew.
    pub(super) fn insert(&mut self, now: Instant, rtt: Duration) -> bool {
        let sample = Timed { rtt, at: now };
        let expired = self.recent.is_some_and(|min| now > min.at + RECENT_RTT_WINDOW);
        match &mut self.recent {
            Some(min) if rtt >= min.rtt && !expired => {
                if rtt <= min.rtt + min.rtt / RTT_TOLERANCE {
                    min.at = now;
                }
            }
            recent => *recent = Some(sample),
        }
        let recent = self.recent.unwrap_or(sample);
        let stale = self.long.is_none_or(|min| now > min.at + MIN_RTT_WINDOW);
        if stale || self.long.is_some_and(|min| recent.rtt < min.rtt) {
            self.long = Some(recent);
        }
        expired
    }

    /// Notes that the queue was just drained on purpose, so that the next time is a whole interval away.
    pub(super) fn refreshed(&mut self, now: Instant) {
        if let Some(min) = &mut self.recent {
            min.at = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn rate_is_bytes_per_second_and_inverts() {
        let rate = Rate::of(125_000, 10 * MS).unwrap();
        assert_eq!(rate.bytes_per_second(), 12_500_000);
        assert_eq!(rate.over(10 * MS), 125_000);
        assert_eq!(Rate::of(1, Duration::ZERO), None);
    }

    #[test]
    fn bandwidth_is_remembered_for_two_cycles() {
        let mut filter = MaxBandwidth::default();
        filter.insert(Rate(100));
        filter.advance();
        filter.insert(Rate(40));
        assert_eq!(filter.get(), Rate(100));
        filter.advance();
        assert_eq!(filter.get(), Rate(40));
        filter.advance();
        assert_eq!(filter.get(), Rate(40), "a cycle without samples must not forget");
    }

    #[test]
    fn min_rtt_expires_to_the_recent_minimum() {
        let start = Instant::now();
        let mut filter = MinRtt::new();
        filter.insert(start, 50 * MS);
        let mut expiries = 0;
        for second in 1..=12 {
            expiries += u32::from(filter.insert(start + second * 1000 * MS, 80 * MS));
            if second < 10 {
                assert_eq!(filter.get(), Some(50 * MS), "after {second} s");
            }
        }
        assert_eq!(filter.get(), Some(80 * MS));
        assert_eq!(expiries, 1, "80 ms, seen again and again, is fresh");
    }

    #[test]
    fn nearly_the_minimum_renews_it_without_raising_it() {
        let start = Instant::now();
        let mut filter = MinRtt::new();
        filter.insert(start, 100 * MS);
        for second in 1..=30 {
            assert!(!filter.insert(start + second * 1000 * MS, 102 * MS));
        }
        assert_eq!(filter.get(), Some(100 * MS));
    }
}
