//! Why a plan was not made, and what it leaves out.

use qfs_core::model::{RemotePath, escape_untrusted};

use super::links::LinkFault;
use super::listing::Kind;
use super::names::BadName;
use super::options::MaxDelete;

/// Why nothing is done at all.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// Names that the target cannot carry; at least one.
    #[error("{} cannot be had on the target; the first is {}", count(.0.len(), "name"), first(.0))]
    Names(Vec<BadName>),
    /// The source is empty and the target is not: more likely a wrong directory than a wish.
    #[error("the source is empty, and {} would be removed", count_of(*.removals, "name"))]
    EmptySource {
        /// How many names would be removed.
        removals: u64,
    },
    /// More would be removed than is allowed: exit code 8.
    #[error("{} of {} would be removed, and at most {} may be", .removals, count_of(*.held, "name"), most(*.limit))]
    TooManyRemovals {
        /// How many would be removed, counted as the limit demands.
        removals: u64,
        /// How many there are, counted in the same way.
        held: u64,
        /// The limit.
        limit: MaxDelete,
    },
}

impl PlanError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Names(_) => Some("rename them at the source, or leave them out with --exclude"),
            Self::EmptySource { .. } => {
                Some("check the names of both sides; files that are really to go are removed by name")
            }
            Self::TooManyRemovals { .. } => {
                Some("look at it with --dry-run and --max-delete=100%, then allow as many with --max-delete")
            }
        }
    }
}

fn count(number: usize, of: &str) -> String {
    count_of(number as u64, of)
}

fn count_of(number: u64, of: &str) -> String {
    format!("{number} {of}{}", if number == 1 { "" } else { "s" })
}

fn first(names: &[BadName]) -> String {
    names.first().map(ToString::to_string).unwrap_or_default()
}

fn most(limit: MaxDelete) -> String {
    match limit {
        MaxDelete::Count(count) => count.to_string(),
        MaxDelete::Percent(percent) => format!("{percent} %"),
    }
}

/// A name that is not as it should be after the run. The others are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The name.
    pub path: RemotePath,
    /// What stands in the way.
    pub why: Obstacle,
}

/// What stands in the way of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Obstacle {
    /// Something of another kind is there, and nothing is removed without `--delete`.
    #[error("there is a {target} where the source has a {wanted}, and --delete is not given")]
    OtherKind {
        /// What the source has.
        wanted: Kind,
        /// What the target has.
        target: Kind,
    },
    /// Something of another kind is there that is never removed, or has such a thing in it: hidden, excluded, a link that is not
    /// carried.
    #[error("there is a {target} where the source has a {wanted}, and it is not to be touched")]
    Untouchable {
        /// What the source has.
        wanted: Kind,
        /// What the target has.
        target: Kind,
    },
    /// Something of another kind is there, and removing is withheld for the reason that the plan gives.
    #[error("there is a {target} where the source has a {wanted}, and removing is withheld")]
    RemovalWithheld {
        /// What the source has.
        wanted: Kind,
        /// What the target has.
        target: Kind,
    },
    /// The listing has it below a file or a link.
    #[error("the listing has it below a file")]
    BelowFile,
}

/// An entry of the source that is not carried, because nobody asked for it or because it is not safe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// The name.
    pub path: RemotePath,
    /// Why.
    pub why: LinkFault,
}

/// Why nothing is removed although it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Withheld {
    /// The source may have what its listing lacks.
    #[error("the listing of the source is not complete")]
    SourceIncomplete,
    /// The target may have what its listing lacks.
    #[error("the listing of the target is not complete")]
    TargetIncomplete,
    /// Not all names can be brought over.
    #[error("not everything can be brought over")]
    Problems,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", escape_untrusted(self.path.as_str()), self.why)
    }
}

impl std::fmt::Display for Skipped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", escape_untrusted(self.path.as_str()), self.why)
    }
}
