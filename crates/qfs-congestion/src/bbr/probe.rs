//! The steady state: cruise at the estimate, and every few seconds probe above it (§5.3.3) or, when
//! the minimum round trip has not been seen for a while, below it (§5.3.4).

use std::time::{Duration, Instant};

use super::cycle::UP_GAINS;
use super::delivery::Sample;
use super::{Bbr3, Phase};

/// Growth of the estimate within a round that keeps a probe going.
const UP_GROWTH: f64 = 1.1;
/// Rounds a probe lasts at least: one to send above the estimate, one to see what came of it.
const UP_ROUNDS: u32 = 2;
/// Rounds between probes at most, so that a loss-based flow has time to recover (§5.3.3.8.2).
const MAX_CRUISE_ROUNDS: u64 = 63;
/// Time at half the estimate, once in-flight has come down (`BBR.ProbeRTTDuration`).
const PROBE_RTT_TIME: Duration = Duration::from_millis(200);

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
