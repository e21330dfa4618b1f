//! What a token reaches.

use globset::{GlobBuilder, GlobMatcher};
use qfs_core::model::{MAX_PATH_BYTES, RemotePath};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[cfg(feature = "http")]
mod reach;

#[cfg(feature = "http")]
pub(crate) use reach::{Place, Reach};

/// Most patterns of one token.
pub const MAX_SCOPE_PATTERNS: usize = 64;

/// The files that a token reaches: names, each of which also stands for everything below it, and glob patterns, whose `*` and `?`
/// stop at `/` while `**` does not. Never empty: a rule that reaches nothing is a mistake.
#[derive(Debug, Clone)]
pub struct Scope {
    rules: Vec<Rule>,
}

#[derive(Debug, Clone)]
struct Rule {
    text: String,
    pattern: Option<GlobMatcher>,
}

/// Why a text is no rule of a [`Scope`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ScopeError {
    /// There are none, or too many.
    #[error("a scope has 1 to {MAX_SCOPE_PATTERNS} names or patterns")]
    Count,
    /// No name below the published directory.
    #[error("{0:?} is no name below the published directory")]
    Name(String),
    /// A pattern that means nothing.
    #[error("the pattern {pattern:?} is malformed: {reason}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl Scope {
    /// The scope of these names and patterns.
    ///
    /// # Errors
    /// [`ScopeError`] for the first that is none.
    pub fn parse(texts: &[String]) -> Result<Self, ScopeError> {
        if texts.is_empty() || texts.len() > MAX_SCOPE_PATTERNS {
            return Err(ScopeError::Count);
        }
        Ok(Self { rules: texts.iter().map(|text| Rule::parse(text)).collect::<Result<_, _>>()? })
    }

    /// The names and patterns, as they were given.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().map(|rule| rule.text.as_str())
    }

    /// Whether `path` is reached.
    #[must_use]
    pub fn covers(&self, path: &RemotePath) -> bool {
        self.rules.iter().any(|rule| rule.covers(path))
    }
}

impl Rule {
    fn parse(text: &str) -> Result<Self, ScopeError> {
        let text = text.strip_suffix('/').unwrap_or(text);
        // A pattern too is a list of components: one that starts with / or goes up would match nothing, and mislead.
        if text.len() > MAX_PATH_BYTES || RemotePath::parse(text).is_err() {
            return Err(ScopeError::Name(text.chars().take(64).collect()));
        }
        let pattern = if text.contains(['*', '?', '[', ']', '{', '}']) { Some(compile(text)?) } else { None };
        Ok(Self { text: text.to_owned(), pattern })
    }

    /// A name with its whole tree, or a pattern alone. Compared by components, so that `a` does not reach `ab`.
    fn covers(&self, path: &RemotePath) -> bool {
        match &self.pattern {
            Some(pattern) => pattern.is_match(path.as_str()),
            None => path.as_str().strip_prefix(&self.text).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
        }
    }
}

fn compile(text: &str) -> Result<GlobMatcher, ScopeError> {
    GlobBuilder::new(text)
        .literal_separator(true)
        .backslash_escape(false)
        .build()
        .map(|glob| glob.compile_matcher())
        .map_err(|e| ScopeError::Pattern { pattern: text.to_owned(), reason: e.kind().to_string() })
}

impl PartialEq for Scope {
    fn eq(&self, other: &Self) -> bool {
        self.texts().eq(other.texts())
    }
}

impl Eq for Scope {}

impl Serialize for Scope {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.texts())
    }
}

impl<'de> Deserialize<'de> for Scope {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&Vec::<String>::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(texts: &[&str]) -> Result<Scope, ScopeError> {
        Scope::parse(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
    }

    fn covers(texts: &[&str], path: &str) -> bool {
        scope(texts).unwrap().covers(&RemotePath::parse(path).unwrap())
    }

    // Fails when names are compared as strings instead of by their components.
    #[test]
    fn a_name_reaches_what_is_below_it_and_nothing_beside_it() {
        for text in ["photos", "photos/"] {
            assert!(covers(&[text], "photos") && covers(&[text], "photos/a") && covers(&[text], "photos/b/c"));
            assert!(!covers(&[text], "photos2") && !covers(&[text], "photos2/a") && !covers(&[text], "x/photos"));
            assert!(!covers(&[text], "Photos/a"));
        }
        assert!(covers(&["a/b"], "a/b/c") && !covers(&["a/b"], "a/c") && !covers(&["a/b"], "a"));
        assert!(covers(&["x", "y"], "y/z") && !covers(&["x", "y"], "z"));
    }

    #[test]
    fn patterns_stop_at_slashes_unless_doubled() {
        assert!(covers(&["*.csv"], "a.csv") && !covers(&["*.csv"], "sub/a.csv"));
        assert!(covers(&["**/*.csv"], "sub/deep/a.csv") && covers(&["pub/**"], "pub/x/y"));
        assert!(!covers(&["pub/**"], "pub2/x") && !covers(&["pub/*"], "pub/x/y"));
        assert!(covers(&["{a,b}/?"], "b/x") && !covers(&["[ab]"], "c"));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let many = vec!["x"; MAX_SCOPE_PATTERNS + 1];
        assert_eq!(scope(&[]), Err(ScopeError::Count));
        assert_eq!(scope(&many), Err(ScopeError::Count));
        for text in ["", "/", "/etc", "../x", "a/../b", "a//b", "./a", "a\\b", "a\0", "a//"] {
            assert!(matches!(scope(&[text]), Err(ScopeError::Name(_))), "{text:?}");
        }
        for text in ["a[", "{a", "[b-a]"] {
            assert!(matches!(scope(&["ok", text]), Err(ScopeError::Pattern { .. })), "{text:?}");
        }
    }
}
