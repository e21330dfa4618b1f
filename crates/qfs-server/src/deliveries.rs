//! Who is told what was handed out, and how that is counted. Knows no door and no file.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;

use bytes::Bytes;
use qfs_core::model::Holes;
use qfs_core::stream::{ByteSink, StreamError};
use qfs_core::wire::StatusCode;

/// What an answer has handed out of a file, also one that was broken off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery<'a> {
    /// Its name as the client had it.
    pub name: &'a str,
    /// Bytes of it, each as often as the answer has it.
    pub bytes: u64,
}

/// Told of each [`Delivery`], while its client waits.
pub struct Deliveries(Box<dyn Fn(Delivery<'_>) + Send + Sync>);

impl Deliveries {
    /// Has `told` called, on any thread. It must not block.
    pub fn new(told: impl Fn(Delivery<'_>) + Send + Sync + 'static) -> Self {
        Self(Box::new(told))
    }

    pub(crate) fn tell(&self, delivery: Delivery<'_>) {
        (self.0)(delivery);
    }
}

impl fmt::Debug for Deliveries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Deliveries")
    }
}

/// The file that an answer hands out, or the one that an archive has got to.
#[derive(Debug, Default)]
#[cfg(feature = "http")]
pub(crate) struct Handed(Option<(String, u64)>);

#[cfg(feature = "http")]
impl Handed {
    /// The count of what is handed out of the file `name` from now on.
    pub(crate) fn begin(&mut self, name: &str) -> &mut u64 {
        &mut self.0.insert((name.to_owned(), 0)).1
    }

    /// Tells `deliveries` of the file, if there is one. Nothing is all of an empty file, but only where the answer `is_whole`.
    pub(crate) fn tell(&mut self, deliveries: Option<&Deliveries>, is_whole: bool) {
        if let (Some((name, bytes)), Some(deliveries)) = (self.0.take(), deliveries)
            && (is_whole || bytes > 0)
        {
            deliveries.tell(Delivery { name: &name, bytes });
        }
    }
}

/// A sink for the body of an answer, which adds up what was handed out of the file. The count is kept elsewhere, so that it stays
/// when the answer is dropped in the middle.
pub(crate) struct Counting<'a, K> {
    sink: &'a mut K,
    count: &'a mut u64,
    /// The place in the file.
    at: u64,
    /// What is not sent, because the client knows it when it has what is around it.
    holes: VecDeque<Range<u64>>,
}

impl<'a, K: ByteSink> Counting<'a, K> {
    /// Adds to `count` what is sent through it to `sink`.
    pub(crate) fn new(sink: &'a mut K, count: &'a mut u64) -> Self {
        Self { sink, count, at: 0, holes: VecDeque::new() }
    }

    /// As [`Self::new`], for bytes from `start` on with `holes` left out, which count as they are passed.
    pub(crate) fn around(sink: &'a mut K, count: &'a mut u64, start: u64, holes: &Holes) -> Self {
        Self { sink, count, at: start, holes: holes.iter().cloned().collect() }
    }

    /// All was sent: what is left out behind it counts too.
    pub(crate) fn end(mut self) {
        self.pass_holes();
    }

    fn pass_holes(&mut self) {
        while let Some(hole) = self.holes.front().filter(|hole| hole.start <= self.at) {
            *self.count += hole.end.saturating_sub(self.at);
            self.at = self.at.max(hole.end);
            self.holes.pop_front();
        }
    }
}

impl<K: ByteSink> ByteSink for Counting<'_, K> {
    async fn send(&mut self, bytes: Bytes) -> Result<(), StreamError> {
        let length = bytes.len() as u64;
        self.sink.send(bytes).await?;
        self.pass_holes();
        *self.count += length;
        self.at += length;
        Ok(())
    }

    fn finish(&mut self) {
        self.sink.finish();
    }

    fn reset(&mut self, code: StatusCode) {
        self.sink.reset(code);
    }

    fn set_priority(&mut self, priority: i32) {
        self.sink.set_priority(priority);
    }

    async fn stopped(&mut self) {
        self.sink.stopped().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes everything.
    struct Nowhere;

    impl ByteSink for Nowhere {
        async fn send(&mut self, _: Bytes) -> Result<(), StreamError> {
            Ok(())
        }

        fn finish(&mut self) {}

        fn reset(&mut self, _: StatusCode) {}

        fn set_priority(&mut self, _: i32) {}

        async fn stopped(&mut self) {}
    }

    // Fails when holes that a client has by what is around them are missing in the end, or count before that.
    #[tokio::test]
    async fn holes_count_as_they_are_passed() {
        let holes = Holes::new(vec![10..20, 23..30, 31..40]).unwrap();
        let (mut count, mut sink) = (0, Nowhere);
        let mut counting = Counting::around(&mut sink, &mut count, 10, &holes);
        let mut seen = vec![*counting.count];
        for bytes in [&b"ab"[..], b"c", b"d"] {
            counting.send(Bytes::from_static(bytes)).await.unwrap();
            seen.push(*counting.count);
        }
        counting.end();
        assert_eq!((seen, count), (vec![0, 12, 13, 21], 30));
    }
}
