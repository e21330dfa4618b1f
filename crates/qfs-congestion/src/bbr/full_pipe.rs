//! The two signs that the pipe is full: a rate that has stopped growing, and a round trip that rises.

use std::time::Duration;

use super::filters::Rate;

/// Growth of the delivery rate below which a round counts as without growth.
const FULL_PIPE_GROWTH: f64 = 1.25;
/// Rounds without growth after which the pipe is full.
const FULL_PIPE_ROUNDS: u8 = 3;
/// Acknowledgements over which a round trip must stay raised: one late timer proves nothing
/// (`N_RTT_SAMPLE` of RFC 9406 §4.3).
const DELAY_SAMPLES: u8 = 8;

/// Whether the delivery rate has stopped growing (§5.3.1.2).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FullPipe {
    baseline: Rate,
    rounds: u8,
    pub(super) reached: bool,
}

impl FullPipe {
    /// The pipe has been full once.
    pub(super) fn is_reached(self) -> bool {
        self.reached
    }

    /// Takes the delivery rate at the end of a round.
    pub(super) fn note_round(&mut self, rate: Rate) {
        if rate >= self.baseline.scaled(FULL_PIPE_GROWTH) {
            self.baseline = rate;
            self.rounds = 0;
        } else {
            self.rounds += 1;
            self.reached |= self.rounds >= FULL_PIPE_ROUNDS;
        }
    }
}

/// The lowest of every few round-trip samples: low unless all of them were raised.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct DelayRise {
    lowest: Option<Duration>,
    samples: u8,
}

impl DelayRise {
    /// Takes a sample; gives the lowest of the last few when there are enough.
    pub(super) fn insert(&mut self, rtt: Duration) -> Option<Duration> {
        self.lowest = Some(self.lowest.map_or(rtt, |lowest| lowest.min(rtt)));
        self.samples += 1;
        if self.samples < DELAY_SAMPLES {
            return None;
        }
        self.samples = 0;
        self.lowest.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plateau_takes_three_rounds_and_growth_starts_over() {
        let rate = |kilobytes: u64| Rate::of(kilobytes * 1000, Duration::from_secs(1)).unwrap();
        let mut pipe = FullPipe::default();
        for kilobytes in [100, 200, 240, 240, 400, 410, 420] {
            pipe.note_round(rate(kilobytes));
            assert!(!pipe.is_reached(), "at {kilobytes} kB/s");
        }
        pipe.note_round(rate(430));
        assert!(pipe.is_reached());
    }

    #[test]
    fn one_low_sample_among_few_hides_a_delay() {
        let ms = Duration::from_millis;
        let mut rise = DelayRise::default();
        let mut seen = Vec::new();
        for rtt in [90, 90, 50, 90, 90, 90, 90, 90, 90, 90, 90, 90, 90, 90, 90, 90] {
            seen.extend(rise.insert(ms(rtt)));
        }
        assert_eq!(seen, [ms(50), ms(90)]);
    }
}
