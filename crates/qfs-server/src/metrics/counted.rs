//! The counters, in the form that Prometheus reads (OpenMetrics).

use std::sync::atomic::AtomicU64;
use std::time::Instant;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use qfs_core::offload::{Offload, Threads};

use super::Answered;

type Labels = Vec<(&'static str, String)>;

/// Bounds of the histogram of times, in seconds: from what a cache answers at once to a large file over a slow line.
const SECONDS: [f64; 10] = [0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0, 60.0, 300.0, 1800.0];

/// Counts for a server; cheap to update.
pub(crate) struct Metrics {
    registry: Registry,
    open: Family<Labels, Gauge>,
    connections: Family<Labels, Counter>,
    commands: Family<Labels, Counter>,
    bytes: Family<Labels, Counter>,
    seconds: Family<Labels, Histogram>,
    token_commands: Family<Labels, Counter>,
    token_bytes: Family<Labels, Counter>,
    levels: Family<Labels, Gauge>,
    draining: Gauge,
    reading: Counter<f64, AtomicU64>,
}

/// Blocking threads whose time for reading and hashing is counted in `metrics`.
pub(crate) fn timed_threads(metrics: &Metrics) -> Threads {
    Threads::new(Timed(metrics.reading.clone()))
}

struct Timed(Counter<f64, AtomicU64>);

impl Offload for Timed {
    fn run(&self, work: Box<dyn FnOnce() + Send>) {
        let reading = self.0.clone();
        drop(tokio::task::spawn_blocking(move || {
            let start = Instant::now();
            work();
            reading.inc_by(start.elapsed().as_secs_f64());
        }));
    }
}

/// How near its limits a server is, at this moment.
#[derive(Debug, Clone)]
pub(crate) struct Levels {
    /// What is limited, how much of it is in use, and how much there may be.
    pub(crate) limits: Vec<(&'static str, usize, usize)>,
    /// Whether the server ends.
    pub(crate) is_draining: bool,
}

impl Default for Metrics {
    fn default() -> Self {
        let seconds = Family::new_with_constructor((|| Histogram::new(SECONDS)) as fn() -> Histogram);
        let mut metrics = Self {
            registry: Registry::with_prefix("qfs"),
            open: Family::default(),
            connections: Family::default(),
            commands: Family::default(),
            bytes: Family::default(),
            seconds,
            token_commands: Family::default(),
            token_bytes: Family::default(),
            levels: Family::default(),
            draining: Gauge::default(),
            reading: Counter::default(),
        };
        let registry = &mut metrics.registry;
        registry.register("connections_open", "Connections now, by door", metrics.open.clone());
        registry.register("connections", "Connections so far, by door", metrics.connections.clone());
        registry.register("commands", "Commands answered, by door, command and status", metrics.commands.clone());
        let bytes = "Bytes of answers and what was sent with requests, by door and direction";
        registry.register_with_unit("transferred", bytes, Unit::Bytes, metrics.bytes.clone());
        let seconds = "How long commands took, by door";
        registry.register_with_unit("command", seconds, Unit::Seconds, metrics.seconds.clone());
        registry.register("token_commands", "Commands answered, by token id", metrics.token_commands.clone());
        registry.register_with_unit("token", "Bytes of answers, by token id", Unit::Bytes, metrics.token_bytes.clone());
        registry.register("level", "What is in use of each limit, and the limit itself", metrics.levels.clone());
        registry.register("draining", "1 while the server ends", metrics.draining.clone());
        let reading = "Time that threads spent opening, reading and hashing files";
        registry.register_with_unit("reading", reading, Unit::Seconds, metrics.reading.clone());
        metrics
    }
}

impl Metrics {
    /// Counts a connection as open until the result is dropped.
    pub(crate) fn opened(&self, door: &'static str) -> Open {
        let labels = vec![("door", door.to_owned())];
        self.connections.get_or_create(&labels).inc();
        let gauge = self.open.get_or_create(&labels).clone();
        gauge.inc();
        Open(gauge)
    }

    /// Counts a command.
    pub(crate) fn answered(&self, answered: &Answered<'_>) {
        let &Answered { door, command, status, token, bytes, took } = answered;
        let door = || ("door", door.to_owned());
        self.commands
            .get_or_create(&vec![door(), ("command", command.to_owned()), ("status", status.to_owned())])
            .inc();
        self.bytes.get_or_create(&vec![door(), ("direction", "out".to_owned())]).inc_by(bytes);
        self.seconds.get_or_create(&vec![door()]).observe(took.as_secs_f64());
        if let Some(token) = token {
            let labels = vec![("token", token.to_owned())];
            self.token_commands.get_or_create(&labels).inc();
            self.token_bytes.get_or_create(&labels).inc_by(bytes);
        }
    }

    /// All of it as text.
    ///
    /// # Errors
    /// When the text cannot be written, which memory never refuses.
    pub(crate) fn text(&self, levels: &Levels) -> Result<String, std::fmt::Error> {
        for (what, used, most) in &levels.limits {
            for (kind, value) in [("used", used), ("most", most)] {
                let labels = vec![("of", (*what).to_owned()), ("kind", kind.to_owned())];
                self.levels.get_or_create(&labels).set(i64::try_from(*value).unwrap_or(i64::MAX));
            }
        }
        self.draining.set(levels.is_draining.into());
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// A connection that counts as open.
#[derive(Debug)]
pub(crate) struct Open(Gauge);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_told_is_counted() {
        let metrics = Metrics::default();
        let open = metrics.opened("h2");
        let took = Duration::from_millis(3);
        metrics.answered(&Answered { door: "h2", command: "GET", status: "ok", token: Some("1a"), bytes: 7, took });
        drop(metrics.opened("h2"));
        let levels = Levels { limits: vec![("commands", 1, 4096)], is_draining: false };
        let text = metrics.text(&levels).unwrap();
        for line in [
            "qfs_connections_open{door=\"h2\"} 1",
            "qfs_connections_total{door=\"h2\"} 2",
            "qfs_commands_total{door=\"h2\",command=\"GET\",status=\"ok\"} 1",
            "qfs_transferred_bytes_total{door=\"h2\",direction=\"out\"} 7",
            "qfs_token_bytes_total{token=\"1a\"} 7",
            "qfs_level{of=\"commands\",kind=\"most\"} 4096",
            "qfs_command_seconds_count{door=\"h2\"} 1",
            "qfs_draining 0",
            "# EOF",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        drop(open);
        assert!(metrics.text(&levels).unwrap().contains("qfs_connections_open{door=\"h2\"} 0"));
    }
}
