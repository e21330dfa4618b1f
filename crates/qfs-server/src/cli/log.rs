//! The log and the audit trail: where they go, in which form, and how much of them.

use std::fs::{self, File};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Mutex;

use qfs_core::model::escape_untrusted;
use qfs_server::gate::audit;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

use super::args::Args;
use super::failure::Failure;

/// How a line of the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum LogFormat {
    /// For people: `TIME LEVEL TARGET: event field=value …`.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl LogFormat {
    /// The names of [`LogFormat`] on the command line.
    pub(crate) const NAMES: [&str; 2] = ["text", "json"];
}

impl FromStr for LogFormat {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        match name {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(()),
        }
    }
}

/// Sends the log to stderr (warnings, or with `-v` more, or what `RUST_LOG` asks for) and, with `--audit-log`, the whole trail to a
/// file.
///
/// # Errors
/// When that file cannot be opened, or would be published.
pub(crate) fn set_up(args: &Args) -> Result<(), Failure> {
    let level = match (args.quiet, args.verbose) {
        (true, _) => "error",
        (false, 0) => "warn",
        (false, 1) => "qfs_server=info,qfs_core=info,warn",
        (false, 2) => "qfs_server=debug,qfs_core=debug,info",
        (false, _) => "trace",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let ansi = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let mut layers = vec![layer(args.log_format(), ansi, io::stderr).with_filter(filter).boxed()];
    if let Some(path) = &args.audit_log {
        let file = open(path, &args.root)?;
        let trail = Targets::new().with_target(audit::TARGET, LevelFilter::INFO);
        layers.push(layer(args.log_format(), false, file).with_filter(trail).boxed());
    }
    tracing_subscriber::registry().with(layers).init();
    Ok(())
}

type Lines = Box<dyn Layer<Registry> + Send + Sync>;

fn layer(format: LogFormat, ansi: bool, out: impl for<'a> MakeWriter<'a> + Send + Sync + 'static) -> Lines {
    let lines = tracing_subscriber::fmt::layer().with_ansi(ansi);
    match format {
        // Colours are control characters, which a terminal is to have.
        LogFormat::Text if ansi => lines.with_writer(out).boxed(),
        LogFormat::Text => lines.with_writer(OneLine(out)).boxed(),
        LogFormat::Json => {
            let json = lines.json().flatten_event(true).with_current_span(false).with_span_list(false);
            json.with_ansi(false).with_writer(OneLine(out)).boxed()
        }
    }
}

/// Opens the trail's file to append, for its owner alone.
#[expect(clippy::disallowed_methods, reason = "the trail is the server's own file, and not published")]
fn open(path: &Path, root: &Path) -> Result<Mutex<File>, Failure> {
    let refused = |why: &dyn std::fmt::Display| {
        Failure::refused(
            format!("cannot write the audit trail to {}: {why}", path.display()),
            "name a file in a directory that this user may write to, outside the published one",
        )
    };
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let canonical = fs::canonicalize(directory).map_err(|e| refused(&e))?;
    // A root that is missing is refused later, and for that reason.
    if fs::canonicalize(root).is_ok_and(|root| canonical.starts_with(root)) {
        return Err(refused(&"it would be published"));
    }
    let file = fs::OpenOptions::new().append(true).create(true).mode(0o600).open(path).map_err(|e| refused(&e))?;
    Ok(Mutex::new(file))
}

/// Keeps an event on one line, whatever the programs it is built of put into it: a line break in the middle would be a line that
/// nobody wrote.
struct OneLine<W>(W);

impl<'a, M: MakeWriter<'a>> MakeWriter<'a> for OneLine<M> {
    type Writer = OneLine<M::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        OneLine(self.0.make_writer())
    }

    fn make_writer_for(&'a self, meta: &tracing::Metadata<'_>) -> Self::Writer {
        OneLine(self.0.make_writer_for(meta))
    }
}

impl<W: Write> Write for OneLine<W> {
    /// Takes a whole event, as tracing-subscriber hands it over.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let line = event.strip_suffix(b"\n").unwrap_or(event);
        if line.iter().any(u8::is_ascii_control) {
            let text = String::from_utf8_lossy(line);
            // The backslash stays: what was escaped before must not be escaped again.
            let mut line: String =
                text.chars().map(|c| if c.is_control() { escaped(c) } else { c.to_string() }).collect();
            line.push('\n');
            self.0.write_all(line.as_bytes())?;
        } else {
            self.0.write_all(event)?;
        }
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn escaped(c: char) -> String {
    escape_untrusted(c.encode_utf8(&mut [0; 4]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails when: an event is written as it comes.
    #[test]
    fn an_event_is_one_line() {
        let mut out = OneLine(Vec::new());
        out.write_all(b"first\nINFO forged\x1b[2J \\n\n").unwrap();
        out.write_all("plain é\n".as_bytes()).unwrap();
        assert_eq!(String::from_utf8(out.0).unwrap(), "first\\nINFO forged\\u{1b}[2J \\n\nplain é\n");
    }

    #[test]
    fn every_name_is_a_format() {
        assert!(LogFormat::NAMES.iter().all(|name| name.parse::<LogFormat>().is_ok()));
        assert!("xml".parse::<LogFormat>().is_err());
    }
}
