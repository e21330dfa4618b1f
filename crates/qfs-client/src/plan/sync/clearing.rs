//! What is removed from the target, and what cannot be brought over because something is in the way.

use std::collections::HashSet;

use qfs_core::model::RemotePath;

use super::error::{Obstacle, PlanError, Problem, Withheld};
use super::listing::{Listing, above};
use super::options::{MaxDelete, Options};
use super::side::{Aside, Node, Side};

/// What is cleared away, and what is not.
#[derive(Debug, Default)]
pub(super) struct Clearing<'a> {
    /// What is removed, ascending: what lies in a directory stands behind it.
    pub(super) removals: Vec<(&'a RemotePath, Node<'a>)>,
    /// Names of the source that come where something of another kind is removed.
    replaced: HashSet<&'a str>,
    /// Names of the source that have to stay away, with all below them.
    obstructed: HashSet<&'a str>,
    pub(super) problems: Vec<Problem>,
    pub(super) withheld: Option<Withheld>,
}

/// A name that both sides have, as different things.
struct Mismatch<'a> {
    path: &'a RemotePath,
    wanted: Node<'a>,
    there: Node<'a>,
    can_go: bool,
}

impl<'a> Clearing<'a> {
    pub(super) fn new(
        listings: (&Listing, &'a Listing),
        source: &'a Side<'a>,
        target: &'a Side<'a>,
        options: &Options,
    ) -> Self {
        let mut clearing = Self::default();
        let removable = Removable::new(listings.1, source, target);
        clearing.find_untouchable(source, target);
        let (can_go, cannot): (Vec<_>, Vec<_>) =
            mismatches(source, target, &removable).into_iter().partition(|mismatch| mismatch.can_go);
        for mismatch in &cannot {
            let (wanted, target) = (mismatch.wanted.kind(), mismatch.there.kind());
            clearing.obstruct(mismatch.path, Obstacle::Untouchable { wanted, target });
        }
        clearing.withheld = [
            (listings.0.incomplete, Withheld::SourceIncomplete),
            (listings.1.incomplete, Withheld::TargetIncomplete),
            (!clearing.problems.is_empty(), Withheld::Problems),
        ]
        .into_iter()
        .find_map(|(is_so, why)| (options.delete && is_so).then_some(why));
        let may_remove = options.delete && clearing.withheld.is_none();
        for mismatch in can_go {
            let (wanted, target) = (mismatch.wanted.kind(), mismatch.there.kind());
            if may_remove {
                clearing.replaced.insert(mismatch.path.as_str());
            } else if options.delete {
                clearing.obstruct(mismatch.path, Obstacle::RemovalWithheld { wanted, target });
            } else {
                clearing.obstruct(mismatch.path, Obstacle::OtherKind { wanted, target });
            }
        }
        if may_remove {
            let is_wanted =
                |path: &RemotePath| source.nodes.contains_key(path) && !clearing.replaced.contains(path.as_str());
            let gone = target.nodes.iter().filter(|(path, node)| !is_wanted(path) && removable.can_go(path, **node));
            clearing.removals = gone.map(|(path, node)| (path, *node)).collect();
        }
        clearing.problems.sort_by(|a, b| a.path.cmp(&b.path));
        clearing
    }

    /// Finds where the source has something and what stands by on the target is in its way, and where the source's listing
    /// contradicts itself.
    fn find_untouchable(&mut self, source: &'a Side<'a>, target: &'a Side<'a>) {
        for (path, node) in &source.nodes {
            if let Some((kind, _)) = target.aside.get(path.as_str())
                && !target.nodes.contains_key(path)
                && !(node.is_directory() && *kind == node.kind())
            {
                self.obstruct(path, Obstacle::Untouchable { wanted: node.kind(), target: *kind });
            }
        }
        let below = source.aside.iter().filter(|(_, (_, aside))| *aside == Aside::BelowFile);
        let paths = below.filter_map(|(name, _)| RemotePath::parse(name).ok());
        self.problems.extend(paths.map(|path| Problem { path, why: Obstacle::BelowFile }));
    }

    fn obstruct(&mut self, path: &'a RemotePath, why: Obstacle) {
        self.obstructed.insert(path.as_str());
        self.problems.push(Problem { path: path.clone(), why });
    }

    /// Whether this name of the source has to stay away.
    pub(super) fn is_obstructed(&self, path: &RemotePath) -> bool {
        has_at_or_above(&self.obstructed, path)
    }

    /// Whether this name of the source can come only when something is gone.
    pub(super) fn waits(&self, path: &RemotePath) -> bool {
        has_at_or_above(&self.replaced, path)
    }

    /// Checks that no more is removed than may be. `copies` are made on the target before.
    pub(super) fn check(
        &self,
        source: &Side<'_>,
        target: &Side<'_>,
        copies: u64,
        options: &Options,
    ) -> Result<(), PlanError> {
        let all = self.removals.len() as u64;
        let contents = self.removals.iter().filter(|(_, node)| !node.is_directory()).count() as u64;
        let is_empty = source.nodes.is_empty() || (source.held() == 0 && contents > 0);
        if all > 0 && is_empty {
            return Err(PlanError::EmptySource { removals: all });
        }
        let limit = options.max_delete;
        let (removals, held, too_many) = match limit {
            MaxDelete::Count(most) => (all, target.nodes.len() as u64, all > most),
            MaxDelete::Percent(most) => {
                let held = target.held() + copies;
                // Numbers of files are far below 2^53, where all of this is exact. Whatever is no number refuses.
                let within = contents == 0 || contents as f64 * 100.0 <= most * held as f64;
                (contents, held, !within)
            }
        };
        if too_many { Err(PlanError::TooManyRemovals { removals, held, limit }) } else { Ok(()) }
    }
}

fn has_at_or_above(names: &HashSet<&str>, path: &RemotePath) -> bool {
    !names.is_empty() && (names.contains(path.as_str()) || above(path.as_str()).any(|name| names.contains(name)))
}

fn mismatches<'a>(source: &'a Side<'a>, target: &'a Side<'a>, removable: &Removable<'_>) -> Vec<Mismatch<'a>> {
    let both = source.nodes.iter().filter_map(|(path, wanted)| Some((path, *wanted, *target.nodes.get(path)?)));
    let differ = both.filter(|(_, wanted, there)| wanted.kind() != there.kind());
    differ
        .map(|(path, wanted, there)| Mismatch { path, wanted, there, can_go: removable.can_go(path, there) })
        .collect()
}

/// What of the target may be removed at all.
struct Removable<'a> {
    source: &'a Side<'a>,
    target: &'a Side<'a>,
    /// Directories that have something in them that stays.
    guarded: HashSet<&'a str>,
}

impl<'a> Removable<'a> {
    fn new(listing: &'a Listing, source: &'a Side<'a>, target: &'a Side<'a>) -> Self {
        let mut removable = Self { source, target, guarded: HashSet::new() };
        let stays = target.nodes.keys().map(RemotePath::as_str).filter(|name| !removable.by_itself(name));
        let asides = target.aside.keys().copied().chain(listing.unnameable.iter().map(String::as_str));
        removable.guarded = stays.chain(asides).flat_map(above).collect();
        removable
    }

    /// What lies in it left aside.
    fn by_itself(&self, name: &str) -> bool {
        let is_hidden = name.split('/').any(|part| part.starts_with('.'));
        !is_hidden && !self.target.aside.contains_key(name) && !self.source.stands_by(name)
    }

    fn can_go(&self, path: &RemotePath, node: Node<'_>) -> bool {
        self.by_itself(path.as_str()) && !(node.is_directory() && self.guarded.contains(path.as_str()))
    }
}
