//! A discrete-event simulation of senders that share one bottleneck, for the tests of the
//! controller: seeded, and on simulated time only.
//!
//! Senders pace, detect losses and probe as quinn does; receivers acknowledge every second packet,
//! out-of-order ones at once, and any after 25 ms. The bottleneck loses packets at random before
//! its drop-tail queue. The way back is a delay.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

mod flow;
mod rivals;

use super::{Bbr3, Bbr3Config};
use crate::known_path::PathMemory;
use flow::{Control, Flow};
use rivals::{Bbr1, Cubic};

pub(super) const PACKET: u64 = 1450;
const ACK_DELAY: Duration = Duration::from_millis(25);

/// The bottleneck and the way to it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    /// Bytes per second.
    pub(super) rate: f64,
    /// One way.
    pub(super) delay: Duration,
    /// Bytes the queue holds.
    pub(super) queue: u64,
    /// Probability of losing a packet before the queue.
    pub(super) loss: f64,
}

impl Link {
    /// A link of `megabit` per second with a round trip of `rtt_ms` and a queue of `queue_bdp`
    /// bandwidth-delay products.
    pub(super) fn new(megabit: f64, rtt_ms: u64, queue_bdp: f64, loss: f64) -> Self {
        let rate = megabit * 125_000.0;
        let bdp = rate * rtt_ms as f64 / 1000.0;
        let queue = ((bdp * queue_bdp) as u64).max(15 * PACKET);
        Self { rate, delay: Duration::from_micros(rtt_ms * 500), queue, loss }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrive { flow: usize, number: u64 },
    AckTimer { flow: usize, expected: u64 },
    Acked { flow: usize, ack: usize },
    Wake { flow: usize },
}

pub(super) struct Sim {
    pub(super) link: Link,
    pub(super) flows: Vec<Flow>,
    /// Packets lost at random, and dropped by the full queue.
    pub(super) lost: u64,
    pub(super) dropped: u64,
    pub(super) sent: u64,
    /// The most bytes in the queue since a test reset this.
    pub(super) peak_queue: f64,
    base: Instant,
    now: Duration,
    link_free: Duration,
    events: BinaryHeap<Reverse<(Duration, u64, Event)>>,
    order: u64,
    acks: Vec<Vec<u64>>,
    rng: u64,
}

impl Sim {
    pub(super) fn new(link: Link, seed: u64) -> Self {
        Self {
            link,
            flows: Vec::new(),
            lost: 0,
            dropped: 0,
            sent: 0,
            peak_queue: 0.0,
            base: Instant::now(),
            now: Duration::ZERO,
            link_free: Duration::ZERO,
            events: BinaryHeap::new(),
            order: 0,
            acks: Vec::new(),
            rng: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
        }
    }

    /// One model-based flow with `bytes` to send.
    pub(super) fn single(link: Link, bytes: u64, seed: u64) -> Self {
        let mut sim = Self::new(link, seed);
        sim.add_model(bytes);
        sim
    }

    pub(super) fn add_model(&mut self, bytes: u64) {
        let config = Bbr3Config::seeded(self.rng ^ self.flows.len() as u64);
        let now = self.base + self.now;
        self.add(Control::Model(Box::new(Bbr3::new(config, now, PACKET as u16))), bytes);
    }

    /// As [`Self::add_model`], for a sender that is told of its path and tells of it by `memory`, right behind its handshake.
    pub(super) fn add_remembering(&mut self, bytes: u64, memory: PathMemory) {
        let config = Bbr3Config::seeded(self.rng ^ self.flows.len() as u64);
        let (now, rtt) = (self.base + self.now, 2 * self.link.delay);
        let begun = now - rtt;
        let mut model = Bbr3::new(config, begun, PACKET as u16).with_memory(memory);
        model.packet_sent(begun, PACKET);
        model.packet_acked(begun, PACKET, rtt);
        model.ack_ended(now, 0, true);
        self.add(Control::Model(Box::new(model)), bytes);
    }

    pub(super) fn add_cubic(&mut self, bytes: u64) {
        self.add(Control::Cubic(Cubic::default()), bytes);
    }

    pub(super) fn add_bbr1(&mut self, bytes: u64) {
        let now = self.base + self.now;
        self.add(Control::Bbr1(Box::new(Bbr1::new(now))), bytes);
    }

    fn add(&mut self, control: Control, pending: u64) {
        let now = self.base + self.now;
        // The handshake has measured the round trip already.
        self.flows.push(Flow::new(control, pending, 2 * self.link.delay, now));
        let flow = self.flows.len() - 1;
        self.wake(flow, Duration::ZERO);
    }

    /// Gives a flow more to send.
    pub(super) fn write(&mut self, flow: usize, bytes: u64) {
        self.flows[flow].pending += bytes;
        self.wake(flow, Duration::ZERO);
    }

    /// Tells a flow that nothing arrived for several time-outs.
    pub(super) fn persistent_congestion(&mut self, flow: usize) {
        let now = self.base + self.now;
        if let Control::Model(model) = &mut self.flows[flow].control {
            model.congestion(now, now, true, 0);
        }
    }

    pub(super) fn now(&self) -> Duration {
        self.now
    }

    /// Runs until `end` of simulated time, or until nothing is left to do.
    pub(super) fn run_until(&mut self, end: Duration) {
        while let Some(Reverse((at, _, event))) = self.events.peek().copied() {
            if at > end {
                break;
            }
            self.events.pop();
            self.now = at;
            self.handle(event);
        }
        self.now = end;
    }

    fn after(&mut self, delay: Duration, event: Event) {
        self.order += 1;
        self.events.push(Reverse((self.now + delay, self.order, event)));
    }

    /// Sets a sender's only timer.
    fn wake(&mut self, flow: usize, delay: Duration) {
        self.flows[flow].wake = Some(self.now + delay);
        self.after(delay, Event::Wake { flow });
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Arrive { flow, number } => self.arrive(flow, number),
            Event::AckTimer { flow, expected } => {
                if self.flows[flow].expected == expected {
                    self.acknowledge(flow);
                }
            }
            Event::Acked { flow, ack } => {
                let numbers = std::mem::take(&mut self.acks[ack]);
                self.flows[flow].acked(self.base + self.now, &numbers);
                self.poll(flow);
            }
            // A later decision has moved the timer.
            Event::Wake { flow } if self.flows[flow].wake != Some(self.now) => {}
            Event::Wake { flow } => self.poll(flow),
        }
    }

    fn arrive(&mut self, flow: usize, number: u64) {
        let state = &mut self.flows[flow];
        let in_order = number == state.expected;
        state.expected = state.expected.max(number + 1);
        state.received.push(number);
        let (expected, waiting) = (state.expected, state.received.len());
        if waiting >= 2 || !in_order {
            self.acknowledge(flow);
        } else {
            self.after(ACK_DELAY, Event::AckTimer { flow, expected });
        }
    }

    fn acknowledge(&mut self, flow: usize) {
        let numbers = std::mem::take(&mut self.flows[flow].received);
        if !numbers.is_empty() {
            self.acks.push(numbers);
            let ack = self.acks.len() - 1;
            self.after(self.link.delay, Event::Acked { flow, ack });
        }
    }

    /// Lets a sender send what it may, and sets its next timer.
    fn poll(&mut self, flow: usize) {
        let now = self.base + self.now;
        self.flows[flow].detect_losses(now);
        let mut wake = None;
        loop {
            let state = &mut self.flows[flow];
            state.app_limited = state.pending == 0;
            if state.pending == 0 {
                if state.in_flight == 0 && state.finished.is_none() {
                    state.finished = Some(self.now);
                }
                break;
            }
            if state.in_flight + PACKET >= state.window() {
                break;
            }
            wake = state.paced(now);
            if wake.is_some() {
                break;
            }
            self.transmit(flow);
        }
        self.probe_if_silent(flow, now);
        let state = &self.flows[flow];
        wake = [wake, state.loss_time(), state.timeout()].into_iter().flatten().min();
        if let Some(at) = wake {
            let delay = at.saturating_duration_since(now).max(Duration::from_micros(20));
            self.wake(flow, delay);
        }
    }

    fn probe_if_silent(&mut self, flow: usize, now: Instant) {
        let state = &mut self.flows[flow];
        if state.timeout().is_some_and(|timeout| now >= timeout) {
            state.pending += PACKET;
            self.transmit(flow);
        }
    }

    fn transmit(&mut self, flow: usize) {
        let (number, size) = self.flows[flow].send(self.base + self.now);
        self.sent += 1;
        if self.uniform() < self.link.loss {
            self.lost += 1;
            return;
        }
        let start = self.link_free.max(self.now);
        let backlog = (start - self.now).as_secs_f64() * self.link.rate;
        self.peak_queue = self.peak_queue.max(backlog);
        if backlog + size as f64 > self.link.queue as f64 {
            self.dropped += 1;
            return;
        }
        self.link_free = start + Duration::from_secs_f64(size as f64 / self.link.rate);
        let delay = self.link_free - self.now + self.link.delay;
        self.after(delay, Event::Arrive { flow, number });
    }

    fn uniform(&mut self) -> f64 {
        self.rng ^= self.rng << 13;
        self.rng ^= self.rng >> 7;
        self.rng ^= self.rng << 17;
        (self.rng >> 11) as f64 / (1u64 << 53) as f64
    }
}
