//! The plan: two listings and options in, a list of steps out.

use super::clearing::Clearing;
use super::draft::Draft;
use super::error::{PlanError, Problem, Skipped, Withheld};
use super::listing::Listing;
use super::names;
use super::options::Options;
use super::side::{Aside, Side};
use super::step::Step;
use super::summary::Summary;

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
