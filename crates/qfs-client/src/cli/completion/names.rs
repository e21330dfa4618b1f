//! Which of the server's names a word may become. They are a stranger's: whatever a shell or a terminal might take for more than a
//! name is left out, though the shells quote what they insert.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use qfs_core::model::{RemotePath, escape_untrusted};

use super::line::Line;
use crate::cli::args::Command;

/// Most names that are offered; with more, none are, because the first ones might look like all.
const MAX_CANDIDATES: usize = 2_000;

/// What is expected at the cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// A name on the server.
    Any,
    /// A directory on the server.
    Directory,
}

/// What `command` expects where `word` stands; None where that is nothing of the server's.
pub(crate) fn place(command: &Command, word: &str) -> Option<Place> {
    let among = |names: &[String]| names.iter().any(|name| name == word);
    match command {
        Command::Get(get) if among(&get.names) => Some(Place::Any),
        Command::List(list) if among(&list.patterns) => Some(Place::Any),
        Command::Rm(rm) if among(&rm.names) => Some(Place::Any),
        Command::Cat(cat) if cat.name == word => Some(Place::Any),
        Command::Put(put) if put.to.as_deref() == Some(word) => Some(Place::Directory),
        _ => None,
    }
}

/// What a word may become: whole names, and directories with a slash at their end.
#[derive(Debug)]
pub(crate) struct Candidates<'a> {
    place: Place,
    line: &'a Line,
    found: BTreeSet<String>,
}

impl<'a> Candidates<'a> {
    pub(crate) fn new(place: Place, line: &'a Line) -> Self {
        Self { place, line, found: BTreeSet::new() }
    }

    /// The directory on the server in which the names are; None for the whole of it. An error where there can be none.
    pub(crate) fn directory(&self) -> Result<Option<RemotePath>, ()> {
        match self.line.current.rsplit_once('/') {
            None => Ok(None),
            Some((directory, _)) => RemotePath::parse(directory).map(Some).map_err(drop),
        }
    }

    /// Takes a name of the listing, in its order; breaks when there are too many.
    pub(crate) fn take(&mut self, name: &str, is_directory: bool) -> ControlFlow<()> {
        let Some(rest) = name.strip_prefix(&*self.line.current) else { return ControlFlow::Continue(()) };
        let candidate = match rest.find('/') {
            // Below a directory: that is as far as a word becomes longer.
            Some(slash) => name[..=self.line.current.len() + slash].to_owned(),
            None if is_directory => format!("{name}/"),
            None if self.place == Place::Any => name.to_owned(),
            None => return ControlFlow::Continue(()),
        };
        if candidate.len() > self.line.current.len() && is_harmless(&candidate) {
            self.found.insert(candidate);
        } else if candidate == self.line.current && !candidate.ends_with('/') && is_harmless(&candidate) {
            // It is complete.
            self.found.insert(candidate);
        }
        if self.found.len() > MAX_CANDIDATES { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// A line for each; nothing when there are too many.
    pub(crate) fn text(&self) -> String {
        if self.found.len() > MAX_CANDIDATES {
            return String::new();
        }
        // Names are at least as long as the word they begin with, and begin with it.
        self.found.iter().map(|name| format!("{}\n", &name[self.line.kept..])).collect()
    }
}

/// Whether a shell that quotes badly, or a terminal, would still take this for a name and nothing else.
fn is_harmless(name: &str) -> bool {
    const ACTIVE: [char; 6] = ['$', '`', '\\', '\'', '"', '!'];
    let is_expanded = name.starts_with(['~', '-', '#', '=']) || name.contains("=~") || name.contains(":~");
    !is_expanded && !name.contains(ACTIVE) && escape_untrusted(name) == name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(place: Place, current: &str, kept: usize, names: &[&str]) -> String {
        let line = Line { before: Vec::new(), current: current.to_owned(), kept };
        let mut candidates = Candidates::new(place, &line);
        for name in names {
            let is_directory = name.ends_with('/');
            let _ = candidates.take(name.trim_end_matches('/'), is_directory);
        }
        candidates.text()
    }

    const NAMES: [&str; 7] =
        ["a b.csv", "photos/", "photos/2025/", "photos/2025/x.jpg", "photos/me.jpg", "report.pdf", "12:30.log"];

    #[test]
    fn a_word_becomes_longer_by_one_component() {
        assert_eq!(candidates(Place::Any, "", 0, &NAMES), "12:30.log\na b.csv\nphotos/\nreport.pdf\n");
        assert_eq!(candidates(Place::Any, "ph", 0, &NAMES), "photos/\n");
        assert_eq!(candidates(Place::Any, "photos/", 0, &NAMES), "photos/2025/\nphotos/me.jpg\n");
        assert_eq!(candidates(Place::Any, "report.pdf", 0, &NAMES), "report.pdf\n");
        assert_eq!(candidates(Place::Any, "x", 0, &NAMES), "");
        assert_eq!(candidates(Place::Directory, "", 0, &NAMES), "photos/\n");
        // Servers that list files only.
        assert_eq!(candidates(Place::Directory, "", 0, &["deep/down/file"]), "deep/\n");
    }

    #[test]
    fn what_bash_keeps_is_not_repeated() {
        assert_eq!(candidates(Place::Any, "12:3", 3, &NAMES), "30.log\n");
    }

    #[test]
    fn hostile_names_are_left_out() {
        let hostile = [
            "$(id)",
            "`id`",
            "a\\b",
            "it's",
            "say\"x",
            "wow!",
            "-rf",
            "~root",
            "=ls",
            "#x",
            "x=~root",
            "a\nb",
            "a\x1b[2J",
            "a\u{202e}b",
            "\u{9b}x",
            "ok",
        ];
        assert_eq!(candidates(Place::Any, "", 0, &hostile), "ok\n");
        assert_eq!(candidates(Place::Any, "d/", 0, &["d/$(id)/x", "d/-f"]), "d/-f\n");
    }

    #[test]
    fn too_many_are_none() {
        let names: Vec<_> = (0..=MAX_CANDIDATES).map(|n| n.to_string()).collect();
        let line = Line { before: Vec::new(), current: String::new(), kept: 0 };
        let mut candidates = Candidates::new(Place::Any, &line);
        assert_eq!(names.iter().filter(|name| candidates.take(name, false).is_break()).count(), 1);
        assert_eq!(candidates.text(), "");
    }

    #[test]
    fn directories_of_words() {
        let directory = |current: &str| {
            let line = Line { before: Vec::new(), current: current.to_owned(), kept: 0 };
            Candidates::new(Place::Any, &line).directory().map(|path| path.map(|path| path.to_string()))
        };
        assert_eq!(directory("re"), Ok(None));
        assert_eq!(directory("a/b/c"), Ok(Some("a/b".to_owned())));
        assert!(directory("/etc/").is_err() && directory("../x").is_err());
    }
}
