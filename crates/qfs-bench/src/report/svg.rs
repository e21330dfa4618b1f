//! The three plots of the report, as inline SVG. Colours come from the page's style sheet by class.

use std::fmt::Write as _;

/// Width of a plot, its labels and its margin, in user units.
const WIDTH: f64 = 760.0;
const LABELS: f64 = 130.0;
const MARGIN: f64 = 90.0;
/// Height of a row and of the axis below all rows.
const ROW: f64 = 26.0;
const AXIS: f64 = 26.0;

/// One row of a distribution plot.
pub(super) struct Dots<'a> {
    /// Label on the left.
    pub(super) label: &'a str,
    /// Every value, drawn as a dot.
    pub(super) values: Vec<f64>,
    /// First quartile, median, third quartile.
    pub(super) quartiles: Option<[f64; 3]>,
    /// Drawn in the accent colour.
    pub(super) ours: bool,
}

/// One row of a bar plot.
pub(super) struct Bar<'a> {
    /// Label on the left.
    pub(super) label: &'a str,
    /// First quartile, median, third quartile; the bar ends at the median.
    pub(super) quartiles: [f64; 3],
    /// Text behind the bar.
    pub(super) text: String,
    /// Drawn in the accent colour.
    pub(super) ours: bool,
}

/// One row of a plot of rates over time.
pub(super) struct Curve<'a> {
    /// Label on the left.
    pub(super) label: &'a str,
    /// Seconds and MB/s, in order of time.
    pub(super) points: Vec<(f64, f64)>,
    /// Drawn in the accent colour.
    pub(super) ours: bool,
}

/// Draws every value as a dot, the quartiles as a box and the median as a line. The axis begins at zero.
pub(super) fn dots(title: &str, unit: &str, rows: &[Dots<'_>]) -> String {
    let max = rows.iter().flat_map(|row| row.values.iter().copied()).fold(0.0, f64::max);
    let mut plot = Plot::new(title, rows.len(), max, unit);
    for (index, row) in rows.iter().enumerate() {
        let y = plot.row(index, row.label);
        let class = if row.ours { "ours" } else { "peer" };
        if let Some([q1, median, q3]) = row.quartiles {
            let (left, right, middle) = (plot.x(q1), plot.x(q3), plot.x(median));
            plot.rect(class, left, y - 7.0, (right - left).max(1.0), 14.0, 0.35);
            plot.line(class, middle, y - 9.0, middle, y + 9.0);
            plot.text("value", WIDTH - MARGIN + 8.0, y + 4.0, "start", &format!("{} {unit}", short(median)));
        }
        for &value in &row.values {
            let x = plot.x(value);
            plot.dot(class, x, y);
        }
    }
    plot.finish()
}

/// Draws a bar to each median, its quartiles as a whisker, and a line at 1.
pub(super) fn bars(title: &str, rows: &[Bar<'_>]) -> String {
    let max = rows.iter().map(|row| row.quartiles[2]).fold(1.0, f64::max);
    let mut plot = Plot::new(title, rows.len(), max, "×");
    for (index, row) in rows.iter().enumerate() {
        let y = plot.row(index, row.label);
        let class = if row.ours { "ours" } else { "peer" };
        let [low, end, high] = row.quartiles.map(|value| plot.x(value));
        plot.rect(class, LABELS, y - 8.0, (end - LABELS).max(1.0), 16.0, 0.6);
        plot.line("whisker", low, y, high, y);
        plot.text("value", WIDTH - MARGIN + 8.0, y + 4.0, "start", &row.text);
    }
    let one = plot.x(1.0);
    let bottom = rows.len() as f64 * ROW;
    plot.line("one", one, 0.0, one, bottom);
    plot.finish()
}

/// Draws a curve in each row, all on one scale of time and of rate, followed by the highest rate.
pub(super) fn curves(title: &str, rows: &[Curve<'_>]) -> String {
    let points = || rows.iter().flat_map(|row| row.points.iter().copied());
    let longest = points().map(|(seconds, _)| seconds).fold(0.0, f64::max);
    let highest = points().map(|(_, rate)| rate).fold(f64::MIN_POSITIVE, f64::max);
    let mut plot = Plot::new(title, rows.len(), longest, "s");
    for (index, row) in rows.iter().enumerate() {
        let bottom = plot.row(index, row.label) + ROW / 2.0 - 2.0;
        let corner = |&(seconds, rate): &(f64, f64)| {
            format!("{:.1},{:.1}", plot.x(seconds), bottom - rate / highest * (ROW - 6.0))
        };
        let corners = row.points.iter().map(corner).collect::<Vec<_>>().join(" ");
        plot.polyline(if row.ours { "ours" } else { "peer" }, &corners);
        let most = row.points.iter().map(|(_, rate)| *rate).fold(0.0, f64::max);
        plot.text("value", WIDTH - MARGIN + 8.0, bottom - ROW / 2.0 + 6.0, "start", &format!("≤ {} MB/s", short(most)));
    }
    plot.finish()
}

/// `text` for use between tags and in attributes.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

struct Plot {
    out: String,
    max: f64,
}

impl Plot {
    fn new(title: &str, rows: usize, max: f64, unit: &str) -> Self {
        let height = rows as f64 * ROW + AXIS;
        let title = escaped(title);
        let max = if max > 0.0 { max } else { 1.0 };
        let out = format!(
            "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{title}\"><title>{title}</title>\n"
        );
        let mut plot = Self { out, max };
        let bottom = rows as f64 * ROW;
        let step = step(max);
        let ticks = (0..).map(|n| f64::from(n) * step).take_while(|tick| *tick <= max * 1.001);
        for tick in ticks {
            let x = plot.x(tick);
            plot.line("grid", x, 0.0, x, bottom);
            plot.text("tick", x, bottom + 16.0, "middle", &format!("{} {unit}", short(tick)));
        }
        plot
    }

    fn x(&self, value: f64) -> f64 {
        LABELS + (value / self.max).clamp(0.0, 1.0) * (WIDTH - LABELS - MARGIN)
    }

    /// Writes the label of row `index`, and returns the middle of the row.
    fn row(&mut self, index: usize, label: &str) -> f64 {
        let y = (index as f64 + 0.5) * ROW;
        self.text("label", LABELS - 8.0, y + 4.0, "end", label);
        y
    }

    fn text(&mut self, class: &str, x: f64, y: f64, anchor: &str, text: &str) {
        let text = escaped(text);
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(
            self.out,
            "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>"
        );
    }

    fn polyline(&mut self, class: &str, corners: &str) {
        let _ = writeln!(self.out, "<polyline class=\"{class}\" points=\"{corners}\"/>");
    }

    fn line(&mut self, class: &str, x1: f64, y1: f64, x2: f64, y2: f64) {
        let _ =
            writeln!(self.out, "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>");
    }

    fn rect(&mut self, class: &str, x: f64, y: f64, width: f64, height: f64, opacity: f64) {
        let _ = writeln!(
            self.out,
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" \
             rx=\"2\" fill-opacity=\"{opacity}\"/>"
        );
    }

    fn dot(&mut self, class: &str, x: f64, y: f64) {
        let _ =
            writeln!(self.out, "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill-opacity=\"0.8\"/>");
    }

    fn finish(mut self) -> String {
        self.out.push_str("</svg>\n");
        self.out
    }
}

/// A distance between ticks, 1, 2 or 5 times a power of ten, that makes four to ten of them.
fn step(max: f64) -> f64 {
    let power = 10f64.powf((max / 4.0).log10().floor());
    [5.0, 2.0, 1.0].into_iter().map(|n| n * power).find(|step| max / step >= 4.0).unwrap_or(power)
}

/// Three significant digits, without trailing zeros.
fn short(value: f64) -> String {
    let digits = if value == 0.0 { 0.0 } else { 2.0 - value.abs().log10().floor() };
    let text = format!("{value:.*}", digits.clamp(0.0, 6.0) as usize);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round() {
        assert_eq!([step(10.0), step(1.0), step(45.0), step(0.4)], [2.0, 0.2, 10.0, 0.1]);
        assert_eq!(
            [short(0.0), short(1.5), short(12.0), short(0.01234), short(1234.0)],
            ["0", "1.5", "12", "0.0123", "1234"]
        );
    }

    #[test]
    fn a_plot_draws_every_value() {
        let rows = [Dots { label: "a<b", values: vec![1.0, 2.0], quartiles: Some([1.0, 1.5, 2.0]), ours: true }];
        let svg = dots("t", "s", &rows);
        assert_eq!(svg.matches("<circle").count(), 2);
        assert!(svg.contains("a&lt;b") && svg.contains("1.5 s"));
        let rows = [Curve { label: "a", points: vec![(0.0, 5.0), (1.0, 10.0)], ours: true }];
        let svg = curves("t", &rows);
        assert!(svg.contains("<polyline class=\"ours\"") && svg.contains("≤ 10 MB/s"), "{svg}");
        let rows = [Bar { label: "a", quartiles: [1.0, 2.0, 3.0], text: "2 ×".into(), ours: false }];
        assert_eq!(bars("t", &rows).matches("class=\"one\"").count(), 1);
    }
}
