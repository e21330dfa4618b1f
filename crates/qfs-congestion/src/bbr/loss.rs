//! What loss means: the path's own noise, or a queue that overflows (§5.5.10).
//!
//! Every round's loss rate is compared with what the path loses anyhow. Beyond that, a probe has
//! gone too far, and remembers the volume that did; outside of probes somebody else needs room, and
//! rate and volume come down to what the last round delivered.

use std::time::Instant;

use super::filters::{Rate, scale};
use super::probe::SentIn;
use super::{Bbr3, Phase};

/// Loss within a round on top of the ambient that is still no sign of congestion
/// (`BBR.LossThresh`).
const LOSS_THRESHOLD: f64 = 0.02;
/// The same during start-up, when the ambient loss is not known yet.
const STARTUP_LOSS_THRESHOLD: f64 = 0.1;
/// The same where others crowd the queue: what they overflow is lost by everyone.
const CROWDED_LOSS_THRESHOLD: f64 = 0.05;
/// Rounds that lose more than this are never taken for ambient.
const MAX_AMBIENT_LOSS: f64 = 0.08;
/// Loss that a crowd is believed to cause by itself, at most.
const MAX_CROWD_LOSS: f64 = 0.2;
/// Worst round of a crowd over its mean one: what never hears losses overflows the queue in one round of eight.
const CROWD_PEAK: f64 = 4.0;
/// Rounds over which ambient loss is averaged.
const AMBIENT_ROUNDS: u32 = 16;
/// Ambient loss below which a path counts as clean.
const QUIET_LOSS: f64 = 0.0005;
/// Most that one round of congestion takes away (`BBR.Beta`).
const BETA: f64 = 0.7;
/// Share of the volume bound left to others while cruising (`BBR.Headroom`).
const HEADROOM: f64 = 0.15;
/// First step by which a probe without congestion raises the volume bound; doubles up to the last.
const FIRST_RAISE: f64 = 1.0 / 32.0;
const LAST_RAISE: f64 = 0.25;

/// Loss seen, and the bounds that follow from it.
#[derive(Clone, Debug)]
pub(super) struct LossModel {
    ambient: f64,
    ambient_rounds: u32,
    /// Mean loss above the ambient of rounds at the estimate, while others keep the queue: what giving way does not end.
    crowd: f64,
    gave_way: u32,
    round_acked: u64,
    round_lost: u64,
    /// Congestion was marked explicitly (RFC 3168) in this round.
    round_marked: bool,
    latest_rate: Rate,
    latest_volume: u64,
    /// `BBR.bw_shortterm`.
    short_term_rate: Option<Rate>,
    /// `BBR.inflight_shortterm`, in bytes.
    short_term_volume: Option<u64>,
    /// `BBR.inflight_longterm`, in bytes.
    long_term_volume: Option<u64>,
    raise: f64,
}

impl Default for LossModel {
    fn default() -> Self {
        Self {
            ambient: 0.0,
            ambient_rounds: 0,
            crowd: 0.0,
            round_acked: 0, gave_way: 0,
            round_lost: 0,
            round_marked: false,
            latest_rate: Rate::default(),
            latest_volume: 0,
            short_term_rate: None,
            short_term_volume: None,
            long_term_volume: None,
            raise: FIRST_RAISE,
        }
    }
}

impl LossModel {
    pub(super) fn crowd(&self) -> f64 { self.crowd }
    pub(super) fn debug(&self) -> String {
        format!("amb {:.3} crowd {:.3} str {:?} stv {:?} ltv {:?}", self.ambient, self.crowd, self.short_term_rate.map(|r| r.bytes_per_second()*8/1000), self.short_term_volume, self.long_term_volume)
    }

    /// Estimated share of packets the path loses at random, 0 to [`MAX_AMBIENT_LOSS`].
    pub(super) fn ambient(&self) -> f64 {
        self.ambient
    }

    /// Nothing points to loss of any kind.
    pub(super) fn is_quiet(&self) -> bool {
        self.ambient < QUIET_LOSS && self.round_lost == 0 && self.long_term_volume.is_none()
    }

    pub(super) fn short_term_rate(&self) -> Option<Rate> {
        self.short_term_rate
    }

    /// The volume in bytes that may be in flight in `phase` (§5.6.1, column "volume cap").
    ///
    /// Headroom invites others in; where they `crowd` the queue already it would only give way.
    pub(super) fn volume_bound(&self, phase: Phase, crowded: bool) -> u64 {
        let long_term = self.long_term_volume.unwrap_or(u64::MAX);
        let short_term = self.short_term_volume.unwrap_or(u64::MAX);
        match phase {
            Phase::Startup => u64::MAX,
            Phase::ProbeRefill | Phase::ProbeUp => long_term,
            Phase::Drain => long_term.min(short_term),
            Phase::ProbeDown | Phase::ProbeCruise if crowded => long_term.min(short_term),
            Phase::ProbeDown | Phase::ProbeCruise | Phase::ProbeRtt => scale(long_term, 1.0 - HEADROOM).min(short_term),
        }
    }

    pub(super) fn note_acked(&mut self, bytes: u64) {
        self.round_acked += bytes;
    }

    /// Takes a delivery sample: the round's best count.
    pub(super) fn note_delivery(&mut self, rate: Rate, volume: u64) {
        self.latest_rate = self.latest_rate.max(rate);
        self.latest_volume = self.latest_volume.max(volume);
    }

    /// Forgets the best of the round, as it was sent in another phase.
    pub(super) fn forget_latest(&mut self) {
        self.latest_rate = Rate::default();
        self.latest_volume = 0;
    }

    /// Lets a probe find out anew what the path carries (`ResetShortTermModel`).
    pub(super) fn forget_short_term(&mut self) {
        self.short_term_rate = None;
        self.short_term_volume = None;
    }

    /// A probe went well: the volume bound rises, faster each time (`RaiseInflightLongtermSlope`,
    /// in shares of itself rather than in packets).
    pub(super) fn raise_volume(&mut self) {
        if let Some(volume) = &mut self.long_term_volume {
            *volume = scale(*volume, 1.0 + self.raise);
            self.raise = (self.raise * 2.0).min(LAST_RAISE);
        }
    }

    /// Whether losing `lost` of `sent` bytes, in packets of `mtu`, is more than `tolerated` of them
    /// and more than chance makes of it in so few packets (two standard deviations).
    fn exceeds(tolerated: f64, lost: u64, sent: u64, mtu: u64) -> bool {
        let packet = mtu.max(1) as f64;
        let expected = tolerated * sent as f64 / packet;
        lost as f64 / packet > expected + 2.0 * expected.sqrt() + 1.0
    }

    /// The loss to expect of a round in which we do nothing wrong: what the path loses, and what others overflow. A flow without
    /// an ear for loss keeps the queue overflowing however far we give way, and would be left everything.
    fn background(&self) -> f64 {
        self.ambient + (super::var("PEAK", CROWD_PEAK) * (if self.crowd >= super::var("GATE", 0.0) { self.crowd - super::var("DEAD", 0.0) } else { 0.0 }).max(0.0)).min(super::var("MCL", MAX_CROWD_LOSS))
    }

    /// Takes the loss of a round at the estimate; `queued` if others kept a queue all through it.
    fn learn_crowd(&mut self, rate: f64, queued: bool) {
        let excess = if queued { (rate - self.ambient).clamp(0.0, super::var("MCL2", MAX_CROWD_LOSS)) } else { 0.0 };
        self.crowd += (excess - self.crowd) / f64::from(AMBIENT_ROUNDS);
    }

    fn learn_ambient(&mut self, rate: f64) {
        if rate <= MAX_AMBIENT_LOSS {
            self.ambient_rounds = (self.ambient_rounds + 1).min(AMBIENT_ROUNDS);
            self.ambient += (rate - self.ambient) / f64::from(self.ambient_rounds);
        }
    }
}

impl Bbr3 {
    /// Takes a loss (or, with no bytes lost, an explicit mark).
    pub(super) fn congestion(&mut self, now: Instant, sent: Instant, is_persistent: bool, lost_bytes: u64) {
        let loss = self.sampler.on_lost(sent, lost_bytes);
        if self.limit != u64::MAX {
            self.limit = self.limit.saturating_sub(lost_bytes).max(self.sampler.in_flight() + self.mtu);
        }
        if is_persistent {
            // Nothing came through for several time-outs: start over from a few packets, while the
            // model keeps what it knows (§5.6.4.4, RFC 9002 §7.6.2).
            self.window = self.min_window();
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
            _ => self.loss.background() + if self.is_crowded() { super::var("CT", LOSS_THRESHOLD) } else { LOSS_THRESHOLD },
        };
        let too_high = LossModel::exceeds(tolerated, loss.lost, loss.tx_in_flight, self.mtu);
        if too_high || lost_bytes == 0 {
            self.probe_went_too_far(now, loss.tx_in_flight.saturating_sub(loss.lost));
        }
    }

    /// Remembers the volume the path can hold, which is about what was not lost of a flight, and
    /// stops probing (`HandleInflightTooHigh`).
    fn probe_went_too_far(&mut self, now: Instant, held: u64) {
        let target = self.bdp().unwrap_or(self.window).min(self.window);
        self.loss.raise = FIRST_RAISE;
        if self.phase == Phase::Startup {
            self.loss.long_term_volume = Some(held.max(target));
            self.leave_startup(now);
        } else {
            let floor = if self.is_crowded() && super::var("VB", 0.0) > 0.0 && self.loss.crowd >= super::var("VBG", 0.0) {
                scale(self.pipe().unwrap_or(self.window), super::var("VB", 0.0))
            } else { scale(target, BETA) };
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
            let r = lost as f64 / sent as f64;
            let gw = super::var("GW", 0.0);
            if gw == 0.0 || self.loss.gave_way > gw as u32 || (r - self.loss.ambient) < self.loss.crowd {
                self.loss.learn_crowd(r, queueing || crowded);
            }
            self.loss.gave_way += 1;
            if self.loss.short_term_rate.is_none() && !(super::var("GWJ", 0.0) > 0.0 && self.cycle.is_judged()) { self.loss.gave_way = 0; }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_losses_in_few_packets_are_chance() {
        assert!(!LossModel::exceeds(0.02, 1000, 10_000, 1000));
        assert!(!LossModel::exceeds(0.02, 2000, 10_000, 1000));
        assert!(LossModel::exceeds(0.02, 5000, 10_000, 1000));
        assert!(!LossModel::exceeds(0.02, 20_000, 1_000_000, 1000));
        assert!(LossModel::exceeds(0.02, 40_000, 1_000_000, 1000));
    }

    #[test]
    fn ambient_loss_follows_rounds_but_not_floods() {
        let mut model = LossModel::default();
        for _ in 0..40 {
            model.learn_ambient(0.05);
        }
        assert!((model.ambient() - 0.05).abs() < 1e-9);
        model.learn_ambient(0.5);
        assert!((model.ambient() - 0.05).abs() < 1e-9);
        for _ in 0..80 {
            model.learn_ambient(0.0);
        }
        assert!(model.ambient() < 0.001);
    }

    #[test]
    fn loss_that_giving_way_does_not_end_is_expected_of_a_crowd_only() {
        // Fails if loss is learnt without a queue of others (then random loss would be tolerated four times over), or if a flood
        // is learnt whole.
        let mut model = LossModel::default();
        for round in 0..160 {
            model.learn_crowd(if round % 8 == 0 { 0.16 } else { 0.0 }, round % 8 == 0);
        }
        let background = model.background();
        assert!((0.04..0.12).contains(&background), "{background} for rounds of 16 % in eight");
        for _ in 0..80 {
            model.learn_crowd(0.9, true);
        }
        assert!(model.background() <= MAX_CROWD_LOSS, "{}", model.background());
        for _ in 0..160 {
            model.learn_crowd(0.05, false);
        }
        assert!(model.background() < 0.001, "{}", model.background());
    }

    #[test]
    fn cruising_leaves_headroom_below_what_a_probe_may_fill() {
        let model = LossModel { long_term_volume: Some(1000), ..LossModel::default() };
        assert_eq!(model.volume_bound(Phase::ProbeUp, false), 1000);
        assert_eq!(model.volume_bound(Phase::ProbeCruise, false), 850);
        assert_eq!(model.volume_bound(Phase::ProbeCruise, true), 1000);
        assert_eq!(model.volume_bound(Phase::Startup, false), u64::MAX);
    }

    #[test]
    fn the_bound_rises_faster_with_each_clean_probe() {
        let mut model = LossModel { long_term_volume: Some(1_000_000), ..LossModel::default() };
        let mut last = 1_000_000;
        let mut steps = Vec::new();
        for _ in 0..5 {
            model.raise_volume();
            let volume = model.volume_bound(Phase::ProbeUp, false);
            steps.push((volume - last) as f64 / last as f64);
            last = volume;
        }
        assert!(steps[1] > 1.9 * steps[0]);
        assert!(steps[4] <= LAST_RAISE + 0.001);
    }
}
