//! The suite's results as tables for a terminal.

use std::fmt::Write as _;

use super::units::{escape, link_rate, mib, rate, seconds, size};
use crate::results::{Contender, Results, ScenarioResults, Summary};
use crate::stats::{Spread, median};

/// All tables.
#[must_use]
pub fn text(results: &Results) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write_all(&mut out, results);
    out
}

fn write_all(out: &mut String, results: &Results) -> std::fmt::Result {
    writeln!(out, "{}", results.host)?;
    writeln!(
        out,
        "medians of {} rounds in turns, scale {}; ratio: time over that of qfs in the same round, median [quartiles];\n\
         CPU and peak memory: client / server; a client's peak below {} cannot be told",
        results.runs,
        results.scale,
        mib(results.memory_floor().unwrap_or_default())
    )?;
    for scenario in &results.scenarios {
        writeln!(out)?;
        write_scenario(out, scenario)?;
    }
    Ok(())
}

fn write_scenario(out: &mut String, scenario: &ScenarioResults) -> std::fmt::Result {
    writeln!(out, "{}: {}", scenario.name, scenario.about)?;
    let head = ["", "median", "min .. max", "rate", "ratio", "CPU s", "CPU s/GiB", "peak MiB"];
    let mut rows = vec![head.map(str::to_owned)];
    rows.extend(scenario.contenders.iter().map(|contender| row(scenario, contender)));
    let widths: Vec<usize> =
        (0..head.len()).map(|i| rows.iter().map(|row| row[i].chars().count()).max().unwrap_or(0)).collect();
    for row in &rows {
        let mut line = String::new();
        for (i, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let _ = if i == 0 { write!(line, "  {cell:<width$}") } else { write!(line, "  {cell:>width$}") };
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    for contender in &scenario.contenders {
        write_notes(out, contender)?;
    }
    for absent in &scenario.absent {
        writeln!(out, "  without {}: {}", absent.name, escape(&absent.reason))?;
    }
    Ok(())
}

fn row(scenario: &ScenarioResults, contender: &Contender) -> [String; 8] {
    let rate = if scenario.link.is_some() { link_rate } else { rate };
    let summary = &contender.summary;
    let bound = if summary.cut_off > 0 { "> " } else { "" };
    [
        contender.name.clone(),
        summary.seconds.map_or_else(|| "-".to_owned(), |spread| format!("{bound}{}", seconds(spread.median))),
        summary.seconds.map_or_else(|| "-".to_owned(), |s| format!("{:.3} .. {:.3}", s.min, s.max)),
        summary.bytes_per_second.map_or_else(|| "-".to_owned(), rate),
        summary.ratio.map_or_else(|| "-".to_owned(), |spread| format!("{bound}{}", ratio(&spread))),
        pair(summary.client_cpu_seconds, summary.server_cpu_seconds, |cpu| format!("{cpu:.2}")),
        pair(summary.client_cpu_per_gib, summary.server_cpu_per_gib, |cpu| format!("{cpu:.2}")),
        pair(summary.client_peak_bytes, summary.server_peak_bytes, |bytes| mib(bytes).replace(" MiB", "")),
    ]
}

fn write_notes(out: &mut String, contender: &Contender) -> std::fmt::Result {
    let name = &contender.name;
    let Summary { cut_off, failed, .. } = contender.summary;
    if cut_off > 0 {
        writeln!(out, "  {name}: {cut_off} runs were cut off at their limit: its figures are bounds")?;
    }
    if failed > 0 {
        let error = contender.samples.iter().find_map(|sample| sample.error.as_deref()).unwrap_or_default();
        writeln!(out, "  {name}: {failed} runs FAILED: {}", escape(error))?;
    }
    let kept: Vec<f64> = contender.samples.iter().filter_map(|s| s.kept_bytes).map(|bytes| bytes as f64).collect();
    if let Some(kept) = median(&kept) {
        writeln!(out, "  {name}: {} were on disk when it was cut off", size(kept as u64))?;
    }
    if let Some(traffic) = contender.traffic {
        let sent = traffic.carried + traffic.lost + traffic.dropped;
        let share = |n: u64| if sent == 0 { 0.0 } else { 100.0 * n as f64 / sent as f64 };
        writeln!(
            out,
            "  {name}: {sent} packets sent ({} carried), {:.2} % lost at random, {:.2} % dropped by the queue, {:.2} % late",
            size(traffic.bytes),
            share(traffic.lost),
            share(traffic.dropped),
            share(traffic.late)
        )?;
    }
    Ok(())
}

/// `1.50 [1.40 1.61]`: median and quartiles.
pub(super) fn ratio(spread: &Spread) -> String {
    format!("{:.2} [{:.2} {:.2}]", spread.median, spread.q1, spread.q3)
}

/// `client / server`.
pub(super) fn pair<T>(client: Option<T>, server: Option<T>, show: impl Fn(T) -> String) -> String {
    match (client, server) {
        (None, None) => "-".to_owned(),
        (Some(client), None) => show(client),
        (None, Some(server)) => format!("- / {}", show(server)),
        (Some(client), Some(server)) => format!("{} / {}", show(client), show(server)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_hold_the_figures() {
        let text = text(&crate::results::tests::known());
        for part in [
            "2 × C & D, 8.0 GiB, Linux 6, S, data on tmpfs",
            "bulk: One file of 1024 MiB",
            "1074 MB/s",
            "2.00 [2.00 2.00]",
            "curl: 1 runs FAILED: no",
            "cp: 1 runs were cut off",
            "without scp: scp is not installed",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }
}
