//! How often, with which random numbers, and what is said of it.

use std::time::Instant;

/// Seed of a run for which none is given: CI repeats itself.
const DEFAULT_SEED: u64 = 1;

/// The seed of this run.
pub(crate) fn seed() -> u64 {
    number("QFS_TORTURE_SEED").unwrap_or(DEFAULT_SEED)
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is not a number: {text:?}")))
}

/// How often `name` is done: `short` in CI.
pub(crate) fn count(name: &str, short: u64) -> u64 {
    let own = number(&format!("QFS_TORTURE_{}", name.to_uppercase()));
    own.unwrap_or_else(|| short * number("QFS_TORTURE_SCALE").unwrap_or(1))
}

/// Counts what was done, tells how far it is and what it came to. `scripts/torture.sh` reads the last line.
pub(crate) struct Tally {
    name: &'static str,
    total: u64,
    done: u64,
    notes: Vec<(String, u64)>,
    begun: Instant,
}

impl Tally {
    pub(crate) fn new(name: &'static str, total: u64) -> Self {
        eprintln!("torture: {name}, seed {}", seed());
        Self { name, total, done: 0, notes: Vec::new(), begun: Instant::now() }
    }

    /// One more, which came out as `note`.
    pub(crate) fn note(&mut self, note: &str) {
        self.done += 1;
        match self.notes.iter_mut().find(|(known, _)| known == note) {
            Some((_, count)) => *count += 1,
            None => self.notes.push((note.to_owned(), 1)),
        }
        eprintln!("torture: {} {}/{} {note}", self.name, self.done, self.total);
    }

    /// How many came out as `note`.
    pub(crate) fn of(&self, note: &str) -> u64 {
        self.notes.iter().find(|(known, _)| known == note).map_or(0, |(_, count)| *count)
    }

    /// All of them were done, and `figure` is what was measured.
    pub(crate) fn end(self, figure: &str) {
        assert_eq!(self.done, self.total, "{}", self.name);
        let mut notes: Vec<_> = self.notes.iter().map(|(note, count)| format!("{count} {note}")).collect();
        if !figure.is_empty() {
            notes.push(figure.to_owned());
        }
        let seconds = self.begun.elapsed().as_secs();
        eprintln!("torture-result: {} | {}/{} | {} | {seconds} s", self.name, self.done, self.total, notes.join(", "));
    }
}
