//! The results of the suite: samples as they were taken, and the figures computed from them. Pure data and arithmetic.

use serde::Serialize;

use crate::host::Host;
use crate::scenario::{Link, Scenario};
use crate::stats::{Spread, median, paired_ratios};
use crate::wan::Traffic;

/// The name of the contender with which all others are compared.
pub const BASELINE: &str = "qfs";

const GIB: f64 = 1_073_741_824.0;

/// A whole sitting.
#[derive(Debug, Clone, Serialize)]
pub struct Results {
    /// Version of the bench.
    pub version: &'static str,
    /// When it began, RFC 3339, UTC.
    pub started: String,
    /// Where it was measured.
    pub host: Host,
    /// `quick` or `full`.
    pub scale: &'static str,
    /// Measured rounds of each scenario.
    pub runs: u32,
    /// The commit that was measured, as whoever ran the bench names it.
    pub commit: Option<String>,
    /// Seed of the data sets and links.
    pub seed: u64,
    /// In the order they ran.
    pub scenarios: Vec<ScenarioResults>,
}

/// One scenario.
#[derive(Debug, Clone, Serialize)]
pub struct ScenarioResults {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub about: String,
    /// Files of its data set.
    pub files: u32,
    /// Size of each, bytes.
    pub file_bytes: u64,
    /// Processes at once.
    pub processes: usize,
    /// Bytes a run moves; 0 where time, not rate, is the figure.
    pub bytes: u64,
    /// The emulated link between the ends; `None` is loopback.
    pub link: Option<Link>,
    /// The programs that took part, in the order of their turns.
    pub contenders: Vec<Contender>,
    /// The programs that could not take part.
    pub absent: Vec<Absent>,
}

/// A program that did not take part.
#[derive(Debug, Clone, Serialize)]
pub struct Absent {
    /// Its name.
    pub name: String,
    /// Why.
    pub reason: String,
}

/// One program in one scenario.
#[derive(Debug, Clone, Serialize)]
pub struct Contender {
    /// Its name.
    pub name: String,
    /// What it does, for the report.
    pub about: String,
    /// Its command line, the temporary directory written as `WORK`.
    pub command: String,
    /// One sample per round, in order.
    pub samples: Vec<Sample>,
    /// The figures computed from them.
    pub summary: Summary,
    /// What the link carried for it in all rounds and the warm-up.
    pub traffic: Option<Traffic>,
}

/// One run.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Sample {
    /// From the first start to the last end.
    pub seconds: f64,
    /// Whether its time ran out: it would have taken longer than [`Self::seconds`].
    pub cut_off: bool,
    /// CPU seconds of all client processes.
    pub client_cpu_seconds: f64,
    /// CPU seconds of the server.
    pub server_cpu_seconds: Option<f64>,
    /// Peak resident memory of the largest client process, bytes.
    pub client_peak_bytes: u64,
    /// Peak resident memory of the server's processes together, bytes.
    pub server_peak_bytes: Option<u64>,
    /// The memory of the bench itself, bytes. A client that held less shows about this much.
    pub memory_floor_bytes: u64,
    /// For a resumed fetch: bytes the first attempt, cut off, had left on disk.
    pub kept_bytes: Option<u64>,
    /// The progress of the copy while it was made, for scenarios with few files.
    pub progress: Vec<Progress>,
    /// What went wrong; such a sample counts for nothing else.
    pub error: Option<String>,
}

/// The progress of a copy at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Progress {
    /// Seconds since the start of the run.
    pub seconds: f64,
    /// Bytes that the copy took on disk.
    pub bytes: u64,
}

/// Figures of one contender.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Summary {
    /// Spread of the times, seconds.
    pub seconds: Option<Spread>,
    /// How many runs were cut off: then times and ratios are lower bounds.
    pub cut_off: usize,
    /// How many runs failed.
    pub failed: usize,
    /// Bytes over the median time.
    pub bytes_per_second: Option<f64>,
    /// Its time over that of [`BASELINE`] in the same round: above 1, it is slower.
    pub ratio: Option<Spread>,
    /// Median CPU seconds of the clients in a run.
    pub client_cpu_seconds: Option<f64>,
    /// Median CPU seconds of the server in a run.
    pub server_cpu_seconds: Option<f64>,
    /// Median CPU seconds of the clients for each GiB moved.
    pub client_cpu_per_gib: Option<f64>,
    /// Median CPU seconds of the server for each GiB moved.
    pub server_cpu_per_gib: Option<f64>,
    /// Largest peak of a client, bytes.
    pub client_peak_bytes: Option<u64>,
    /// Largest peak of the server, bytes.
    pub server_peak_bytes: Option<u64>,
}

impl ScenarioResults {
    /// An empty table for `scenario`.
    #[must_use]
    pub fn new(scenario: &Scenario) -> Self {
        Self {
            name: scenario.name,
            about: scenario.about.clone(),
            files: scenario.shape.files,
            file_bytes: scenario.shape.file_bytes,
            processes: scenario.processes,
            bytes: scenario.bytes(),
            link: scenario.link,
            contenders: Vec::new(),
            absent: Vec::new(),
        }
    }

    /// Computes the figures from the samples.
    pub fn summarise(&mut self) {
        let baseline = self.contenders.iter().find(|contender| contender.name == BASELINE);
        let baseline = baseline.map(|contender| times(&contender.samples)).unwrap_or_default();
        for contender in &mut self.contenders {
            contender.summary = summary(&contender.samples, &baseline, self.bytes);
        }
    }
}

impl Results {
    /// The largest lower bound on the clients' measured peaks, bytes.
    #[must_use]
    pub fn memory_floor(&self) -> Option<u64> {
        let contenders = self.scenarios.iter().flat_map(|scenario| &scenario.contenders);
        contenders.flat_map(|contender| &contender.samples).map(|sample| sample.memory_floor_bytes).max()
    }

    /// Whether every run of every contender did its work, and qfs was among them.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.scenarios.iter().all(|scenario| {
            scenario.contenders.iter().any(|contender| contender.name == BASELINE)
                && scenario.contenders.iter().all(|contender| contender.summary.failed == 0)
        })
    }
}

impl Contender {
    /// The run that took the median of all times, or the one just above it.
    #[must_use]
    pub fn typical(&self) -> Option<&Sample> {
        let mut good: Vec<&Sample> = self.samples.iter().filter(|sample| sample.error.is_none()).collect();
        good.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
        good.get(good.len() / 2).copied()
    }
}

impl Sample {
    /// A run that failed.
    #[must_use]
    pub fn failed(reason: String) -> Self {
        Self { error: Some(reason), ..Self::default() }
    }
}

fn times(samples: &[Sample]) -> Vec<Option<f64>> {
    samples.iter().map(|sample| sample.error.is_none().then_some(sample.seconds)).collect()
}

fn summary(samples: &[Sample], baseline: &[Option<f64>], bytes: u64) -> Summary {
    let good: Vec<&Sample> = samples.iter().filter(|sample| sample.error.is_none()).collect();
    let seconds = Spread::of(&good.iter().map(|sample| sample.seconds).collect::<Vec<_>>());
    let client_cpu = median(&good.iter().map(|sample| sample.client_cpu_seconds).collect::<Vec<_>>());
    let server_cpu = median(&good.iter().filter_map(|sample| sample.server_cpu_seconds).collect::<Vec<_>>());
    let per_gib = |cpu: f64| (bytes > 0).then(|| cpu / (bytes as f64 / GIB));
    Summary {
        seconds,
        cut_off: good.iter().filter(|sample| sample.cut_off).count(),
        failed: samples.len() - good.len(),
        bytes_per_second: seconds.filter(|s| bytes > 0 && s.median > 0.0).map(|s| bytes as f64 / s.median),
        ratio: paired_ratios(&times(samples), baseline),
        client_cpu_seconds: client_cpu,
        server_cpu_seconds: server_cpu,
        client_cpu_per_gib: client_cpu.and_then(per_gib),
        server_cpu_per_gib: server_cpu.and_then(per_gib),
        client_peak_bytes: good.iter().map(|sample| sample.client_peak_bytes).max(),
        server_peak_bytes: good.iter().filter_map(|sample| sample.server_peak_bytes).max(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::scenario::Scale;

    fn sample(seconds: f64) -> Sample {
        Sample { seconds, client_cpu_seconds: seconds / 2.0, client_peak_bytes: 10 << 20, ..Sample::default() }
    }

    fn contender(name: &str, samples: Vec<Sample>) -> Contender {
        let (about, command) = (format!("about <{name}>"), format!("{name} WORK"));
        Contender { name: name.into(), about, command, samples, summary: Summary::default(), traffic: None }
    }

    /// Two scenarios with known figures, which the tests of the reports use too.
    pub(crate) fn known() -> Results {
        let scenarios = Scenario::all(Scale::Full).into_iter().filter(|s| s.name == "bulk" || s.name == "list");
        let scenarios = scenarios.map(|scenario| {
            let mut results = ScenarioResults::new(&scenario);
            let steps = [(0.25, 256), (0.5, 768), (1.0, 1024)];
            let progress = steps.map(|(seconds, mib)| Progress { seconds, bytes: mib << 20 }).to_vec();
            let seen = Sample { progress, ..sample(1.0) };
            results.contenders.push(contender("qfs", vec![seen.clone(), sample(2.0), seen]));
            results.contenders.push(contender("curl", vec![sample(2.0), sample(4.0), Sample::failed("no".into())]));
            let cut = Sample { cut_off: true, ..sample(9.0) };
            results.contenders.push(contender("cp", vec![sample(0.5), cut, sample(0.5)]));
            results.absent.push(Absent { name: "scp".into(), reason: "scp is not installed".into() });
            results.summarise();
            results
        });
        Results {
            version: "0",
            started: "2026-01-01T00:00:00Z".into(),
            host: Host {
                cpu: "C & D".into(),
                cores: 2,
                memory_bytes: 8 << 30,
                kernel: "Linux 6".into(),
                system: "S".into(),
                file_system: "tmpfs".into(),
            },
            scale: "full",
            runs: 3,
            commit: None,
            seed: 1,
            scenarios: scenarios.collect(),
        }
    }

    #[test]
    fn figures_are_drawn_from_pairs() {
        let results = known();
        let bulk = &results.scenarios[0];
        let of = |name: &str| bulk.contenders.iter().find(|c| c.name == name).unwrap().summary;
        assert_eq!(of("qfs").seconds.unwrap().median, 1.0);
        assert_eq!(of("qfs").bytes_per_second, Some(1_073_741_824.0));
        assert_eq!(of("qfs").client_cpu_per_gib, Some(0.5));
        assert_eq!(of("qfs").server_cpu_per_gib, None);
        assert_eq!(of("qfs").ratio.unwrap().median, 1.0);
        assert_eq!(of("curl").ratio.unwrap().median, 2.0);
        assert_eq!((of("curl").failed, of("cp").cut_off), (1, 1));
        assert_eq!(of("cp").ratio.unwrap().median, 0.5);
        assert!(!results.is_sound());
        assert_eq!(results.scenarios[1].contenders[0].summary.bytes_per_second, None);
    }
}
