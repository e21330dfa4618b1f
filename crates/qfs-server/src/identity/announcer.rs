//! What a running server tells clients of its key.

use qfs_core::model::Fingerprint;

use super::IdentityDir;

/// What a running server knows of its key.
#[derive(Debug)]
pub(crate) struct Announcer {
    /// The key it shows to clients.
    pub(crate) current: Fingerprint,
    /// Where a next one is looked for.
    pub(crate) directory: Option<IdentityDir>,
}
