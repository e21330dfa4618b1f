//! Texts from elsewhere, made fit for a terminal, for `sha256sum -c`, `b3sum -c` and for a line of their own.

use std::borrow::Cow;

use qfs_core::model::{Digest, escape_untrusted};

/// Whether `c` could act on a terminal or mislead a reader. The backslash, which only makes escapes ambiguous, does not.
pub(crate) fn is_dangerous(c: char) -> bool {
    c != '\\' && !c.is_ascii_graphic() && c != ' ' && {
        let mut buffer = [0; 4];
        let text: &str = c.encode_utf8(&mut buffer);
        escape_untrusted(text) != text
    }
}

/// `text` on one line and without effect on a terminal. Applied twice it does no more than once, so that a message may quote what
/// was escaped already.
pub(crate) fn inert(text: &str) -> Cow<'_, str> {
    if !text.contains(is_dangerous) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if is_dangerous(c) {
            out.push_str(&escape_untrusted(c.encode_utf8(&mut [0; 4])));
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// The line that GNU sha256sum or b3sum prints for a file, its end included: a name with a backslash, newline or carriage return has
/// these escaped, and the line begins with a backslash. For a terminal the rest that could act on it is escaped too;
/// elsewhere `sha256sum -c` must find the file by this name.
pub(crate) fn checksum_line(digest: Digest, name: &str, for_terminal: bool) -> String {
    let is_odd = name.contains(['\\', '\n', '\r']);
    let escaped = match (is_odd, for_terminal) {
        (_, true) => escape_untrusted(name).into(),
        (true, false) => Cow::Owned(name.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r")),
        (false, false) => Cow::Borrowed(name),
    };
    format!("{}{digest}  {escaped}\n", if is_odd { "\\" } else { "" })
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn inert_is_one_line_and_idempotent() {
        let text = inert("a\x1b[2J\nb\\n\u{202e}c é");
        assert_eq!(text, "a\\u{1b}[2J\\nb\\n\\u{202e}c é");
        assert_eq!(inert(&text), text);
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "files for sha256sum to read")]
    fn lines_are_those_of_sha256sum() {
        let directory = tempfile::tempdir().unwrap();
        for name in
            ["plain", "two words", "été", "back\\slash", "new\nline", "c\rr", "\x1b[2J", "*star", " lead", "\u{202e}x"]
        {
            std::fs::write(directory.path().join(name), name).unwrap();
            let output = Command::new("sha256sum")
                .current_dir(&directory)
                .args(["--", name])
                .env("LC_ALL", "C")
                .output()
                .unwrap();
            let ours = checksum_line(Digest::of(name.as_bytes()), name, false);
            assert_eq!(ours.as_bytes(), output.stdout, "{name:?}");
        }
    }

    #[test]
    fn nothing_raw_reaches_a_terminal() {
        let line = checksum_line(Digest::of(b""), "a\x1b[2J\u{9b}\r", true);
        assert!(!line.trim_end_matches('\n').contains(is_dangerous), "{line:?}");
    }
}
