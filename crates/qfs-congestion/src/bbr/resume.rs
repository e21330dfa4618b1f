//! Starting from what an earlier connection knew (draft-ietf-tsvwg-careful-resume).
//!
//! Its phases, in terms of this controller:
//!
//! * **Reconnaissance** is the handshake: something was delivered in both directions, nothing was lost, and the round trip
//!   is like the one that is remembered.
//! * **Unvalidated**: the window jumps to half of what was in flight before, and is sent over most of a round trip. Nothing
//!   that was sent in it has been acknowledged yet, and the window does not grow.
//! * **Validating** is [`Phase::Startup`]: the acknowledgements of what was sent in the jump grow the window as they would
//!   any other, and the signs that end start-up (loss above the threshold, a rising round trip) end it.
//!   A round later the rate is measured at what the path held before, and start-up ends: looking for more is a bandwidth probe's work.
//! * **Safe retreat**: such a sign that comes from packets of the jump. The window falls at once to what was measured since
//!   ([`Phase::Drain`]).

use std::time::{Duration, Instant};

use super::filters::scale;
use super::jump::Resume;
use super::{Bbr3, Phase, STARTUP_PACING_GAIN};
use crate::known_path::{KnownPath, PathMemory};

/// The round trip found may be this many times the remembered one, or one of as many parts of it. Otherwise the path is another
/// one, or somebody keeps a long queue on it (the draft allows up to ten times).
const RTT_RATIO: u32 = 2;

/// Paths with a shorter round trip are not remembered: start-up fills them in the time of a few packets.
const WORTHWHILE_RTT: Duration = Duration::from_millis(5);

/// Gain of the window in [`Resume::Settling`], over what the path held before: what is measured there is not to be bounded by it.
const SETTLING_GAIN: f64 = 1.25;

impl Bbr3 {
    /// Has this controller told of its path, and tell what it finds out, by `memory`.
    pub(crate) fn with_memory(mut self, memory: PathMemory) -> Self {
        self.memory = Some(memory);
        self
    }

    #[cfg(test)]
    pub(crate) fn has_memory(&self) -> bool {
        self.memory.is_some()
    }

    /// Takes up what was recalled, if that is due.
    pub(super) fn check_memory(&mut self, now: Instant) {
        if self.memory.as_ref().is_some_and(PathMemory::is_pending)
            && let Some(rtt) = self.min_rtt.get()
            && let Some(known) = self.memory.as_ref().and_then(PathMemory::take)
        {
            self.jump(now, rtt, known);
        }
    }

    fn jump(&mut self, now: Instant, rtt: Duration, known: KnownPath) {
        let is_like_before = rtt <= known.rtt * RTT_RATIO && known.rtt <= rtt * RTT_RATIO;
        let is_fresh = self.phase == Phase::Startup && self.resume == Resume::None && !self.loss.has_lost();
        let window = known.jump_bytes(rtt);
        if is_like_before && is_fresh && window > self.window {
            self.window = window;
            self.resume = Resume::Unvalidated { since: now, pipe: 2 * window };
        }
    }

    /// A packet sent at `sent` was acknowledged: the first one of the jump begins its validation.
    pub(super) fn note_validation(&mut self, sent: Instant) {
        let delivered = self.sampler.delivered();
        match self.resume {
            Resume::Unvalidated { since, pipe } if sent >= since => {
                self.resume = Resume::Validating { end: delivered + self.sampler.in_flight(), pipe };
            }
            Resume::Validating { end, pipe } if delivered >= end => {
                self.resume = Resume::Settling { end: delivered + self.sampler.in_flight(), pipe };
            }
            Resume::Settling { end, .. } if delivered >= end => self.resume = Resume::Settled,
            _ => {}
        }
    }

    /// The window of start-up, where it would have `grown` to this by what was acknowledged, and is otherwise `bounded` by what was
    /// measured: that trails, and a jump knows more. It comes back to what the path held before, and not beyond that until a whole
    /// round was measured there.
    pub(super) fn startup_window(&self, grown: u64, bounded: u64) -> u64 {
        match self.resume {
            Resume::None | Resume::Settled => grown.min(bounded),
            Resume::Unvalidated { .. } => self.window,
            Resume::Validating { pipe, .. } => grown.min(pipe.max(self.window)),
            Resume::Settling { pipe, .. } => grown.min(scale(pipe, SETTLING_GAIN).max(self.window)),
        }
    }

    /// What start-up sends in a round trip, at most: no more than half of what the path held before, while nothing is known of it, and
    /// then no more than that.
    pub(super) fn startup_round(&self) -> u64 {
        match self.resume {
            Resume::None | Resume::Settled => scale(self.window, STARTUP_PACING_GAIN),
            Resume::Unvalidated { .. } => self.window,
            Resume::Validating { pipe, .. } => pipe,
            Resume::Settling { pipe, .. } => scale(pipe, SETTLING_GAIN),
        }
    }

    /// Tells what is known of the path by now.
    pub(super) fn tell_memory(&self) {
        let Some(memory) = &self.memory else { return };
        if self.full_pipe.is_reached()
            && let Some(rtt) = self.min_rtt.get().filter(|rtt| *rtt >= WORTHWHILE_RTT)
        {
            memory.observe(KnownPath { rate: self.bandwidth().bytes_per_second(), rtt });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sim::{Link, PACKET, Sim};
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Sends `bytes` over `link`, by a sender that is told of `known`: the seconds it took, what was dropped of it, and what was
    /// found out.
    fn transfer(link: Link, bytes: u64, known: Option<KnownPath>) -> (f64, u64, Option<KnownPath>) {
        let memory = PathMemory::default();
        if let Some(known) = known {
            memory.recall(known);
        }
        let mut sim = Sim::new(link, 1);
        sim.add_remembering(bytes, memory.clone());
        while sim.flows[0].finished.is_none() {
            assert!(sim.now() < Duration::from_secs(600), "unfinished after ten minutes");
            sim.run_until(sim.now() + 100 * MS);
        }
        let time = sim.flows[0].finished.unwrap_or_default().as_secs_f64();
        (time, sim.dropped * PACKET, memory.observed())
    }

    #[test]
    fn a_known_path_is_full_in_the_second_round() {
        // Fails without the jump, and without any of what is between the note and the window.
        for (rate, rtt, loss) in [(200.0, 100, 0.01), (500.0, 200, 0.001), (50.0, 50, 0.0)] {
            let link = Link::new(rate, rtt, 1.0, loss);
            let bytes = (rate * 125_000.0) as u64 * 2;
            let (first, _, known) = transfer(link, bytes, None);
            let known = known.unwrap();
            assert!((known.rate as f64 * 8e-6) > 0.9 * rate * (1.0 - 2.0 * loss), "{known:?} of {rate} Mbit/s");
            let (again, dropped, _) = transfer(link, bytes, Some(known));
            let least = bytes as f64 / link.rate / (1.0 - loss);
            assert!(again < least + 3.0 * rtt as f64 / 1000.0, "{again:.3} of {least:.3} s, {first:.3} s before");
            assert!(again < first - rtt as f64 / 1000.0, "{again:.3} s, {first:.3} s before");
            assert!(dropped < known.jump_bytes(known.rtt) / 4, "{dropped} dropped");
        }
    }

    #[test]
    fn a_path_ten_times_slower_costs_no_more_than_one_window() {
        // Fails if a rising round trip or loss does not end the jump.
        let known = KnownPath { rate: 25_000_000, rtt: 100 * MS };
        let jump = known.jump_bytes(known.rtt);
        for queue in [0.2, 1.0, 4.0, 10.0] {
            for loss in [0.0, 0.01] {
                let link = Link::new(20.0, 100, queue, loss);
                let bytes = 10_000_000;
                let (fresh, dropped_fresh, _) = transfer(link, bytes, None);
                let (told, dropped, found) = transfer(link, bytes, Some(known));
                assert!(
                    dropped < jump + dropped_fresh,
                    "{dropped} dropped with a queue of {queue}, {dropped_fresh} else"
                );
                assert!(told < 1.25 * fresh, "{told:.2} s with a queue of {queue}, {fresh:.2} s else");
                let rate = found.unwrap().rate;
                assert!((1_800_000..3_000_000).contains(&rate), "{rate} bytes/s are remembered of 2,500,000");
            }
        }
    }

    #[test]
    fn what_is_not_like_before_is_not_believed() {
        let known = KnownPath { rate: 25_000_000, rtt: 100 * MS };
        let window = |rtt, known| {
            let memory = PathMemory::default();
            let mut sim = Sim::new(Link::new(200.0, rtt, 1.0, 0.0), 1);
            memory.recall(known);
            sim.add_remembering(1_000_000, memory.clone());
            sim.run_until(MS);
            (sim.flows[0].model().window, memory.is_pending())
        };
        let initial = 32 * PACKET;
        assert_eq!(window(100, known), (1_250_000, false));
        assert_eq!(window(150, known), (1_250_000, false));
        assert_eq!(window(60, known), (750_000, false));
        assert_eq!(window(210, known), (initial, false), "a long queue");
        assert_eq!(window(40, known), (initial, false), "another path");
        assert_eq!(window(100, KnownPath { rate: 100_000, ..known }), (initial, false), "less than without");
    }

    /// Fails if a jump is made once start-up has found the path, or over losses.
    #[test]
    fn a_note_that_comes_late_does_nothing() {
        let known = KnownPath { rate: 250_000_000, rtt: 50 * MS };
        for (after, loss) in [(3_000, 0.0), (60, 0.3)] {
            let memory = PathMemory::default();
            let mut sim = Sim::new(Link::new(50.0, 50, 1.0, loss), 3);
            sim.add_remembering(u64::MAX / 2, memory.clone());
            sim.run_until(after * MS);
            memory.recall(known);
            sim.run_until((after + 20) * MS);
            assert!(sim.flows[0].model().window < 1_000_000, "{} after {after} ms", sim.flows[0].model().window);
        }
    }

    #[test]
    fn a_path_that_has_become_faster_is_found_to_be() {
        // Fails if nothing looks for more at once: the next probe would wait for two seconds.
        for (factor, rounds) in [(1.2, 1.0), (2.0, 1.0), (10.0, 4.0)] {
            let known = KnownPath { rate: 2_500_000, rtt: 100 * MS };
            let link = Link::new(20.0 * factor, 100, 1.0, 0.0);
            let bytes = (5_000_000.0 * factor) as u64;
            let (fresh, ..) = transfer(link, bytes, None);
            let (told, ..) = transfer(link, bytes, Some(known));
            assert!(told < fresh + 0.1 * rounds, "{told:.2} s, {fresh:.2} s else");
        }
    }

    /// Fails if the retreat of a jump into a path that somebody else uses is no retreat.
    #[test]
    fn a_jump_beside_another_flow_loses_no_more_than_a_window() {
        for queue in [0.2, 1.0] {
            let link = Link::new(50.0, 50, queue, 0.0);
            let known = KnownPath { rate: 6_250_000, rtt: 50 * MS };
            let memory = PathMemory::default();
            let mut sim = Sim::new(link, 5);
            sim.add_model(u64::MAX / 2);
            sim.run_until(10_000 * MS);
            memory.recall(known);
            sim.add_remembering(u64::MAX / 2, memory);
            let dropped = sim.dropped;
            sim.run_until(11_000 * MS);
            assert!(
                (sim.dropped - dropped) * PACKET < 2 * known.jump_bytes(known.rtt),
                "{} dropped",
                sim.dropped - dropped
            );
            sim.run_until(30_000 * MS);
            let before: Vec<_> = sim.flows.iter().map(|flow| flow.delivered).collect();
            sim.run_until(60_000 * MS);
            let shares: Vec<_> = sim.flows.iter().zip(before).map(|(flow, before)| flow.delivered - before).collect();
            assert!(shares.iter().all(|bytes| *bytes > 60_000_000), "{shares:?} bytes of 187,500,000");
        }
    }
}
