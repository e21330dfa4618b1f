//! The picture of the documentation: what each program took over what qfs took, as one SVG file that needs nothing else.
//!
//! It is read as an image on a light and on a dark page, so that it brings its own background and a style for both, and it says
//! in a title and a description what it shows.

use std::fmt::Write as _;

use super::svg::escaped;
use super::units::escape;
use crate::figures::{Compared, Figures, Program, Quartiles};
use crate::results::BASELINE;

/// Width of the picture, of its labels, and of the figures behind the bars, in user units.
const WIDTH: f64 = 800.0;
const LABELS: f64 = 210.0;
const FIGURES: f64 = 76.0;
/// Distance from the edge.
const EDGE: f64 = 14.0;
/// Heights: title, heading of a scenario, one program, axis, a line of the caption.
const TITLE: f64 = 54.0;
const HEADING: f64 = 28.0;
const ROW: f64 = 19.0;
const AXIS: f64 = 30.0;
const LINE: f64 = 16.0;

/// Places on the axis that may have a mark; those within the scale have one.
const TICKS: [f64; 11] = [0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0];

const STYLE: &str = "\
.paper{fill:#fff;stroke:#d0d7de}.ink{fill:#1f2328}.soft{fill:#59636e}.grid{stroke:#d8dee4}.one{stroke:#1f2328}\
.slower{fill:#0b7a75}.faster{fill:#b35900}.whisker{stroke:#1f2328}.head{stroke:#fff}\
@media (prefers-color-scheme:dark){.paper{fill:#0d1117;stroke:#3d444d}.ink{fill:#f0f6fc}.soft{fill:#9198a1}\
.grid{stroke:#2f353d}.one{stroke:#f0f6fc}.slower{fill:#35c2ba}.faster{fill:#f0883e}.whisker{stroke:#f0f6fc}.head{stroke:#0d1117}}\
text{font:12px system-ui,-apple-system,'Segoe UI',sans-serif}.title{font-size:16px;font-weight:600}.head{font-weight:600;stroke-width:6px;paint-order:stroke}\
.figure{font-variant-numeric:tabular-nums}";

/// How a program is called in the picture.
fn label(name: &str) -> &str {
    match name {
        "curl" => "nginx + curl (HTTPS)",
        "curl+sha256sum" => "nginx + curl, then sha256sum",
        "curl-bbr" => "nginx + curl, TCP BBR",
        "rsync" => "rsync daemon, not encrypted",
        "rsync-ssh" => "rsync over ssh",
        "aria2c" => "nginx + aria2c (HTTPS)",
        "rclone" => "nginx + rclone (HTTPS)",
        "cp" => "cp -r, no network",
        other => other,
    }
}

/// One SVG file of all scenarios in which another program took part. Variants of qfs are left out: this compares programs.
#[must_use]
pub fn picture(sittings: &[Figures]) -> String {
    let groups: Vec<Group<'_>> = sittings.iter().flat_map(|sitting| &sitting.scenarios).filter_map(group).collect();
    let captions = captions(sittings);
    let rows: usize = groups.iter().map(|group| group.rows.len()).sum();
    let bars = TITLE + groups.len() as f64 * HEADING + rows as f64 * ROW;
    let height = bars + AXIS + captions.len() as f64 * LINE + EDGE;
    let mut drawing = Drawing { out: String::new(), scale: Scale::of(&groups) };
    // Writing to a String cannot fail.
    let _ = drawing.whole(&groups, &captions, bars, height);
    drawing.out
}

/// A scenario and its rows, the slowest program first.
struct Group<'a> {
    scenario: &'a Compared,
    rows: Vec<(&'a Program, Quartiles)>,
}

fn group(scenario: &Compared) -> Option<Group<'_>> {
    let others = scenario.contenders.iter().filter(|program| !program.name.starts_with(BASELINE));
    let usable = |ratio: &Quartiles| ratio.median.is_finite() && ratio.median > 0.0;
    let mut rows: Vec<_> =
        others.filter_map(|program| program.summary.ratio.filter(usable).map(|ratio| (program, ratio))).collect();
    rows.sort_by(|(_, a), (_, b)| b.median.total_cmp(&a.median));
    (!rows.is_empty()).then_some(Group { scenario, rows })
}

/// Where and when, a line for each sitting that says something else than the one before.
fn captions(sittings: &[Figures]) -> Vec<String> {
    let mut lines = vec![
        "Time of the whole process over that of qfs in the same round: median, and quartiles as a line. Logarithmic scale."
            .to_owned(),
    ];
    for Figures { started, commit, host, runs, .. } in sittings {
        let day = started.get(..10).unwrap_or(started);
        let commit = commit.as_deref().map(|commit| format!(", commit {commit}")).unwrap_or_default();
        let line = format!("{runs} rounds in turns, {day}{commit}, {} × {}, {}", host.cores, host.cpu, host.kernel);
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    lines
}

/// A logarithmic axis that holds 1 and every ratio.
struct Scale {
    low: f64,
    high: f64,
}

impl Scale {
    fn of(groups: &[Group<'_>]) -> Self {
        let ends = |ratio: &Quartiles| [ratio.q1, Some(ratio.median), ratio.q3];
        let values = groups.iter().flat_map(|group| &group.rows).flat_map(|(_, ratio)| ends(ratio)).flatten();
        let (low, high) = values.fold((0.5, 2.0), |(low, high): (f64, f64), value| (low.min(value), high.max(value)));
        Self { low: low.max(TICKS[0]) / 1.15, high: high.min(TICKS[TICKS.len() - 1]) * 1.15 }
    }

    fn x(&self, ratio: f64) -> f64 {
        let share = (ratio.clamp(self.low, self.high) / self.low).ln() / (self.high / self.low).ln();
        LABELS + share * (WIDTH - LABELS - FIGURES - EDGE)
    }
}

struct Drawing {
    out: String,
    scale: Scale,
}

impl Drawing {
    fn whole(&mut self, groups: &[Group<'_>], captions: &[String], bars: f64, height: f64) -> std::fmt::Result {
        writeln!(
            self.out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
             height=\"{height}\" role=\"img\" aria-labelledby=\"title desc\">"
        )?;
        writeln!(self.out, "<title id=\"title\">qfs beside the programs people use today</title>")?;
        writeln!(self.out, "<desc id=\"desc\">{}</desc>", escaped(&description(groups)))?;
        writeln!(self.out, "<style>{STYLE}</style>")?;
        writeln!(
            self.out,
            "<rect class=\"paper\" x=\".5\" y=\".5\" width=\"{}\" height=\"{}\" rx=\"6\"/>",
            WIDTH - 1.0,
            height - 1.0
        )?;
        self.text("ink title", EDGE, 26.0, "start", "Time that other programs take, in multiples of the time of qfs")?;
        let (faster, slower) = (self.scale.x(1.0) - 6.0, self.scale.x(1.0) + 6.0);
        self.text("soft", faster, 47.0, "end", "← faster than qfs")?;
        self.text("soft", slower, 47.0, "start", "slower than qfs →")?;
        let shown = self.scale.low..=self.scale.high;
        for tick in TICKS.into_iter().filter(|tick| shown.contains(tick)) {
            let x = self.scale.x(tick);
            let class = if tick == 1.0 { "one" } else { "grid" };
            self.line(class, x, TITLE, x, bars)?;
            self.text("soft", x, bars + 16.0, "middle", &format!("{tick} ×"))?;
        }
        let mut y = TITLE;
        for group in groups {
            self.text("ink head", EDGE, y + 19.0, "start", &escape(group.scenario.about.trim_end_matches('.')))?;
            y += HEADING;
            for (program, ratio) in &group.rows {
                self.row(y, program, ratio)?;
                y += ROW;
            }
        }
        let captions = captions.iter().zip(0u32..);
        for (caption, index) in captions {
            self.text("soft", EDGE, bars + AXIS + f64::from(index) * LINE + 10.0, "start", &escape(caption))?;
        }
        writeln!(self.out, "</svg>")
    }

    fn row(&mut self, y: f64, program: &Program, ratio: &Quartiles) -> std::fmt::Result {
        let middle = y + ROW / 2.0;
        let (one, end) = (self.scale.x(1.0), self.scale.x(ratio.median));
        let class = if ratio.median < 1.0 { "faster" } else { "slower" };
        self.text("ink", LABELS - 10.0, middle + 4.0, "end", &escape(label(&program.name)))?;
        writeln!(
            self.out,
            "<rect class=\"{class}\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"12\" rx=\"2\"/>",
            one.min(end),
            middle - 6.0,
            (one - end).abs().max(1.0)
        )?;
        if let (Some(low), Some(high)) = (ratio.q1, ratio.q3) {
            self.line("whisker", self.scale.x(low), middle, self.scale.x(high), middle)?;
        }
        let bound = if program.summary.cut_off > 0 { "> " } else { "" };
        let text = format!("{bound}{:.2} ×", ratio.median);
        self.text("ink figure", WIDTH - EDGE, middle + 4.0, "end", &text)
    }

    fn text(&mut self, class: &str, x: f64, y: f64, anchor: &str, text: &str) -> std::fmt::Result {
        let text = escaped(text);
        writeln!(self.out, "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>")
    }

    fn line(&mut self, class: &str, x1: f64, y1: f64, x2: f64, y2: f64) -> std::fmt::Result {
        writeln!(self.out, "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>")
    }
}

/// The whole picture in words, for those who do not see it.
fn description(groups: &[Group<'_>]) -> String {
    let mut text =
        "Bars that show how long other programs take for the same work, in multiples of the time that qfs takes; \
         above 1 is slower than qfs."
            .to_owned();
    for group in groups {
        let rows = group.rows.iter().map(|(program, ratio)| format!("{} {:.2}", label(&program.name), ratio.median));
        let rows = rows.collect::<Vec<_>>().join("; ");
        let _ = write!(text, " {}: {rows}.", group.scenario.about.trim_end_matches('.'));
    }
    escape(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn() -> String {
        picture(&[Figures::of(&crate::results::tests::known())])
    }

    /// Fails when a program is missing, stands on the wrong side, or a time that was cut off looks like a measured one.
    #[test]
    fn every_program_beside_qfs_has_a_bar_on_its_side() {
        let svg = drawn();
        assert_eq!(svg.matches("<rect class=\"slower\"").count(), 2, "curl, in bulk and list");
        assert_eq!(svg.matches("<rect class=\"faster\"").count(), 2, "cp, in bulk and list");
        assert!(svg.contains(">2.00 ×</text>") && svg.contains(">&gt; 0.50 ×</text>"), "{svg}");
        assert!(svg.contains(">nginx + curl (HTTPS)</text>") && !svg.contains(">qfs</text>"), "{svg}");
        assert!(svg.contains("3 rounds in turns, 2026-01-01, 2 × C &amp; D, Linux 6"), "{svg}");
    }

    #[test]
    fn the_file_stands_by_itself_and_says_what_it_shows() {
        let svg = drawn();
        for outside in ["href", "url(", "<script", "@import", "<image"] {
            assert!(!svg.contains(outside), "{outside}");
        }
        assert!(svg.contains("<title id=\"title\">") && svg.contains("prefers-color-scheme:dark"), "{svg}");
        assert!(
            svg.contains("One file of 1024 MiB, into an empty directory: nginx + curl (HTTPS) 2.00; cp -r"),
            "{svg}"
        );
    }

    #[test]
    fn names_and_figures_from_a_file_cannot_break_the_picture() {
        let mut figures = Figures::of(&crate::results::tests::known());
        figures.scenarios[0].contenders[1].name = "<script>\u{1b}".into();
        let odd = |median| Some(Quartiles { q1: None, median, q3: None });
        figures.scenarios[0].contenders[2].summary.ratio = odd(0.0);
        figures.scenarios[1].contenders[1].summary.ratio = odd(1e300);
        let svg = picture(&[figures]);
        assert!(!svg.contains("<script") && !svg.contains('\u{1b}') && !svg.contains("NaN"), "{svg}");
    }
}
