//! Measures a run from its start to its end, for [`crate::insight::bottleneck`]: the transport's statistics, the clocks of thread and process,
//! the kernel's counters of processors and of this socket.
//!
//! Reads the kernel's tables twice and the transport's statistics ten times a second; nothing for a packet.

use std::time::{Duration, Instant};

use qfs_core::body::StageTimes;
use rustix::time::{ClockId, clock_gettime};

use crate::insight::bottleneck::Measurements;
use crate::session::Session;

/// Between two looks at a connection.
const SAMPLE_EVERY: Duration = Duration::from_millis(100);

/// A run being measured. Begin and end it on the thread that serves the network, whose CPU time is taken.
pub(crate) struct Gauge<'a> {
    sessions: &'a [Session],
    before: Counters,
    samples: Samples,
}

/// What only counts up.
#[derive(Default)]
struct Counters {
    /// Of the thread that drives each connection.
    network_cpu: Vec<Duration>,
    process_cpu: Duration,
    /// Idle and all time of all processors, in ticks.
    machine: Option<(u64, u64)>,
    blocked: u64,
    socket_drops: u64,
}

impl<'a> Gauge<'a> {
    pub(crate) async fn begin(sessions: &'a [Session]) -> Self {
        Self { sessions, before: Counters::read(sessions).await, samples: Samples::default() }
    }

    /// Does `work`, and looks at the connections meanwhile.
    pub(crate) async fn watch<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        let mut ticks = tokio::time::interval(SAMPLE_EVERY);
        // The first tick is at once.
        ticks.tick().await;
        self.samples.since = Some((Instant::now(), self.received()));
        loop {
            tokio::select! {
                biased;
                result = &mut work => return result,
                now = ticks.tick() => self.sample(now.into_std()),
            }
        }
    }

    fn received(&self) -> u64 {
        self.sessions.iter().map(|session| session.path_report().received).sum()
    }

    fn sample(&mut self, now: Instant) {
        let rtt = self.sessions.first().map(|session| session.path_report().rtt).unwrap_or_default();
        let received = self.received();
        self.samples.add(now, received, rtt);
    }

    /// What was measured of the run, whose pumps counted `stages`; the run's own figures are for the caller to add.
    pub(crate) async fn end(self, stages: StageTimes) -> Measurements {
        let after = Counters::read(self.sessions).await;
        let first = self.sessions.first();
        let path = first.map(Session::path_report);
        let min_rtt = path.as_ref().map(|path| path.min_rtt).unwrap_or_default();
        let last_rtt = path.as_ref().map(|path| path.rtt).unwrap_or_default();
        let idle = self.before.machine.zip(after.machine).and_then(|((idle, all), (idle_after, all_after))| {
            let all = all_after.checked_sub(all).filter(|all| *all > 0)?;
            Some(idle_after.saturating_sub(idle) as f64 / all as f64)
        });
        Measurements {
            stages,
            way: first.map(Session::way).unwrap_or_default(),
            min_rtt,
            mean_rtt: self.samples.mean_rtt().unwrap_or(last_rtt),
            payload: path.map_or(0, |path| path.payload.into()),
            // A connection made anew counts from zero.
            blocked: after.blocked.saturating_sub(self.before.blocked),
            socket_drops: after.socket_drops.saturating_sub(self.before.socket_drops),
            short_buffers: first.and_then(Session::socket_buffers).is_some_and(|buffers| buffers.are_short()),
            network_cpu: busiest(&after.network_cpu, &self.before.network_cpu),
            process_cpu: after.process_cpu.saturating_sub(self.before.process_cpu),
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            idle,
            unsteadiness: self.samples.unsteadiness(),
            ..Measurements::default()
        }
    }
}

impl Counters {
    async fn read(sessions: &[Session]) -> Self {
        let blocked = sessions.iter().map(|session| session.path_report().blocked);
        let mut network_cpu = Vec::new();
        for session in sessions {
            network_cpu.push(session.alongside(async { clock(ClockId::ThreadCPUTime) }).await);
        }
        Self {
            network_cpu,
            process_cpu: clock(ClockId::ProcessCPUTime),
            machine: read("/proc/stat").and_then(|text| machine(&text)),
            blocked: blocked.sum(),
            socket_drops: socket_drops(sessions),
        }
    }
}

/// What the busiest of several threads has used.
fn busiest(after: &[Duration], before: &[Duration]) -> Duration {
    after.iter().zip(before).map(|(after, before)| after.saturating_sub(*before)).max().unwrap_or_default()
}

fn clock(id: ClockId) -> Duration {
    let time = clock_gettime(id);
    Duration::new(time.tv_sec.try_into().unwrap_or_default(), time.tv_nsec.try_into().unwrap_or_default())
}

#[allow(clippy::disallowed_methods, reason = "the kernel's tables are no published or downloaded files")]
fn read(table: &str) -> Option<String> {
    std::fs::read_to_string(table).ok()
}

/// Idle and all time of all processors, from `/proc/stat`. Waiting for a disk is idle.
fn machine(stat: &str) -> Option<(u64, u64)> {
    let row = stat.lines().next()?.strip_prefix("cpu ")?;
    // user nice system idle iowait irq softirq steal; what follows is counted in the first two already.
    let times: Vec<u64> = row.split_whitespace().take(8).map_while(|field| field.parse().ok()).collect();
    let [_, _, _, idle, waiting, ..] = times[..] else { return None };
    Some((idle + waiting, times.iter().sum()))
}

fn socket_drops(sessions: &[Session]) -> u64 {
    let ports: Vec<_> = sessions.iter().filter_map(Session::local_port).collect();
    let tables = ["/proc/self/net/udp", "/proc/self/net/udp6"].into_iter().filter_map(read);
    tables.map(|table| drops(&table, &ports)).sum()
}

/// The drops of the sockets bound to `ports`, from `/proc/net/udp`: the second column is `ADDRESS:PORT` in hexadecimal, the last
/// the drops.
fn drops(table: &str, ports: &[u16]) -> u64 {
    let rows = table.lines().skip(1).filter_map(|row| {
        let port = row.split_whitespace().nth(1)?.rsplit(':').next()?;
        let dropped = row.split_whitespace().next_back()?.parse::<u64>().ok()?;
        ports.contains(&u16::from_str_radix(port, 16).ok()?).then_some(dropped)
    });
    rows.sum()
}

/// Running means, so that a long run needs no more memory than a short one.
#[derive(Debug, Default)]
struct Samples {
    /// When the last look was, and what had come by then.
    since: Option<(Instant, u64)>,
    rtt_sum: Duration,
    /// Looks in which something had come.
    count: u32,
    rate_sum: f64,
    rate_squares: f64,
}

impl Samples {
    fn add(&mut self, now: Instant, received: u64, rtt: Duration) {
        let Some((then, before)) = self.since.replace((now, received)) else { return };
        let seconds = now.saturating_duration_since(then).as_secs_f64();
        let Some(bytes) = received.checked_sub(before).filter(|bytes| *bytes > 0) else { return };
        if seconds <= 0.0 {
            return;
        }
        let rate = bytes as f64 / seconds;
        self.rtt_sum = self.rtt_sum.saturating_add(rtt);
        self.count = self.count.saturating_add(1);
        self.rate_sum += rate;
        self.rate_squares += rate * rate;
    }

    fn mean_rtt(&self) -> Option<Duration> {
        self.rtt_sum.checked_div(self.count)
    }

    /// Standard deviation of the rate over its mean.
    fn unsteadiness(&self) -> Option<f64> {
        if self.count < 3 {
            return None;
        }
        let mean = self.rate_sum / f64::from(self.count);
        let variance = (self.rate_squares / f64::from(self.count) - mean * mean).max(0.0);
        Some(variance.sqrt() / mean)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails when a column of the kernel's tables is taken for another.
    #[test]
    fn the_kernels_tables_are_read() {
        let stat = "cpu  10 1 5 100 20 0 2 2 7 0\ncpu0 1 1 1 1 1 1 1 1 1 1\n";
        assert_eq!(machine(stat), Some((120, 140)));
        assert_eq!(machine("intr 1"), None);
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n\
             70: 00000000:1F40 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 1 2 0 42\n\
             71: 0100007F:1F41 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 1 2 0 7\n";
        assert_eq!([drops(table, &[8000]), drops(table, &[8001, 8000]), drops(table, &[1])], [42, 49, 0]);
        assert!(read("/proc/self/net/udp").is_some_and(|table| table.contains("drops")));
        assert!(read("/proc/stat").and_then(|text| machine(&text)).is_some_and(|(idle, all)| idle <= all && all > 0));
    }

    #[test]
    fn rates_have_a_mean_and_a_spread() {
        let start = Instant::now();
        let at = |tenths: u64| start + Duration::from_millis(tenths * 100);
        let mut even = Samples { since: Some((start, 0)), ..Samples::default() };
        for n in 1..=5 {
            even.add(at(n), n * 1000, Duration::from_millis(10 * n));
        }
        assert_eq!(even.mean_rtt(), Some(Duration::from_millis(30)));
        assert!(even.unsteadiness().unwrap() < 1e-6);
        let mut uneven = Samples { since: Some((start, 0)), ..Samples::default() };
        // The second tenth brings nothing and is not counted, nor is a connection made anew.
        for (n, received) in [(1, 1000), (2, 1000), (3, 4000), (4, 100), (5, 1100), (6, 4100)] {
            uneven.add(at(n), received, Duration::ZERO);
        }
        assert!((uneven.unsteadiness().unwrap() - 0.5).abs() < 1e-6);
        assert_eq!(Samples::default().unsteadiness(), None);
    }

    #[test]
    fn the_clocks_go() {
        let before = (clock(ClockId::ThreadCPUTime), clock(ClockId::ProcessCPUTime));
        let work = (0..2_000_000u64).fold(0, |sum, n| std::hint::black_box(sum ^ n));
        let after = (clock(ClockId::ThreadCPUTime), clock(ClockId::ProcessCPUTime));
        assert!(after.0 > before.0 && after.1 > before.1, "{work}");
    }
}
