//! Start-up: the controller finds the path's rate by doubling each round (§5.3.1), and then drains the queue that the
//! last doubling made (§5.3.2).

use std::time::{Duration, Instant};

use super::delivery::Sample;
use super::filters::Rate;
use super::{Bbr3, Phase};

/// Growth of the delivery rate below which a round counts as without growth.
const FULL_PIPE_GROWTH: f64 = 1.25;
/// Rounds without growth after which the pipe is full.
const FULL_PIPE_ROUNDS: u8 = 3;
/// Rounds after which [`Phase::Drain`] ends in any case: another flow may keep the queue.
const DRAIN_ROUNDS: u32 = 3;
/// Acknowledgements over which a round trip must stay raised: one late timer proves nothing
/// (`N_RTT_SAMPLE` of RFC 9406 §4.3).
const DELAY_SAMPLES: u8 = 8;

/// Whether the delivery rate has stopped growing (§5.3.1.2).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FullPipe {
    baseline: Rate,
    rounds: u8,
    reached: bool,
}

impl FullPipe {
    /// Whether the pipe has been full once.
    pub(super) fn is_reached(self) -> bool {
        self.reached
    }

    /// Takes the delivery rate at the end of a round.
    fn note_round(&mut self, rate: Rate) {
        if rate >= self.baseline.scaled(FULL_PIPE_GROWTH) {
            self.baseline = rate;
            self.rounds = 0;
        } else {
            self.rounds += 1;
            self.reached |= self.rounds >= FULL_PIPE_ROUNDS;
        }
    }
}

/// The lowest of every few round-trip samples. It is raised only if all of them were.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct DelayRise {
    lowest: Option<Duration>,
    samples: u8,
}

impl DelayRise {
    /// Takes a sample; gives the lowest of the last few when there are enough.
    fn insert(&mut self, rtt: Duration) -> Option<Duration> {
        self.lowest = Some(self.lowest.map_or(rtt, |lowest| lowest.min(rtt)));
        self.samples += 1;
        if self.samples < DELAY_SAMPLES {
            return None;
        }
        self.samples = 0;
        self.lowest.take()
    }
}

impl Bbr3 {
    pub(super) fn step_startup(&mut self, now: Instant, sample: &Sample, round_start: bool) {
        if round_start
            && let Some(flight) = sample.flight.filter(|flight| !flight.app_limited)
            && let Some(rate) = flight.rate
        {
            self.full_pipe.note_round(rate);
        }
        let delayed = sample
            .rtt
            .and_then(|rtt| self.delay_rise.insert(rtt))
            .is_some_and(|rtt| self.min_rtt.get().is_some_and(|base| Self::is_queueing(base, rtt)));
        if self.full_pipe.reached || delayed {
            self.leave_startup(now);
        }
    }

    /// Leaves start-up, because some sign says that the pipe is full.
    pub(super) fn leave_startup(&mut self, now: Instant) {
        self.full_pipe.reached = true;
        self.cycle.end_probe(now);
        self.enter(Phase::Drain);
    }

    /// A window of one product stops sending until the queue is gone. The link stays busy meanwhile, and each
    /// acknowledgement improves the estimate of its rate. The phase therefore lasts a whole round even if little was
    /// queued.
    pub(super) fn step_drain(&mut self, now: Instant, round_start: bool) {
        if round_start && self.rounds.in_phase == 1 && !self.has_queued() {
            // The delay that ended start-up was not our own queue, so look for more bandwidth at once.
            self.cycle.hurry();
        }
        let level = self.bdp().map_or(u64::MAX, |bdp| bdp + self.burst_budget());
        let drained = self.rounds.in_phase >= 1 && self.sampler.in_flight() <= level;
        if drained || self.rounds.in_phase > DRAIN_ROUNDS {
            self.cycle.begin(now);
            self.enter(Phase::ProbeCruise);
        }
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
