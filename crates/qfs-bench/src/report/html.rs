//! The suite's results as one HTML file, which contains its style and plots. It has no script and loads nothing from
//! elsewhere.

use std::fmt::Write as _;

use super::svg::{Bar, Curve, Dots, bars, curves, dots, escaped};
use super::text::{pair, ratio};
use super::units::{escape, link_rate, mib, rate, seconds};
use crate::results::{BASELINE, Contender, Results, ScenarioResults};

const STYLE: &str = "
:root { color-scheme: light dark; --ink: #1d2430; --soft: #66707f; --paper: #ffffff; --line: #dde2e8; --ours: #0b7a75; --peer: #7c8798; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ee; --soft: #98a2b1; --paper: #14181e; --line: #2c343f; --ours: #35c2ba; --peer: #8c97a8; }
}
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { margin-top: 2.5rem; font-size: 1.2rem; } h3 { font-size: 0.95rem; margin: 1rem 0 0.2rem; }
p.note, figcaption, li { color: var(--soft); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: 0.9rem; }
th, td { padding: 0.3rem 0.6rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; } tr.ours td { font-weight: 600; }
svg { width: 100%; height: auto; display: block; }
svg text { font-size: 11px; fill: var(--soft); } svg text.label { fill: var(--ink); }
rect.ours, circle.ours { fill: var(--ours); } line.ours { stroke: var(--ours); stroke-width: 2; }
polyline { fill: none; stroke-width: 1.5; } polyline.ours { stroke: var(--ours); } polyline.peer { stroke: var(--peer); }
rect.peer, circle.peer { fill: var(--peer); } line.peer { stroke: var(--peer); stroke-width: 2; }
line.grid { stroke: var(--line); } line.one { stroke: var(--ink); stroke-dasharray: 4 3; } line.whisker { stroke: var(--ink); }
code { font-size: 0.85em; overflow-wrap: anywhere; }
";

/// The whole page.
#[must_use]
pub fn html(results: &Results) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write_page(&mut out, results);
    out
}

fn write_page(out: &mut String, results: &Results) -> std::fmt::Result {
    writeln!(out, "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">")?;
    writeln!(out, "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">")?;
    writeln!(out, "<title>qfs-bench, {}</title>\n<style>{STYLE}</style>\n</head>\n<body>", escaped(&results.started))?;
    writeln!(out, "<h1>qfs beside its peers</h1>")?;
    writeln!(out, "<p>{}</p>", escaped(&results.host.to_string()))?;
    writeln!(
        out,
        "<p class=\"note\">qfs-bench {}, begun {}, scale {}, seed {}. In each of {} rounds all contenders ran once, in \
         another order than in the round before, each into a fresh destination; a round before these was not counted, and its copies were read back and \
         compared. A ratio is a contender's time over that of qfs in the same round: above 1 it is slower than qfs. Its \
         median is the figure to go by; single times drift with the machine.</p>",
        escaped(results.version),
        escaped(&results.started),
        escaped(results.scale),
        results.seed,
        results.runs
    )?;
    for scenario in &results.scenarios {
        write_scenario(out, scenario)?;
    }
    writeln!(out, "</body>\n</html>")
}

fn write_scenario(out: &mut String, scenario: &ScenarioResults) -> std::fmt::Result {
    writeln!(out, "<section>\n<h2>{}</h2>\n<p>{}</p>", escaped(scenario.name), escaped(&scenario.about))?;
    writeln!(out, "<figure>\n<figcaption>Time of each run; box: quartiles, line: median</figcaption>")?;
    let rows: Vec<Dots<'_>> = scenario.contenders.iter().map(dots_of).collect();
    out.push_str(&dots(&format!("Times of {}", scenario.name), "s", &rows));
    writeln!(
        out,
        "</figure>\n<figure>\n<figcaption>Time over that of qfs, pair by pair; line: quartiles</figcaption>"
    )?;
    let rows: Vec<Bar<'_>> = scenario.contenders.iter().filter_map(bar_of).collect();
    out.push_str(&bars(&format!("Ratios of {}", scenario.name), &rows));
    writeln!(out, "</figure>")?;
    let rows: Vec<Curve<'_>> = scenario.contenders.iter().filter_map(curve_of).collect();
    if !rows.is_empty() {
        writeln!(out, "<figure>\n<figcaption>Rate over time of the median run, as the copy grew on disk</figcaption>")?;
        out.push_str(&curves(&format!("Rates of {}", scenario.name), &rows));
        writeln!(out, "</figure>")?;
    }
    write_table(out, scenario)?;
    writeln!(out, "<details><summary>Who did what</summary>\n<ul>")?;
    for contender in &scenario.contenders {
        let Contender { name, about, command, .. } = contender;
        writeln!(out, "<li>{}: {}<br><code>{}</code></li>", escaped(name), escaped(about), escaped(&escape(command)))?;
        if let Some(traffic) = contender.traffic {
            writeln!(
                out,
                "<li>{}: the link carried {} packets to it, lost {} at random, dropped {} at its queue; {} were late</li>",
                escaped(name),
                traffic.carried,
                traffic.lost,
                traffic.dropped,
                traffic.late
            )?;
        }
    }
    for absent in &scenario.absent {
        writeln!(out, "<li>without {}: {}</li>", escaped(&absent.name), escaped(&escape(&absent.reason)))?;
    }
    writeln!(out, "</ul></details>\n</section>")
}

fn write_table(out: &mut String, scenario: &ScenarioResults) -> std::fmt::Result {
    writeln!(
        out,
        "<div class=\"wide\"><table>\n<tr><th></th><th>median</th><th>min</th><th>quartiles</th><th>max</th><th>rate</th>\
         <th>ratio [quartiles]</th><th>CPU s<br>client / server</th><th>CPU s/GiB<br>client / server</th><th>peak memory<br>client / server</th></tr>"
    )?;
    let rate = if scenario.link.is_some() { link_rate } else { rate };
    for contender in &scenario.contenders {
        let summary = &contender.summary;
        let bound = if summary.cut_off > 0 { "&gt; " } else { "" };
        let failed = if summary.failed > 0 { format!(" ({} failed)", summary.failed) } else { String::new() };
        let class = if contender.name == BASELINE { " class=\"ours\"" } else { "" };
        writeln!(out, "<tr{class}><td>{}{failed}</td>", escaped(&contender.name))?;
        match summary.seconds {
            None => writeln!(out, "<td>-</td><td>-</td><td>-</td><td>-</td>")?,
            Some(s) => writeln!(
                out,
                "<td>{bound}{}</td><td>{:.3}</td><td>{:.3} .. {:.3}</td><td>{:.3}</td>",
                seconds(s.median),
                s.min,
                s.q1,
                s.q3,
                s.max
            )?,
        }
        writeln!(
            out,
            "<td>{}</td><td>{bound}{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            summary.bytes_per_second.map_or_else(|| "-".to_owned(), rate),
            summary.ratio.map_or_else(|| "-".to_owned(), |spread| ratio(&spread)),
            pair(summary.client_cpu_seconds, summary.server_cpu_seconds, |cpu| format!("{cpu:.2}")),
            pair(summary.client_cpu_per_gib, summary.server_cpu_per_gib, |cpu| format!("{cpu:.2}")),
            pair(summary.client_peak_bytes, summary.server_peak_bytes, mib)
        )?;
    }
    writeln!(out, "</table></div>")
}

fn dots_of(contender: &Contender) -> Dots<'_> {
    let good = contender.samples.iter().filter(|sample| sample.error.is_none());
    Dots {
        label: &contender.name,
        values: good.map(|sample| sample.seconds).collect(),
        quartiles: contender.summary.seconds.map(|s| [s.q1, s.median, s.q3]),
        ours: contender.name.starts_with(BASELINE),
    }
}

fn bar_of(contender: &Contender) -> Option<Bar<'_>> {
    let spread = contender.summary.ratio?;
    let bound = if contender.summary.cut_off > 0 { "> " } else { "" };
    Some(Bar {
        label: &contender.name,
        quartiles: [spread.q1, spread.median, spread.q3],
        text: format!("{bound}{:.2} ×", spread.median),
        ours: contender.name.starts_with(BASELINE),
    })
}

/// The most points of a curve. Several observations make one point, because single ones are full of steps that the disk
/// and not the network causes.
const CURVE_POINTS: usize = 60;

fn curve_of(contender: &Contender) -> Option<Curve<'_>> {
    let progress = &contender.typical()?.progress;
    let mut points = Vec::new();
    let (mut seconds, mut bytes) = (0.0, 0);
    let together = progress.len().div_ceil(CURVE_POINTS).max(1);
    for look in progress.chunks(together).filter_map(<[_]>::last) {
        if look.seconds > seconds {
            let rate = look.bytes.saturating_sub(bytes) as f64 / (look.seconds - seconds);
            points.extend([(seconds, rate / 1e6), (look.seconds, rate / 1e6)]);
            (seconds, bytes) = (look.seconds, look.bytes);
        }
    }
    (!points.is_empty()).then(|| Curve { label: &contender.name, points, ours: contender.name.starts_with(BASELINE) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails when a rate is counted since the start, or belongs to a run that is not the median one.
    #[test]
    fn rates_are_those_between_two_looks() {
        let results = crate::results::tests::known();
        let curve = curve_of(&results.scenarios[0].contenders[0]).unwrap();
        let mib = 1.048_576;
        let expected = [(0.0, 1024.0), (0.25, 1024.0), (0.25, 2048.0), (0.5, 2048.0), (0.5, 512.0), (1.0, 512.0)];
        assert_eq!(curve.points, expected.map(|(seconds, rate)| (seconds, rate * mib)));
        assert!(curve_of(&results.scenarios[0].contenders[1]).is_none());
    }

    #[test]
    fn the_page_holds_everything_itself() {
        let page = html(&crate::results::tests::known());
        for outside in ["http://", "https://", "<script", "<link", "src=", "@import", "url("] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert_eq!(page.matches("<svg").count(), 6);
        assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
        for part in
            ["2 × C &amp; D", "about &lt;curl&gt;", "1 failed", "&gt; ", "scp is not installed", "2.00 [2.00 2.00]"]
        {
            assert!(page.contains(part), "{part}");
        }
    }
}
