//! A model-based congestion controller after BBRv3 (draft-ietf-ccwg-bbr; § in this module means
//! that draft).
//!
//! It keeps a model of the path, the delivery rate it sustains ([`filters`], [`delivery`]) and its
//! minimum round trip, and holds in flight what the model says the path itself contains. Loss is a
//! signal only where it exceeds what the path loses anyhow ([`loss`]).
//!
//! Where it differs from the draft, and why:
//!
//! * **One knob.** A controller gives quinn a window and nothing else; quinn paces at 1.25 × window
//!   ÷ smoothed round trip. The draft's usual window of two bandwidth-delay products would
//!   therefore be sent at up to 2.5 times the path's rate. Here the phases' gains apply to the
//!   window, which stays near one product, and acknowledgements clock what is sent.
//! * **Standing queues.** Holding one product starves beside a flow that fills the queue, as the
//!   round trip grows and the window does not. The window is therefore counted over the round trip
//!   that remains when our own queue has drained, up to twice the minimum: the draft's bound, but
//!   only while somebody else keeps a queue.
//! * **Leaving start-up on delay.** A round trip that rises is the earliest sign of a full pipe, one
//!   to three rounds before the draft's bandwidth plateau (compare HyStart++, RFC 9406 §4.2), and
//!   what keeps the overshoot within one queue. Should the sign deceive, the first bandwidth probe
//!   follows at once and accelerates for as long as the rate grows.
//! * **Ambient loss.** Random loss is estimated from rounds without a queue and tolerated, with the
//!   draft's 2 % on top.

mod delivery;
mod filters;
mod loss;
mod phase;
mod probe;
mod startup;

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quinn_proto::RttEstimator;
use quinn_proto::congestion::{Controller, ControllerFactory, ControllerMetrics};

use delivery::{Flight, Sample, Sampler};
use filters::{MaxBandwidth, MinRtt, Rate, scale};
use loss::LossModel;
pub use phase::{Phase, Snapshot};
use probe::Cycle;
use startup::{DelayRise, FullPipe};

/// Packets in the initial window. RFC 9002 §7.2 recommends 10 for senders that may burst; quinn
/// paces these over a round trip, and each doubling saved is a round trip of every transfer.
const INITIAL_WINDOW_PACKETS: u64 = 32;
/// Packets the window never goes below (`BBR.MinPipeCwnd`).
const MIN_WINDOW_PACKETS: u64 = 4;
/// Upper bound of the window in bytes: 10 Gbit/s over 800 ms. quinn stops pacing above 4 GiB.
const MAX_WINDOW: u64 = 1 << 30;
/// Bound of the window in [`Phase::Startup`], as a gain. The window doubles each round; the estimate
/// it is bounded by trails by up to a round, which the draft's 2 would turn into less than doubling.
const STARTUP_GAIN: f64 = 3.0;
/// Up to this window in bytes it triples each round: a round trip saved for every transfer, where
/// overshooting costs few packets.
const SMALL_WINDOW: u64 = 256 << 10;
/// Windows sent in a round trip of [`Phase::Startup`], at most: doubling needs 2 ln 2 (§5.6.2).
const STARTUP_PACING_GAIN: f64 = 2.0;
/// Windows that quinn's pacer lets out in a smoothed round trip.
const QUINN_PACING_GAIN: f64 = 1.25;
/// Time that bursts at either host hide from the acknowledgement clock, and the volume it is worth
/// at most (the draft's `BBR.offload_budget`, §5.5.8).
const BURST_TIME: Duration = Duration::from_millis(1);
const BURST_BYTES: u64 = 64 << 10;
/// On paths shorter than this the hosts, not the path, make most of the round trip…
const LOCAL_RTT: Duration = Duration::from_millis(2);
/// …so that the window covers their scheduling too, unless packets are lost.
const LOCAL_BURST_TIME: Duration = Duration::from_millis(5);
const LOCAL_BURST_BYTES: u64 = 1 << 20;

/// Builds [`Bbr3`] controllers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bbr3Config {
    seed: Option<u64>,
}

impl Bbr3Config {
    /// Fixes the seed of the random times between bandwidth probes, to repeat a run exactly.
    #[must_use]
    pub const fn seeded(seed: u64) -> Self {
        Self { seed: Some(seed) }
    }
}

impl ControllerFactory for Bbr3Config {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        Box::new(Bbr3::new(*self, now, current_mtu))
    }
}

/// The controller. See the [module](self) for what it does; [`Bbr3::snapshot`] for what it knows.
#[derive(Clone, Debug)]
pub struct Bbr3 {
    mtu: u64,
    window: u64,
    /// The window to come back to when [`Phase::ProbeRtt`] ends.
    prior_window: u64,
    phase: Phase,
    srtt: Duration,
    sampler: Sampler,
    rounds: Rounds,
    max_bw: MaxBandwidth,
    min_rtt: MinRtt,
    /// The round trip after we drained what we had queued: the queue that others keep is in it.
    standing_rtt: Option<Duration>,
    loss: LossModel,
    full_pipe: FullPipe,
    delay_rise: DelayRise,
    cycle: Cycle,
    limit: u64,
}

/// Packet-timed round trips (§5.5.1).
#[derive(Clone, Copy, Debug, Default)]
struct Rounds {
    /// A round ends when a packet sent after this much was delivered is acknowledged.
    end: u64,
    /// Rounds since the present phase began.
    in_phase: u32,
    /// Lowest round trip of the present round.
    min_rtt: Option<Duration>,
    /// Lowest round trip of the round before.
    last_min_rtt: Option<Duration>,
}

impl Bbr3 {
    /// A controller for a fresh path with packets of `mtu` bytes.
    #[must_use]
    pub fn new(config: Bbr3Config, now: Instant, mtu: u16) -> Self {
        let mtu = u64::from(mtu);
        let initial_window = INITIAL_WINDOW_PACKETS * mtu;
        Self {
            mtu,
            window: initial_window,
            prior_window: initial_window,
            phase: Phase::Startup,
            srtt: Duration::ZERO,
            sampler: Sampler::new(now),
            rounds: Rounds::default(),
            max_bw: MaxBandwidth::default(),
            min_rtt: MinRtt::new(),
            standing_rtt: None,
            loss: LossModel::default(),
            full_pipe: FullPipe::default(),
            delay_rise: DelayRise::default(),
            cycle: Cycle::new(now, config.seed),
            limit: u64::MAX,
        }
    }

    /// What the controller believes about the path now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            bandwidth: self.bandwidth().bytes_per_second(),
            min_rtt: self.min_rtt.get(),
            window: self.window,
            in_flight: self.sampler.in_flight(),
            ambient_loss: self.loss.ambient(),
            phase: self.phase,
            app_limited: self.sampler.is_app_limited(),
        }
    }

    /// Notes one acknowledged packet: the per-packet path, kept to a few instructions.
    fn packet_acked(&mut self, sent: Instant, bytes: u64, srtt: Duration) {
        self.srtt = srtt;
        self.sampler.on_packet_acked(sent, bytes);
    }

    /// Updates the model, then the state machine, then the window (§5.2.3).
    fn ack_ended(&mut self, now: Instant, in_flight: u64, app_limited: bool) {
        let shortest = self.min_rtt.get().unwrap_or_default();
        let Some(sample) = self.sampler.on_ack_end(now, in_flight, app_limited, shortest) else { return };
        let rtt_expired = sample.rtt.is_some_and(|rtt| self.note_rtt(now, rtt));
        let round_start = sample.flight.is_some_and(|flight| self.note_flight(&flight));
        self.loss.note_acked(sample.acked);
        if round_start {
            self.end_loss_round();
        }
        self.step(now, &sample, round_start);
        if rtt_expired {
            self.enter_probe_rtt();
        }
        self.update_window(sample.acked);
        self.limit = if self.smooths() {
            let a = var("CRED_A", 1.5); let b = var("CRED_B", 1.0);
            self.sampler.in_flight() + scale(sample.acked, a) + (b * self.mtu as f64) as u64
        } else { u64::MAX };
        #[cfg(feature = "trace")]
        if round_start {
            self.trace(sample.acked);
        }
    }

    pub(super) fn smooths(&self) -> bool {
        match std::env::var("SM").as_deref() {
            Ok("all") => !self.sampler.is_app_limited() && self.phase != Phase::Startup,
            Ok("crowd") => !self.sampler.is_app_limited() && self.phase != Phase::Startup && self.is_crowded(),
            _ => false,
        }
    }

    /// Logs once a round what the model holds: `RUST_LOG=qfs_congestion=trace`.
    #[cfg(feature = "trace")]
    fn trace(&self, acked: u64) {
        tracing::trace!(
            phase = self.phase.name(),
            delivered = self.sampler.delivered(),
            in_flight = self.sampler.in_flight(),
            window = self.window,
            bandwidth = self.bandwidth().bytes_per_second(),
            long_term = self.max_bw.get().bytes_per_second(),
            srtt_us = self.srtt.as_micros() as u64,
            min_rtt_us = self.min_rtt.get().unwrap_or_default().as_micros() as u64,
            ambient = self.loss.ambient(),
            app_limited = self.sampler.is_app_limited(),
            acked,
            loss = ?self.loss,
            "round"
        );
    }

    /// Runs the present phase's part of the state machine.
    fn step(&mut self, now: Instant, sample: &Sample, round_start: bool) {
        match self.phase {
            Phase::Startup => self.step_startup(now, sample, round_start),
            Phase::Drain => self.step_drain(now, round_start),
            Phase::ProbeDown | Phase::ProbeCruise | Phase::ProbeRefill | Phase::ProbeUp => {
                self.step_probe_bw(now, sample, round_start);
            }
            Phase::ProbeRtt => self.step_probe_rtt(now),
        }
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.rounds.in_phase = 0;
        self.rounds.end = self.sampler.delivered();
    }

    /// Takes a round-trip sample; true when the queue should be drained to see the minimum again.
    fn note_rtt(&mut self, now: Instant, rtt: Duration) -> bool {
        self.rounds.min_rtt = Some(self.rounds.min_rtt.map_or(rtt, |min| min.min(rtt)));
        self.min_rtt.insert(now, rtt)
    }

    /// Takes a delivery-rate sample; true when it begins a round.
    fn note_flight(&mut self, flight: &Flight) -> bool {
        if let Some(rate) = flight.rate {
            // A rate limited by the application is only a lower bound (§5.5.4).
            if !flight.app_limited || rate > self.max_bw.get() {
                self.max_bw.insert(rate);
            }
            self.loss.note_delivery(rate, flight.delivered);
        }
        let round_start = flight.prior_delivered >= self.rounds.end;
        if round_start {
            self.rounds.end = self.sampler.delivered();
            self.rounds.in_phase += 1;
            self.rounds.last_min_rtt = self.rounds.min_rtt.take();
        }
        round_start
    }

    /// The rate the path is believed to carry now (`BBR.bw`).
    fn bandwidth(&self) -> Rate {
        let long_term = self.max_bw.get();
        self.loss.short_term_rate().map_or(long_term, |bound| bound.min(long_term))
    }

    /// What the path holds without any queue (`BBR.bdp`); `None` before the first samples.
    fn bdp(&self) -> Option<u64> {
        let bandwidth = self.bandwidth();
        (bandwidth > Rate::default()).then_some(bandwidth.over(self.min_rtt.get()?))
    }

    /// What the path holds with the queue that others keep: the operating point of the ProbeBW
    /// phases. What gets lost on the way has to be sent on top.
    fn pipe(&self) -> Option<u64> {
        let rtt = self.base_rtt()?;
        Some(scale(self.bandwidth().over(rtt), 1.0 + self.loss.ambient() + self.loss.crowd() * var("ONTOP", 0.0)))
    }

    /// The round trip to count the window over: the minimum, or where somebody else keeps a queue,
    /// what it was when ours had drained, as far as twice the minimum.
    fn base_rtt(&self) -> Option<Duration> {
        let min = self.min_rtt.get()?;
        Some(self.crowded_rtt().map_or(min, |standing| standing.min(2 * min)))
    }

    /// Somebody else keeps a queue that we cannot drain.
    fn is_crowded(&self) -> bool {
        self.crowded_rtt().is_some()
    }

    fn crowded_rtt(&self) -> Option<Duration> {
        let min = self.min_rtt.get()?;
        self.standing_rtt.filter(|standing| Self::is_queueing(min, *standing))
    }

    /// A round trip that shows a queue: an eighth above `base`, at least 4 and at most 16 ms above
    /// (RFC 9406 §4.3).
    fn is_queueing(base: Duration, rtt: Duration) -> bool {
        let margin = (base / 8).clamp(Duration::from_millis(4), Duration::from_millis(16));
        rtt > base + margin
    }

    /// Every packet acknowledged in the last round had waited in a queue.
    fn has_queued(&self) -> bool {
        self.base_rtt().zip(self.rounds.last_min_rtt).is_some_and(|(base, rtt)| Self::is_queueing(base, rtt))
    }

    /// Room for bursts that the acknowledgement clock does not see, in bytes.
    fn burst_budget(&self) -> u64 {
        let local = self.min_rtt.get().is_some_and(|rtt| rtt < LOCAL_RTT) && self.loss.is_quiet();
        let (time, most) = if local { (LOCAL_BURST_TIME, LOCAL_BURST_BYTES) } else { (BURST_TIME, BURST_BYTES) };
        self.bandwidth().over(time).clamp(3 * self.mtu, most.max(3 * self.mtu))
    }

    /// The window as quinn should see it, raised while there is room in it so that quinn's pacer does
    /// not hold back what the phase wants sent. What is in flight stays bounded by the window proper.
    ///
    /// The pacer falls short twice. In start-up, doubling takes more than its 1.25 windows a round
    /// trip. And after a queue has drained, the smoothed round trip it divides by still contains it.
    fn offered_window(&self) -> u64 {
        self.offered_window0().min(self.limit).max(self.min_window())
    }
    fn offered_window0(&self) -> u64 {
        if self.sampler.in_flight() >= self.window {
            return self.window;
        }
        let a_round = match self.phase {
            Phase::Startup => scale(self.window, STARTUP_PACING_GAIN),
            _ => self.bandwidth().over(self.srtt),
        };
        self.window.max(scale(a_round, 1.0 / QUINN_PACING_GAIN))
    }

    fn min_window(&self) -> u64 {
        MIN_WINDOW_PACKETS * self.mtu
    }

    /// Moves the window to what phase and model ask for: down at once, up by what was acknowledged
    /// (§5.6.4.6).
    fn update_window(&mut self, acked: u64) {
        let (Some(bdp), Some(pipe)) = (self.bdp(), self.pipe()) else { return };
        let budget = self.burst_budget();
        let small = self.phase == Phase::Startup && self.window < SMALL_WINDOW;
        let grown = self.window.saturating_add(if small { 2 * acked } else { acked });
        let window = match self.phase {
            Phase::Startup => grown.min((scale(bdp, STARTUP_GAIN) + budget).max(self.window)),
            Phase::Drain => grown.min(bdp + budget),
            Phase::ProbeDown | Phase::ProbeCruise | Phase::ProbeRefill | Phase::ProbeUp => {
                grown.min(scale(pipe, self.cycle.gain(self.phase)) + budget)
            }
            Phase::ProbeRtt => grown.min(bdp / 2),
        };
        let bound = self.loss.volume_bound(self.phase, self.is_crowded()).min(MAX_WINDOW);
        self.window = window.min(bound).max(self.min_window());
    }
}

fn var(name: &str, d: f64) -> f64 { std::env::var(name).map_or(d, |v| v.parse().unwrap()) }
impl Controller for Bbr3 {
    fn on_sent(&mut self, now: Instant, bytes: u64, _last_packet_number: u64) {
        self.sampler.on_sent(now, bytes, self.srtt);
    }

    fn on_ack(&mut self, _now: Instant, sent: Instant, bytes: u64, _app_limited: bool, rtt: &RttEstimator) {
        self.packet_acked(sent, bytes, rtt.get());
    }

    fn on_end_acks(&mut self, now: Instant, in_flight: u64, app_limited: bool, _largest: Option<u64>) {
        self.ack_ended(now, in_flight, app_limited);
    }

    fn on_congestion_event(&mut self, now: Instant, sent: Instant, is_persistent: bool, lost_bytes: u64) {
        self.congestion(now, sent, is_persistent, lost_bytes);
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.mtu = u64::from(new_mtu);
        self.window = self.window.max(self.min_window());
    }

    fn window(&self) -> u64 {
        self.offered_window()
    }

    fn metrics(&self) -> ControllerMetrics {
        let mut metrics = ControllerMetrics::default();
        metrics.congestion_window = self.window;
        metrics.pacing_rate = Some(self.bandwidth().bytes_per_second().saturating_mul(8));
        metrics
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }

    fn initial_window(&self) -> u64 {
        INITIAL_WINDOW_PACKETS * self.mtu
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

#[cfg(test)]
mod sim;
#[cfg(test)]
mod tests;
