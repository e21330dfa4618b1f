//! What of an assembly is where: how far it is whole, what lies beyond that, and what of it is still in memory. Pure.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;

use super::coverage::{Coverage, Kind};

/// Pieces that may wait in memory to be hashed while whoever wrote them goes on: one is hashed, and the next is at hand.
pub(super) const WARM_PIECES: usize = 1;

/// Held for moments, and never while anything is waited for.
pub(super) struct Places {
    /// All bytes before this are written and hashed. Moved by whoever holds the digest.
    frontier: u64,
    /// What is there beyond the frontier.
    beyond: Coverage,
    /// The frontier last recorded on disk.
    pub(super) recorded: u64,
    /// Pieces that are stored and will be next at the frontier, by their offsets: they are hashed without being read back.
    warm: BTreeMap<u64, Vec<Bytes>>,
}

/// What adjoins the frontier.
pub(super) enum Next {
    /// A piece that is at hand.
    Warm(Vec<Bytes>),
    /// Bytes that are to be read back.
    Stored(Range<u64>),
    /// Bytes that were hashed, up to here.
    Hashed(u64),
    /// A hole.
    Zeros(Range<u64>),
}

impl Places {
    /// Nothing is there, and `recorded` was the frontier of a former run.
    pub(super) fn new(recorded: u64) -> Self {
        Self { frontier: 0, beyond: Coverage::default(), recorded, warm: BTreeMap::new() }
    }

    pub(super) fn frontier(&self) -> u64 {
        self.frontier
    }

    /// Adds a part of which nothing is there.
    pub(super) fn add(&mut self, range: Range<u64>, kind: Kind) {
        self.beyond.add(range, kind);
    }

    /// Adds `bytes`, which are stored at `start`, and keeps them at hand if they will be next. Whether as many wait as may.
    pub(super) fn add_warm(&mut self, start: u64, bytes: Vec<Bytes>) -> bool {
        let end = start + bytes.iter().map(|piece| piece.len() as u64).sum::<u64>();
        self.beyond.add(start..end, Kind::Stored);
        // Behind a gap they could be many, and wait for long.
        let is_next = self
            .beyond
            .first()
            .is_some_and(|(first, last, kind)| first == self.frontier && last >= end && kind == Kind::Stored);
        if is_next && start < end {
            self.warm.insert(start, bytes);
        }
        is_next && self.warm.len() > WARM_PIECES
    }

    /// What adjoins the frontier, if anything. A piece at hand is given away: it is hashed, or lost with the digest.
    pub(super) fn next(&mut self) -> Option<Next> {
        let (start, end, kind) = self.beyond.first().filter(|(start, ..)| *start == self.frontier)?;
        Some(match kind {
            Kind::Stored => match self.warm.first_key_value().map(|(&at, _)| at) {
                Some(at) if at == start => Next::Warm(self.warm.remove(&at)?),
                Some(at) => Next::Stored(start..end.min(at)),
                None => Next::Stored(start..end),
            },
            Kind::Hashed => Next::Hashed(end),
            Kind::Zeros => Next::Zeros(start..end),
        })
    }

    /// Whether anything but a hole adjoins the frontier.
    pub(super) fn is_more(&self) -> bool {
        self.beyond.first().is_some_and(|(start, _, kind)| start == self.frontier && kind != Kind::Zeros)
    }

    /// Moves the frontier over what was hashed.
    pub(super) fn pass(&mut self, frontier: u64) {
        self.frontier = frontier;
        self.beyond.forget_before(frontier);
    }

    /// Everything that was hashed is to be hashed from where it is stored.
    pub(super) fn start_over(&mut self) {
        self.beyond.unhash();
        self.beyond.add(0..self.frontier, Kind::Stored);
        self.frontier = 0;
        self.warm.clear();
    }

    /// What of `range` is neither behind the frontier nor there beyond it.
    pub(super) fn missing_in(&self, range: Range<u64>) -> Vec<Range<u64>> {
        self.beyond.gaps(&(range.start.max(self.frontier)..range.end))
    }

    /// Whether all of `range` is one hole.
    pub(super) fn is_hole(&self, range: &Range<u64>) -> bool {
        self.beyond.is_zeros(range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(length: usize) -> Vec<Bytes> {
        vec![Bytes::from(vec![7; length])]
    }

    // Fails when pieces behind a gap are kept in memory, when one at hand is read back, or when nobody is told to wait.
    #[test]
    fn only_what_comes_next_is_kept_at_hand() {
        let mut places = Places::new(0);
        assert!(!places.add_warm(100, piece(50)) && places.warm.is_empty(), "behind a gap");
        assert!(!places.add_warm(0, piece(10)));
        assert!(places.add_warm(10, piece(10)), "a second one has to wait");
        assert!(matches!(places.next(), Some(Next::Warm(bytes)) if bytes[0].len() == 10));
        places.pass(10);
        assert!(places.is_more());
        assert!(matches!(places.next(), Some(Next::Warm(_))));
        places.pass(20);
        assert!(!places.is_more() && places.next().is_none());
        places.add(20..100, Kind::Stored);
        assert!(!places.add_warm(150, piece(5)), "what was behind a gap adjoins now");
        assert!(matches!(places.next(), Some(Next::Stored(range)) if range == (20..150)), "up to what is at hand");
        places.pass(150);
        assert!(matches!(places.next(), Some(Next::Warm(_))));
        places.pass(155);
        places.add(155..160, Kind::Zeros);
        assert!(!places.is_more() && matches!(places.next(), Some(Next::Zeros(range)) if range == (155..160)));
        places.start_over();
        assert_eq!((places.frontier(), places.missing_in(0..200)), (0, vec![160..200]));
    }
}
