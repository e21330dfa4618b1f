//! A model-based congestion controller after BBRv3 (draft-ietf-ccwg-bbr; § in this module means
//! that draft).
//!
//! The controller keeps a model of the path, which consists of the delivery rate that the path sustains ([`filters`],
//! [`delivery`]) and its minimum round trip. It keeps as much in flight as the path itself contains according to the
//! model. Loss is a signal only where it exceeds what the path loses at random ([`loss`]).
//!
//! Where it differs from the draft, and why:
//!
//! * **One knob.** A controller gives quinn a window and nothing else; quinn paces at 1.25 × window
//!   ÷ smoothed round trip. The draft's usual window of two bandwidth-delay products would
//!   therefore be sent at up to 2.5 times the path's rate. Here the phases' gains apply to the
//!   window, which stays near one product, and acknowledgements clock what is sent.
//! * **Standing queues.** A window of one product starves beside a flow that fills the queue, because the round trip
//!   grows and the window does not. The window is therefore counted over the round trip that remains when our own queue
//!   has drained, up to twice the minimum: the draft's bound, but only while somebody else keeps a queue.
//! * **Leaving start-up on delay.** A round trip that rises is the earliest sign of a full pipe, one to three rounds
//!   before the draft's bandwidth plateau (compare HyStart++, RFC 9406 §4.2), and what keeps the overshoot within one
//!   queue. If the sign is wrong, the first bandwidth probe follows at once and accelerates for as long as the rate
//!   grows.
//! * **Ambient loss.** Random loss is estimated from rounds without a queue and tolerated, with the
//!   draft's 2 % on top.

mod congestion;
mod cycle;
mod delivery;
mod filters;
mod full_pipe;
mod jump;
mod loss;
mod phase;
mod probe;
mod resume;
mod startup;

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quinn_proto::RttEstimator;
use quinn_proto::congestion::{Controller, ControllerFactory, ControllerMetrics};

use cycle::Cycle;
use delivery::{Flight, Sample, Sampler};
use filters::{MaxBandwidth, MinRtt, Rate, scale};
use full_pipe::{DelayRise, FullPipe};
use jump::Resume;
use loss::LossModel;
pub use phase::{Phase, Snapshot};

use crate::known_path::PathMemory;

/// Packets in the initial window. RFC 9002 §7.2 recommends 10 for senders that may burst; quinn
/// paces these over a round trip, and each doubling saved is a round trip of every transfer.
const INITIAL_WINDOW_PACKETS: u64 = 32;
/// Packets the window never goes below (`BBR.MinPipeCwnd`).
const MIN_WINDOW_PACKETS: u64 = 4;
/// Upper bound of the window in bytes: 10 Gbit/s over 800 ms. quinn stops pacing above 4 GiB.
const MAX_WINDOW: u64 = 1 << 30;
/// Bound of the window in [`Phase::Startup`], as a gain. The window doubles each round. The estimate that bounds it
/// trails by up to a round, so that the draft's 2 would allow less than doubling.
const STARTUP_GAIN: f64 = 3.0;
/// Up to this size, in bytes, the window triples each round. That saves a round trip for every transfer, and
/// overshooting costs few packets there.
const SMALL_WINDOW: u64 = 256 << 10;
/// Windows sent in a round trip of [`Phase::Startup`], at most: doubling needs 2 ln 2 (§5.6.2).
const STARTUP_PACING_GAIN: f64 = 2.0;
/// Windows that quinn's pacer sends in a smoothed round trip.
const QUINN_PACING_GAIN: f64 = 1.25;
/// Time that bursts at either host hide from the acknowledgement clock, and the volume it is worth
/// at most (the draft's `BBR.offload_budget`, §5.5.8).
const BURST_TIME: Duration = Duration::from_millis(1);
const BURST_BYTES: u64 = 64 << 10;
/// On paths shorter than this, the hosts and not the path make up most of the round trip.
const LOCAL_RTT: Duration = Duration::from_millis(2);
/// On such paths the window covers the scheduling of the hosts too, unless packets are lost.
const LOCAL_BURST_TIME: Duration = Duration::from_millis(5);
const LOCAL_BURST_BYTES: u64 = 1 << 20;

/// Builds [`Bbr3`] controllers for quinn.
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

/// The controller. The [module](self) describes what it does, and [`Bbr3::snapshot`] shows what it knows.
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
    /// The round trip after our own queue has drained. It includes the queue that others keep.
    standing_rtt: Option<Duration>,
    loss: LossModel,
    full_pipe: FullPipe,
    delay_rise: DelayRise,
    cycle: Cycle,
    resume: Resume,
    memory: Option<PathMemory>,
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
            resume: Resume::None,
            memory: None,
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

    fn packet_sent(&mut self, now: Instant, bytes: u64) {
        self.sampler.on_sent(now, bytes, self.srtt);
        self.check_memory(now);
    }

    /// Notes one acknowledged packet. This runs for every packet, so it is kept to a few instructions.
    fn packet_acked(&mut self, sent: Instant, bytes: u64, srtt: Duration) {
        self.srtt = srtt;
        self.sampler.on_packet_acked(sent, bytes);
        if self.resume != Resume::None {
            self.note_validation(sent);
        }
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
        self.check_memory(now);
        self.update_window(sample.acked);
        if round_start {
            self.tell_memory();
        }
        #[cfg(feature = "trace")]
        if round_start {
            self.trace(sample.acked);
        }
    }

    /// Logs the model once per round (`RUST_LOG=qfs_congestion=trace`).
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

    /// What the path holds with the queue that others keep: the operating point of the ProbeBW phases. What is lost on
    /// the way has to be sent in addition.
    fn pipe(&self) -> Option<u64> {
        let rtt = self.base_rtt()?;
        Some(scale(self.bandwidth().over(rtt), 1.0 + self.loss.ambient()))
    }

    /// The round trip over which the window is counted: the minimum, or, where somebody else keeps a queue, the round
    /// trip after our own queue has drained, up to twice the minimum.
    fn base_rtt(&self) -> Option<Duration> {
        let min = self.min_rtt.get()?;
        Some(self.crowded_rtt().map_or(min, |standing| standing.min(2 * min)))
    }

    /// Whether somebody else keeps a queue that we cannot drain.
    fn is_crowded(&self) -> bool {
        self.crowded_rtt().is_some()
    }

    fn crowded_rtt(&self) -> Option<Duration> {
        let min = self.min_rtt.get()?;
        self.standing_rtt.filter(|standing| Self::is_queueing(min, *standing))
    }

    /// Whether a round trip shows a queue: it is above `base` by an eighth, and by at least 4 and at most 16 ms (RFC
    /// 9406 §4.3).
    fn is_queueing(base: Duration, rtt: Duration) -> bool {
        let margin = (base / 8).clamp(Duration::from_millis(4), Duration::from_millis(16));
        rtt > base + margin
    }

    /// Whether every packet acknowledged in the last round had waited in a queue.
    fn has_queued(&self) -> bool {
        self.base_rtt().zip(self.rounds.last_min_rtt).is_some_and(|(base, rtt)| Self::is_queueing(base, rtt))
    }

    /// Room for bursts that the acknowledgement clock does not see, in bytes.
    fn burst_budget(&self) -> u64 {
        let local = self.min_rtt.get().is_some_and(|rtt| rtt < LOCAL_RTT) && self.loss.is_quiet();
        let (time, most) = if local { (LOCAL_BURST_TIME, LOCAL_BURST_BYTES) } else { (BURST_TIME, BURST_BYTES) };
        self.bandwidth().over(time).clamp(3 * self.mtu, most.max(3 * self.mtu))
    }

    /// The window as quinn should see it, raised while there is room in it so that quinn's pacer does not hold back
    /// what the phase wants sent. The actual window still bounds what is in flight.
    ///
    /// The pacer falls short twice. In start-up, doubling takes more than its 1.25 windows a round trip. And after a
    /// queue has drained, the smoothed round trip by which it divides still contains that queue.
    fn offered_window(&self) -> u64 {
        if self.sampler.in_flight() >= self.window {
            return self.window;
        }
        let a_round = match self.phase {
            Phase::Startup => self.startup_round(),
            _ => self.bandwidth().over(self.srtt),
        };
        self.window.max(scale(a_round, 1.0 / QUINN_PACING_GAIN))
    }

    fn min_window(&self) -> u64 {
        MIN_WINDOW_PACKETS * self.mtu
    }

    /// Moves the window towards what the phase and the model ask for: down at once, and up by what was acknowledged
    /// (§5.6.4.6).
    fn update_window(&mut self, acked: u64) {
        let (Some(bdp), Some(pipe)) = (self.bdp(), self.pipe()) else { return };
        let budget = self.burst_budget();
        let small = self.phase == Phase::Startup && self.window < SMALL_WINDOW;
        let grown = self.window.saturating_add(if small { 2 * acked } else { acked });
        let window = match self.phase {
            Phase::Startup => self.startup_window(grown, (scale(bdp, STARTUP_GAIN) + budget).max(self.window)),
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

impl Controller for Bbr3 {
    fn on_sent(&mut self, now: Instant, bytes: u64, _last_packet_number: u64) {
        self.packet_sent(now, bytes);
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
