//! What somebody may do: read, write, delete.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One thing that somebody may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Right {
    /// List and download.
    Read = 1,
    /// Upload, make directories and links, and replace what the request names the version of.
    Write = 2,
    /// Remove.
    Delete = 4,
}

impl Right {
    /// Every right, in the order in which they are written.
    pub const ALL: [Self; 3] = [Self::Read, Self::Write, Self::Delete];

    /// The name on the command line and in the token file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Delete => "delete",
        }
    }
}

/// A set of rights, never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rights(u8);

/// Why a text is no set of rights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected read, write or delete, or several of them with commas between")]
pub struct ParseRightsError;

impl Default for Rights {
    fn default() -> Self {
        Self::READ
    }
}

impl Rights {
    /// Reading alone.
    pub const READ: Self = Self(Right::Read as u8);

    /// Everything.
    pub const ALL: Self = Self(Right::Read as u8 | Right::Write as u8 | Right::Delete as u8);

    /// Whether `right` is among them.
    #[must_use]
    pub const fn include(self, right: Right) -> bool {
        self.0 & right as u8 != 0
    }

    /// Whether anything may be changed.
    #[must_use]
    pub const fn change_anything(self) -> bool {
        self.include(Right::Write) || self.include(Right::Delete)
    }

    /// As a number, for [`Self::from_bits`].
    pub(crate) const fn bits(self) -> u8 {
        self.0
    }

    /// From the number that [`Self::bits`] made.
    pub(crate) const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }

    fn names(self) -> impl Iterator<Item = &'static str> {
        Right::ALL.into_iter().filter(move |right| self.include(*right)).map(Right::name)
    }

    fn of<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, ParseRightsError> {
        let mut rights = 0;
        for name in names {
            let right = Right::ALL.into_iter().find(|right| right.name() == name).ok_or(ParseRightsError)?;
            rights |= right as u8;
        }
        if rights == 0 { Err(ParseRightsError) } else { Ok(Self(rights)) }
    }
}

impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names().collect::<Vec<_>>().join(","))
    }
}

impl FromStr for Rights {
    type Err = ParseRightsError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::of(text.split(',').map(str::trim))
    }
}

impl Serialize for Rights {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.names())
    }
}

impl<'de> Deserialize<'de> for Rights {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let names = Vec::<String>::deserialize(deserializer)?;
        Self::of(names.iter().map(String::as_str)).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_read_back_and_nonsense_is_refused() {
        for text in ["read", "write", "delete", "read,write", "read,write,delete", "write,delete"] {
            let rights: Rights = text.parse().unwrap();
            assert_eq!(rights.to_string(), text);
            let json = serde_json::to_string(&rights).unwrap();
            assert_eq!(serde_json::from_str::<Rights>(&json).unwrap(), rights);
        }
        assert_eq!(" write , read".parse::<Rights>().unwrap().to_string(), "read,write");
        for text in ["", ",", "all", "READ", "read,", "read;write"] {
            assert_eq!(text.parse::<Rights>(), Err(ParseRightsError), "{text:?}");
        }
        assert!(serde_json::from_str::<Rights>("[]").is_err(), "no rule must become no rule");
        assert!(!Rights::READ.change_anything() && Rights::ALL.change_anything());
    }
}
