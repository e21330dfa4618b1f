//! The link itself, as arithmetic: which packet is lost, which finds the queue full, and when the others arrive.
//!
//! This module owns the model of one direction: random loss, then a drop-tail queue in front of a bottleneck, then a
//! delay. It knows nothing of sockets, devices, threads or clocks: the caller passes the time as a [`Duration`] since
//! any fixed moment. The same seed and the same packets at the same times give the same answers.

use std::time::Duration;

/// How packets are lost at random, before they reach the queue.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Loss {
    /// Packets are lost only by a full queue.
    #[default]
    None,
    /// Every packet is lost with this probability (0.0 to 1.0), independently of the others.
    Random(f64),
    /// Losses come in bursts.
    Bursts(BurstLoss),
}

impl Loss {
    /// Bursts of `mean_burst` packets on average (at least 1.0), spaced so that the fraction `mean_loss` (0.0 to 1.0)
    /// of all packets is lost in the long run.
    #[must_use]
    pub fn bursts(mean_loss: f64, mean_burst: f64) -> Self {
        if mean_loss <= 0.0 {
            return Self::None;
        }
        if mean_loss >= 1.0 {
            return Self::Random(1.0);
        }
        let leave = 1.0 / mean_burst.max(1.0);
        Self::Bursts(BurstLoss { enter: (leave * mean_loss / (1.0 - mean_loss)).min(1.0), leave, loss_inside: 1.0 })
    }
}

/// The Gilbert-Elliott model: a good state without loss, and a bad one that loses packets. The three fields are
/// probabilities from 0.0 to 1.0, and the state may change with every packet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BurstLoss {
    /// Probability of changing from the good state to the bad one.
    pub enter: f64,
    /// Probability of changing back to the good state. Bursts last 1 / `leave` packets on average.
    pub leave: f64,
    /// Probability of losing a packet in the bad state.
    pub loss_inside: f64,
}

/// The narrowest place of a link and the drop-tail queue in front of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bottleneck {
    /// Its rate, packet headers included; at 0 nothing passes.
    pub bits_per_second: u64,
    /// Bytes that may wait for it, the packet on its way through included. A larger packet never passes.
    pub queue_bytes: u64,
}

/// What one direction of a link does to the packets. The default changes nothing: no delay, no loss, no limit.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LinkSpec {
    /// Limits the rate; `None` for no limit, and then nothing ever queues.
    pub bottleneck: Option<Bottleneck>,
    /// One-way delay, added after the bottleneck.
    pub delay: Duration,
    /// Additional delay, drawn evenly between zero and this for each packet. Packets keep their order: one that drew
    /// little waits for an earlier one that drew much.
    pub jitter: Duration,
    /// Random loss.
    pub loss: Loss,
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It arrives at this time.
    Arrives(Duration),
    /// It was lost at random.
    Lost,
    /// It found the queue full.
    Dropped,
}

/// The state of one direction of a link.
#[derive(Clone, Debug)]
pub struct Direction {
    spec: LinkSpec,
    rng: fastrand::Rng,
    /// Whether the link is in the bad state of [`BurstLoss`].
    in_burst: bool,
    /// When the bottleneck has sent all it accepted.
    free_at: Duration,
    /// The arrival of the packet that was accepted last. No later packet arrives earlier.
    last_arrival: Duration,
}

impl Direction {
    /// A link that has carried nothing yet. Directions that should be independent need different seeds.
    #[must_use]
    pub fn new(spec: LinkSpec, seed: u64) -> Self {
        Self {
            spec,
            rng: fastrand::Rng::with_seed(seed),
            in_burst: false,
            free_at: Duration::ZERO,
            last_arrival: Duration::ZERO,
        }
    }

    /// Changes what the link does from the next packet on. Packets accepted earlier keep their arrival times, and
    /// the sequence of random numbers goes on.
    pub fn set_spec(&mut self, spec: LinkSpec) {
        self.spec = spec;
    }

    /// Offers a packet of `len` bytes at the time `now`, which must not decrease.
    pub fn admit(&mut self, len: usize, now: Duration) -> Verdict {
        // All three are drawn for every packet, whether they are needed or not. What becomes of the nth packet then
        // depends on the seed and on n, and not on the rest of the link's specification.
        let (change, lose, late) = (self.rng.f64(), self.rng.f64(), self.rng.f64());
        if self.is_lost(change, lose) {
            return Verdict::Lost;
        }
        let Some(sent) = self.pass_bottleneck(len as u64, now) else {
            return Verdict::Dropped;
        };
        let arrival = sent + self.spec.delay + self.spec.jitter.mul_f64(late);
        self.last_arrival = self.last_arrival.max(arrival);
        Verdict::Arrives(self.last_arrival)
    }

    fn is_lost(&mut self, change: f64, lose: f64) -> bool {
        match self.spec.loss {
            Loss::None => false,
            Loss::Random(probability) => lose < probability,
            Loss::Bursts(burst) => {
                let flips = change < if self.in_burst { burst.leave } else { burst.enter };
                self.in_burst ^= flips;
                self.in_burst && lose < burst.loss_inside
            }
        }
    }

    /// When the last bit of the packet has left the bottleneck, or `None` when the queue has no room for it.
    fn pass_bottleneck(&mut self, len: u64, now: Duration) -> Option<Duration> {
        let Some(Bottleneck { bits_per_second, queue_bytes }) = self.spec.bottleneck else {
            return Some(now);
        };
        let rate = u128::from(bits_per_second);
        let start = self.free_at.max(now);
        let waiting = (start - now).as_nanos() * rate / BIT_NANOS_PER_BYTE_SECOND;
        if waiting + u128::from(len) > u128::from(queue_bytes) {
            return None;
        }
        let nanos = (u128::from(len) * BIT_NANOS_PER_BYTE_SECOND).checked_div(rate)?;
        self.free_at = start + Duration::from_nanos(u64::try_from(nanos).ok()?);
        Some(self.free_at)
    }
}

/// Turns bytes and bits per second into nanoseconds: 8 bits a byte, 10⁹ ns a second.
const BIT_NANOS_PER_BYTE_SECOND: u128 = 8_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn bottleneck(bits_per_second: u64, queue_bytes: u64) -> Option<Bottleneck> {
        Some(Bottleneck { bits_per_second, queue_bytes })
    }

    /// Offers `count` packets of 1,000 bytes, one a millisecond.
    fn offer(link: &mut Direction, count: u32) -> Vec<Verdict> {
        (0..count).map(|i| link.admit(1000, MS * i)).collect()
    }

    fn lost(verdicts: &[Verdict]) -> usize {
        verdicts.iter().filter(|v| **v == Verdict::Lost).count()
    }

    #[test]
    fn the_default_link_changes_nothing() {
        let mut link = Direction::new(LinkSpec::default(), 1);
        for i in 0..10 {
            assert_eq!(link.admit(65_535, MS * i), Verdict::Arrives(MS * i));
        }
    }

    #[test]
    fn a_packet_takes_its_time_through_the_bottleneck_and_then_the_delay() {
        // 1,000 bytes at 8 Mbit/s are one millisecond.
        let spec = LinkSpec { bottleneck: bottleneck(8_000_000, 3000), delay: MS * 50, ..LinkSpec::default() };
        let mut link = Direction::new(spec, 1);
        assert_eq!(link.admit(1000, MS * 10), Verdict::Arrives(MS * 61));
        assert_eq!(link.admit(1000, MS * 10), Verdict::Arrives(MS * 62));
        assert_eq!(link.admit(1000, MS * 10), Verdict::Arrives(MS * 63));
        assert_eq!(link.admit(1000, MS * 10), Verdict::Dropped, "3,000 bytes wait already");
        assert_eq!(link.admit(1000, MS * 11), Verdict::Arrives(MS * 64), "one has left");
        assert_eq!(link.admit(1000, MS * 99), Verdict::Arrives(MS * 150), "idle time is not saved up");
    }

    #[test]
    fn a_packet_larger_than_the_queue_and_a_bottleneck_of_no_rate_pass_nothing() {
        for bottleneck in [bottleneck(8_000_000, 999), bottleneck(0, 3000)] {
            let mut link = Direction::new(LinkSpec { bottleneck, ..LinkSpec::default() }, 1);
            assert_eq!(link.admit(1000, MS), Verdict::Dropped, "{bottleneck:?}");
        }
    }

    #[test]
    fn an_overloaded_link_carries_its_rate() {
        let spec = LinkSpec { bottleneck: bottleneck(4_000_000, 10_000), ..LinkSpec::default() };
        let verdicts = offer(&mut Direction::new(spec, 1), 10_000);
        let carried = verdicts.iter().filter(|v| matches!(v, Verdict::Arrives(_))).count();
        assert!((5000..=5010).contains(&carried), "half of what was offered: {carried}");
    }

    #[test]
    fn random_loss_hits_its_mean_and_repeats_with_the_seed() {
        let spec = LinkSpec { loss: Loss::Random(0.01), ..LinkSpec::default() };
        let first = offer(&mut Direction::new(spec.clone(), 7), 100_000);
        assert!((900..1100).contains(&lost(&first)), "{}", lost(&first));
        assert_eq!(first, offer(&mut Direction::new(spec.clone(), 7), 100_000));
        assert_ne!(first, offer(&mut Direction::new(spec, 8), 100_000));
    }

    #[test]
    fn bursts_have_the_mean_loss_and_the_mean_length_asked_for() {
        let spec = LinkSpec { loss: Loss::bursts(0.02, 8.0), ..LinkSpec::default() };
        let verdicts = offer(&mut Direction::new(spec, 3), 1_000_000);
        let bursts = verdicts.windows(2).filter(|w| w[0] != Verdict::Lost && w[1] == Verdict::Lost).count();
        let lost = lost(&verdicts);
        assert!((18_000..22_000).contains(&lost), "{lost}");
        let length = lost as f64 / bursts as f64;
        assert!((7.5..8.5).contains(&length), "{length}");
    }

    #[test]
    fn the_ends_of_the_loss_scale_are_exact() {
        for (loss, expected) in [
            (Loss::Random(0.0), 0),
            (Loss::Random(1.0), 500),
            (Loss::bursts(0.0, 8.0), 0),
            (Loss::bursts(1.0, 8.0), 500),
        ] {
            let spec = LinkSpec { loss, ..LinkSpec::default() };
            assert_eq!(lost(&offer(&mut Direction::new(spec, 1), 500)), expected, "{loss:?}");
        }
    }

    #[test]
    fn who_is_lost_does_not_hang_on_the_other_settings() {
        let loss = Loss::Random(0.3);
        let plain = LinkSpec { loss, ..LinkSpec::default() };
        let slow = LinkSpec { loss, bottleneck: bottleneck(1_000_000, 5000), jitter: MS * 20, delay: MS };
        let which = |spec| -> Vec<bool> {
            offer(&mut Direction::new(spec, 5), 1000).iter().map(|v| *v == Verdict::Lost).collect()
        };
        assert_eq!(which(plain), which(slow));
    }

    #[test]
    fn jitter_spreads_arrivals_but_keeps_their_order() {
        let spec = LinkSpec { delay: MS * 5, jitter: MS * 4, ..LinkSpec::default() };
        let mut last = Duration::ZERO;
        let mut waits = Vec::new();
        for (i, verdict) in offer(&mut Direction::new(spec, 1), 1000).into_iter().enumerate() {
            let Verdict::Arrives(at) = verdict else { panic!("{verdict:?}") };
            assert!(at >= last);
            last = at;
            waits.push(at - MS * i as u32);
        }
        let (min, max) = (waits.iter().min().copied(), waits.iter().max().copied());
        assert!(min >= Some(MS * 5) && max <= Some(MS * 9), "{min:?} {max:?}");
        assert!(max > min.map(|min| min + MS * 2), "{min:?} {max:?}");
    }
}
