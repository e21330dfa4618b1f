//! Names and messages from the other side, made safe to print.

use std::fmt::Write as _;

/// `text` with every character that could act on a terminal or mislead a reader escaped.
///
/// This escapes C0 and C1 controls, DEL, the backslash (so that the result can be read back unambiguously), line and
/// paragraph separators, and the bidirectional controls that reorder what follows them.
#[must_use]
pub fn escape_untrusted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\\' => out.push_str("\\\\"),
            c if is_dangerous(c) => {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out
}

fn is_dangerous(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_names_stay_as_they_are() {
        for name in ["a b.csv", "données/été.txt", "日本語", "quote'\"s"] {
            assert_eq!(escape_untrusted(name), name);
        }
    }

    #[test]
    fn nothing_that_moves_a_cursor_survives() {
        assert_eq!(escape_untrusted("a\x1b[2Jb"), "a\\u{1b}[2Jb");
        assert_eq!(escape_untrusted("a\u{9b}31m"), "a\\u{9b}31m");
        assert_eq!(escape_untrusted("x\u{202e}gpj.exe"), "x\\u{202e}gpj.exe");
        assert_eq!(escape_untrusted("a\nb\\n\x7f"), "a\\nb\\\\n\\u{7f}");
    }
}
