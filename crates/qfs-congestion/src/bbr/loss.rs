//! What loss means: the path's own noise, or a queue that overflows (§5.5.10).
//!
//! Every round's loss rate is compared with what the path loses anyhow. Beyond that, a probe has
//! gone too far, and remembers the volume that did; outside of probes somebody else needs room, and
//! rate and volume come down to what the last round delivered.

use super::Phase;
use super::filters::{Rate, scale};

/// Rounds that lose more than this are never taken for ambient.
const MAX_AMBIENT_LOSS: f64 = 0.08;
/// Loss that a crowd is believed to cause by itself, at most.
const MAX_CROWD_LOSS: f64 = 0.2;
/// Worst round of a crowd over its mean one: what never hears losses overflows the queue in one round of eight.
const CROWD_PEAK: f64 = 4.0;
/// Mean loss of a crowd above which somebody in it does not respond to loss: those who do keep it lower among themselves.
const DEAF_LOSS: f64 = 0.02;
/// Rounds over which ambient loss is averaged.
const AMBIENT_ROUNDS: u32 = 16;
/// Ambient loss below which a path counts as clean.
const QUIET_LOSS: f64 = 0.0005;
/// Share of the volume bound left to others while cruising (`BBR.Headroom`).
const HEADROOM: f64 = 0.15;
/// First step by which a probe without congestion raises the volume bound; doubles up to the last.
pub(super) const FIRST_RAISE: f64 = 1.0 / 32.0;
const LAST_RAISE: f64 = 0.25;

/// Loss seen, and the bounds that follow from it.
#[derive(Clone, Debug)]
pub(super) struct LossModel {
    ambient: f64,
    ambient_rounds: u32,
    /// Mean loss above the ambient of rounds at the estimate, while others keep the queue: what giving way does not end.
    crowd: f64,
    pub(super) round_acked: u64,
    pub(super) round_lost: u64,
    /// Congestion was marked explicitly (RFC 3168) in this round.
    pub(super) round_marked: bool,
    pub(super) latest_rate: Rate,
    pub(super) latest_volume: u64,
    /// `BBR.bw_shortterm`.
    pub(super) short_term_rate: Option<Rate>,
    /// `BBR.inflight_shortterm`, in bytes.
    pub(super) short_term_volume: Option<u64>,
    /// `BBR.inflight_longterm`, in bytes.
    pub(super) long_term_volume: Option<u64>,
    pub(super) raise: f64,
}

impl Default for LossModel {
    fn default() -> Self {
        Self {
            ambient: 0.0,
            ambient_rounds: 0,
            crowd: 0.0,
            round_acked: 0,
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
    /// Estimated share of packets the path loses at random, 0 to [`MAX_AMBIENT_LOSS`].
    pub(super) fn ambient(&self) -> f64 {
        self.ambient
    }

    /// Nothing points to loss of any kind.
    pub(super) fn is_quiet(&self) -> bool {
        self.ambient < QUIET_LOSS && self.round_lost == 0 && self.long_term_volume.is_none()
    }

    /// Loss of any kind, or a mark, was seen in this round, or has left a bound.
    pub(super) fn has_lost(&self) -> bool {
        self.round_lost > 0 || self.round_marked || self.ambient > 0.0 || self.long_term_volume.is_some()
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
    pub(super) fn exceeds(tolerated: f64, lost: u64, sent: u64, mtu: u64) -> bool {
        let packet = mtu.max(1) as f64;
        let expected = tolerated * sent as f64 / packet;
        lost as f64 / packet > expected + 2.0 * expected.sqrt() + 1.0
    }

    /// The loss to expect of a round in which we do nothing wrong: what the path loses, and what others overflow. A flow without
    /// an ear for loss keeps the queue overflowing however far we give way, and would be left everything.
    pub(super) fn background(&self) -> f64 {
        self.ambient + (CROWD_PEAK * self.crowd).min(MAX_CROWD_LOSS)
    }

    /// Somebody in the crowd does not respond to loss.
    pub(super) fn is_deaf_crowd(&self) -> bool {
        self.crowd >= DEAF_LOSS
    }

    /// Takes the loss of a round at the estimate; `queued` if others kept a queue all through it.
    pub(super) fn learn_crowd(&mut self, rate: f64, queued: bool) {
        let excess = if queued { (rate - self.ambient).clamp(0.0, MAX_CROWD_LOSS) } else { 0.0 };
        self.crowd += (excess - self.crowd) / f64::from(AMBIENT_ROUNDS);
    }

    pub(super) fn learn_ambient(&mut self, rate: f64) {
        if rate <= MAX_AMBIENT_LOSS {
            self.ambient_rounds = (self.ambient_rounds + 1).min(AMBIENT_ROUNDS);
            self.ambient += (rate - self.ambient) / f64::from(self.ambient_rounds);
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
