//! What is wrong with a file, and where.

use std::fmt;
use std::path::{Path, PathBuf};

/// A file that cannot be used as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    path: PathBuf,
    line: Option<usize>,
    what: String,
    hint: String,
}

impl Error {
    pub(crate) fn new(path: &Path, line: Option<usize>, what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, what: what.into(), hint: hint.into() }
    }

    /// Something that is wrong with the file, in this line or as a whole.
    #[must_use]
    pub fn in_file(path: &Path, line: Option<usize>, what: &str, hint: &str) -> Self {
        Self::new(path, line, what, hint)
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &str {
        &self.hint
    }
}

impl std::error::Error for Error {}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}", self.what)
    }
}
