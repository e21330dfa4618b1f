//! The plan: two listings and options in, a list of steps out.

use super::Options;
use super::clearing::Clearing;
use super::draft::Draft;
use super::error::{PlanError, Problem, Skipped, Withheld};
use super::listing::Listing;
use super::names;
use super::side::{Aside, Side};
use super::step::Step;

use qfs_core::model::RemotePath;

/// What makes the target like the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What is done, in an order that is safe: directories, copies on the target, transfers and links, then removals from the
    /// deepest on, then what comes where something of another kind was removed, and the times of directories last. A removal is
    /// carried out only if all steps before it succeeded. Each step checks its condition when it is carried out. After any first
    /// few of them, a new plan leads to the same end.
    pub steps: Vec<Step>,
    /// What they come to.
    pub summary: Summary,
    /// Names that are not as they should be afterwards, in their order.
    pub problems: Vec<Problem>,
    /// What the source has and is not carried, in the order of names.
    pub skipped: Vec<Skipped>,
    /// Why nothing is removed although it was asked for.
    pub withheld: Option<Withheld>,
}

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
    /// Names of the source that are left out because of a [`Problem`] with them or with a directory above.
    pub obstructed: u64,
    /// Names of the source that rules exclude.
    pub excluded: u64,
    /// Hidden names of the source.
    pub hidden: u64,
}

impl Summary {
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

/// Plans how `target` becomes like `source`.
///
/// # Errors
/// [`PlanError`] when nothing at all is to be done: names that the target cannot carry, or more to be removed than may be.
pub fn plan(source: &Listing, target: &Listing, options: &Options) -> Result<Plan, PlanError> {
    let (from, onto) = (Side::new(source, options), Side::new(target, options));
    let bad = names::check(source, &from, &onto, options);
    if !bad.is_empty() {
        return Err(PlanError::Names(bad));
    }
    let clearing = Clearing::new((source, target), &from, &onto, options);
    let draft = Draft::new(&from, &onto, &clearing, options);
    clearing.check(&from, &onto, draft.copies(), options)?;
    let (steps, mut summary) = draft.into_steps();
    let mut skipped = Vec::new();
    for (name, (_, aside)) in &from.aside {
        match aside {
            Aside::Hidden => summary.hidden += 1,
            Aside::Excluded => summary.excluded += 1,
            Aside::Link(why) => skipped.extend(RemotePath::parse(name).map(|path| Skipped { path, why: *why })),
            Aside::Entered | Aside::BelowFile => {}
        }
    }
    Ok(Plan { steps, summary, problems: clearing.problems, skipped, withheld: clearing.withheld })
}
