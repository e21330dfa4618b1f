//! What a person means by a line of names in the menu. Pure.
//!
//! Commas separate names, and a name may have a comma. So a name that exists counts as it stands, the longest first; quotes and a
//! backslash protect what they can; and only what is left over is a number of the list that was shown, or a pattern.

use std::collections::HashSet;

use qfs_client::plan::selection::Wanted;
use qfs_core::model::RemotePath;

/// Whether it must be known which names exist to tell what `line` means.
pub(crate) fn is_ambiguous(line: &str) -> bool {
    line.contains([',', '"', '\'']) || number(line.trim()).is_some()
}

/// The names in `line`, where those in `existing` are files or directories of the server, and `numbered` was shown with numbers
/// from 1 on.
pub(crate) fn split(line: &str, existing: &HashSet<String>, numbered: &[RemotePath]) -> Vec<Wanted> {
    let mut names = Vec::new();
    let mut rest = line.trim();
    while !rest.is_empty() {
        let (name, behind) = literal(rest, existing).or_else(|| quoted(rest)).unwrap_or_else(|| plain(rest, numbered));
        names.extend(Some(name).filter(|name| !name.text().is_empty()));
        rest = behind.trim_start();
    }
    names
}

/// The longest name that exists, if `text` begins with one and it is followed by a comma or the end.
fn literal<'a>(text: &'a str, existing: &HashSet<String>) -> Option<(Wanted, &'a str)> {
    let found = existing.iter().filter_map(|name| {
        let rest = text.strip_prefix(name.as_str())?;
        Some((name, ended(rest.strip_prefix('/').unwrap_or(rest))?))
    });
    let (name, rest) = found.max_by_key(|(name, _)| name.len())?;
    // The slash says that the directory is meant.
    let slash = if text[name.len()..].starts_with('/') { "/" } else { "" };
    Some((Wanted::Exactly(format!("{name}{slash}")), rest))
}

/// What stands in quotes, if `text` begins with one and the other is followed by a comma or the end.
fn quoted(text: &str) -> Option<(Wanted, &str)> {
    let quote = text.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let (name, rest) = text[1..].split_once(quote)?;
    Some((Wanted::Exactly(name.to_owned()), ended(rest)?))
}

/// What is behind the comma that `text` begins with, spaces aside, or behind its end.
fn ended(text: &str) -> Option<&str> {
    let text = text.trim_start();
    if text.is_empty() { Some(text) } else { text.strip_prefix(',') }
}

/// A name, pattern or number up to the next comma without a backslash before it.
fn plain<'a>(text: &'a str, numbered: &[RemotePath]) -> (Wanted, &'a str) {
    let mut name = String::new();
    // Where the last character that counts ends: spaces before the comma do not.
    let mut length = 0;
    let mut characters = text.char_indices().peekable();
    let mut rest = "";
    while let Some((at, c)) = characters.next() {
        match c {
            ',' => {
                rest = &text[at + 1..];
                break;
            }
            '\\' => match characters.next_if(|(_, next)| matches!(next, ',' | '"' | '\'' | ' ')) {
                Some((_, protected)) => name.push(protected),
                // It protects something in a pattern.
                None => name.push(c),
            },
            c => name.push(c),
        }
        if c != ' ' {
            length = name.len();
        }
    }
    name.truncate(length);
    let by_number = number(&name).and_then(|n| numbered.get(n.checked_sub(1)?));
    match by_number {
        Some(path) => (Wanted::Exactly(path.as_str().to_owned()), rest),
        None => (Wanted::Any(name), rest),
    }
}

fn number(text: &str) -> Option<usize> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn exactly(name: &str) -> Wanted {
        Wanted::Exactly(name.to_owned())
    }

    fn any(name: &str) -> Wanted {
        Wanted::Any(name.to_owned())
    }

    fn split_of(line: &str, existing: &[&str]) -> Vec<Wanted> {
        let existing = existing.iter().map(|name| (*name).to_owned()).collect();
        let numbered: Vec<_> = ["x", "y,z", "3"].map(|name| RemotePath::parse(name).unwrap()).into();
        split(line, &existing, &numbered)
    }

    /// Fails when: a comma separates although a name with it exists; a shorter name wins over a longer one; a part of a name
    /// counts as a name.
    #[test]
    fn a_name_that_exists_wins() {
        let existing = ["a", "a,b.csv", "a, b", "c", "d,e/f", "\"q\"", "3", "a,b.csv,c,d"];
        for (line, names) in [
            ("a,b.csv", vec![exactly("a,b.csv")]),
            ("a", vec![exactly("a")]),
            ("a, b", vec![exactly("a, b")]),
            (" a,b.csv , c", vec![exactly("a,b.csv"), exactly("c")]),
            ("a,b.csv,c", vec![exactly("a,b.csv"), exactly("c")]),
            ("a,b.csv,c,d", vec![exactly("a,b.csv,c,d")]),
            ("a,b.csvx", vec![exactly("a"), any("b.csvx")]),
            ("d,e/f/", vec![exactly("d,e/f/")]),
            ("\"q\"", vec![exactly("\"q\"")]),
            ("3,1", vec![exactly("3"), exactly("x")]),
        ] {
            assert_eq!(split_of(line, &existing), names, "{line}");
        }
    }

    #[test]
    fn quotes_and_backslash_protect() {
        for (line, names) in [
            ("\"a,b\"", vec![exactly("a,b")]),
            (" 'a, \"b\"' , c", vec![exactly("a, \"b\""), any("c")]),
            ("a\\,b,c", vec![any("a,b"), any("c")]),
            ("\\ a\\ ,b", vec![any(" a "), any("b")]),
            ("it's,b", vec![any("it's"), any("b")]),
            ("\"a,b", vec![any("\"a"), any("b")]),
            ("\"a\"b,c", vec![any("\"a\"b"), any("c")]),
            ("a\\*,{b\\,c}*", vec![any("a\\*"), any("{b,c}*")]),
            ("\"a*\"", vec![exactly("a*")]),
            ("a\\", vec![any("a\\")]),
        ] {
            assert_eq!(split_of(line, &[]), names, "{line}");
        }
    }

    #[test]
    fn numbers_are_those_of_the_list() {
        for (line, names) in [
            ("1,2", vec![exactly("x"), exactly("y,z")]),
            (" 1 ", vec![exactly("x")]),
            ("0,4,99999999999999999999999", vec![any("0"), any("4"), any("99999999999999999999999")]),
            ("\"1\"", vec![exactly("1")]),
            ("1x,1 2", vec![any("1x"), any("1 2")]),
            (",, ,", vec![]),
            ("", vec![]),
        ] {
            assert_eq!(split_of(line, &[]), names, "{line}");
        }
    }

    #[test]
    fn only_what_needs_it_asks_the_server() {
        assert!(is_ambiguous("a,b") && is_ambiguous(" 12 ") && is_ambiguous("\"a\""));
        assert!(!is_ambiguous("a b") && !is_ambiguous("1a") && !is_ambiguous("sub/*"));
    }

    proptest! {
        /// However names look, as long as nothing reads differently, what is joined by commas and quoted comes apart again.
        #[test]
        fn quoted_names_come_back(names in prop::collection::vec("[a,1 \\\\é*]{1,6}", 0..5)) {
            let line = names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(" , ");
            let expected: Vec<_> = names.iter().map(|name| exactly(name)).collect();
            prop_assert_eq!(split_of(&line, &[]), expected);
        }
    }
}
