//! What becomes of the symbolic links below the root, found out in one walk: what is not published, to be told, and what is
//! published and ends outside, to be allowed.

use std::collections::{BTreeMap, HashSet};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::LocalStore;
use super::links::{FileId, FollowLinks, LeftOut, id_of};
use super::list::{Listing, Met};
use qfs_core::store::{ListQuery, StoreError};

/// Names that are looked at, some seconds' work: a server that starts cannot wait for ever.
const MAX_NAMES: u64 = 1_000_000;

/// Places outside that are remembered, each with a file descriptor until the sandbox is closed.
const MAX_OUTSIDE: usize = 1024;

/// What [`LocalStore::survey_links`] found.
#[derive(Debug, Default)]
pub struct LinkSurvey {
    /// Links that are not published.
    pub left_out: BTreeMap<LeftOut, Tally>,
    /// Where links end that are published and end outside, each place once.
    pub outside: Vec<Outside>,
    /// Links that end outside and found no room in `outside`.
    pub too_many: Option<Tally>,
    /// Whether every name was looked at.
    pub is_complete: bool,
}

/// How many there are, and which came first. The name is as it stands on the disk: not safe to print.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally {
    /// How many.
    pub count: u64,
    /// The first one's name.
    pub first: String,
}

/// A place outside of the root that a published link ends at.
#[derive(Debug)]
pub struct Outside {
    thing: OwnedFd,
    /// Whether it is a directory, which is published with all that is in it.
    pub is_directory: bool,
}

impl AsFd for Outside {
    /// A handle to name the place by; it reads nothing.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.thing.as_fd()
    }
}

impl Tally {
    fn add(tally: &mut Option<Self>, name: &str) {
        match tally {
            Some(tally) => tally.count += 1,
            None => *tally = Some(Self { count: 1, first: name.to_owned() }),
        }
    }
}

impl LocalStore {
    /// Looks at every symbolic link of the store. Blocks for as long as a listing takes, up to a million names.
    ///
    /// # Errors
    /// As [`Store::list`](qfs_core::store::Store::list).
    pub fn survey_links(&self) -> Result<LinkSurvey, StoreError> {
        let mut survey = LinkSurvey::default();
        let mut known: HashSet<FileId> = HashSet::new();
        let unlistable = &self.shared.unlistable;
        let met = &mut |name: &str, met: Met<'_>| match met {
            Met::LeftOut(why) => {
                // Told of here, all together; a listing need not say it again.
                let _ = unlistable.is_new(name);
                let mut tally = survey.left_out.remove(&why);
                Tally::add(&mut tally, name);
                survey.left_out.extend(tally.map(|tally| (why, tally)));
            }
            Met::Outside(end) => {
                if known.contains(&id_of(&end.stat)) {
                    return;
                }
                match end.thing.try_clone() {
                    Ok(thing) if survey.outside.len() < MAX_OUTSIDE => {
                        known.insert(id_of(&end.stat));
                        survey.outside.push(Outside { thing, is_directory: end.is_directory() });
                    }
                    _ => Tally::add(&mut survey.too_many, name),
                }
            }
        };
        let listing = Listing {
            root: &self.shared.root,
            rules: &self.rules,
            unlistable: Some(unlistable),
            query: &ListQuery::default(),
            met,
            left_out: &mut |_, _| {},
            names: MAX_NAMES,
        };
        survey.is_complete = listing.walk(None)?;
        Ok(survey)
    }

    /// Tells of a link that a listing came by and the survey did not.
    pub(super) fn tell_of(&self, name: &str, met: &Met<'_>) {
        match met {
            Met::LeftOut(why) if self.rules.follow == FollowLinks::Any => self.shared.unlistable.warn(name, why),
            Met::LeftOut(_) | Met::Outside(_) => {}
        }
    }
}
