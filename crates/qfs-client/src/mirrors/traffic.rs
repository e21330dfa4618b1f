//! What a server was asked for and what it sent: how fast it is, and since when it is silent.

use std::time::{Duration, Instant};

/// What a rate is measured over.
pub(super) const WINDOW: Duration = Duration::from_millis(200);

/// How much the latest window counts in a rate.
const LATEST: f64 = 0.4;

/// What one server was asked for and what it sent.
pub(super) struct Traffic {
    bytes: u64,
    /// Bytes asked of it, and questions.
    under_way: u64,
    questions: usize,
    /// When it last sent something, or began to owe an answer.
    heard: Instant,
    busy: Duration,
    busy_since: Option<Instant>,
    /// Since when, and how many bytes had come by then.
    window: (Instant, u64),
    rate: Option<f64>,
}

impl Traffic {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self {
            bytes: 0,
            under_way: 0,
            questions: 0,
            heard: now,
            busy: Duration::ZERO,
            busy_since: None,
            window: (now, 0),
            rate: None,
        }
    }

    /// A question for `bytes` was asked.
    pub(super) fn begun(&mut self, bytes: u64) {
        if self.questions == 0 {
            let now = Instant::now();
            (self.heard, self.busy_since) = (now, Some(now));
            self.window = (now, self.bytes);
        }
        self.questions += 1;
        self.under_way += bytes;
    }

    /// A question for `bytes` was answered, or given up.
    pub(super) fn ended(&mut self, bytes: u64) {
        self.measure();
        self.under_way -= bytes;
        self.questions -= 1;
        if self.questions == 0
            && let Some(since) = self.busy_since.take()
        {
            self.busy += since.elapsed();
        }
    }

    /// Bytes of content arrived.
    pub(super) fn came(&mut self, bytes: u64) {
        self.bytes += bytes;
        self.heard = Instant::now();
    }

    /// Bytes of content arrived over `took` outside of questions: nothing is learnt from them about its rate.
    pub(super) fn came_besides(&mut self, bytes: u64, took: Duration) {
        self.bytes += bytes;
        self.window.1 += bytes;
        self.busy += took;
    }

    /// Takes what has come by now into the rate.
    pub(super) fn measure(&mut self) {
        let (since, before) = self.window;
        let elapsed = since.elapsed();
        if self.questions == 0 || elapsed < WINDOW {
            return;
        }
        let latest = (self.bytes - before) as f64 / elapsed.as_secs_f64();
        self.rate = Some(self.rate.map_or(latest, |rate| rate + LATEST * (latest - rate)));
        self.window = (Instant::now(), self.bytes);
    }

    /// Since when it owes an answer and has sent nothing; zero when it owes none.
    pub(super) fn silent_for(&self) -> Duration {
        if self.questions == 0 { Duration::ZERO } else { self.heard.elapsed() }
    }

    /// All bytes of content that it sent.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes a second of late; None when it has not been measured.
    pub(super) fn rate(&self) -> Option<f64> {
        self.rate
    }

    /// Bytes asked of it that have not been answered.
    pub(super) fn under_way(&self) -> u64 {
        self.under_way
    }

    /// How long it owed something.
    pub(super) fn busy(&self) -> Duration {
        self.busy + self.busy_since.map_or(Duration::ZERO, |since| since.elapsed())
    }
}
