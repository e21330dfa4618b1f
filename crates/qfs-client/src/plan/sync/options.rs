//! What a run of `pull` or `push` is asked for.

use std::str::FromStr;
use std::time::Duration;

use qfs_core::model::{MAX_COMPONENT_BYTES, MAX_PATH_BYTES};

use super::filter::Filters;

/// What a run is asked for.
#[derive(Debug, Clone)]
pub struct Options {
    /// Removes what the source lacks.
    pub delete: bool,
    /// How much may be removed.
    pub max_delete: MaxDelete,
    /// Compares contents by their digests, and not by their times.
    pub checksum: bool,
    /// Compares contents by their sizes alone, and leaves times as they are. [`Self::checksum`] goes before it.
    pub size_only: bool,
    /// Leaves files alone that are newer on the target.
    pub update: bool,
    /// Carries symbolic links that end inside. Without it links take no part, on either side.
    pub links: bool,
    /// Carries the executable bit, where both sides tell it.
    pub executable: bool,
    /// Carries the modification times of directories, where both sides tell them.
    pub directory_times: bool,
    /// Lets hidden names take part, where the source publishes them and the target may have them. They are never removed.
    pub hidden: bool,
    /// Times no further apart than this are equal: what the coarser of both sides can tell apart.
    pub time_tolerance: Duration,
    /// Which names take part.
    pub filters: Filters,
    /// Which names the target can carry.
    pub target: TargetNames,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            delete: false,
            max_delete: MaxDelete::default(),
            checksum: false,
            size_only: false,
            update: false,
            links: false,
            executable: true,
            directory_times: true,
            hidden: false,
            time_tolerance: Duration::ZERO,
            filters: Filters::default(),
            target: TargetNames::default(),
        }
    }
}

/// Which names a target can carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TargetNames {
    /// Names that differ in case only are one there.
    pub folds_case: bool,
    /// Longest component, in bytes.
    pub max_component_bytes: usize,
    /// Longest name, in bytes; what the target puts in front of every name is taken off.
    pub max_path_bytes: usize,
}

impl Default for TargetNames {
    fn default() -> Self {
        Self { folds_case: false, max_component_bytes: MAX_COMPONENT_BYTES, max_path_bytes: MAX_PATH_BYTES }
    }
}

/// How much may be removed in one run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MaxDelete {
    /// So many names, directories included.
    Count(u64),
    /// So many per cent of the files and links that take part on the target. Those count as held that a copy on the target makes
    /// first, so that files which are only renamed are no more than half, however many they are.
    Percent(f64),
}

impl Default for MaxDelete {
    /// 50 %.
    fn default() -> Self {
        Self::Percent(50.0)
    }
}

/// A text is no [`MaxDelete`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a number, or a percentage up to 100%")]
pub struct ParseMaxDeleteError;

impl FromStr for MaxDelete {
    type Err = ParseMaxDeleteError;

    /// `12` or `12.5%`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let only_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        match text.strip_suffix('%') {
            Some(number) => {
                let percent = number.parse().ok().filter(|_| only_digits(number)).ok_or(ParseMaxDeleteError)?;
                if (0.0..=100.0).contains(&percent) { Ok(Self::Percent(percent)) } else { Err(ParseMaxDeleteError) }
            }
            None => text.parse().ok().filter(|_| only_digits(text)).map(Self::Count).ok_or(ParseMaxDeleteError),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_removal_as_text() {
        for (text, limit) in [
            ("0", Some(MaxDelete::Count(0))),
            ("12", Some(MaxDelete::Count(12))),
            ("0%", Some(MaxDelete::Percent(0.0))),
            ("12.5%", Some(MaxDelete::Percent(12.5))),
            ("100%", Some(MaxDelete::Percent(100.0))),
            ("", None),
            ("%", None),
            ("-1", None),
            ("+1", None),
            ("1.5", None),
            ("101%", None),
            ("-5%", None),
            ("nan%", None),
            ("1e1%", None),
            ("5 %", None),
        ] {
            assert_eq!(text.parse().ok(), limit, "{text:?}");
        }
    }
}
