//! The suite's results as Markdown: the tables of the documentation, and the table of goals.

use std::fmt::Write as _;

use super::text::pair;
use super::units::{escape, link_rate, mib, rate};
use crate::goals::Goal;
use crate::results::{BASELINE, Contender, Results, ScenarioResults};

/// Where figures come from. A figure means nothing without it.
#[derive(Debug, Clone, Default)]
pub struct Origin {
    /// The command line that made them.
    pub command: String,
    /// The commit that was measured, as whoever ran the bench names it.
    pub commit: Option<String>,
}

/// A section for each scenario, with the command, the commit, the machine and the day.
#[must_use]
pub fn markdown(results: &Results, origin: &Origin) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write_all(&mut out, results, origin);
    out
}

/// A row for each goal: whether it was reached, and by how much it was missed.
#[must_use]
pub fn goals_table(goals: &[Goal]) -> String {
    let mut out = String::from("| scenario | what | goal | found | |\n|---|---|---|---|---|\n");
    for goal in goals {
        let Goal { scenario, what, wanted, found, .. } = goal;
        let _ = writeln!(out, "| {scenario} | {what} | {wanted} | {found} | {} |", judgement(goal));
    }
    out
}

/// `reached`, or by how much it was missed.
pub(super) fn judgement(goal: &Goal) -> String {
    if goal.reached {
        "reached".to_owned()
    } else {
        format!("**missed by {:.0} %**", ((1.0 - goal.margin) * 100.0).clamp(1.0, 100.0))
    }
}

fn write_all(out: &mut String, results: &Results, origin: &Origin) -> std::fmt::Result {
    for scenario in &results.scenarios {
        write_scenario(out, scenario)?;
    }
    let commit = origin.commit.as_deref().map(|commit| format!(", commit {}", cell(commit))).unwrap_or_default();
    writeln!(
        out,
        "`{}`{commit}, {}, {}. Medians of {} rounds in turns, each in another order, after one that was not counted. Ratio: time over that of \
         qfs in the same round, median [quartiles]; above 1 is slower than qfs. Whole processes were measured. CPU and memory: \
         client / server.",
        origin.command.replace('`', "'"),
        results.started.get(..10).unwrap_or(&results.started),
        cell(&results.host.to_string()),
        results.runs
    )
}

fn write_scenario(out: &mut String, scenario: &ScenarioResults) -> std::fmt::Result {
    writeln!(out, "**{}**: {}\n", scenario.name, cell(&scenario.about))?;
    let rated = scenario.bytes > 0;
    let linked = scenario.contenders.iter().any(|contender| contender.traffic.is_some());
    write!(out, "| | seconds (min to max) |{} ratio |", if rated { " rate |" } else { "" })?;
    writeln!(out, " CPU s{} | peak MiB |{}", if rated { "/GiB" } else { "" }, if linked { " dropped |" } else { "" })?;
    let columns = 5 + usize::from(rated) + usize::from(linked);
    writeln!(out, "|{}", "---|".repeat(columns))?;
    for contender in &scenario.contenders {
        write_row(out, scenario, contender, linked)?;
    }
    for absent in &scenario.absent {
        writeln!(out, "\nWithout {}: {}.", cell(&absent.name), cell(&escape(&absent.reason)))?;
    }
    writeln!(out)
}

fn write_row(out: &mut String, scenario: &ScenarioResults, contender: &Contender, linked: bool) -> std::fmt::Result {
    let summary = &contender.summary;
    let bound = if summary.cut_off > 0 { "> " } else { "" };
    let name = cell(&contender.name);
    let name = if contender.name == BASELINE { format!("**{name}**") } else { name };
    let failed = if summary.failed > 0 { format!(", {} failed", summary.failed) } else { String::new() };
    let dash = || "–".to_owned();
    let times = summary.seconds.map_or_else(dash, |s| format!("{bound}{:.3} ({:.3} to {:.3})", s.median, s.min, s.max));
    write!(out, "| {name}{failed} | {times} |")?;
    if scenario.bytes > 0 {
        let rate = if scenario.link.is_some() { link_rate } else { rate };
        write!(out, " {} |", summary.bytes_per_second.map_or_else(dash, rate))?;
    }
    let ratio = summary.ratio.map_or_else(dash, |r| format!("{bound}{:.2} [{:.2} {:.2}]", r.median, r.q1, r.q3));
    let cpu = if scenario.bytes > 0 {
        (summary.client_cpu_per_gib, summary.server_cpu_per_gib)
    } else {
        (summary.client_cpu_seconds, summary.server_cpu_seconds)
    };
    let cpu = pair(cpu.0, cpu.1, |cpu| format!("{cpu:.2}"));
    let memory = pair(summary.client_peak_bytes, summary.server_peak_bytes, |b| mib(b).replace(" MiB", ""));
    write!(out, " {ratio} | {cpu} | {memory} |")?;
    if linked {
        let share = contender.traffic.map(|traffic| {
            let sent = traffic.carried + traffic.lost + traffic.dropped;
            format!("{:.2} %", 100.0 * traffic.dropped as f64 / (sent as f64).max(1.0))
        });
        write!(out, " {} |", share.unwrap_or_else(dash))?;
    }
    writeln!(out)
}

/// `text`, made safe for a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_have_as_many_cells_as_heads() {
        let origin = Origin { command: "qfs-bench run".into(), commit: Some("abc1234".into()) };
        let text = markdown(&crate::results::tests::known(), &origin);
        let tables: Vec<Vec<&str>> =
            text.split("\n\n").map(|part| part.lines().filter(|l| l.starts_with('|')).collect()).collect();
        for table in tables.iter().filter(|table: &&Vec<&str>| !table.is_empty()) {
            let bars = |line: &&str| line.matches('|').count() - line.matches("\\|").count();
            assert!(table.iter().all(|line| bars(line) == bars(&table[0])), "{table:?}");
        }
        for part in [
            "**bulk**: One file of 1024 MiB",
            "| **qfs** | 1.000 (1.000 to 2.000) | 1074 MB/s | 1.00 [1.00 1.00] | 0.50 | 10.0 |",
            "| curl, 1 failed | 3.000",
            "> 0.500",
            "Without scp: scp is not installed.",
            "`qfs-bench run`, commit abc1234, 2026-01-01, 2 × C & D",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }

    #[test]
    fn goals_say_by_how_much_they_were_missed() {
        let goal = |reached, margin| Goal {
            scenario: "bulk",
            what: "w".into(),
            wanted: "g".into(),
            found: "f".into(),
            reached,
            margin,
        };
        let table = goals_table(&[goal(true, 1.2), goal(false, 0.75), goal(false, 0.999)]);
        let ends: Vec<&str> = table.lines().skip(2).map(|line| line.rsplit("f | ").next().unwrap()).collect();
        assert_eq!(ends, ["reached |", "**missed by 25 %** |", "**missed by 1 %** |"]);
    }
}
