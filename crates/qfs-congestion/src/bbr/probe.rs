//! The steady state: cruise at the estimate, and every few seconds probe above it (§5.3.3) or, when
//! the minimum round trip has not been seen for a while, below it (§5.3.4).

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::{Duration, Instant};

use super::delivery::Sample;
use super::filters::Rate;
use super::{Bbr3, Phase};

/// Window gains of the phases. A probe that finds the rate growing without a queue goes on with the
/// next of its gains, so that a tenfold rise is found in about six rounds.
const DOWN_GAIN: f64 = 0.9;
const CRUISE_GAIN: f64 = 1.0;
const UP_GAINS: [f64; 3] = [1.25, 1.5, 2.0];
/// Growth of the estimate within a round that keeps a probe going.
const UP_GROWTH: f64 = 1.1;
/// Rounds a probe lasts at least: one to send above the estimate, one to see what came of it.
const UP_ROUNDS: u32 = 2;
/// Rounds between probes at most, so that a loss-based flow has time to recover (§5.3.3.8.2).
const MAX_CRUISE_ROUNDS: u64 = 63;
/// Time between probes, plus up to a second at random so that flows do not probe together.
const PROBE_WAIT: Duration = Duration::from_secs(2);
const PROBE_WAIT_SPREAD: Duration = Duration::from_secs(1);
/// Time at half the estimate, once in-flight has come down (`BBR.ProbeRTTDuration`).
const PROBE_RTT_TIME: Duration = Duration::from_millis(200);

/// What a packet was sent for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SentIn {
    /// To send more than known to be safe, and its loss is news.
    Probe,
    /// For a probe that has ended, and whose loss has been answered.
    EndedProbe,
    /// To carry data at the estimate.
    Steady,
}

/// Where the bandwidth-probing cycle stands.
#[derive(Clone, Debug)]
pub(super) struct Cycle {
    began: Instant,
    wait: Duration,
    /// Rounds since the last probe.
    rounds: u64,
    /// Index into [`UP_GAINS`].
    pace: usize,
    /// The bandwidth estimate a round ago, while probing up.
    mark: Rate,
    /// The samples of the last probe are still coming in.
    settling: bool,
    /// When the last probe began to send above the estimate.
    probe_began: Instant,
    /// When it ended.
    probe_ended: Option<Instant>,
    /// The last probe went too far, and its loss has been answered.
    judged: bool,
    /// The next probe does not wait.
    hurried: bool,
    /// When [`Phase::ProbeRtt`] may end, once in-flight is low.
    rtt_until: Option<Instant>,
    rng: u64,
}

impl Cycle {
    pub(super) fn new(now: Instant, seed: Option<u64>) -> Self {
        let seed = seed.unwrap_or_else(|| RandomState::new().build_hasher().finish());
        Self {
            began: now,
            wait: PROBE_WAIT,
            rounds: 0,
            pace: 0,
            mark: Rate::default(),
            settling: false,
            probe_began: now,
            probe_ended: None,
            judged: false,
            hurried: false,
            rtt_until: None,
            rng: seed | 1,
        }
    }

    /// Starts the clock until the next probe.
    pub(super) fn begin(&mut self, now: Instant) {
        // xorshift64: any spread will do.
        self.rng ^= self.rng << 13;
        self.rng ^= self.rng >> 7;
        self.rng ^= self.rng << 17;
        let spread = PROBE_WAIT_SPREAD.mul_f64(self.rng as f64 / u64::MAX as f64);
        self.began = now;
        self.wait = if std::mem::take(&mut self.hurried) { Duration::ZERO } else { PROBE_WAIT + spread };
        self.rounds = 0;
    }

    /// Notes that sending above the estimate ends now.
    pub(super) fn end_probe(&mut self, now: Instant) {
        self.probe_ended = Some(now);
    }

    /// Where a packet sent at `sent` belongs, seen from `phase`.
    pub(super) fn sent_in(&self, sent: Instant, phase: Phase) -> SentIn {
        let ended = self.probe_ended.is_some_and(|ended| sent <= ended);
        match phase {
            Phase::Startup => SentIn::Probe,
            Phase::ProbeUp if sent >= self.probe_began => SentIn::Probe,
            _ if ended && self.settling && !self.judged && sent >= self.probe_began => SentIn::Probe,
            _ if ended => SentIn::EndedProbe,
            _ => SentIn::Steady,
        }
    }

    /// The last probe was found to have gone too far.
    pub(super) fn judged(&mut self) {
        self.judged = true;
    }

    pub(super) fn is_judged(&self) -> bool { self.judged }
    /// Has the next probe follow at once.
    pub(super) fn hurry(&mut self) {
        self.hurried = true;
    }

    /// The gain of the window in `phase`.
    pub(super) fn gain(&self, phase: Phase) -> f64 {
        match phase {
            Phase::ProbeDown => DOWN_GAIN,
            Phase::ProbeUp => UP_GAINS[self.pace],
            _ => CRUISE_GAIN,
        }
    }
}

impl Bbr3 {
    /// Moves around the cycle DOWN, CRUISE, REFILL, UP (§5.3.3.9, `UpdateProbeBWCyclePhase`).
    pub(super) fn step_probe_bw(&mut self, now: Instant, sample: &Sample, round_start: bool) {
        if round_start {
            self.cycle.rounds += 1;
            self.settle_bandwidth(sample);
            if self.phase == Phase::ProbeCruise && self.rounds.in_phase == 1 {
                // What was acknowledged in this round was sent while our own queue was drained: the
                // queue left in the round trip is others'.
                self.standing_rtt = Some(self.srtt);
            }
        }
        match self.phase {
            Phase::ProbeUp if round_start => self.judge_probe(now),
            Phase::ProbeRefill if round_start => {
                self.cycle.pace = 0;
                self.cycle.judged = false;
                self.cycle.probe_began = now;
                self.cycle.mark = self.max_bw.get();
                self.enter(Phase::ProbeUp);
            }
            Phase::ProbeDown | Phase::ProbeCruise if self.is_time_to_probe(now) => {
                self.loss.forget_short_term();
                self.enter(Phase::ProbeRefill);
            }
            Phase::ProbeDown if self.rounds.in_phase >= 1 && self.is_drained() => {
                self.enter(Phase::ProbeCruise);
            }
            _ => {}
        }
    }

    /// Ends a probe: what it queued is drained before cruising on.
    pub(super) fn enter_probe_down(&mut self, now: Instant) {
        self.cycle.begin(now);
        self.cycle.end_probe(now);
        self.cycle.settling = true;
        self.loss.forget_latest();
        self.enter(Phase::ProbeDown);
    }

    /// Goes on probing while the rate grows, or while the volume bound keeps it from growing; faster
    /// as long as no queue does.
    fn judge_probe(&mut self, now: Instant) {
        let bandwidth = self.max_bw.get();
        let grows = bandwidth >= self.cycle.mark.scaled(UP_GROWTH);
        let bounded = self.window >= self.loss.volume_bound(Phase::ProbeUp, false);
        self.cycle.mark = bandwidth;
        if bounded {
            self.loss.raise_volume();
        }
        let queued = self.has_queued();
        if grows && !queued {
            self.cycle.pace = (self.cycle.pace + 1).min(UP_GAINS.len() - 1);
        } else if !grows && (queued || !bounded) && self.rounds.in_phase >= UP_ROUNDS {
            self.enter_probe_down(now);
        }
    }

    /// A round after a probe its last samples are in, and the filter moves on by a cycle
    /// (`AdvanceMaxBwFilter`), unless they show the application rather than the path.
    fn settle_bandwidth(&mut self, sample: &Sample) {
        if self.cycle.settling && self.phase != Phase::ProbeUp {
            self.cycle.settling = false;
            if sample.flight.is_some_and(|flight| !flight.app_limited) {
                self.max_bw.advance();
            }
        }
    }

    fn is_time_to_probe(&self, now: Instant) -> bool {
        let target = self.bdp().unwrap_or(self.window).min(self.window);
        let rounds = (target / self.mtu.max(1)).min(MAX_CRUISE_ROUNDS);
        let wait = if self.is_crowded() { self.cycle.wait / 2 } else { self.cycle.wait };
        now >= self.cycle.began + wait || self.cycle.rounds >= rounds.max(1)
    }

    fn is_drained(&self) -> bool {
        let level = self.pipe().unwrap_or(u64::MAX).min(self.loss.volume_bound(Phase::ProbeCruise, self.is_crowded()));
        self.sampler.in_flight() <= level.max(self.min_window())
    }

    /// Begins to drain the queue, whoever made it, to see the minimum round trip (§5.3.4.3).
    pub(super) fn enter_probe_rtt(&mut self) {
        if self.phase != Phase::ProbeRtt {
            self.prior_window = self.window;
            self.cycle.rtt_until = None;
            self.enter(Phase::ProbeRtt);
        }
    }

    pub(super) fn step_probe_rtt(&mut self, now: Instant) {
        // What is sent at half rate says nothing about the path's.
        self.sampler.mark_app_limited();
        match self.cycle.rtt_until {
            None if self.sampler.in_flight() <= self.window => {
                self.cycle.rtt_until = Some(now + PROBE_RTT_TIME);
                self.enter(Phase::ProbeRtt);
            }
            Some(until) if now >= until && self.rounds.in_phase >= 1 => {
                self.min_rtt.refreshed(now);
                self.window = self.window.max(self.prior_window);
                self.loss.forget_short_term();
                self.cycle.begin(now);
                let full = self.full_pipe.is_reached();
                self.enter(if full { Phase::ProbeCruise } else { Phase::Startup });
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_spread_between_two_and_three_seconds() {
        let now = Instant::now();
        let mut cycle = Cycle::new(now, Some(7));
        let waits: Vec<_> = (0..200)
            .map(|_| {
                cycle.begin(now);
                cycle.wait
            })
            .collect();
        assert!(waits.iter().all(|wait| (PROBE_WAIT..=PROBE_WAIT + PROBE_WAIT_SPREAD).contains(wait)));
        assert!(waits.iter().any(|wait| *wait < PROBE_WAIT + PROBE_WAIT_SPREAD / 4));
        assert!(waits.iter().any(|wait| *wait > PROBE_WAIT + PROBE_WAIT_SPREAD * 3 / 4));
        cycle.hurry();
        cycle.begin(now);
        assert_eq!(cycle.wait, Duration::ZERO);
    }
}
