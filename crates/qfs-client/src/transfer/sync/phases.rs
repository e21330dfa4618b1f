//! In which order the steps of a plan may be carried out, and which of them at once. Pure.

use crate::plan::sync::Step;

/// What is carried out at one time; the numbers are those of the plan's steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Phase {
    /// All of these at once.
    Small(Vec<usize>),
    /// Copies on the target. One that fails becomes a transfer.
    Copies(Vec<usize>),
    /// Transfers, at once with each other.
    Transfers(Vec<usize>),
    /// Removals, all of them at once; none if anything failed before.
    Removals(Vec<usize>),
    /// What takes the place of what was removed; none if anything failed before.
    Late(Vec<usize>),
    /// Times of directories, all of them at once.
    Times(Vec<usize>),
}

/// The phases of `steps`, which come in the order of a plan. Directories are removed level by level, from the deepest on.
pub(super) fn phases(steps: &[Step]) -> Vec<Phase> {
    let first = steps.iter().position(Step::is_removal).unwrap_or(steps.len());
    let of = |range: std::ops::Range<usize>, is: fn(&Step) -> bool| -> Vec<usize> {
        range.filter(|index| is(&steps[*index])).collect()
    };
    let (before, behind) = (|is| of(0..first, is), |is| of(first..steps.len(), is));
    let mut phases = vec![
        Phase::Small(before(is_directory)),
        Phase::Copies(before(|step| matches!(step, Step::CopyOnTarget { .. }))),
        Phase::Small(before(is_small)),
        Phase::Transfers(before(is_transfer)),
        Phase::Removals(behind(|step| matches!(step, Step::RemoveFile { .. } | Step::RemoveLink { .. }))),
    ];
    let mut directories = behind(|step| matches!(step, Step::RemoveDirectory { .. }));
    let depth = |index: &usize| steps[*index].path().components().count();
    directories.sort_by_key(|index| std::cmp::Reverse(depth(index)));
    phases.extend(directories.chunk_by(|a, b| depth(a) == depth(b)).map(|level| Phase::Removals(level.to_vec())));
    phases.push(Phase::Late(behind(is_directory)));
    phases.push(Phase::Late(behind(is_small)));
    phases.push(Phase::Late(behind(is_transfer)));
    phases.push(Phase::Times(of(0..steps.len(), |step| matches!(step, Step::SetDirectoryTime { .. }))));
    phases.retain(|phase| !phase.steps().is_empty());
    phases
}

fn is_directory(step: &Step) -> bool {
    matches!(step, Step::MakeDirectory { .. })
}

fn is_small(step: &Step) -> bool {
    matches!(step, Step::MakeLink { .. } | Step::SetMetadata { .. })
}

fn is_transfer(step: &Step) -> bool {
    matches!(step, Step::Transfer { .. })
}

impl Phase {
    /// The numbers of its steps.
    pub(super) fn steps(&self) -> &[usize] {
        match self {
            Self::Small(steps)
            | Self::Copies(steps)
            | Self::Transfers(steps)
            | Self::Removals(steps)
            | Self::Late(steps)
            | Self::Times(steps) => steps,
        }
    }

    /// Whether it is left out once anything has failed.
    pub(super) fn needs_success(&self) -> bool {
        matches!(self, Self::Removals(_) | Self::Late(_))
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use qfs_core::model::RemotePath;

    use super::*;
    use crate::plan::sync::{Condition, File, Seen, Why};

    fn path(name: &str) -> RemotePath {
        RemotePath::parse(name).unwrap()
    }

    /// Fails when: a step is left out or comes twice; a directory is removed before what is in it; something takes the place of
    /// what is still there.
    #[test]
    fn every_step_comes_once_and_in_time() {
        let file = File { size: 1, modified: Timestamp::UNIX_EPOCH, executable: None, sha256: None, etag: None };
        let seen = Seen { size: 1, modified: Timestamp::UNIX_EPOCH, etag: None };
        let directory = |name| Step::MakeDirectory { path: path(name) };
        let transfer =
            |name| Step::Transfer { path: path(name), file: file.clone(), why: Why::Missing, onto: Condition::Absent };
        let remove = |name| Step::RemoveDirectory { path: path(name) };
        let steps = [
            directory("a"),
            Step::CopyOnTarget { from: path("o"), seen: seen.clone(), to: path("a/o"), file: file.clone() },
            transfer("a/t"),
            Step::MakeLink { path: path("a/l"), text: "t".into(), onto: Condition::Absent },
            Step::RemoveFile { path: path("z/y/x"), seen },
            remove("z/y"),
            remove("z"),
            remove("b/c"),
            directory("z"),
            transfer("z/new"),
            Step::SetDirectoryTime { path: path("a"), modified: Timestamp::UNIX_EPOCH },
        ];
        let expected = [
            Phase::Small(vec![0]),
            Phase::Copies(vec![1]),
            Phase::Small(vec![3]),
            Phase::Transfers(vec![2]),
            Phase::Removals(vec![4]),
            Phase::Removals(vec![5, 7]),
            Phase::Removals(vec![6]),
            Phase::Late(vec![8]),
            Phase::Late(vec![9]),
            Phase::Times(vec![10]),
        ];
        assert_eq!(phases(&steps), expected);
        assert_eq!(phases(&[]), []);
    }
}
