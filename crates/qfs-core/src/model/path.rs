//! The name of a published file.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::escape_untrusted;

/// Longest component of a [`RemotePath`], in bytes (PROTOCOL §2.2).
pub const MAX_COMPONENT_BYTES: usize = 255;
/// Longest [`RemotePath`], in bytes (PROTOCOL §2.2).
pub const MAX_PATH_BYTES: usize = 4096;

/// A validated relative path with `/` between its components (PROTOCOL §2.2).
///
/// Both ends parse every name that they receive, because a hostile server can attempt path traversal too. A value of
/// this type guarantees that no component is empty, `.` or `..`, none holds `/`, `\` or NUL, and the length limits
/// hold. It does not mean that the name is safe to print: [`fmt::Display`] escapes, [`RemotePath::as_str`] does not.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RemotePath(Box<str>);

/// Why a text is not a valid [`RemotePath`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// The text, or one of its components (a leading, trailing or double slash), is empty.
    #[error("a component is empty")]
    EmptyComponent,
    /// A component is `.` or `..`.
    #[error("a component is . or ..")]
    DotComponent,
    /// It contains a backslash or NUL.
    #[error("a backslash or NUL is not allowed in a name")]
    ForbiddenCharacter,
    /// A component is longer than [`MAX_COMPONENT_BYTES`].
    #[error("a component is longer than {MAX_COMPONENT_BYTES} bytes")]
    ComponentTooLong,
    /// The whole is longer than [`MAX_PATH_BYTES`].
    #[error("the name is longer than {MAX_PATH_BYTES} bytes")]
    TooLong,
}

impl RemotePath {
    /// Parses `text`.
    ///
    /// # Errors
    /// [`PathError`] names the first rule of PROTOCOL §2.2 that `text` breaks.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        Self::check(text)?;
        Ok(Self(text.into()))
    }

    fn check(text: &str) -> Result<(), PathError> {
        if text.len() > MAX_PATH_BYTES {
            return Err(PathError::TooLong);
        }
        for component in text.split('/') {
            match component {
                "" => return Err(PathError::EmptyComponent),
                "." | ".." => return Err(PathError::DotComponent),
                c if c.len() > MAX_COMPONENT_BYTES => return Err(PathError::ComponentTooLong),
                c if c.bytes().any(|b| b == b'\\' || b == 0) => return Err(PathError::ForbiddenCharacter),
                _ => {}
            }
        }
        Ok(())
    }

    /// The path as it stands on the wire; not safe to print.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The components from the root down; at least one.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/')
    }

    /// The last component.
    #[must_use]
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    /// Everything before the last component, or None for a file at the root.
    #[must_use]
    pub fn parent(&self) -> Option<&str> {
        self.0.rsplit_once('/').map(|(parent, _)| parent)
    }

    /// Whether any component starts with a dot; such files are not published.
    #[must_use]
    pub fn is_hidden(&self) -> bool {
        self.components().any(|c| c.starts_with('.'))
    }

    /// Whether a symbolic link of this name with this target ends below the root, whatever other such links there are.
    ///
    /// Such a target climbs first, at most to the root, and then descends. A `..` after a name could climb from where
    /// another link leads, which cannot be told from the text.
    #[must_use]
    pub fn admits_link(&self, target: &str) -> bool {
        let above = self.components().count() - 1;
        let mut down = target;
        let mut climbed = 0;
        while let Some(rest) = down.strip_prefix("..") {
            match rest.strip_prefix('/') {
                Some(rest) => down = rest,
                None if rest.is_empty() => down = rest,
                None => break,
            }
            climbed += 1;
        }
        let ends = if down.is_empty() { climbed > 0 && !target.ends_with('/') } else { Self::check(down).is_ok() };
        climbed <= above && ends
    }
}

impl fmt::Display for RemotePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&escape_untrusted(&self.0))
    }
}

impl fmt::Debug for RemotePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RemotePath({:?})", self.0)
    }
}

impl FromStr for RemotePath {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl TryFrom<String> for RemotePath {
    type Error = PathError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::check(&text)?;
        Ok(Self(text.into_boxed_str()))
    }
}

impl Serialize for RemotePath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for RemotePath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::try_from(text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ordinary_and_odd_names_are_carried() {
        for name in ["a", "sub/name", "a b", "été", "...", "..a", "a..", ".hidden", "new\nline", "-rf", "~", "C:x"] {
            assert_eq!(RemotePath::parse(name).map(|p| p.as_str().to_owned()), Ok(name.to_owned()));
        }
    }

    #[test]
    fn each_rule_refuses() {
        let long = "x".repeat(256);
        let deep = vec!["x"; 2049].join("/");
        for (name, error) in [
            ("", PathError::EmptyComponent),
            ("/etc/passwd", PathError::EmptyComponent),
            ("a//b", PathError::EmptyComponent),
            ("a/", PathError::EmptyComponent),
            (".", PathError::DotComponent),
            ("a/../b", PathError::DotComponent),
            ("..", PathError::DotComponent),
            ("a\\b", PathError::ForbiddenCharacter),
            ("a\0b", PathError::ForbiddenCharacter),
            (&long, PathError::ComponentTooLong),
            (&deep, PathError::TooLong),
        ] {
            assert_eq!(RemotePath::parse(name), Err(error), "{name:?}");
        }
        assert!(RemotePath::parse(&"x".repeat(255)).is_ok());
        assert!(RemotePath::parse(&vec!["x"; 2048].join("/")).is_ok());
    }

    #[test]
    fn parts() {
        let path = RemotePath::parse("a/b/c.txt").unwrap();
        assert_eq!((path.file_name(), path.parent()), ("c.txt", Some("a/b")));
        assert_eq!(RemotePath::parse("c").unwrap().parent(), None);
        assert!(RemotePath::parse("a/.git/x").unwrap().is_hidden());
        assert!(!path.is_hidden());
    }

    // Fails when a link may climb above the root, or climb again after a name that may itself be a link.
    #[test]
    fn a_link_is_admitted_only_where_it_must_end_inside() {
        let path = RemotePath::parse("a/b/link").unwrap();
        for target in ["x", "x/y", "..", "../..", "../x", "../../x/y", "...", "..x", "../..x"] {
            assert!(path.admits_link(target), "{target:?}");
        }
        for target in [
            "",
            "/",
            "/x",
            "../../..",
            "../../../x",
            "x/..",
            "x/../y",
            ".",
            "./x",
            "../",
            "x/",
            "..//x",
            "x//y",
            "x\\y",
        ] {
            assert!(!path.admits_link(target), "{target:?}");
        }
        assert!(!RemotePath::parse("link").unwrap().admits_link(".."));
    }

    proptest! {
        #[test]
        fn a_parsed_path_joined_below_a_root_stays_below_it(text in "[a./\\\\\\x00é]{0,12}") {
            if let Ok(path) = RemotePath::parse(&text) {
                let joined = std::path::Path::new("/root").join(path.as_str());
                prop_assert!(joined.components().skip(2).all(|c| matches!(c, std::path::Component::Normal(_))));
                prop_assert!(joined.starts_with("/root") && joined.components().count() > 2);
                prop_assert_eq!(path.components().collect::<Vec<_>>().join("/"), text);
            }
        }
    }
}
