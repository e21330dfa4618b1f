//! Numbers for people (MB = 10⁶ bytes, MiB = 2²⁰ bytes), and names from elsewhere made safe to print.

/// `1.234 s`, with as many digits as make sense.
#[must_use]
pub fn seconds(value: f64) -> String {
    match value {
        v if v < 10.0 => format!("{v:.3} s"),
        v if v < 100.0 => format!("{v:.2} s"),
        v => format!("{v:.1} s"),
    }
}

/// A number of bytes in the unit that fits.
#[must_use]
pub fn size(bytes: u64) -> String {
    let value = bytes as f64;
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", value / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", value / 1e6),
        _ => format!("{:.2} GB", value / 1e9),
    }
}

/// `823 MB/s`.
#[must_use]
pub fn rate(bytes_per_second: f64) -> String {
    match bytes_per_second / 1e6 {
        v if v < 10.0 => format!("{v:.2} MB/s"),
        v if v < 100.0 => format!("{v:.1} MB/s"),
        v => format!("{v:.0} MB/s"),
    }
}

/// The rate of a link, `152.3 Mbit/s`.
#[must_use]
pub fn link_rate(bytes_per_second: f64) -> String {
    format!("{:.1} Mbit/s", bytes_per_second * 8.0 / 1e6)
}

/// Memory, `12.3 MiB`.
#[must_use]
pub fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / 1_048_576.0)
}

/// `text`, with everything escaped that could act on a terminal or reorder what follows.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\'' | '"' => out.push(c),
            c => out.extend(c.escape_debug()),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_a_person_reads() {
        assert_eq!([seconds(0.0123), seconds(12.345), seconds(123.45)], ["0.012 s", "12.35 s", "123.5 s"]);
        assert_eq!([size(999), size(1_500), size(100_000_000)], ["999 B", "1.5 kB", "100.0 MB"]);
        assert_eq!(size(1 << 30), "1.07 GB");
        assert_eq!([rate(1.5e6), rate(823e6)], ["1.50 MB/s", "823 MB/s"]);
        assert_eq!(link_rate(19.04e6), "152.3 Mbit/s");
        assert_eq!(mib(12 << 20), "12.0 MiB");
    }

    #[test]
    fn nothing_acts_on_a_terminal() {
        assert_eq!(escape("a\u{1b}[2J\u{202e}'é"), "a\\u{1b}[2J\\u{202e}'é");
    }
}
