//! Which files are meant: names, glob patterns, or all.

use globset::{Glob, GlobBuilder, GlobMatcher};
use qfs_core::model::RemotePath;

use crate::plan::nesting::Named;

/// The files a command is about.
#[derive(Debug, Clone)]
pub struct Selection {
    items: Vec<Item>,
    everything: bool,
    /// Whether names alone do not say which files are meant.
    open: bool,
}

/// What a text may stand for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Wanted {
    /// A file or directory of exactly this name.
    Exactly(String),
    /// The same, or a pattern.
    Any(String),
}

impl Wanted {
    /// The text.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Exactly(text) | Self::Any(text) => text,
        }
    }
}

/// One name or pattern, as it was given.
#[derive(Debug, Clone)]
pub struct Item {
    /// The text given.
    pub text: String,
    pattern: Option<GlobMatcher>,
}

/// A pattern that cannot be understood.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the pattern {pattern:?} is malformed: {reason}")]
pub struct SelectionError {
    /// The pattern.
    pub pattern: String,
    /// What is wrong with it.
    pub reason: String,
}

impl Selection {
    /// Every file.
    #[must_use]
    pub fn all() -> Self {
        Self { items: Vec::new(), everything: true, open: true }
    }

    /// These names and patterns. `*` and `?` do not match `/`, `**` does. A name that exists stands for itself even where it could
    /// be read as a pattern, and one that is neither file nor pattern stands for everything below it.
    ///
    /// # Errors
    /// [`SelectionError`] for a malformed pattern.
    pub fn parse(names: &[String]) -> Result<Self, SelectionError> {
        Self::of(names.iter().cloned().map(Wanted::Any))
    }

    /// The same, of texts some of which are no patterns, however they look.
    ///
    /// # Errors
    /// [`SelectionError`] for a malformed pattern.
    pub fn of(names: impl IntoIterator<Item = Wanted>) -> Result<Self, SelectionError> {
        let mut items: Vec<Item> = Vec::new();
        let mut seen = std::collections::HashSet::new();
        for wanted in names {
            if !seen.insert(wanted.clone()) {
                continue;
            }
            let (text, is_exact) = match wanted {
                Wanted::Exactly(text) => (text, true),
                Wanted::Any(text) => (text, false),
            };
            let is_pattern = !is_exact && text.contains(['*', '?', '[', '{']);
            let pattern = if is_pattern { Some(compile(&text)?.compile_matcher()) } else { None };
            items.push(Item { text, pattern });
        }
        let names = Named::new(items.iter().map(|item| item.text.as_str()));
        let open = items.iter().any(|item| {
            item.is_pattern()
                || item.is_directory()
                || RemotePath::parse(&item.text).is_ok_and(|path| names.is_below(&path))
        });
        Ok(Self { items, everything: false, open })
    }

    /// These names, of which no more is known than that the server had no file under them: they may be directories.
    pub(crate) fn directories(names: impl Iterator<Item = String>) -> Self {
        let items = names.map(|text| Item { text, pattern: None }).collect();
        Self { items, everything: false, open: true }
    }

    /// Whether every file is meant.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.everything
    }

    /// Whether the server's listing is needed to know which files are meant: for patterns and directories, and because of a name
    /// and one below it only the server knows which is a file.
    #[must_use]
    pub fn needs_listing(&self) -> bool {
        self.open
    }

    /// The names and patterns, in the order given; none for everything.
    #[must_use]
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// Whether every file is meant.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.everything
    }

    /// Whether `path` is meant, for a listing: a name also stands for everything below it. No names at all mean all.
    #[must_use]
    pub fn matches(&self, path: &RemotePath) -> bool {
        self.everything
            || self.items.is_empty()
            || self.items.iter().any(|item| item.matches(path) || item.is_above(path))
    }
}

impl Item {
    /// Whether this is a pattern.
    #[must_use]
    pub fn is_pattern(&self) -> bool {
        self.pattern.is_some()
    }

    /// Whether this can only be a directory: a name with a slash at its end.
    fn is_directory(&self) -> bool {
        let name = self.directory();
        name.len() < self.text.len() && RemotePath::parse(name).is_ok()
    }

    /// The directory that this could stand for.
    pub(crate) fn directory(&self) -> &str {
        self.text.trim_end_matches('/')
    }

    /// Whether `path` is this name or matches this pattern.
    #[must_use]
    pub fn matches(&self, path: &RemotePath) -> bool {
        self.text == path.as_str() || self.is_match(path)
    }

    /// Whether this is a pattern that `path` matches.
    pub(crate) fn is_match(&self, path: &RemotePath) -> bool {
        self.pattern.as_ref().is_some_and(|pattern| pattern.is_match(path.as_str()))
    }

    /// Whether `path` lies below this name.
    pub(crate) fn is_above(&self, path: &RemotePath) -> bool {
        path.as_str().strip_prefix(self.directory()).is_some_and(|rest| rest.starts_with('/'))
    }
}

fn compile(text: &str) -> Result<Glob, SelectionError> {
    GlobBuilder::new(text)
        .literal_separator(true)
        .backslash_escape(true)
        .build()
        .map_err(|e| SelectionError { pattern: text.to_owned(), reason: e.kind().to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selects(names: &[&str], path: &str) -> bool {
        let names: Vec<_> = names.iter().map(|n| (*n).to_owned()).collect();
        Selection::parse(&names).unwrap().matches(&RemotePath::parse(path).unwrap())
    }

    #[test]
    fn patterns_stop_at_slashes_unless_doubled() {
        assert!(selects(&["*.csv"], "a.csv"));
        assert!(!selects(&["*.csv"], "sub/a.csv"));
        assert!(selects(&["**/*.csv"], "sub/deep/a.csv"));
        assert!(selects(&["sub/?.csv"], "sub/a.csv"));
        assert!(selects(&["a[1].txt"], "a1.txt") && selects(&["a[1].txt"], "a[1].txt"));
    }

    #[test]
    fn a_listing_by_directory() {
        assert!(selects(&["sub"], "sub/x") && selects(&["sub/"], "sub/x") && !selects(&["sub"], "subx"));
        assert!(selects(&[], "anything"));
    }

    /// Fails when: a name and one below it are asked for without knowing which is a file.
    #[test]
    fn names_below_others_need_the_listing() {
        let needs = |names: &[&str]| {
            let names: Vec<_> = names.iter().map(|n| (*n).to_owned()).collect();
            Selection::parse(&names).unwrap().needs_listing()
        };
        assert!(needs(&["sub", "sub/x"]) && needs(&["a/b/c", "z", "a"]));
        assert!(!needs(&["sub", "subx/y", "sub-x"]) && !needs(&["sub/x", "sub/y"]));
        assert!(needs(&["sub/"]) && needs(&["a/b//"]) && !needs(&["/"]) && !needs(&["../"]));
    }

    #[test]
    fn duplicates_are_asked_once_and_malformed_patterns_refused() {
        let selection = Selection::parse(&["a".into(), "a".into(), "b*".into()]).unwrap();
        assert_eq!(selection.items().len(), 2);
        assert!(selection.needs_listing());
        assert!(Selection::parse(&["a[".into()]).is_err());
    }
}
