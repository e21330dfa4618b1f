//! The other kinds of sender that share a simulated bottleneck, as far as the tests of fairness need them.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::super::delivery::Sampler;
use super::super::filters::Rate;
use super::PACKET;

/// CUBIC as far as fairness needs it: the cubic curve, and a factor of 0.7 on loss, once per round trip.
pub(in super::super) struct Cubic {
    pub(super) window: f64,
    max: f64,
    epoch: Option<Instant>,
}

impl Default for Cubic {
    fn default() -> Self {
        Self { window: 10.0 * PACKET as f64, max: 0.0, epoch: None }
    }
}

impl Cubic {
    pub(super) fn acked(&mut self, now: Instant, bytes: u64) {
        let Some(epoch) = self.epoch else {
            self.window += bytes as f64;
            return;
        };
        let packets = self.max / PACKET as f64;
        let k = (packets * 0.3 / 0.4).cbrt();
        let t = now.saturating_duration_since(epoch).as_secs_f64();
        self.window = self.window.max((0.4 * (t - k).powi(3) + packets) * PACKET as f64);
    }

    pub(super) fn lost(&mut self, now: Instant, sent: Instant) {
        if self.epoch.is_none_or(|epoch| sent > epoch) {
            self.max = self.window;
            self.window = (self.window * 0.7).max(2.0 * PACKET as f64);
            self.epoch = Some(now);
        }
    }
}

/// The first BBR, as most kernels have it (draft-cardwell-iccrg-bbr-congestion-control-00): it keeps twice the product
/// in flight and does not respond to loss. It takes the round trip from its first samples, as if its probes for the
/// round trip always succeeded.
pub(in super::super) struct Bbr1 {
    pub(super) sampler: Sampler,
    /// The best rate of each of the last ten rounds.
    rates: VecDeque<Rate>,
    round_end: u64,
    min_rtt: Option<Duration>,
    mode: Mode,
    full: (Rate, u8),
    phase: usize,
    phase_began: Instant,
}

#[derive(PartialEq)]
enum Mode {
    Startup,
    Drain,
    Probe,
}

const BBR1_STARTUP_GAIN: f64 = 2.885;
const BBR1_GAINS: [f64; 8] = [1.25, 0.75, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0];

impl Bbr1 {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            sampler: Sampler::new(now),
            rates: VecDeque::from([Rate::default()]),
            round_end: 0,
            min_rtt: None,
            mode: Mode::Startup,
            full: (Rate::default(), 0),
            phase: 2,
            phase_began: now,
        }
    }

    fn bandwidth(&self) -> Rate {
        self.rates.iter().copied().max().unwrap_or_default()
    }

    fn product(&self) -> Option<f64> {
        let bandwidth = self.bandwidth();
        (bandwidth > Rate::default()).then_some(bandwidth.over(self.min_rtt?) as f64)
    }

    pub(super) fn window(&self) -> u64 {
        let gain = if self.mode == Mode::Startup { BBR1_STARTUP_GAIN } else { 2.0 };
        self.product().map_or(10 * PACKET, |product| ((gain * product) as u64).max(4 * PACKET))
    }

    pub(super) fn pacing_rate(&self) -> Option<f64> {
        let gain = match self.mode {
            Mode::Startup => BBR1_STARTUP_GAIN,
            Mode::Drain => 1.0 / BBR1_STARTUP_GAIN,
            Mode::Probe => BBR1_GAINS[self.phase],
        };
        let bandwidth = self.bandwidth().bytes_per_second();
        (bandwidth > 0).then_some(gain * bandwidth as f64)
    }

    pub(super) fn acked(&mut self, now: Instant, in_flight: u64, app_limited: bool) {
        let shortest = self.min_rtt.unwrap_or_default();
        let Some(sample) = self.sampler.on_ack_end(now, in_flight, app_limited, shortest) else { return };
        if let Some(rtt) = sample.rtt {
            self.min_rtt = Some(self.min_rtt.map_or(rtt, |min| min.min(rtt)));
        }
        let Some(flight) = sample.flight else { return };
        let newest = self.rates.len() - 1;
        self.rates[newest] = self.rates[newest].max(flight.rate.unwrap_or_default());
        if flight.prior_delivered >= self.round_end {
            self.round_end = self.sampler.delivered();
            self.round_ended();
        }
        let product = self.product().unwrap_or(f64::MAX);
        match self.mode {
            Mode::Drain if in_flight as f64 <= product => self.mode = Mode::Probe,
            Mode::Probe if now.saturating_duration_since(self.phase_began) > self.min_rtt.unwrap_or_default() => {
                self.phase = (self.phase + 1) % BBR1_GAINS.len();
                self.phase_began = now;
            }
            _ => {}
        }
    }

    fn round_ended(&mut self) {
        let bandwidth = self.bandwidth();
        self.rates.push_back(Rate::default());
        if self.rates.len() > 10 {
            self.rates.pop_front();
        }
        if self.mode != Mode::Startup {
            return;
        }
        if bandwidth >= self.full.0.scaled(1.25) {
            self.full = (bandwidth, 0);
        } else {
            self.full.1 += 1;
            if self.full.1 >= 3 {
                self.mode = Mode::Drain;
            }
        }
    }
}
