//! Progress on a terminal: a bar for each running file, one for the whole.
//!
//! The network thread only counts ([`Tally`]); a thread of its own looks at the counts ten times a second and draws, so that a
//! slow terminal never slows a download.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use qfs_client::transfer::outcome::{FileOutcome, Status};
use qfs_core::model::escape_untrusted;
use qfs_core::observe::{Event, FileId, Observer};

use super::bars::{FileBar, WholeBar, file_line, whole_line};
use super::report::mirrors::{self, Told};
use super::screen::{self, Screen};

/// Wait between two drawings.
const TICK: Duration = Duration::from_millis(100);

/// Drawings that the rate is taken over: three seconds.
const RATE_TICKS: usize = 30;

/// Most running files that have a line; the others are counted in the line of the whole.
const MAX_BARS: usize = 8;

/// Counts what happens, and draws it while a run is shown.
#[derive(Debug)]
pub(crate) struct Progress {
    screen: Arc<Screen>,
    tally: Arc<Mutex<Tally>>,
}

/// What has happened in the run so far.
#[derive(Debug, Default)]
struct Tally {
    files: usize,
    /// Bytes of the files whose size is known beforehand.
    planned: u64,
    /// Bytes of those that turned out not to be needed.
    spared: u64,
    /// Bytes that the files started so far still lacked when they started.
    lacking: u64,
    received: u64,
    ended: usize,
    running: BTreeMap<FileId, Running>,
}

/// A file under way.
#[derive(Debug, Clone)]
struct Running {
    name: String,
    /// Bytes to be had, what was here already not counted.
    lacking: u64,
    received: u64,
}

impl Progress {
    pub(crate) fn new(screen: Arc<Screen>) -> Arc<Self> {
        Arc::new(Self { screen, tally: Arc::default() })
    }

    /// Starts a run at zero; it is drawn, if `visible`, until the guard is dropped.
    pub(crate) fn begin(&self, visible: bool) -> Drawing {
        *self.tally() = Tally::default();
        let thread = if visible { Artist::hire(&self.screen, &self.tally) } else { None };
        Drawing { thread }
    }

    /// A file ended: what it did not need after all is no longer expected.
    pub(crate) fn ended(&self, outcome: &FileOutcome) {
        if matches!(outcome.status, Status::Unchanged | Status::Failed(_)) {
            let spared = outcome.size.unwrap_or_default().saturating_sub(outcome.received);
            let mut tally = self.tally();
            tally.spared = tally.spared.saturating_add(spared);
        }
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        lock(&self.tally)
    }
}

impl Observer for Progress {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::Planned { files, bytes } => {
                let mut tally = self.tally();
                (tally.files, tally.planned) = (files, bytes);
            }
            Event::Started { file, name, size, resumed_from } => {
                let lacking = size.saturating_sub(resumed_from);
                let running = Running { name: escape_untrusted(name.as_str()), lacking, received: 0 };
                let mut tally = self.tally();
                // A file that starts anew because it changed is counted once.
                if let Some(former) = tally.running.insert(file, running) {
                    tally.lacking = tally.lacking.saturating_sub(former.lacking);
                    tally.received = tally.received.saturating_sub(former.received);
                } else {
                    tally.spared = tally.spared.saturating_add(resumed_from);
                }
                tally.lacking = tally.lacking.saturating_add(lacking);
            }
            // What need not come is as good as here.
            Event::Received { file, bytes } | Event::Spared { file, bytes } => {
                let mut tally = self.tally();
                tally.received += bytes;
                if let Some(running) = tally.running.get_mut(&file) {
                    running.received += bytes;
                }
            }
            Event::Committed { file, .. } | Event::Unchanged { file } | Event::Failed { file } => {
                let mut tally = self.tally();
                tally.ended += 1;
                tally.running.remove(&file);
            }
            Event::Expanded { .. } => {
                let mut tally = self.tally();
                tally.ended = tally.ended.saturating_sub(1);
                tally.files = tally.files.saturating_sub(1);
            }
            Event::Reconnecting { attempt, wait, reason } => {
                let mut text = format!("connection lost ({reason}); connecting again");
                if attempt > 1 {
                    let _ = write!(text, ", attempt {attempt} in {:.1} s", wait.as_secs_f64());
                }
                self.screen.notice(&text);
            }
            Event::WayChanged { to, is_late: true, .. } => {
                self.screen.notice(&format!("note: the server answers over {to} too; going on over it"));
            }
            Event::WayChanged { from, to, .. } => {
                self.screen.notice(&format!("note: nothing comes over {from} any more; going on over {to}"));
            }
            Event::OtherHash { asked, given } => {
                self.screen.notice(&format!("note: the server does not know {asked}; going on with {given}"));
            }
            Event::KeyRenewed { server, old, new } => {
                let text = format!("note: the key of {server} is {new} now, as announced by the one it had, {old}");
                self.screen.notice(&text);
            }
            Event::Mirror { server, news } => match mirrors::told(server, news) {
                Told::Notice(text) => self.screen.notice(&text),
                Told::Problem(problem) => self.screen.problem(&problem),
            },
            _ => {}
        }
    }
}

impl Tally {
    /// Bytes of the whole run, as far as they are known.
    fn expected(&self) -> u64 {
        self.planned.saturating_sub(self.spared).max(self.lacking).max(self.received)
    }
}

/// Draws until it is dropped; then the bars are gone and every text that waited is out.
#[derive(Debug)]
#[must_use]
pub(crate) struct Drawing {
    thread: Option<(mpsc::Sender<()>, JoinHandle<()>)>,
}

impl Drop for Drawing {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.thread.take() {
            drop(stop);
            // A panic there has been reported; the download does not depend on it.
            let _ = thread.join();
        }
    }
}

/// The thread that draws.
struct Artist {
    screen: Arc<Screen>,
    tally: Arc<Mutex<Tally>>,
    colour: bool,
    /// How much had arrived at the last drawings.
    history: VecDeque<(Instant, u64)>,
}

impl Artist {
    fn hire(screen: &Arc<Screen>, tally: &Arc<Mutex<Tally>>) -> Option<(mpsc::Sender<()>, JoinHandle<()>)> {
        let (stop, stopped) = mpsc::channel::<()>();
        let colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let (screen, tally) = (Arc::clone(screen), Arc::clone(tally));
        let mut artist = Self { screen, tally, colour, history: VecDeque::new() };
        let work = move || {
            while stopped.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                artist.draw();
            }
            artist.screen.hide_bars();
        };
        // Without a thread there is no progress to see, which is no reason to fail.
        let thread = std::thread::Builder::new().name("progress".to_owned()).spawn(work).ok()?;
        Some((stop, thread))
    }

    fn draw(&mut self) {
        let (running, mut whole) = {
            let tally = lock(&self.tally);
            if tally.files == 0 {
                return;
            }
            let running: Vec<_> = tally.running.values().take(MAX_BARS).cloned().collect();
            let whole = WholeBar {
                ended: tally.ended,
                files: tally.files,
                more: tally.running.len() - running.len(),
                received: tally.received,
                expected: tally.expected(),
                rate: None,
            };
            (running, whole)
        };
        whole.rate = self.rate(whole.received);
        // The terminal is asked each time: it may have been resized. The last column stays free, because what a terminal does
        // behind a character in it differs.
        let (columns, rows) = screen::terminal_size();
        let width = columns.saturating_sub(1);
        let shown = rows.saturating_sub(2).min(running.len());
        whole.more += running.len() - shown;
        let bar = |file: &Running| {
            let Running { name, received, lacking } = file;
            file_line(FileBar { name, received: *received, lacking: *lacking }, width, self.colour)
        };
        let lines = running[..shown].iter().map(bar);
        self.screen.show_bars(lines.chain([whole_line(whole, width, self.colour)]).collect());
    }

    /// Bytes a second of late.
    fn rate(&mut self, received: u64) -> Option<f64> {
        let now = Instant::now();
        self.history.push_back((now, received));
        if self.history.len() > RATE_TICKS {
            self.history.pop_front();
        }
        let (since, before) = self.history.front()?;
        let (seconds, bytes) = ((now - *since).as_secs_f64(), received.saturating_sub(*before));
        (bytes > 0 && seconds > 0.0).then(|| bytes as f64 / seconds)
    }
}

fn lock(tally: &Mutex<Tally>) -> MutexGuard<'_, Tally> {
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use qfs_core::model::{Digest, RemotePath};

    use super::*;

    fn progress() -> Arc<Progress> {
        Progress::new(Screen::new(true, false))
    }

    #[test]
    fn only_what_is_missing_counts() {
        let progress = progress();
        let name = RemotePath::parse("a").unwrap();
        let _drawing = progress.begin(false);
        progress.event(Event::Planned { files: 3, bytes: 300 });
        progress.event(Event::Started { file: FileId(0), name: &name, size: 100, resumed_from: 40 });
        progress.event(Event::Received { file: FileId(0), bytes: 60 });
        assert_eq!(progress.tally().running[&FileId(0)].received, 60);
        progress.event(Event::Committed { file: FileId(0), digest: Digest::of(b"") });
        let unchanged = FileOutcome {
            name: "b".to_owned(),
            size: Some(100),
            digest: None,
            status: Status::Unchanged,
            received: 0,
            reused: 0,
            elapsed: Duration::ZERO,
        };
        progress.ended(&unchanged);
        let tally = progress.tally();
        assert_eq!((tally.expected(), tally.received, tally.ended, tally.running.len()), (160, 60, 1, 0));
    }

    #[test]
    fn sizes_that_come_late_and_files_that_start_anew() {
        let progress = progress();
        let name = RemotePath::parse("a\x1b").unwrap();
        progress.event(Event::Planned { files: 1, bytes: 0 });
        progress.event(Event::Started { file: FileId(0), name: &name, size: 100, resumed_from: 0 });
        progress.event(Event::Received { file: FileId(0), bytes: 70 });
        progress.event(Event::Started { file: FileId(0), name: &name, size: 80, resumed_from: 0 });
        let tally = progress.tally();
        assert_eq!((tally.expected(), tally.received), (80, 0));
        assert_eq!(tally.running[&FileId(0)].name, "a\\u{1b}");
    }
}
