//! What limited a run, judged from what was measured. Pure.
//!
//! The client sees its own half exactly (its processor, its disk, its socket, its windows) and the other half only by what it
//! does to the bytes: how long a round trip takes with traffic and without, what comes late, how steadily the rest comes. What
//! it cannot see it names as what is left over, and says so.

use std::time::Duration;

use qfs_core::body::StageTimes;
use qfs_transport::Way;

/// What was measured of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Measurements {
    /// From the first request to the last commit.
    pub elapsed: Duration,
    /// Bytes of body received.
    pub bytes: u64,
    /// Files asked for.
    pub files: u64,
    /// Most of them under way at once.
    pub at_once: u64,
    /// Where the time of the pumps went.
    pub stages: StageTimes,
    /// How the connections travelled in the end.
    pub way: Way,
    /// Shortest round trip.
    pub min_rtt: Duration,
    /// Mean of the round trips while bytes came.
    pub mean_rtt: Duration,
    /// Bytes of a UDP payload, or of a TLS record over TCP.
    pub payload: u64,
    /// Times the server said that this end's window held it (DATA_BLOCKED and STREAM_DATA_BLOCKED, RFC 9000 §19.12).
    pub blocked: u64,
    /// Packets that this end's sockets dropped because nobody took them in time.
    pub socket_drops: u64,
    /// Whether the kernel granted less of a socket buffer than was wanted.
    pub short_buffers: bool,
    /// CPU time of the thread that serves the network.
    pub network_cpu: Duration,
    /// CPU time of the process.
    pub process_cpu: Duration,
    /// Processors of this machine.
    pub processors: usize,
    /// Share of their time in which they had nothing to do, from 0 to 1; None when that cannot be told.
    pub idle: Option<f64>,
    /// Standard deviation of the rate over its mean, by tenths of a second; None for shorter runs.
    pub unsteadiness: Option<f64>,
}

/// What held a run back most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Round trips: each of many small steps waited for one.
    Latency,
    /// Packets that came and were dropped before this program took them.
    SocketDrops,
    /// This machine's disk.
    ReceiverDisk,
    /// This machine's processors.
    ReceiverCpu,
    /// The window that this end grants.
    FlowControl,
    /// The server's congestion window, smaller than the path would carry.
    CongestionWindow,
    /// What lies between.
    Path,
    /// The server: its disk or its processors.
    Sender,
    /// Too little was measured.
    Unknown,
}

/// A judgement, for people and programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// What it was.
    pub limit: Limit,
    /// How the bytes travelled.
    pub way: Way,
    /// The figures that show it.
    pub because: String,
    /// The flag or setting that would help.
    pub hint: Option<&'static str>,
}

impl Limit {
    /// The word for it in machine output.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Latency => "latency",
            Self::SocketDrops => "socket_drops",
            Self::ReceiverDisk => "receiver_disk",
            Self::ReceiverCpu => "receiver_cpu",
            Self::FlowControl => "flow_control",
            Self::CongestionWindow => "congestion_window",
            Self::Path => "path",
            Self::Sender => "sender",
            Self::Unknown => "unknown",
        }
    }

    /// The words for it for people.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Latency => "round trips",
            Self::SocketDrops => "packets dropped at this machine's socket",
            Self::ReceiverDisk => "the disk here",
            Self::ReceiverCpu => "the processors here",
            Self::FlowControl => "the window of this client",
            Self::CongestionWindow => "the server's congestion window",
            Self::Path => "the network path",
            Self::Sender => "the server, or the path with nothing to show for it",
            Self::Unknown => "nothing that could be told",
        }
    }
}

/// A run shorter than this shows nothing but its start.
const TOO_SHORT: Duration = Duration::from_millis(50);
/// Share of the run that round trips must account for.
const LATENCY_SHARE: f64 = 0.5;
/// Bytes that come in the first round trip, and double with each.
const FIRST_FLIGHT_BYTES: f64 = 12_000.0;
/// Share of the packets that the socket must have dropped.
const DROPPED_SHARE: f64 = 0.001;
/// Share of their time that the pumps must have stood still for the disk.
const STALLED_SHARE: f64 = 0.25;
/// Share of a processor that the network thread must have used.
const BUSY_SHARE: f64 = 0.85;
/// Share of all processors that this process must have used when none of them was idle.
const OWN_SHARE: f64 = 0.3;
/// Processors idle for less of the time than this were busy.
const IDLE_SHARE: f64 = 0.08;
/// Share of the round trips in which the server must have said that the window held it.
const BLOCKED_SHARE: f64 = 0.25;
/// Share of the bytes that must have come late for the path to count as lossy.
const LATE_SHARE: f64 = 0.003;
/// How much longer than the shortest a round trip must have taken for a queue to count: this factor and this much more.
const QUEUE_FACTOR: f64 = 1.3;
const QUEUE: Duration = Duration::from_millis(2);
/// Round trips shorter than this are no path worth the name.
const NEAR: Duration = Duration::from_millis(1);
/// Round trips in which a congestion window is still growing.
const GROWING_ROUNDS: f64 = 20.0;
/// Bytes that come more evenly than this are held by something that is even.
const STEADY: f64 = 0.3;
/// Threads that write, and commit small files.
const WRITERS: f64 = 4.0;

/// Judges a run. The first thing that the figures show beyond doubt is the answer: what would hide behind it is asked later.
#[must_use]
pub fn bottleneck(m: &Measurements) -> Verdict {
    let judges = [latency, too_short, socket, store, processor, window, loss, queue, left_over];
    let unknown = || verdict(Limit::Unknown, "nothing came".to_owned(), None);
    if m.bytes == 0 || m.elapsed.is_zero() {
        return Verdict { way: m.way, ..unknown() };
    }
    let verdict = judges.iter().find_map(|judge| judge(m)).unwrap_or_else(unknown);
    Verdict { way: m.way, ..verdict }
}

fn verdict(limit: Limit, because: String, hint: Option<&'static str>) -> Verdict {
    Verdict { limit, way: Way::default(), because, hint }
}

fn latency(m: &Measurements) -> Option<Verdict> {
    let asked = m.files.div_ceil(m.at_once.max(1)) as f64;
    let growth = (1.0 + m.bytes as f64 / m.files.max(1) as f64 / FIRST_FLIGHT_BYTES).log2();
    let rounds = asked + growth;
    (m.min_rtt >= NEAR && share(m.min_rtt.mul_f64(rounds), m.elapsed) >= LATENCY_SHARE).then(|| {
        let because = format!(
            "{rounds:.0} round trips of {} one after another are {} of the time",
            milliseconds(m.min_rtt),
            percent(share(m.min_rtt.mul_f64(rounds), m.elapsed).min(1.0))
        );
        let many = m.files > m.at_once.max(1);
        let hint = if many { "more files at once: --parallel=256" } else { "one larger file instead of several runs" };
        verdict(Limit::Latency, because, Some(hint))
    })
}

fn too_short(m: &Measurements) -> Option<Verdict> {
    (m.elapsed < TOO_SHORT)
        .then(|| verdict(Limit::Unknown, format!("it was over in {}", milliseconds(m.elapsed)), None))
}

fn socket(m: &Measurements) -> Option<Verdict> {
    let packets = m.bytes as f64 / m.payload.max(1) as f64;
    (m.socket_drops as f64 >= (packets * DROPPED_SHARE).max(1.0)).then(|| {
        let because = format!("{} packets came and were dropped before they were read", m.socket_drops);
        let hint = if m.short_buffers {
            "sysctl -w net.core.rmem_max=4194304"
        } else {
            "leave this client a processor: others kept it away"
        };
        verdict(Limit::SocketDrops, because, Some(hint))
    })
}

fn store(m: &Measurements) -> Option<Verdict> {
    let times = m.stages;
    let stalled = share(times.store, times.receiving);
    let committing = share(times.committing, m.elapsed.mul_f64(WRITERS));
    if stalled.max(committing) < STALLED_SHARE {
        return None;
    }
    if stalled >= committing && times.hashing > times.writing {
        let because = format!("the network waited {} of the time for SHA-256", percent(stalled));
        return Some(verdict(Limit::ReceiverCpu, because, None));
    }
    // Copying into the page cache is the processor's work: a disk that is waited for leaves it idle.
    if all_busy(m) {
        return None;
    }
    let because = if stalled >= committing {
        format!("the network waited {} of the time for writes", percent(stalled))
    } else {
        format!("writing small files took {} of the time of all that write", percent(committing))
    };
    Some(verdict(Limit::ReceiverDisk, because, Some("a faster place: --save-dir")))
}

fn processor(m: &Measurements) -> Option<Verdict> {
    let network = share(m.network_cpu, m.elapsed);
    let process = share(m.process_cpu, m.elapsed.mul_f64(m.processors.max(1) as f64));
    if network >= BUSY_SHARE {
        let because = format!("the network thread worked {} of the time", percent(network.min(1.0)));
        let hint =
            (m.payload <= 1452).then_some("larger packets, where the path carries them: a larger MTU at both ends");
        return Some(verdict(Limit::ReceiverCpu, because, hint));
    }
    all_busy(m).then(|| {
        let because = format!(
            "all processors of this machine were busy, {} of their time with this program",
            percent(process.min(1.0))
        );
        verdict(Limit::ReceiverCpu, because, None)
    })
}

/// Whether no processor was idle, and a good part of that was this program's doing.
fn all_busy(m: &Measurements) -> bool {
    let process = share(m.process_cpu, m.elapsed.mul_f64(m.processors.max(1) as f64));
    process >= 1.0 - IDLE_SHARE || (m.idle.is_some_and(|idle| idle < IDLE_SHARE) && process >= OWN_SHARE)
}

fn window(m: &Measurements) -> Option<Verdict> {
    let held = share(m.mean_rtt.mul_f64(m.blocked as f64), m.elapsed);
    (held >= BLOCKED_SHARE).then(|| {
        let because = format!("the server had to wait for it {} times", m.blocked);
        verdict(Limit::FlowControl, because, Some("more windows: --connections=4"))
    })
}

fn loss(m: &Measurements) -> Option<Verdict> {
    let late = late_share(m);
    if late < LATE_SHARE || queue_stands(m) {
        return None;
    }
    // What a window that is cut at each loss carries (Mathis et al. 1997): far more shows that it is not cut.
    let loss_based = m.payload as f64 * 1.22 / (m.min_rtt.as_secs_f64().max(1e-4) * late.sqrt());
    let rate = m.bytes as f64 / m.elapsed.as_secs_f64();
    let lost = format!("{} of the bytes came late, after a loss", percent(late));
    if rate < 3.0 * loss_based {
        let because = format!("{lost}, and the rate is what a window cut at each loss carries");
        return Some(verdict(Limit::CongestionWindow, because, Some("qfs-server --congestion=auto")));
    }
    Some(verdict(Limit::Path, lost, None))
}

fn queue(m: &Measurements) -> Option<Verdict> {
    queue_stands(m).then(|| {
        let because = format!(
            "a queue stood before its narrowest part: round trips of {}, {} when it is empty",
            milliseconds(m.mean_rtt),
            milliseconds(m.min_rtt)
        );
        verdict(Limit::Path, because, None)
    })
}

fn queue_stands(m: &Measurements) -> bool {
    m.mean_rtt > m.min_rtt.mul_f64(QUEUE_FACTOR) + QUEUE
}

fn left_over(m: &Measurements) -> Option<Verdict> {
    let waited = percent(share(m.stages.network, m.stages.receiving));
    if m.min_rtt < NEAR {
        let because = format!("this end waited {waited} of the time for bytes, and the server is near");
        return Some(verdict(Limit::Sender, because, Some("look at the server's disk and processors")));
    }
    if m.elapsed < m.min_rtt.mul_f64(GROWING_ROUNDS) {
        let because = format!("it was still growing when all was there, after {}", milliseconds(m.elapsed));
        return Some(verdict(Limit::CongestionWindow, because, Some("one larger file instead of several runs")));
    }
    if m.unsteadiness.is_some_and(|deviation| deviation < STEADY) {
        let because = "the bytes came at a steady rate, without loss or queue".to_owned();
        return Some(verdict(Limit::Path, because, None));
    }
    let because = format!("this end waited {waited} of the time for bytes, which came unevenly");
    Some(verdict(Limit::Sender, because, Some("look at the server's disk and processors")))
}

fn late_share(m: &Measurements) -> f64 {
    if m.stages.bytes == 0 { 0.0 } else { m.stages.late_bytes as f64 / m.stages.bytes as f64 }
}

fn share(part: Duration, whole: Duration) -> f64 {
    if whole.is_zero() { 0.0 } else { part.as_secs_f64() / whole.as_secs_f64() }
}

fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent < 10.0 { format!("{percent:.1} %") } else { format!("{percent:.0} %") }
}

fn milliseconds(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1e3;
    if ms < 10.0 { format!("{ms:.1} ms") } else { format!("{ms:.0} ms") }
}

#[cfg(test)]
mod tests;
