//! One simulated sender, with the receiver's view of it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::rivals::{Bbr1, Cubic};
use super::{ACK_DELAY, Bbr3, PACKET};

/// Packets that a kernel sends at once at tens of megabits per second: TCP's segments for a millisecond, at least two.
const KERNEL_BURST: f64 = 3.0;

/// What quinn's pacer sends at once, as time at the paced rate.
const BURST: Duration = Duration::from_millis(2);

/// What decides a simulated sender's window.
pub(in super::super) enum Control {
    Model(Box<Bbr3>),
    Cubic(Cubic),
    Bbr1(Box<Bbr1>),
}

pub(in super::super) struct Flow {
    pub(in super::super) control: Control,
    /// Bytes delivered so far.
    pub(in super::super) delivered: u64,
    /// Bytes the application wants sent that are neither in flight nor delivered.
    pub(in super::super) pending: u64,
    /// When the last byte wanted was acknowledged.
    pub(in super::super) finished: Option<Duration>,
    outstanding: BTreeMap<u64, (Instant, u64)>,
    next_number: u64,
    largest_acked: u64,
    pub(super) in_flight: u64,
    srtt: Option<Duration>,
    rttvar: Duration,
    latest_rtt: Duration,
    pub(super) app_limited: bool,
    last_sent: Instant,
    tokens: f64,
    refilled: Instant,
    pub(super) wake: Option<Duration>,
    pub(super) received: Vec<u64>,
    pub(super) expected: u64,
}

impl Flow {
    pub(super) fn new(control: Control, pending: u64, rtt: Duration, now: Instant) -> Self {
        Self {
            control,
            delivered: 0,
            pending,
            finished: None,
            outstanding: BTreeMap::new(),
            next_number: 0,
            largest_acked: 0,
            in_flight: 0,
            srtt: Some(rtt),
            rttvar: rtt / 2,
            latest_rtt: rtt,
            app_limited: false,
            last_sent: now,
            tokens: 10.0 * PACKET as f64,
            refilled: now,
            wake: None,
            received: Vec::new(),
            expected: 0,
        }
    }

    /// Puts a packet in flight: its number and size.
    pub(super) fn send(&mut self, now: Instant) -> (u64, u64) {
        let (number, size) = (self.next_number, PACKET.min(self.pending));
        self.next_number += 1;
        self.pending -= size;
        self.in_flight += size;
        self.tokens -= size as f64;
        self.last_sent = now;
        self.outstanding.insert(number, (now, size));
        let srtt = self.smoothed();
        match &mut self.control {
            Control::Model(model) => model.packet_sent(now, size),
            Control::Cubic(_) => {}
            Control::Bbr1(bbr) => bbr.sampler.on_sent(now, size, srtt),
        }
        (number, size)
    }

    /// When the oldest packet that others have overtaken counts as lost.
    pub(super) fn loss_time(&self) -> Option<Instant> {
        let (_, (sent, _)) = self.outstanding.range(..self.largest_acked).next()?;
        Some(*sent + self.loss_delay())
    }

    /// When to probe because nothing has arrived for long.
    pub(super) fn timeout(&self) -> Option<Instant> {
        (self.in_flight > 0).then(|| self.last_sent + self.smoothed() + 4 * self.rttvar + ACK_DELAY)
    }

    pub(super) fn window(&self) -> u64 {
        match &self.control {
            Control::Model(model) => model.offered_window(),
            Control::Cubic(cubic) => cubic.window as u64,
            Control::Bbr1(bbr) => bbr.window(),
        }
    }

    pub(in super::super) fn model(&self) -> &Bbr3 {
        match &self.control {
            Control::Model(model) => model,
            _ => panic!("not a flow of ours"),
        }
    }

    fn smoothed(&self) -> Duration {
        self.srtt.unwrap_or(Duration::from_millis(333))
    }

    /// When quinn's pacer sends the next packet.
    pub(super) fn paced(&mut self, now: Instant) -> Option<Instant> {
        let (mut window, rtt) = (self.window() as f64, self.smoothed().as_secs_f64());
        if let Control::Bbr1(bbr) = &self.control {
            // The window for which the lines below give the rate at which this flow paces itself.
            window = bbr.pacing_rate().map_or(window, |rate| rate * rtt / 1.25);
        }
        let mut capacity = (window * BURST.as_secs_f64() / rtt).clamp(10.0 * PACKET as f64, 256.0 * PACKET as f64);
        if let Control::Bbr1(_) = &self.control {
            capacity = KERNEL_BURST * PACKET as f64;
        }
        let elapsed = now.saturating_duration_since(self.refilled).as_secs_f64();
        self.tokens = (self.tokens + window * 1.25 * elapsed / rtt).min(capacity);
        self.refilled = now;
        if self.tokens >= PACKET as f64 {
            return None;
        }
        Some(now + Duration::from_secs_f64((capacity - self.tokens) * rtt / window * 0.8))
    }

    fn loss_delay(&self) -> Duration {
        self.smoothed().max(self.latest_rtt).mul_f64(1.125).max(Duration::from_millis(1))
    }

    fn measure(&mut self, rtt: Duration) {
        self.latest_rtt = rtt;
        let smoothed = self.srtt.unwrap_or(rtt);
        self.rttvar = (3 * self.rttvar + smoothed.abs_diff(rtt)) / 4;
        self.srtt = Some((7 * smoothed + rtt) / 8);
    }

    pub(super) fn acked(&mut self, now: Instant, numbers: &[u64]) {
        for number in numbers {
            let Some((sent, size)) = self.outstanding.remove(number) else { continue };
            self.in_flight -= size;
            self.delivered += size;
            let srtt = self.smoothed();
            match &mut self.control {
                Control::Model(model) => model.packet_acked(sent, size, srtt),
                Control::Cubic(cubic) => cubic.acked(now, size),
                Control::Bbr1(bbr) => bbr.sampler.on_packet_acked(sent, size),
            }
            if *number >= self.largest_acked {
                self.largest_acked = *number;
                self.measure(now - sent);
            }
        }
        match &mut self.control {
            Control::Model(model) => model.ack_ended(now, self.in_flight, self.app_limited),
            Control::Cubic(_) => {}
            Control::Bbr1(bbr) => bbr.acked(now, self.in_flight, self.app_limited),
        }
        self.detect_losses(now);
    }

    pub(super) fn detect_losses(&mut self, now: Instant) {
        let (largest, delay) = (self.largest_acked, self.loss_delay());
        let lost: Vec<_> = self
            .outstanding
            .range(..largest)
            .filter(|(number, (sent, _))| **number + 3 <= largest || now >= *sent + delay)
            .map(|(number, (sent, size))| (*number, *sent, *size))
            .collect();
        let Some((_, newest, _)) = lost.last().copied() else { return };
        let bytes: u64 = lost.iter().map(|(_, _, size)| size).sum();
        for (number, _, _) in &lost {
            self.outstanding.remove(number);
        }
        self.in_flight -= bytes;
        self.pending += bytes;
        match &mut self.control {
            Control::Model(model) => model.congestion(now, newest, false, bytes),
            Control::Cubic(cubic) => cubic.lost(now, newest),
            Control::Bbr1(bbr) => {
                bbr.sampler.on_lost(newest, bytes);
            }
        }
    }
}
