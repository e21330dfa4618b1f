//! Carrying out the steps of a plan, phase after phase.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::stream::{self, StreamExt as _};

use super::outcome::StepEnd;
use super::phases::{Phase, phases};
use super::target::{Performed, Target, Transferred, Wanted};
use crate::error::{Failure, FailureClass};
use crate::plan::sync::{Condition, Step};

/// Carries out `steps` on `target` and tells `report` of each as it ends. Returns what was transferred.
///
/// Nothing is removed once anything has failed, and nothing is begun any more once the server is lost.
pub(super) async fn carry_out<T: Target>(
    target: &mut T,
    steps: &[Step],
    report: &mut (dyn FnMut(usize, StepEnd) + Send),
) -> Result<Moved, Failure> {
    let (failed, lost) = (AtomicBool::new(false), AtomicBool::new(false));
    let mut run = Run { target, steps, report, failed, lost, moved: Moved::default() };
    for phase in phases(steps) {
        run.phase(&phase).await;
    }
    let moved = run.moved;
    target.finish().await?;
    Ok(moved)
}

/// What was transferred in a run.
#[derive(Debug, Default)]
pub(super) struct Moved {
    /// Bytes that were transferred, resent ones included.
    pub(super) bytes: u64,
    /// Bytes that were on the target already, by the number of the step.
    pub(super) reused: BTreeMap<usize, u64>,
}

struct Run<'a, T> {
    target: &'a mut T,
    steps: &'a [Step],
    report: &'a mut (dyn FnMut(usize, StepEnd) + Send),
    failed: AtomicBool,
    /// Whether there is no sense in asking for more.
    lost: AtomicBool,
    moved: Moved,
}

impl<T: Target> Run<'_, T> {
    async fn phase(&mut self, phase: &Phase) {
        let of = phase.steps();
        if phase.needs_success() && self.failed.load(Ordering::Relaxed) {
            of.iter().for_each(|step| (self.report)(*step, StepEnd::NotDone));
            return;
        }
        match phase {
            Phase::Transfers(_) => self.transfer(of).await,
            Phase::Late(steps) if steps.iter().all(|step| matches!(self.steps[*step], Step::Transfer { .. })) => {
                self.transfer(of).await;
            }
            Phase::Copies(_) => {
                let failed = self.small(of, false, true).await;
                self.transfer(&failed).await;
            }
            Phase::Removals(_) => drop(self.small(of, true, false).await),
            Phase::Small(_) | Phase::Late(_) | Phase::Times(_) => drop(self.small(of, false, false).await),
        }
    }

    /// Carries out `of`, none of which is a transfer: at once, as far as the target can. `careful` is whether none is begun any more
    /// once one has failed, `forgiving` whether those that fail are returned instead of being reported.
    async fn small(&mut self, of: &[usize], careful: bool, forgiving: bool) -> Vec<usize> {
        let Self { target, steps, report, failed, lost, .. } = self;
        let (target, steps) = (&**target, *steps);
        let (failed, lost) = (&*failed, &*lost);
        let begin = |step: &usize| {
            let step = *step;
            async move {
                if lost.load(Ordering::Relaxed) || (careful && failed.load(Ordering::Relaxed)) {
                    return (step, None);
                }
                (step, Some(target.perform(&steps[step]).await))
            }
        };
        let mut work = stream::iter(of).map(begin).buffer_unordered(T::AT_ONCE);
        let mut again = Vec::new();
        while let Some((step, performed)) = work.next().await {
            let end = match performed {
                None => StepEnd::NotDone,
                Some(Ok(Performed::Done)) => StepEnd::Done,
                Some(Ok(Performed::Kept)) => StepEnd::Kept,
                Some(Err(failure)) if forgiving && !is_lost(&failure) => {
                    again.push(step);
                    continue;
                }
                Some(Err(failure)) => {
                    failed.store(true, Ordering::Relaxed);
                    lost.fetch_or(is_lost(&failure), Ordering::Relaxed);
                    StepEnd::Failed(failure)
                }
            };
            report(step, end);
        }
        again
    }

    async fn transfer(&mut self, of: &[usize]) {
        if self.lost.load(Ordering::Relaxed) {
            of.iter().for_each(|step| (self.report)(*step, StepEnd::NotDone));
            return;
        }
        let wanted: Vec<_> = of.iter().filter_map(|step| wanted(*step, &self.steps[*step])).collect();
        if wanted.is_empty() {
            return;
        }
        let Self { target, report, failed, lost, moved, .. } = self;
        let mut done = |transferred: Transferred| {
            let Transferred { step, reused, ended, .. } = transferred;
            moved.bytes += transferred.moved;
            if reused > 0 {
                moved.reused.insert(step, reused);
            }
            let end = match ended {
                Ok(()) => StepEnd::Done,
                Err(failure) => {
                    failed.store(true, Ordering::Relaxed);
                    lost.fetch_or(is_lost(&failure), Ordering::Relaxed);
                    StepEnd::Failed(failure)
                }
            };
            report(step, end);
        };
        target.transfer(wanted, &mut done).await;
    }
}

/// What is transferred in a step: also the one that was to be a copy on the target, where that was not to be had.
fn wanted(step: usize, of: &Step) -> Option<Wanted> {
    match of {
        Step::Transfer { path, file, onto, .. } => {
            Some(Wanted { step, path: path.clone(), file: file.clone(), onto: onto.clone() })
        }
        Step::CopyOnTarget { to, file, .. } => {
            Some(Wanted { step, path: to.clone(), file: file.clone(), onto: Condition::Absent })
        }
        _ => None,
    }
}

fn is_lost(failure: &Failure) -> bool {
    matches!(failure.class(), FailureClass::Connection | FailureClass::Trust)
}
