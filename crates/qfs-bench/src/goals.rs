//! The goals of the project, and how far the measured figures are from them. Pure.
//!
//! A goal is about one scenario. Where its figures are missing (a program is not installed, a scenario was not run),
//! the table has no row for it.

use serde::Serialize;

use crate::results::{BASELINE, Contender, Results, Sample, ScenarioResults};
use crate::stats::{median, paired_ratios};

/// The variant of qfs whose packets are limited to Ethernet's size: `--variant 'qfs-1452=--mtu 1452'`.
pub const SMALL_PACKETS: &str = "qfs-1452";

/// The variant of qfs whose digests are BLAKE3: `--variant 'qfs-blake3=client:--hash=blake3'`.
pub const BLAKE3: &str = "qfs-blake3";

/// Both: `--variant 'qfs-1452-blake3=--mtu 1452 client:--hash=blake3'`.
pub const SMALL_BLAKE3: &str = "qfs-1452-blake3";

/// The variant of qfs that fetches whole files: `--variant qfs-whole=client:--whole`.
pub const WHOLE: &str = "qfs-whole";

/// Scenarios in which the same is uploaded and downloaded.
const BOTH_WAYS: [(&str, &str); 5] =
    [("put", "bulk"), ("push", "pull"), ("put-swarm", "swarm"), ("put-lossy", "wan-lossy"), ("put-long", "wan-long")];

const MIB: f64 = 1_048_576.0;

/// One goal and what was reached of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Goal {
    /// The scenario it is about.
    pub scenario: &'static str,
    /// What is measured.
    pub what: String,
    /// The goal, in words.
    pub wanted: String,
    /// The measured figure, in words.
    pub found: String,
    /// Whether the goal was reached.
    pub reached: bool,
    /// How much better than the goal it was: 1.1 is a tenth better, 0.9 a tenth short.
    pub margin: f64,
}

/// Every goal that these results say something about.
#[must_use]
pub fn goals(results: &Results) -> Vec<Goal> {
    let of_each = results.scenarios.iter().flat_map(of_scenario);
    of_each.chain(BOTH_WAYS.iter().flat_map(|&(up, down)| as_fast_upwards(results, up, down))).collect()
}

/// An upload takes at most a tenth longer than the download of the same, with each kind of qfs.
fn as_fast_upwards(results: &Results, up: &'static str, down: &str) -> Vec<Goal> {
    const LONGER: f64 = 1.1;
    let times = |scenario: &str, ours: &str| {
        let scenario = results.scenarios.iter().find(|found| found.name == scenario)?;
        Some(contender(scenario, ours)?.summary.seconds?.median)
    };
    let goal = |ours: &str| {
        let found = times(up, ours)? / times(down, ours)?.max(1e-9);
        Some(Goal {
            scenario: up,
            what: format!("{ours}, beside {down}"),
            wanted: format!("at most {LONGER} × its time"),
            found: format!("{found:.2} ×"),
            reached: found <= LONGER,
            margin: ratio(LONGER, found),
        })
    };
    [BASELINE, SMALL_PACKETS, BLAKE3].into_iter().filter_map(goal).collect()
}

fn of_scenario(scenario: &ScenarioResults) -> Vec<Goal> {
    let faster = |ours, peer, goal| faster(scenario, ours, peer, goal);
    let mut found = match scenario.name {
        "bulk" => vec![
            faster(BASELINE, "curl", 0.9),
            faster(BASELINE, "scp", 2.0),
            faster(BASELINE, "curl+sha256sum", 3.0),
            faster("curl-from-qfs", "curl", 0.9),
            cheaper(scenario, "curl"),
            client_cpu(scenario, BASELINE, 1.6),
            faster(SMALL_BLAKE3, "curl", 0.9),
            faster(SMALL_PACKETS, "scp", 1.3),
            faster(BLAKE3, "curl", 1.15),
            faster(BLAKE3, "rsync", 0.75),
            client_cpu(scenario, BLAKE3, 1.35),
        ],
        "small" => vec![faster(BASELINE, "rsync", 2.2), faster(BASELINE, "cp", 0.7)],
        "again" => vec![faster(BASELINE, "rsync", 1.0)],
        "latency" => vec![faster(BASELINE, "curl", 1.0)],
        "swarm" => {
            vec![frugal_server(scenario), faster(BASELINE, "curl", 0.75), faster(BLAKE3, "curl", 1.05)]
        }
        "small-far" | "small-far-again" => vec![within(scenario, 2.2)],
        "wan-clean" => vec![link_rate(scenario, 160.0)],
        "wan-lossy" => vec![link_rate(scenario, 150.0), little_dropped(scenario, 5.0)],
        "wan-long" => vec![link_rate(scenario, 430.0)],
        "wan-again" => vec![link_rate(scenario, 170.0)],
        "update-far" => vec![faster(BASELINE, WHOLE, 5.0), moved(scenario, 3.0)],
        "insert-far" => vec![faster(BASELINE, WHOLE, 5.0), moved(scenario, 1.0)],
        // What is asked and cut in vain costs at most 2 %.
        "other-far" => vec![faster(BASELINE, WHOLE, 1.0 / 1.02)],
        "wan-long-again" => vec![link_rate(scenario, 0.8 * 500.0)],
        _ => Vec::new(),
    };
    if scenario.processes == 1 && scenario.name != "list" {
        found.push(memory(scenario, "client", 48.0, |sample| Some(sample.client_peak_bytes)));
        found.push(memory(scenario, "server", 64.0, |sample| sample.server_peak_bytes));
    }
    found.into_iter().flatten().collect()
}

fn contender<'a>(scenario: &'a ScenarioResults, name: &str) -> Option<&'a Contender> {
    scenario.contenders.iter().find(|contender| contender.name == name)
}

fn good(contender: &Contender) -> impl Iterator<Item = &Sample> {
    contender.samples.iter().filter(|sample| sample.error.is_none())
}

/// `ours` is `goal` times as fast as `peer`, pair by pair.
fn faster(scenario: &ScenarioResults, ours: &str, peer: &str, goal: f64) -> Option<Goal> {
    let times = |contender: &Contender| -> Vec<Option<f64>> {
        contender.samples.iter().map(|sample| sample.error.is_none().then_some(sample.seconds)).collect()
    };
    let (ours_times, peer_times) = (times(contender(scenario, ours)?), times(contender(scenario, peer)?));
    let ratio = paired_ratios(&peer_times, &ours_times)?;
    Some(Goal {
        scenario: scenario.name,
        what: format!("{ours} beside {peer}"),
        wanted: format!("{} × as fast", (goal * 100.0).round() / 100.0),
        found: format!("{:.2} × [{:.2} {:.2}]", ratio.median, ratio.q1, ratio.q3),
        reached: ratio.median >= goal,
        margin: ratio.median / goal,
    })
}

/// Seconds that it takes.
fn within(scenario: &ScenarioResults, goal: f64) -> Option<Goal> {
    let seconds = contender(scenario, BASELINE)?.summary.seconds?;
    Some(Goal {
        scenario: scenario.name,
        what: "seconds".to_owned(),
        wanted: format!("at most {goal}"),
        found: format!("{:.2} ({:.2} to {:.2})", seconds.median, seconds.min, seconds.max),
        reached: seconds.median <= goal,
        margin: ratio(goal, seconds.median),
    })
}

/// CPU seconds of both ends below those of `peer`.
fn cheaper(scenario: &ScenarioResults, peer: &str) -> Option<Goal> {
    let cpu = |name: &str| {
        let summary = contender(scenario, name)?.summary;
        Some(summary.client_cpu_per_gib? + summary.server_cpu_per_gib?)
    };
    let (ours, theirs) = (cpu(BASELINE)?, cpu(peer)?);
    Some(Goal {
        scenario: scenario.name,
        what: format!("CPU seconds a GiB, both ends, beside {peer}"),
        wanted: format!("below {theirs:.2}"),
        found: format!("{ours:.2}"),
        reached: ours < theirs,
        margin: ratio(theirs, ours),
    })
}

/// CPU seconds of the client for each GiB.
fn client_cpu(scenario: &ScenarioResults, ours: &str, goal: f64) -> Option<Goal> {
    let found = contender(scenario, ours)?.summary.client_cpu_per_gib?;
    Some(Goal {
        scenario: scenario.name,
        what: format!("CPU seconds a GiB, client of {ours}"),
        wanted: format!("at most {goal}"),
        found: format!("{found:.2}"),
        reached: found <= goal,
        margin: ratio(goal, found),
    })
}

/// The server uses less CPU time for the crowd than one client's CPU time times their number.
fn frugal_server(scenario: &ScenarioResults) -> Option<Goal> {
    let summary = contender(scenario, BASELINE)?.summary;
    let (server, clients) = (summary.server_cpu_seconds?, summary.client_cpu_seconds?);
    Some(Goal {
        scenario: scenario.name,
        what: format!("CPU seconds of the server, {} clients of one file", scenario.processes),
        wanted: format!("below {} × one client's, {clients:.2}", scenario.processes),
        found: format!("{server:.2}"),
        reached: server < clients,
        margin: ratio(clients, server),
    })
}

/// Megabits per second over the whole process, start-up included.
fn link_rate(scenario: &ScenarioResults, goal: f64) -> Option<Goal> {
    let ours = contender(scenario, BASELINE)?;
    let bits = |sample: &Sample| scenario.bytes as f64 * 8.0 / 1e6 / sample.seconds.max(1e-9);
    let rates: Vec<f64> = good(ours).map(bits).collect();
    let rate = median(&rates)?;
    let (low, high) = rates.iter().fold((f64::MAX, 0.0), |(low, high), r| (r.min(low), r.max(high)));
    Some(Goal {
        scenario: scenario.name,
        what: "Mbit/s, the whole process counted".to_owned(),
        wanted: format!("at least {goal:.0}"),
        found: format!("{rate:.1} ({low:.1} to {high:.1})"),
        reached: rate >= goal,
        margin: rate / goal,
    })
}

/// Packets that the queue dropped had to be sent twice beyond those lost at random.
fn little_dropped(scenario: &ScenarioResults, goal: f64) -> Option<Goal> {
    let traffic = contender(scenario, BASELINE)?.traffic?;
    let sent = traffic.carried + traffic.lost + traffic.dropped;
    let share = 100.0 * traffic.dropped as f64 / (sent as f64).max(1.0);
    Some(Goal {
        scenario: scenario.name,
        what: "packets sent twice beyond those lost at random".to_owned(),
        wanted: format!("at most {goal} %"),
        found: format!("{share:.2} %"),
        reached: share <= goal,
        margin: ratio(goal, share),
    })
}

/// Bytes that the link carried, of those that it carried when the file was fetched whole.
fn moved(scenario: &ScenarioResults, goal: f64) -> Option<Goal> {
    let bytes = |ours| Some(contender(scenario, ours)?.traffic?.bytes as f64);
    let share = 100.0 * bytes(BASELINE)? / bytes(WHOLE)?.max(1.0);
    Some(Goal {
        scenario: scenario.name,
        what: "bytes moved, of those of the whole file".to_owned(),
        wanted: format!("at most {goal} %"),
        found: format!("{share:.2} %"),
        reached: share <= goal,
        margin: ratio(goal, share),
    })
}

/// The largest peak of one end of qfs.
fn memory(scenario: &ScenarioResults, end: &str, goal: f64, peak: impl Fn(&Sample) -> Option<u64>) -> Option<Goal> {
    let largest = good(contender(scenario, BASELINE)?).filter_map(peak).max()? as f64 / MIB;
    Some(Goal {
        scenario: scenario.name,
        what: format!("memory of the {end}, MiB"),
        wanted: format!("at most {goal:.0}"),
        found: format!("{largest:.1}"),
        reached: largest <= goal,
        margin: ratio(goal, largest),
    })
}

fn ratio(a: f64, b: f64) -> f64 {
    a / b.max(1e-9)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::tests::known;
    use crate::wan::Traffic;

    fn found(goals: &[Goal], part: &str) -> Goal {
        goals.iter().find(|goal| goal.what.contains(part)).cloned().unwrap()
    }

    /// Fails when a ratio is inverted, or a goal is compared with another contender.
    #[test]
    fn ratios_are_held_against_their_goals() {
        let goals = goals(&known());
        // curl took 2.0, 4.0 and failed beside 1.0, 2.0, 1.0.
        let curl = found(&goals, "qfs beside curl");
        assert!(curl.reached && (curl.margin - 2.0 / 0.9).abs() < 1e-9, "{curl:?}");
        assert_eq!(curl.found, "2.00 × [2.00 2.00]");
        assert_eq!(found(&goals, "memory of the client").found, "10.0");
        // Nobody measured scp, the server or the other kind of qfs.
        assert!(!goals.iter().any(|goal| goal.what.contains("scp") || goal.what.contains(SMALL_PACKETS)));
        assert!(!goals.iter().any(|goal| goal.what.contains("server") || goal.what.contains("both ends")));
        assert!(goals.iter().all(|goal| goal.scenario == "bulk"));
    }

    /// Fails when the goals of BLAKE3 are held against the other kind of qfs, or CPU time is taken for speed.
    #[test]
    fn a_variant_has_goals_of_its_own() {
        let mut results = known();
        let bulk = &mut results.scenarios[0];
        bulk.contenders[2].name = BLAKE3.into();
        bulk.summarise();
        let summary = &mut bulk.contenders[2].summary;
        summary.client_cpu_per_gib = Some(2.7);
        let goals = goals(&results);
        assert!(goals.iter().any(|goal| goal.what == "qfs-blake3 beside curl"), "{goals:?}");
        let cpu = found(&goals, "client of qfs-blake3");
        assert!(!cpu.reached && (cpu.margin - 0.5).abs() < 1e-9, "{cpu:?}");
    }

    #[test]
    fn a_goal_that_is_missed_says_by_how_much() {
        let mut results = known();
        let bulk = &mut results.scenarios[0];
        bulk.name = "small";
        bulk.contenders[2].name = "rsync".into();
        let rsync = found(&goals(&results), "rsync");
        assert!(!rsync.reached && (rsync.margin - 0.5 / 2.2).abs() < 1e-9, "{rsync:?}");
    }

    #[test]
    fn links_are_judged_by_bits_and_drops() {
        let mut results = known();
        let bulk = &mut results.scenarios[0];
        (bulk.name, bulk.bytes) = ("wan-lossy", 20_000_000);
        bulk.contenders[0].traffic = Some(Traffic { carried: 90, lost: 4, dropped: 6, late: 0, bytes: 1 });
        let goals = goals(&results);
        assert!(found(&goals, "Mbit/s").found.starts_with("160.0 (80.0 to 160.0)") && found(&goals, "Mbit/s").reached);
        assert_eq!(
            (found(&goals, "sent twice").found.as_str(), found(&goals, "sent twice").reached),
            ("6.00 %", false)
        );
    }

    #[test]
    fn what_is_fetched_of_a_changed_file_is_held_against_the_whole() {
        let mut results = known();
        let bulk = &mut results.scenarios[0];
        bulk.name = "insert-far";
        bulk.contenders[2].name = WHOLE.into();
        let carried = |bytes| Some(Traffic { carried: 1, lost: 0, dropped: 0, late: 0, bytes });
        (bulk.contenders[0].traffic, bulk.contenders[2].traffic) = (carried(2), carried(100));
        let moved = found(&goals(&results), "bytes moved");
        assert_eq!((moved.found.as_str(), moved.reached, moved.margin), ("2.00 %", false, 0.5));
    }

    /// Fails when the two directions are exchanged.
    #[test]
    fn uploads_are_held_against_downloads() {
        let mut results = known();
        let mut upload = results.scenarios[0].clone();
        upload.name = "put";
        upload.contenders[0].samples.iter_mut().for_each(|sample| sample.seconds *= 2.0);
        upload.summarise();
        results.scenarios.push(upload);
        let goal = found(&goals(&results), "qfs, beside bulk");
        assert_eq!((goal.scenario, goal.found.as_str(), goal.reached), ("put", "2.00 ×", false));
    }

    #[test]
    fn a_crowd_is_judged_by_the_servers_work() {
        let mut results = known();
        let bulk = &mut results.scenarios[0];
        (bulk.name, bulk.processes) = ("swarm", 20);
        bulk.contenders[0].samples.iter_mut().for_each(|sample| sample.server_cpu_seconds = Some(0.4));
        bulk.summarise();
        let goals = goals(&results);
        let frugal = found(&goals, "of the server");
        assert!(frugal.reached && frugal.wanted.contains("20 × one client's, 0.50"), "{frugal:?}");
    }
}
