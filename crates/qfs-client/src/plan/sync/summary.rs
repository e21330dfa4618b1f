//! What a plan comes to, in numbers.

use super::step::Step;

/// What a plan comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    /// Directories made.
    pub directories: u64,
    /// Files transferred.
    pub transfers: u64,
    /// Their bytes.
    pub transfer_bytes: u64,
    /// Files copied on the target.
    pub copies: u64,
    /// Their bytes.
    pub copy_bytes: u64,
    /// Links made.
    pub links: u64,
    /// Files of which only time or executable bit are set.
    pub metadata: u64,
    /// Files and links removed.
    pub removals: u64,
    /// Directories removed.
    pub removed_directories: u64,
    /// Files and links that are the same on both sides.
    pub kept: u64,
    /// Files that are newer on the target, and stay.
    pub newer: u64,
    /// Names of the source that are left out because of a [`super::Problem`] with them or with a directory above.
    pub obstructed: u64,
    /// Names of the source that rules exclude.
    pub excluded: u64,
    /// Hidden names of the source.
    pub hidden: u64,
}

impl Summary {
    /// What these steps come to; what is left as it is, is in none of them.
    #[must_use]
    pub fn of<'a>(steps: impl IntoIterator<Item = &'a Step>) -> Self {
        let mut summary = Self::default();
        steps.into_iter().for_each(|step| summary.count(step));
        summary
    }

    pub(super) fn count(&mut self, step: &Step) {
        match step {
            Step::MakeDirectory { .. } => self.directories += 1,
            Step::CopyOnTarget { file, .. } => {
                self.copies += 1;
                self.copy_bytes = self.copy_bytes.saturating_add(file.size);
            }
            Step::Transfer { file, .. } => {
                self.transfers += 1;
                self.transfer_bytes = self.transfer_bytes.saturating_add(file.size);
            }
            Step::MakeLink { .. } => self.links += 1,
            Step::SetMetadata { .. } => self.metadata += 1,
            Step::RemoveFile { .. } | Step::RemoveLink { .. } => self.removals += 1,
            Step::RemoveDirectory { .. } => self.removed_directories += 1,
            Step::SetDirectoryTime { .. } => {}
        }
    }
}
