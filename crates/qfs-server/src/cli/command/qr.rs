//! Links as pictures that a telephone reads, drawn with half blocks.

use std::io::{self, IsTerminal as _};

use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};

/// Whether a person sees it: pictures are for terminals.
pub(super) fn is_wanted() -> bool {
    io::stdout().is_terminal()
}

/// The picture of `text`, line by line; nothing when it is too long for one.
pub(super) fn drawn(text: &str) -> String {
    let Ok(code) = QrCode::with_error_correction_level(text, EcLevel::L) else { return String::new() };
    // Light modules are drawn, so that it is right on a dark ground; colours make it so on any.
    let picture = code.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build();
    let colours = if std::env::var_os("NO_COLOR").is_some_and(|set| !set.is_empty()) {
        ("", "")
    } else {
        ("\x1b[97;40m", "\x1b[0m")
    };
    picture.lines().map(|line| format!("{}{line}{}\n", colours.0, colours.1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_as_wide_as_high_and_has_a_margin() {
        let picture = drawn("https://192.0.2.7:8000/a.txt#token=qfs_0123");
        let plain = picture.replace("\x1b[97;40m", "").replace("\x1b[0m", "");
        let lines: Vec<_> = plain.lines().collect();
        assert_eq!(lines[0].chars().count(), lines.len() * 2 - 1, "{plain}");
        // The last line is half of one.
        let margin = lines[..lines.len() - 1].iter().all(|line| line.starts_with("████") && line.ends_with("████"));
        assert!(lines[0].chars().all(|c| c == '█') && margin, "{plain}");
        assert_eq!(drawn(&"x".repeat(4000)), "");
    }
}
