//! A tree in memory that carries out steps as strictly as a store: whoever misses a condition panics.

use std::collections::BTreeMap;

use jiff::Timestamp;
use qfs_core::model::{Digest, RemotePath};

use crate::plan::sync::{
    Condition, Directory, Entry, File, Link, Listing, Options, Plan, PlanError, Seen, Step, Undecided, plan, undecided,
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Thing {
    /// What it contains is told by a number; so is its size.
    File {
        content: u8,
        second: i64,
        executable: bool,
        version: u64,
    },
    Directory {
        second: i64,
    },
    Link(String),
}

/// What a side tells of what it has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tells {
    pub(super) executable: bool,
    pub(super) directory_times: bool,
    pub(super) etags: bool,
    /// Of one file in so many; 0 for no file.
    pub(super) digests: usize,
}

impl Tells {
    pub(super) const ALL: Self = Self { executable: true, directory_times: true, etags: true, digests: 1 };
}

#[derive(Debug, Clone)]
pub(super) struct Tree {
    pub(super) things: BTreeMap<RemotePath, Thing>,
    pub(super) tells: Tells,
    /// Gives every file version a number of its own, and everything that happens another time.
    clock: u64,
}

pub(super) fn path(name: &str) -> RemotePath {
    RemotePath::parse(name).unwrap()
}

pub(super) fn size(content: u8) -> u64 {
    match content {
        0 => 0,
        1..10 => 100_000 * (1 + u64::from(content) % 2),
        _ => 200_000,
    }
}

fn digest(content: u8) -> Digest {
    Digest::of(&[content])
}

fn time(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

impl Tree {
    pub(super) fn new() -> Self {
        Self { things: BTreeMap::new(), tells: Tells::ALL, clock: 1000 }
    }

    /// A tree as a text tells it: `name`, with a content that no other name of these tests has, or `name=CONTENT@SECOND` with an `x` at its end where it may be executed, `name/` or
    /// `name/@SECOND`, `name>TEXT`; separated by blanks. Directories above are made.
    pub(super) fn of(text: &str) -> Self {
        let mut tree = Self::new();
        for item in text.split_whitespace() {
            if let Some((name, text)) = item.split_once('>') {
                tree.insert(name, Thing::Link(text.to_owned()));
            } else if let Some((name, second)) = item.split_once("/@") {
                tree.insert(name, Thing::Directory { second: second.parse().unwrap() });
            } else if let Some(name) = item.strip_suffix('/') {
                tree.insert(name, Thing::Directory { second: 5 });
            } else {
                let executable = item.contains('=') && item.ends_with('x');
                let item = if executable { &item[..item.len() - 1] } else { item };
                let own = (10 + item.bytes().fold(7u32, |sum, byte| (sum * 31 + u32::from(byte)) % 241)).to_string();
                let (name, rest) = item.split_once('=').unwrap_or((item, &own));
                let (content, second) = rest.split_once('@').unwrap_or((rest, "5"));
                let (content, second) = (content.parse().unwrap(), second.parse().unwrap());
                tree.insert(name, Thing::File { content, second, executable, version: 0 });
            }
        }
        tree
    }

    /// Puts something where nothing is; false where something is, or a file above it.
    pub(super) fn insert(&mut self, name: &str, thing: Thing) -> bool {
        let parents: Vec<_> = name.match_indices('/').map(|(end, _)| path(&name[..end])).collect();
        let is_free = |name: &RemotePath| matches!(self.things.get(name), None | Some(Thing::Directory { .. }));
        if !parents.iter().all(is_free) || self.things.contains_key(&path(name)) {
            return false;
        }
        for parent in parents {
            self.things.entry(parent).or_insert(Thing::Directory { second: 5 });
        }
        self.put(&path(name), thing);
        true
    }

    fn put(&mut self, name: &RemotePath, mut thing: Thing) {
        self.clock += 1;
        if let Thing::File { version, .. } = &mut thing {
            *version = self.clock;
        }
        self.things.insert(name.clone(), thing);
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.things.contains_key(&path(name))
    }

    fn entry(&self, thing: &Thing, knows_digest: bool) -> Entry {
        match thing {
            Thing::File { content, second, executable, version } => Entry::File(File {
                size: size(*content),
                modified: time(*second),
                executable: self.tells.executable.then_some(*executable),
                sha256: knows_digest.then(|| digest(*content)),
                etag: self.tells.etags.then(|| format!("v{version}").parse().unwrap()),
            }),
            Thing::Directory { second } => {
                Entry::Directory(Directory { modified: self.tells.directory_times.then(|| time(*second)) })
            }
            Thing::Link(text) => Entry::Link(Link { text: text.clone() }),
        }
    }

    pub(super) fn listing(&self) -> Listing {
        // By the name alone, so that a later listing tells the same.
        let number =
            |path: &RemotePath| path.as_str().bytes().fold(0, |sum: usize, byte| sum * 7 % 1009 + usize::from(byte));
        let knows = |path: &RemotePath| number(path).checked_rem(self.tells.digests) == Some(0);
        self.things.iter().map(|(path, thing)| (path.clone(), self.entry(thing, knows(path)))).collect()
    }

    /// Fills the digests of `paths` into `listing`.
    fn tell(&self, listing: &mut Listing, paths: &[RemotePath]) {
        for path in paths {
            let Thing::File { content, .. } = &self.things[path] else { panic!("{path} is no file") };
            let Some(Entry::File(file)) = listing.entries.get_mut(path) else { panic!("{path} is not listed") };
            assert_eq!(file.sha256.replace(digest(*content)), None, "{path} was known");
        }
    }

    /// What is planned to make `self` like `source` once all digests are known that would help.
    pub(super) fn plan(&self, source: &Self, options: &Options) -> Result<Plan, PlanError> {
        let (mut from, mut onto) = (source.listing(), self.listing());
        let Undecided { source: of_source, target } = undecided(&from, &onto, options);
        source.tell(&mut from, &of_source);
        self.tell(&mut onto, &target);
        assert_eq!(undecided(&from, &onto, options), Undecided::default(), "it is never satisfied");
        plan(&from, &onto, options)
    }

    fn is_seen(&self, name: &RemotePath, seen: &Seen) -> bool {
        match self.things.get(name) {
            Some(thing @ Thing::File { .. }) => {
                let Entry::File(file) = self.entry(thing, false) else { return false };
                (file.size, file.modified, file.etag) == (seen.size, seen.modified, seen.etag.clone())
            }
            _ => false,
        }
    }

    fn allows(&self, name: &RemotePath, onto: &Condition) -> bool {
        match onto {
            Condition::Absent => !self.things.contains_key(name),
            Condition::File(seen) => self.is_seen(name, seen),
            Condition::Link(text) => self.things.get(name) == Some(&Thing::Link(text.clone())),
        }
    }

    /// A directory changes when something appears in it, disappears or is replaced.
    fn touch_parent(&mut self, name: &RemotePath) {
        let Some(parent) = name.parent() else { return };
        self.clock += 1;
        let second = i64::try_from(self.clock).unwrap() * 1000;
        match self.things.get_mut(&path(parent)) {
            Some(Thing::Directory { second: time }) => *time = second,
            other => panic!("{name} lies in {other:?}"),
        }
    }

    pub(super) fn apply(&mut self, step: &Step, source: &Self) {
        let name = step.path().clone();
        if !matches!(step, Step::SetMetadata { .. } | Step::SetDirectoryTime { .. }) {
            self.touch_parent(&name);
        }
        match step {
            Step::MakeDirectory { .. } => {
                assert!(self.allows(&name, &Condition::Absent), "{step}");
                self.put(&name, Thing::Directory { second: -1 });
            }
            Step::CopyOnTarget { from, seen, file, .. } => {
                assert!(self.is_seen(from, seen) && self.allows(&name, &Condition::Absent), "{step}");
                let Thing::File { content, .. } = self.things[from] else { panic!("{step}") };
                assert_eq!(Some(digest(content)), file.sha256, "{step}");
                self.put_file(&name, file, content);
            }
            Step::Transfer { file, onto, .. } => {
                assert!(self.allows(&name, onto), "{step}");
                let Thing::File { content, .. } = source.things[&name] else { panic!("{step}") };
                assert_eq!(file.size, size(content), "{step}");
                self.put_file(&name, file, content);
            }
            Step::MakeLink { text, onto, .. } => {
                assert!(self.allows(&name, onto), "{step}");
                self.put(&name, Thing::Link(text.clone()));
            }
            Step::SetMetadata { seen, modified, executable, .. } => {
                assert!(self.is_seen(&name, seen) && (modified.is_some() || executable.is_some()), "{step}");
                let Some(mut thing) = self.things.get(&name).cloned() else { panic!("{step}") };
                if let Thing::File { second, executable: bit, .. } = &mut thing {
                    *second = modified.map_or(*second, Timestamp::as_second);
                    *bit = executable.unwrap_or(*bit);
                }
                self.put(&name, thing);
            }
            Step::RemoveFile { seen, .. } => {
                assert!(self.is_seen(&name, seen), "{step}");
                self.things.remove(&name);
            }
            Step::RemoveLink { text, .. } => {
                assert_eq!(self.things.remove(&name), Some(Thing::Link(text.clone())), "{step}");
            }
            Step::RemoveDirectory { .. } => {
                let inside = format!("{}/", name.as_str());
                assert!(!self.things.keys().any(|other| other.as_str().starts_with(&inside)), "{step} is not empty");
                assert!(matches!(self.things.remove(&name), Some(Thing::Directory { .. })), "{step}");
            }
            Step::SetDirectoryTime { modified, .. } => match self.things.get_mut(&name) {
                Some(Thing::Directory { second }) => *second = modified.as_second(),
                other => panic!("{step}: {other:?}"),
            },
        }
    }

    fn put_file(&mut self, name: &RemotePath, file: &File, content: u8) {
        let executable = file.executable.unwrap_or(false);
        self.put(name, Thing::File { content, second: file.modified.as_second(), executable, version: 0 });
    }

    pub(super) fn apply_all(&mut self, steps: &[Step], source: &Self) {
        steps.iter().for_each(|step| self.apply(step, source));
    }
}

/// The lines of a plan.
pub(super) fn lines(plan: &Plan) -> Vec<String> {
    plan.steps.iter().map(ToString::to_string).collect()
}
