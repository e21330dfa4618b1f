//! What progress looks like: a line for each running file and one for the whole, each of them fit to a width. Pure.
//!
//! As a line gets narrower, the bar gives way first, then the figures, and the name last: it is shortened in its middle, by the
//! columns that it takes on a terminal.

use std::time::Duration;

use unicode_width::UnicodeWidthStr as _;

use super::report::human::binary;

/// Columns of a bar between its brackets, from the most to the fewest.
const BAR_COLUMNS: [usize; 2] = [16, 8];

/// What stands before the name where there is room.
const INDENT: &str = "  ";

/// What stands for the part of a name that is left out; one column wide.
const ELLIPSIS: char = '…';

/// A file under way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FileBar<'a> {
    /// Escaped: it is measured as it stands.
    pub(crate) name: &'a str,
    pub(crate) received: u64,
    pub(crate) lacking: u64,
}

/// The whole run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WholeBar {
    pub(crate) ended: usize,
    pub(crate) files: usize,
    /// Files under way that have no line.
    pub(crate) more: usize,
    pub(crate) received: u64,
    pub(crate) expected: u64,
    /// Bytes a second, when anything has arrived lately.
    pub(crate) rate: Option<f64>,
}

/// The line of a file, at most `width` columns wide.
pub(crate) fn file_line(file: FileBar<'_>, width: usize, colour: bool) -> String {
    let counts = format!("{}/{}", binary(file.received), binary(file.lacking));
    let percent = percent(file.received, file.lacking);
    let bar = |columns, figures: &str| {
        let (bar, size) = bar(file.received, file.lacking, columns, colour.then_some("36"));
        (format!(" [{bar}] {figures}"), 4 + size + figures.len())
    };
    let tails = [
        (INDENT, bar(BAR_COLUMNS[0], &counts)),
        (INDENT, bar(BAR_COLUMNS[1], &counts)),
        (INDENT, bar(BAR_COLUMNS[1], &percent)),
        (INDENT, (format!(" {percent}"), 1 + percent.len())),
    ];
    for (indent, (tail, size)) in tails {
        let taken = indent.len() + size;
        if taken + file.name.width() <= width {
            return format!("{indent}{}{tail}", padded(file.name, width - taken));
        }
    }
    match width.checked_sub(percent.len() + 1) {
        Some(room) => format!("{} {percent}", padded(&shortened(file.name, room), room)),
        None => shortened(file.name, width),
    }
}

/// The line of the whole, at most `width` columns wide.
pub(crate) fn whole_line(whole: WholeBar, width: usize, colour: bool) -> String {
    let WholeBar { ended, files, more, received, expected, rate } = whole;
    let more = if more > 0 { format!(", {more} more running") } else { String::new() };
    let counts = format!("{}/{}", binary(received), binary(expected));
    let percent = percent(received, expected);
    let (speed, left) = match rate {
        Some(rate) => {
            let left = Duration::try_from_secs_f64(expected.saturating_sub(received) as f64 / rate);
            let left = left.map_or_else(|_| String::new(), |left| format!(", {} left", left_text(left)));
            (format!(", {}/s", binary(rate as u64)), left)
        }
        None => Default::default(),
    };
    let bar = |columns, figures: &str| {
        let (bar, size) = bar(received, expected, columns, colour.then_some("32"));
        let head = format!("{ended}/{files} files{more}");
        (format!("{head} [{bar}] {figures}"), head.len() + 4 + size + figures.len())
    };
    let plain = |text: String| (text.clone(), text.len());
    let lines = [
        bar(BAR_COLUMNS[0], &format!("{counts}{speed}{left}")),
        bar(BAR_COLUMNS[1], &format!("{counts}{speed}{left}")),
        plain(format!("{ended}/{files} files{more}, {counts}{speed}{left}")),
        plain(format!("{ended}/{files} files, {counts}{speed}{left}")),
        plain(format!("{ended}/{files} files, {percent}{speed}{left}")),
        plain(format!("{ended}/{files} files, {percent}{left}")),
        plain(format!("{ended}/{files} files, {percent}")),
        plain(format!("{ended}/{files} {percent}")),
        plain(percent),
    ];
    let fitting = lines.into_iter().find(|(_, size)| *size <= width);
    fitting.map(|(line, _)| line).unwrap_or_default()
}

/// A bar and its columns. `tint` is the colour's number (ECMA-48 §8.3.117).
fn bar(done: u64, all: u64, columns: usize, tint: Option<&str>) -> (String, usize) {
    // Less than the columns, so it fits.
    let filled = (share(done, all) * columns as f64) as usize;
    let mut bar = "=".repeat(filled);
    if filled < columns {
        bar.push('>');
        bar.push_str(&" ".repeat(columns - filled - 1));
    }
    match tint {
        Some(tint) => (format!("\x1b[{tint}m{bar}\x1b[0m"), columns),
        None => (bar, columns),
    }
}

fn percent(done: u64, all: u64) -> String {
    format!("{:3.0}%", (share(done, all) * 100.0).floor())
}

/// From 0 to 1.
fn share(done: u64, all: u64) -> f64 {
    if done >= all { 1.0 } else { done as f64 / all as f64 }
}

/// `12s`, `3m05s` or `2h03m`.
fn left_text(left: Duration) -> String {
    let seconds = left.as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
    }
}

/// `text` and spaces up to `columns`.
fn padded(text: &str, columns: usize) -> String {
    format!("{text}{}", " ".repeat(columns.saturating_sub(text.width())))
}

/// `name`, or its beginning and its end around an ellipsis, in at most `columns` columns.
fn shortened(name: &str, columns: usize) -> String {
    if name.width() <= columns {
        return name.to_owned();
    }
    let Some(room) = columns.checked_sub(1) else { return String::new() };
    let starts = || name.char_indices().map(|(at, _)| at);
    // Each step adds a character, and no more characters than columns and marks that take none are looked at.
    let head = starts().take_while(|at| name[..*at].width() <= room.div_ceil(2)).last().unwrap_or_default();
    let left = room - name[..head].width();
    let tail = starts().rev().take_while(|at| *at >= head && name[*at..].width() <= left).last().unwrap_or(name.len());
    // A mark without columns would land on the ellipsis.
    let tail = name[tail..].trim_start_matches(|c: char| c.to_string().width() == 0);
    format!("{}{ELLIPSIS}{tail}", &name[..head])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use qfs_core::model::escape_untrusted;

    use super::*;

    fn visible(line: &str) -> String {
        line.replace("\x1b[36m", "").replace("\x1b[32m", "").replace("\x1b[0m", "")
    }

    fn of(name: &str) -> FileBar<'_> {
        FileBar { name, received: 1 << 20, lacking: 4 << 20 }
    }

    #[test]
    fn the_bar_goes_first_the_figures_next_and_the_name_last() {
        for (width, line) in [
            (60, "  report.pdf            [====>           ] 1.00 MiB/4.00 MiB"),
            (41, "  report.pdf [==>     ] 1.00 MiB/4.00 MiB"),
            (34, "  report.pdf       [==>     ]  25%"),
            (20, "  report.pdf     25%"),
            (15, "report.pdf  25%"),
            (14, "repo….pdf  25%"),
        ] {
            assert_eq!(file_line(of("report.pdf"), width, false), line);
        }
        assert_eq!(file_line(of("a-rather-long-name.tar.gz"), 20, false), "a-rathe….tar.gz  25%");
        assert_eq!(file_line(of("日本語のとても長い名前.txt"), 20, false).width(), 20);
    }

    #[test]
    fn the_whole_says_what_it_has_room_for() {
        let whole =
            WholeBar { ended: 3, files: 12, more: 2, received: 5 << 20, expected: 10 << 20, rate: Some(1048576.0) };
        for (width, line) in [
            (120, "3/12 files, 2 more running [========>       ] 5.00 MiB/10.00 MiB, 1.00 MiB/s, 5s left"),
            (60, "3/12 files, 5.00 MiB/10.00 MiB, 1.00 MiB/s, 5s left"),
            (34, "3/12 files,  50%, 5s left"),
            (20, "3/12 files,  50%"),
            (9, "3/12  50%"),
            (4, " 50%"),
            (3, ""),
        ] {
            assert_eq!(whole_line(whole, width, false), line);
        }
        let still = WholeBar { rate: None, more: 0, received: 0, expected: 0, ..whole };
        assert_eq!(whole_line(still, 80, false), "3/12 files [================] 0 B/0 B");
    }

    #[test]
    fn times_left() {
        for (seconds, text) in [(0, "0s"), (59, "59s"), (61, "1m01s"), (3600, "1h00m"), (360_000, "100h00m")] {
            assert_eq!(left_text(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn names_lose_their_middle() {
        for (name, columns, short) in [
            ("abcdef", 6, "abcdef"),
            ("abcdef", 5, "ab…ef"),
            ("abcdef", 4, "ab…f"),
            ("abcdef", 1, "…"),
            ("abcdef", 0, ""),
            ("日本語", 5, "日…語"),
            ("日本語", 4, "日…"),
            ("日本語", 2, "…"),
            ("e\u{301}e\u{301}e\u{301}e\u{301}", 3, "e\u{301}…e\u{301}"),
        ] {
            assert_eq!(shortened(name, columns), short, "{name} {columns}");
        }
    }

    proptest! {
        /// Fails when: a line is wider than there is room for, whatever the name; a name that fits beside a percentage is cut.
        #[test]
        fn any_name_fits_any_width(
            name in "[a-z\u{0}-\u{1f}\u{202e}日本\u{301}\u{1f600}\u{fe0f}❤\\\\]{1,40}",
            width in 1usize..130,
            received in any::<u64>(),
            lacking in any::<u64>(),
            colour in any::<bool>(),
        ) {
            let name = escape_untrusted(&name);
            let line = visible(&file_line(FileBar { name: &name, received, lacking }, width, colour));
            prop_assert!(line.width() <= width, "{:?} {}", line, line.width());
            if name.width() + 5 <= width {
                prop_assert!(line.contains(&name), "{:?}", line);
            }
            let whole = WholeBar { ended: 1, files: width, more: 3, received, expected: lacking, rate: Some(received as f64) };
            prop_assert!(visible(&whole_line(whole, width, colour)).width() <= width);
        }
    }
}
