//! Where the bandwidth-probing cycle stands, and what a packet was sent for in it.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::{Duration, Instant};

use super::Phase;
use super::filters::Rate;

/// Window gains of the phases. A probe that finds the rate growing without a queue goes on with the
/// next of its gains, so that a tenfold rise is found in about six rounds.
const DOWN_GAIN: f64 = 0.9;
const CRUISE_GAIN: f64 = 1.0;
pub(super) const UP_GAINS: [f64; 3] = [1.25, 1.5, 2.0];
/// Time between probes, plus up to a second at random so that flows do not probe together.
const PROBE_WAIT: Duration = Duration::from_secs(2);
const PROBE_WAIT_SPREAD: Duration = Duration::from_secs(1);

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
    pub(super) began: Instant,
    pub(super) wait: Duration,
    /// Rounds since the last probe.
    pub(super) rounds: u64,
    /// Index into [`UP_GAINS`].
    pub(super) pace: usize,
    /// The bandwidth estimate a round ago, while probing up.
    pub(super) mark: Rate,
    /// The samples of the last probe are still coming in.
    pub(super) settling: bool,
    /// When the last probe began to send above the estimate.
    pub(super) probe_began: Instant,
    /// When it ended.
    probe_ended: Option<Instant>,
    /// The last probe went too far, and its loss has been answered.
    pub(super) judged: bool,
    /// The next probe does not wait.
    hurried: bool,
    /// When [`Phase::ProbeRtt`] may end, once in-flight is low.
    pub(super) rtt_until: Option<Instant>,
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
