//! How names and messages are written so that a person can read them and no byte is lost.

use std::fmt::Write as _;

/// `text` as a JSON string of printable ASCII characters.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            ' '..='~' => out.push(c),
            _ => c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| write!(out, "\\u{unit:04x}").unwrap()),
        }
    }
    out + "\""
}

/// What [`quoted`] was made of.
pub(crate) fn unquoted(text: &str) -> String {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        write!(out, "{byte:02x}").unwrap();
        out
    })
}

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2), "{text:?} is no hexadecimal");
    (0..text.len() / 2).map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap()).collect()
}

#[test]
fn what_is_quoted_reads_back() {
    for text in ["", "a b", "\"\\", "new\nline\u{202e}\u{1b}[0m", "é 🦀 日本"] {
        assert!(quoted(text).bytes().all(|byte| (b' '..=b'~').contains(&byte)));
        assert_eq!(unquoted(&quoted(text)), text);
    }
    assert_eq!(unhex(&hex(&[0, 1, 254])), [0, 1, 254]);
}
