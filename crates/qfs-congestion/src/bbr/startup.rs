//! Finding the path's rate from nothing: doubling each round (§5.3.1), then draining the queue that
//! the last doubling made (§5.3.2).

use std::time::Instant;

use super::delivery::Sample;
use super::jump::Resume;
use super::{Bbr3, Phase};

/// Rounds after which [`Phase::Drain`] ends in any case: another flow may keep the queue.
const DRAIN_ROUNDS: u32 = 3;

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
        // A jump that comes back to what the path held queues a little on purpose, for a round.
        let delayed = delayed && !matches!(self.resume, Resume::Settling { .. });
        if self.full_pipe.reached || delayed || self.resume == Resume::Settled {
            self.leave_startup(now);
        }
    }

    /// The pipe is full, by whatever sign.
    pub(super) fn leave_startup(&mut self, now: Instant) {
        self.full_pipe.reached = true;
        self.resume = Resume::None;
        self.cycle.end_probe(now);
        self.enter(Phase::Drain);
    }

    /// A window of one product stops sending until the queue is gone. The link stays busy
    /// meanwhile, and each acknowledgement completes the picture of its rate: so the phase lasts a
    /// whole round even when little was queued.
    pub(super) fn step_drain(&mut self, now: Instant, round_start: bool) {
        if round_start && self.rounds.in_phase == 1 && !self.has_queued() {
            // The delay that ended start-up was no queue of ours: look for more at once.
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
