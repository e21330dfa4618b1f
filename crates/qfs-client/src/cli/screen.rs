//! The one place that writes to stdout and stderr, so that results, messages and progress bars do not run into each other
//! and a reader that has gone away is noticed once.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
    /// The lines of progress, which every text must make room for; none when nothing is drawn.
    bars: Vec<String>,
    /// How many of them are on the screen. The cursor stands behind the last one.
    drawn: usize,
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

    /// Shows these lines, and what is pending above them. None may be wider than the terminal, nor all of them higher.
    pub(crate) fn show_bars(&self, lines: Vec<String>) {
        let mut state = self.state();
        state.bars = lines;
        state.flush();
    }

    /// Clears the lines and writes what is pending.
    pub(crate) fn hide_bars(&self) {
        self.show_bars(Vec::new());
    }

    fn write(&self, stream: Stream, text: &str) {
        let mut state = self.state();
        state.pending_bytes += text.len();
        state.pending.push((stream, text.to_owned()));
        if state.bars.is_empty() || state.pending_bytes > MAX_PENDING_BYTES {
            state.flush();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Writes what is pending above the lines of progress, and these as they are now.
    fn flush(&mut self) {
        let mut drawing = String::new();
        if self.drawn > 0 {
            drawing.push('\r');
            if self.drawn > 1 {
                // Writing to a String cannot fail. ECMA-48: CUU goes up, EL clears to the end of the line, ED to that of the screen.
                let _ = write!(drawing, "\x1b[{}A", self.drawn - 1);
            }
            if !self.pending.is_empty() || self.bars.is_empty() {
                drawing.push_str("\x1b[J");
            }
        }
        if !self.pending.is_empty() {
            // Nothing can be told when stderr is gone.
            drop(io::stderr().write_all(std::mem::take(&mut drawing).as_bytes()));
            self.write_pending();
        }
        for (n, line) in self.bars.iter().enumerate() {
            let end = if n > 0 { "\r\n" } else { "" };
            let _ = write!(drawing, "{end}{line}\x1b[K");
        }
        if self.drawn > self.bars.len() {
            drawing.push_str("\x1b[J");
        }
        self.drawn = self.bars.len();
        drop(io::stderr().write_all(drawing.as_bytes()));
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

/// Columns and rows of the terminal at stderr; a usual size where it does not say.
pub(crate) fn terminal_size() -> (usize, usize) {
    let size = rustix::termios::tcgetwinsize(io::stderr()).ok().filter(|size| size.ws_col > 0 && size.ws_row > 0);
    size.map_or((80, 24), |size| (size.ws_col.into(), size.ws_row.into()))
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
