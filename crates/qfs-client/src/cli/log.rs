//! What the parts of the program say beside their results: sentences for people by default and with `-v`, everything that helps a
//! developer from `-vv` on, or with `RUST_LOG`.

use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal as _};
use std::sync::Arc;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::sanitize::inert;
use super::screen::{LogWriter, Screen};

/// Sends the log to `screen`.
pub(crate) fn start(quiet: bool, verbose: u8, screen: &Arc<Screen>) {
    let level = match (quiet, verbose) {
        (_, 1) => "qfs=info,error",
        (_, 2) => "qfs=debug,info",
        (_, 3..) => "trace",
        (true, 0) => "error",
        (false, 0) => "qfs=warn,error",
    };
    let asked = EnvFilter::try_from_default_env().ok();
    let for_people = asked.is_none() && verbose < 2;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(asked.unwrap_or_else(|| level.into()))
        .with_writer(LogWriter(Arc::clone(screen)));
    if for_people {
        return lines.event_format(Sentences).init();
    }
    let colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) && io::stderr().is_terminal();
    lines.with_ansi(colour).init();
}

/// One line for each event: what kind it is, where that matters, and what it says.
struct Sentences;

impl<S, N> FormatEvent<S, N> for Sentences
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut said = Said::default();
        event.record(&mut said);
        let kind = match *event.metadata().level() {
            Level::ERROR => "error: ",
            Level::WARN => "warning: ",
            _ => "",
        };
        writeln!(writer, "{kind}{}", inert(&format!("{}{}", said.message, said.fields)))
    }
}

/// An event's message, and the fields that those from other crates may have beside it.
#[derive(Default)]
struct Said {
    message: String,
    fields: String,
}

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a String cannot fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, ", {name} {value:?}"),
        };
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }
}
