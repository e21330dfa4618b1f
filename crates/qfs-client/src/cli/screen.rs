//! The one place that writes to stdout and stderr, so that results, messages and progress bars do not run into each other
//! and a reader that has gone away is noticed once.

use std::io::{self, IsTerminal as _, Write as _};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use indicatif::MultiProgress;
use tracing_subscriber::fmt::MakeWriter;

use super::report::Problem;

/// Most bytes that wait for the next drawing of the bars; whoever adds more writes them itself.
const MAX_PENDING_BYTES: usize = 64 << 10;

/// stdout and stderr.
#[derive(Debug)]
pub(crate) struct Screen {
    quiet: bool,
    /// Whether a person is being talked to on stdout, so that summaries belong there too.
    dialogue: bool,
    out_is_terminal: bool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The bars on the screen, which every text must make room for.
    bars: Option<MultiProgress>,
    /// Texts that wait for the next drawing of the bars, in order.
    pending: Vec<(Stream, String)>,
    pending_bytes: usize,
    /// Nobody reads stdout any more.
    out_is_closed: bool,
    /// Why writing to stdout failed, when it did for another reason.
    failure: Option<io::Error>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stream {
    Out,
    Err,
}

impl Screen {
    pub(crate) fn new(quiet: bool, dialogue: bool) -> Arc<Self> {
        let out_is_terminal = io::stdout().is_terminal();
        Arc::new(Self { quiet, dialogue, out_is_terminal, state: Mutex::default() })
    }

    /// Whether names on stdout are read by a person on a terminal.
    pub(crate) fn out_is_terminal(&self) -> bool {
        self.out_is_terminal
    }

    /// Whether progress may be drawn.
    pub(crate) fn may_draw(&self) -> bool {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
        !self.quiet && !dumb && io::stderr().is_terminal()
    }

    /// Writes a result, its line ends included; breaks when nobody reads any more.
    pub(crate) fn result(&self, text: &str) -> ControlFlow<()> {
        self.write(Stream::Out, text);
        let state = self.state();
        if state.out_is_closed || state.failure.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// Writes what is no result and no error: one line, unless `--quiet`.
    pub(crate) fn notice(&self, text: &str) {
        if !self.quiet {
            self.write(Stream::Err, &format!("{}\n", super::sanitize::inert(text)));
        }
    }

    /// Writes what sums up: a notice, or in a dialogue a part of it.
    pub(crate) fn summary(&self, text: &str) {
        if self.dialogue {
            let _ = self.result(&format!("{}\n", super::sanitize::inert(text)));
        } else {
            self.notice(text);
        }
    }

    /// Writes an error with its hint.
    pub(crate) fn problem(&self, problem: &Problem) {
        self.write(Stream::Err, &problem.to_string());
    }

    /// Writes to stderr, as it stands.
    pub(crate) fn raw_error(&self, text: &str) {
        self.write(Stream::Err, text);
    }

    /// Why writing to stdout failed, other than by a reader that has gone away.
    pub(crate) fn take_failure(&self) -> Option<io::Error> {
        self.state().failure.take()
    }

    /// From now on texts make room for these bars.
    pub(crate) fn show_bars(&self, bars: MultiProgress) {
        self.state().bars = Some(bars);
    }

    /// Writes what is pending; the bars are gone.
    pub(crate) fn hide_bars(&self) {
        let mut state = self.state();
        if let Some(bars) = state.bars.take() {
            // Fails when the terminal is gone, and then there is nothing to clear.
            let _ = bars.clear();
        }
        state.write_pending();
    }

    /// Writes what is pending above the bars.
    pub(crate) fn flush(&self) {
        self.state().flush();
    }

    fn write(&self, stream: Stream, text: &str) {
        let mut state = self.state();
        state.pending_bytes += text.len();
        state.pending.push((stream, text.to_owned()));
        if state.bars.is_none() || state.pending_bytes > MAX_PENDING_BYTES {
            state.flush();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn flush(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        match self.bars.clone() {
            Some(bars) => bars.suspend(|| self.write_pending()),
            None => self.write_pending(),
        }
    }

    fn write_pending(&mut self) {
        self.pending_bytes = 0;
        for (stream, text) in std::mem::take(&mut self.pending) {
            match stream {
                Stream::Out if self.out_is_closed => {}
                Stream::Out => self.write_out(&text),
                // Nothing can be told when stderr is gone.
                Stream::Err => drop(io::stderr().write_all(text.as_bytes())),
            }
        }
    }

    fn write_out(&mut self, text: &str) {
        let mut out = io::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => self.out_is_closed = true,
            Err(e) => {
                self.out_is_closed = true;
                self.failure = Some(e);
            }
        }
    }
}

/// Logs go through the screen too.
#[derive(Debug, Clone)]
pub(crate) struct LogWriter(pub(crate) Arc<Screen>);

impl io::Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.raw_error(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogWriter {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
