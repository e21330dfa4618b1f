//! The same without the feature `metrics`: counts nothing.

use super::Answered;

/// Nothing.
#[derive(Debug, Default)]
pub(crate) struct Metrics {}

/// Nothing.
#[derive(Debug)]
pub(crate) struct Open;

impl Metrics {
    pub(crate) fn opened(&self, _door: &'static str) -> Open {
        Open
    }

    pub(crate) fn answered(&self, _answered: &Answered<'_>) {}
}
