//! The log and the audit trail: where they go, in which form, and how much of them.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Mutex;

use qfs_core::model::escape_untrusted;
use qfs_server::gate::audit;
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

use super::args::Args;
use super::failure::Failure;
use super::log_format::LogFormat;

/// Sends the log to stderr (warnings, or with `-v` more, or what `RUST_LOG` asks for) and, with `--audit-log`, the whole trail to a
/// file.
///
/// # Errors
/// When that file cannot be opened, or would be published.
pub(crate) fn set_up(args: &Args) -> Result<(), Failure> {
    let level = match (args.quiet, args.verbose) {
        (true, _) => "error",
        (false, 0) => "qfs=warn,error",
        (false, 1) => "qfs=info,error",
        (false, 2) => "qfs=debug,info",
        (false, _) => "trace",
    };
    let asked = EnvFilter::try_from_default_env().ok();
    let form = Form { format: args.log_format(), for_developers: asked.is_some() || args.verbose > 1 };
    let filter = asked.unwrap_or_else(|| EnvFilter::new(level));
    let ansi = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let mut layers = vec![layer(form, ansi, io::stderr).with_filter(filter).boxed()];
    if let Some(path) = &args.audit_log {
        let file = open(path, &args.root)?;
        let trail = Targets::new().with_target(audit::TARGET, LevelFilter::INFO);
        layers.push(layer(form, false, file).with_filter(trail).boxed());
    }
    tracing_subscriber::registry().with(layers).init();
    Ok(())
}

type Lines = Box<dyn Layer<Registry> + Send + Sync>;

/// How lines are written.
#[derive(Debug, Clone, Copy)]
struct Form {
    format: LogFormat,
    /// Whether the module that says something is named too.
    for_developers: bool,
}

fn layer(form: Form, ansi: bool, out: impl for<'a> MakeWriter<'a> + Send + Sync + 'static) -> Lines {
    let lines = tracing_subscriber::fmt::layer().with_ansi(ansi);
    match form.format {
        // Colours are control characters, which a terminal is to have.
        LogFormat::Text if ansi && form.for_developers => lines.with_writer(out).boxed(),
        LogFormat::Text if ansi => lines.event_format(Plain).with_writer(out).boxed(),
        LogFormat::Text if form.for_developers => lines.with_writer(OneLine(out)).boxed(),
        LogFormat::Text => lines.event_format(Plain).with_writer(OneLine(out)).boxed(),
        LogFormat::Json => {
            let json = lines.json().flatten_event(true).with_current_span(false).with_span_list(false);
            json.with_ansi(false).with_writer(OneLine(out)).boxed()
        }
    }
}

/// The text form for people: as tracing-subscriber has it, but instead of the module that says something, its crate or the trail.
struct Plain;

impl<S, N> FormatEvent<S, N> for Plain
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        SystemTime.format_time(&mut writer)?;
        let (level, target) = (event.metadata().level(), event.metadata().target());
        // ECMA-48 §8.3.117: red, yellow, green.
        let colour = match *level {
            Level::ERROR => 31,
            Level::WARN => 33,
            _ => 32,
        };
        if writer.has_ansi_escapes() {
            write!(writer, " \x1b[{colour}m{level:>5}\x1b[0m ")?;
        } else {
            write!(writer, " {level:>5} ")?;
        }
        let part = if target == audit::TARGET { target } else { target.split("::").next().unwrap_or(target) };
        write!(writer, "{part}: ")?;
        context.field_format().format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}

/// Opens the trail's file to append, for its owner alone.
#[expect(clippy::disallowed_methods, reason = "the trail is the server's own file, and not published")]
fn open(path: &Path, root: &Path) -> Result<Mutex<File>, Failure> {
    let refused = |why: &dyn fmt::Display| {
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
}
