//! Delivery-rate samples (draft-ietf-ccwg-bbr §4.1), from what quinn tells a controller.
//!
//! quinn names no packets: an acknowledgement carries the time at which its packet was sent, and
//! that time is the key here. What the connection had delivered when a packet left is kept in a
//! ring of [`SendRecord`]s, one for each sixty-fourth of a round trip rather than one for each
//! packet. Both ends of a sample's interval come from the same record, so coalescing costs
//! precision (one part in 64) but no bias.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::filters::Rate;

/// The most records kept, at about 80 bytes each: 80 KiB for a connection under full load. When the ring is full, every
/// second record is dropped, which halves the resolution instead of losing the oldest records.
const MAX_RECORDS: usize = 1024;
/// Records for each smoothed round trip.
const RECORDS_PER_RTT: u32 = 64;

/// The connection's state when a packet (or the first of a few) was sent: `P.*` of §4.1.2.1.
#[derive(Clone, Copy, Debug)]
struct SendRecord {
    sent: Instant,
    first_sent: Instant,
    delivered: u64,
    delivered_at: Instant,
    lost: u64,
    in_flight: u64,
    app_limited: bool,
}

/// What one acknowledgement frame says about the path: `RS.*` of §4.1.2.1.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    /// Bytes newly acknowledged.
    pub(super) acked: u64,
    /// Round trip of the newest packet acknowledged, if it is newer than all before it.
    pub(super) rtt: Option<Duration>,
    /// The rest, when the newest packet's record is known and its interval long enough to trust.
    pub(super) flight: Option<Flight>,
}

/// What happened between the sending of a packet and its acknowledgement.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flight {
    /// Delivery rate over the flight; `None` when the interval was too short to mean anything.
    pub(super) rate: Option<Rate>,
    /// Bytes delivered over the flight.
    pub(super) delivered: u64,
    /// The connection's delivered total when the packet was sent.
    pub(super) prior_delivered: u64,
    /// The application, not the path, bounded this flight.
    pub(super) app_limited: bool,
}

/// What a loss says: the packet's own flight, up to now.
#[derive(Clone, Copy, Debug)]
pub(super) struct LossSample {
    /// Bytes in flight when the lost packet was sent, itself included.
    pub(super) tx_in_flight: u64,
    /// Bytes lost since it was sent, itself included.
    pub(super) lost: u64,
    /// The application, not the path, bounded this flight.
    pub(super) app_limited: bool,
}

/// Connection-wide state: `C.*` of §4.1.2.1.
#[derive(Clone, Debug)]
pub(super) struct Sampler {
    records: VecDeque<SendRecord>,
    delivered: u64,
    delivered_at: Instant,
    lost: u64,
    in_flight: u64,
    /// Send time of the newest packet acknowledged so far: the start of the current flight.
    first_sent: Instant,
    /// Flights are application-limited until this much is delivered.
    app_limited_until: u64,
    batch: Batch,
}

/// What accumulates between two ends of acknowledgement.
#[derive(Clone, Copy, Debug, Default)]
struct Batch {
    acked: u64,
    newest_sent: Option<Instant>,
}

impl Sampler {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            records: VecDeque::new(),
            delivered: 0,
            delivered_at: now,
            lost: 0,
            in_flight: 0,
            first_sent: now,
            app_limited_until: 0,
            batch: Batch::default(),
        }
    }

    /// Bytes delivered over the connection's life.
    pub(super) fn delivered(&self) -> u64 {
        self.delivered
    }

    /// Bytes in flight, to the best of what quinn tells.
    pub(super) fn in_flight(&self) -> u64 {
        self.in_flight
    }

    /// Whether packets sent now count as limited by the application.
    pub(super) fn is_app_limited(&self) -> bool {
        self.app_limited_until > 0
    }

    /// Notes that `bytes` are sent now (§4.1.2.2). `srtt` sets the resolution of the records.
    pub(super) fn on_sent(&mut self, now: Instant, bytes: u64, srtt: Duration) {
        if self.in_flight == 0 {
            // After an idle period the flight starts here, not with the last acknowledgement.
            self.first_sent = now;
            self.delivered_at = now;
        }
        self.in_flight += bytes;
        if let Some(last) = self.records.back_mut()
            && now.saturating_duration_since(last.sent) < srtt / RECORDS_PER_RTT
        {
            last.in_flight = self.in_flight;
            return;
        }
        if self.records.len() == MAX_RECORDS {
            self.halve_resolution();
        }
        self.records.push_back(SendRecord {
            sent: now,
            first_sent: self.first_sent,
            delivered: self.delivered,
            delivered_at: self.delivered_at,
            lost: self.lost,
            in_flight: self.in_flight,
            app_limited: self.app_limited_until > 0,
        });
    }

    /// Notes one acknowledged packet. This runs for every packet, so it only adds numbers up.
    pub(super) fn on_packet_acked(&mut self, sent: Instant, bytes: u64) {
        self.batch.acked += bytes;
        if self.batch.newest_sent.is_none_or(|newest| sent > newest) {
            self.batch.newest_sent = Some(sent);
        }
    }

    /// Closes an acknowledgement frame and makes its sample (§4.1.2.3). `in_flight` is what quinn counts after it, and
    /// `app_limited` says whether there was nothing to send before it. Intervals below `shortest` (the minimum round
    /// trip) give no rate, because such acknowledgements arrived in bunches.
    pub(super) fn on_ack_end(
        &mut self,
        now: Instant,
        in_flight: u64,
        app_limited: bool,
        shortest: Duration,
    ) -> Option<Sample> {
        self.in_flight = in_flight;
        let Batch { acked, newest_sent } = std::mem::take(&mut self.batch);
        let sent = newest_sent?;
        self.delivered += acked;
        self.delivered_at = now;
        if self.delivered > self.app_limited_until {
            self.app_limited_until = 0;
        }
        if app_limited {
            self.mark_app_limited();
        }
        // An acknowledgement of old packets only (reordered or late) does not end a flight.
        let newer = sent >= self.first_sent;
        let sample = Sample {
            acked,
            rtt: newer.then(|| now.saturating_duration_since(sent)),
            flight: newer.then(|| self.flight(now, sent, shortest)).flatten(),
        };
        if newer {
            self.first_sent = sent;
            self.forget_before(sent, now.saturating_duration_since(sent) / 2);
        }
        Some(sample)
    }

    /// Marks what is sent until everything now in flight is delivered as limited by the application
    /// (§4.1.2.4).
    pub(super) fn mark_app_limited(&mut self) {
        self.app_limited_until = (self.delivered + self.in_flight).max(1);
    }

    /// Notes `bytes` declared lost, the newest of which was sent at `sent`.
    pub(super) fn on_lost(&mut self, sent: Instant, bytes: u64) -> LossSample {
        self.lost += bytes;
        self.in_flight = self.in_flight.saturating_sub(bytes);
        match self.record(sent) {
            Some(record) => LossSample {
                tx_in_flight: record.in_flight,
                lost: self.lost - record.lost,
                app_limited: record.app_limited,
            },
            None => LossSample { tx_in_flight: self.in_flight + bytes, lost: bytes, app_limited: true },
        }
    }

    fn flight(&self, now: Instant, sent: Instant, shortest: Duration) -> Option<Flight> {
        let record = self.record(sent)?;
        let delivered = self.delivered - record.delivered;
        let send_elapsed = sent.saturating_duration_since(record.first_sent);
        let ack_elapsed = now.saturating_duration_since(record.delivered_at);
        // Data cannot arrive faster than it was sent, so the longer interval is the right one.
        let interval = send_elapsed.max(ack_elapsed);
        Some(Flight {
            rate: (interval >= shortest).then(|| Rate::of(delivered, interval)).flatten(),
            delivered,
            prior_delivered: record.delivered,
            app_limited: record.app_limited,
        })
    }

    /// The last record made at or before `sent`.
    fn record(&self, sent: Instant) -> Option<&SendRecord> {
        let after = self.records.partition_point(|record| record.sent <= sent);
        self.records.get(after.checked_sub(1)?)
    }

    /// Drops records that neither an acknowledgement nor a loss will ask for: losses trail the
    /// newest acknowledged packet by an eighth of a round trip (RFC 9002 §6.1.2), hence `margin`.
    fn forget_before(&mut self, sent: Instant, margin: Duration) {
        while self.records.get(1).is_some_and(|second| second.sent + margin < sent) {
            self.records.pop_front();
        }
    }

    fn halve_resolution(&mut self) {
        let mut keep = false;
        self.records.retain(|_| {
            keep = !keep;
            keep
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const PACKET: u64 = 1000;

    /// Sends a packet every millisecond and acknowledges each 10 ms later: 1 MB/s.
    fn steady(sampler: &mut Sampler, start: Instant, packets: u32, app_limited: bool) -> Vec<Sample> {
        let mut samples = Vec::new();
        for tick in 0..packets + 10 {
            let now = start + tick * MS;
            if tick >= 10 {
                sampler.on_packet_acked(now - 10 * MS, PACKET);
                let in_flight = sampler.in_flight() - PACKET;
                samples.extend(sampler.on_ack_end(now, in_flight, app_limited, 10 * MS));
            }
            if tick < packets {
                sampler.on_sent(now, PACKET, 10 * MS);
            }
        }
        samples
    }

    #[test]
    fn measures_the_rate_of_a_steady_flow() {
        let start = Instant::now();
        let samples = steady(&mut Sampler::new(start), start, 100, false);
        let last = samples.last().unwrap().flight.unwrap();
        let rate = last.rate.unwrap().bytes_per_second();
        assert!((950_000..=1_050_000).contains(&rate), "{rate} bytes/s");
        assert!(!last.app_limited);
        assert_eq!(samples.last().unwrap().rtt, Some(10 * MS));
    }

    #[test]
    fn bunched_acknowledgements_do_not_inflate_the_rate() {
        let start = Instant::now();
        let mut sampler = Sampler::new(start);
        steady(&mut sampler, start, 100, false);
        // Twenty packets sent over 20 ms, acknowledged within 100 µs after a pause.
        let resumed = start + 120 * MS;
        for tick in 0..20 {
            sampler.on_sent(resumed + tick * MS, PACKET, 10 * MS);
        }
        for tick in 0..20 {
            let now = resumed + 30 * MS + tick * Duration::from_micros(5);
            sampler.on_packet_acked(resumed + tick * MS, PACKET);
            let in_flight = sampler.in_flight() - PACKET;
            let sample = sampler.on_ack_end(now, in_flight, false, 10 * MS).unwrap();
            if let Some(rate) = sample.flight.and_then(|flight| flight.rate) {
                assert!(rate.bytes_per_second() <= 1_100_000, "{rate:?}");
            }
        }
    }

    #[test]
    fn flights_are_marked_while_the_application_is_the_limit() {
        let start = Instant::now();
        let mut sampler = Sampler::new(start);
        let samples = steady(&mut sampler, start, 60, true);
        assert!(samples[40].flight.unwrap().app_limited);
        let samples = steady(&mut sampler, start + 1000 * MS, 60, false);
        assert!(!samples[40].flight.unwrap().app_limited);
    }

    #[test]
    fn a_loss_reports_its_own_flight() {
        let start = Instant::now();
        let mut sampler = Sampler::new(start);
        for tick in 0..10 {
            sampler.on_sent(start + tick * MS, PACKET, 10 * MS);
        }
        let loss = sampler.on_lost(start + 4 * MS, 2 * PACKET);
        assert_eq!(loss.tx_in_flight, 5 * PACKET);
        assert_eq!(loss.lost, 2 * PACKET);
        assert_eq!(sampler.in_flight(), 8 * PACKET);
    }

    #[test]
    fn records_are_bounded_whatever_is_sent_unacknowledged() {
        let start = Instant::now();
        let mut sampler = Sampler::new(start);
        for tick in 0..20_000 {
            sampler.on_sent(start + tick * MS, PACKET, 2 * MS);
        }
        assert!(sampler.records.len() <= MAX_RECORDS);
        sampler.on_packet_acked(start + 19_999 * MS, PACKET);
        let sample = sampler.on_ack_end(start + 20_010 * MS, 0, false, MS).unwrap();
        assert!(sample.flight.is_some());
        assert!(sampler.records.len() < 20, "{} records kept", sampler.records.len());
    }
}
