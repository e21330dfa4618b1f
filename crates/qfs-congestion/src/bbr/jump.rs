//! How far the start from a known path has come.

use std::time::Instant;

/// Where a resumption stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Resume {
    /// There was none, or it has ended.
    #[default]
    None,
    /// The window has jumped at `since`, and nothing sent from then on was acknowledged. The path held `pipe` bytes before.
    Unvalidated { since: Instant, pipe: u64 },
    /// What was sent in the jump is being acknowledged, until `end` bytes were delivered in all.
    Validating { end: u64, pipe: u64 },
    /// What was sent behind it is, in the same way, a little above `pipe`.
    Settling { end: u64, pipe: u64 },
    /// The rate was measured there: start-up has nothing left to find, and a probe looks for more.
    Settled,
}
