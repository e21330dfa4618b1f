//! Files that are being appended to while they are fetched (PROTOCOL §4.2, "Live"): what is different about them.

use crate::error::Failure;

/// How often a live file is begun anew because the connection was lost: nothing of it can be kept, so what arrives is no progress,
/// and on a link that breaks again and again there would be no end.
pub(crate) const MAX_LIVE_RESTARTS: u32 = 4;

/// The failure of a file that changed, as far as it has to do with whether it was asked for and served live.
pub(crate) fn explained(failure: Failure, is_asked: bool, is_live: bool) -> Failure {
    match failure {
        Failure::Changed if is_live => Failure::ChangedInside,
        Failure::Changed if is_asked => Failure::LiveUnknown,
        failure => failure,
    }
}
