//! What the controller does about loss: it ends a probe that went too far, and gives way to congestion that is not its own.

use std::time::Instant;

use super::cycle::SentIn;
use super::filters::scale;
use super::jump::Resume;
use super::loss::{FIRST_RAISE, LossModel};
use super::{Bbr3, Phase};

/// Loss within a round on top of the ambient that is still no sign of congestion
/// (`BBR.LossThresh`).
const LOSS_THRESHOLD: f64 = 0.02;
/// The same during start-up, when the ambient loss is not known yet.
const STARTUP_LOSS_THRESHOLD: f64 = 0.1;
/// The same where others crowd the queue: what they overflow is lost by everyone.
const CROWDED_LOSS_THRESHOLD: f64 = 0.05;
/// Most that one round of congestion takes away (`BBR.Beta`).
const BETA: f64 = 0.7;
/// Share of what is being delivered that a failed probe leaves where a crowd does not respond to loss. More gives the crowd a
/// fairer neighbour, and four flows of ours on a short queue one that drops more.
const DEAF_BETA: f64 = 0.8;

impl Bbr3 {
    /// Takes a loss (or, with no bytes lost, an explicit mark).
    pub(super) fn congestion(&mut self, now: Instant, sent: Instant, is_persistent: bool, lost_bytes: u64) {
        let loss = self.sampler.on_lost(sent, lost_bytes);
        if is_persistent {
            // Nothing came through for several time-outs: start over from a few packets, while the
            // model keeps what it knows (§5.6.4.4, RFC 9002 §7.6.2).
            self.window = self.min_window();
            self.resume = Resume::None;
            return;
        }
        let sent_in = self.cycle.sent_in(sent, self.phase);
        // What is lost of an ended probe says how far it went, and nothing about what is sent now.
        if sent_in != SentIn::EndedProbe {
            self.loss.round_lost += lost_bytes;
            self.loss.round_marked |= lost_bytes == 0;
        }
        let probed = sent_in != SentIn::Steady;
        if !probed || loss.app_limited {
            return;
        }
        let tolerated = match self.phase {
            Phase::Startup => STARTUP_LOSS_THRESHOLD,
            _ => self.loss.background() + LOSS_THRESHOLD,
        };
        let too_high = LossModel::exceeds(tolerated, loss.lost, loss.tx_in_flight, self.mtu);
        if too_high || lost_bytes == 0 {
            self.probe_went_too_far(now, loss.tx_in_flight.saturating_sub(loss.lost));
        }
    }

    /// Remembers the volume the path can hold, which is about what was not lost of a flight, and
    /// stops probing (`HandleInflightTooHigh`).
    ///
    /// Beside a flow that does not respond to loss the queue overflows with every probe, however small, and hits whoever sends
    /// in larger bursts hardest: quinn sends ten packets at once, kernels two or three. A bound that followed the window would
    /// then sink from probe to probe, towards nothing. It stops at a share of what is being delivered.
    fn probe_went_too_far(&mut self, now: Instant, held: u64) {
        let target = self.bdp().unwrap_or(self.window).min(self.window);
        self.loss.raise = FIRST_RAISE;
        if self.phase == Phase::Startup {
            self.loss.long_term_volume = Some(held.max(target));
            self.leave_startup(now);
        } else {
            let deaf = self.is_crowded() && self.loss.is_deaf_crowd();
            let floor = self.pipe().filter(|_| deaf).map_or(scale(target, BETA), |pipe| scale(pipe, DEAF_BETA));
            self.loss.long_term_volume = Some(held.max(floor));
            if self.phase == Phase::ProbeUp {
                self.enter_probe_down(now);
            }
            self.cycle.judged();
        }
        self.update_window(0);
    }

    /// Once a round: learns the ambient loss, and gives way to congestion that is not our own
    /// probing (`AdaptLowerBoundsFromCongestion`).
    pub(super) fn end_loss_round(&mut self) {
        let crowded = self.is_crowded();
        let model = &mut self.loss;
        let (acked, lost) = (std::mem::take(&mut model.round_acked), std::mem::take(&mut model.round_lost));
        let marked = std::mem::take(&mut model.round_marked);
        let (rate, volume) = (model.latest_rate, model.latest_volume);
        model.forget_latest();
        let sent = acked + lost;
        if sent == 0 {
            return;
        }
        let tolerated = model.background() + if crowded { CROWDED_LOSS_THRESHOLD } else { LOSS_THRESHOLD };
        let congested = LossModel::exceeds(tolerated, lost, sent, self.mtu);
        let queueing =
            self.base_rtt().zip(self.rounds.last_min_rtt).is_some_and(|(base, rtt)| Self::is_queueing(base, rtt));
        if !queueing {
            self.loss.learn_ambient(lost as f64 / sent as f64);
        }
        if !self.phase.is_probing() {
            self.loss.learn_crowd(lost as f64 / sent as f64, queueing || crowded);
        }
        if (congested || marked) && !self.phase.is_probing() {
            let long_term = self.max_bw.get();
            let model = &mut self.loss;
            let bound = model.short_term_rate.unwrap_or(long_term);
            model.short_term_rate = Some(rate.max(bound.scaled(BETA)));
            let bound = model.short_term_volume.unwrap_or(self.window);
            model.short_term_volume = Some(volume.max(scale(bound, BETA)));
        }
    }
}
