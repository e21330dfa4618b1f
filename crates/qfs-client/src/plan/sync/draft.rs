//! The steps, gathered by the order in which they are safe.

use std::collections::{HashMap, HashSet};

use qfs_core::model::{Digest, RemotePath};

use super::clearing::Clearing;
use super::compare::{Judgement, compare, same_time};
use super::listing::{File, Kind};
use super::options::Options;
use super::side::{Node, Side};
use super::step::{Condition, Seen, Step, Why};
use super::summary::Summary;

/// The steps of a plan. Each group follows the one before.
#[derive(Debug, Default)]
pub(super) struct Draft<'a> {
    directories: Vec<Step>,
    /// Before anything is replaced, so that what is copied is still there.
    copies: Vec<Step>,
    contents: Vec<Step>,
    removals: Vec<Step>,
    /// What comes where something of another kind was removed.
    late: Vec<Step>,
    directory_times: Vec<Step>,
    /// Directories whose time the steps change.
    touched: HashSet<&'a str>,
    pub(super) summary: Summary,
}

impl<'a> Draft<'a> {
    pub(super) fn new(source: &'a Side<'a>, target: &'a Side<'a>, clearing: &Clearing<'a>, options: &Options) -> Self {
        let mut draft = Self::default();
        let mut donors = Donors::new(target, clearing);
        for (path, node) in &source.nodes {
            if clearing.is_obstructed(path) {
                draft.summary.obstructed += 1;
                continue;
            }
            let waits = clearing.waits(path);
            let there = if waits { None } else { target.nodes.get(path).copied() };
            match (*node, there) {
                (Node::Directory(_), None) if waits || !target.aside.contains_key(path.as_str()) => {
                    draft.put(path, waits, Step::MakeDirectory { path: path.clone() });
                }
                (Node::File(file), Some(Node::File(there))) => draft.existing(path, file, there, options),
                (Node::File(file), _) => match if waits { None } else { donors.find(file) } {
                    Some((from, seen)) => {
                        draft.touch(path);
                        let step =
                            Step::CopyOnTarget { from: from.clone(), seen, to: path.clone(), file: file.clone() };
                        draft.copies.push(step);
                    }
                    None => draft.put(path, waits, transfer(path, file, Why::Missing, Condition::Absent)),
                },
                (Node::Link(text), Some(Node::Link(there))) if text == there => draft.summary.kept += 1,
                (Node::Link(text), there) => {
                    let onto = match there {
                        Some(Node::Link(there)) => Condition::Link(there.to_owned()),
                        _ => Condition::Absent,
                    };
                    draft.put(path, waits, Step::MakeLink { path: path.clone(), text: text.to_owned(), onto });
                }
                (Node::Directory(_), _) => {}
            }
        }
        draft.remove(clearing);
        if options.directory_times {
            draft.set_directory_times(source, target, clearing, options);
        }
        draft
    }

    fn existing(&mut self, path: &'a RemotePath, file: &File, there: &File, options: &Options) {
        let seen = Seen::of(there);
        match compare(file, there, options) {
            Judgement::Keep => self.summary.kept += 1,
            Judgement::Newer => self.summary.newer += 1,
            // Changes the file and not the directory.
            Judgement::Set { modified, executable } => {
                self.contents.push(Step::SetMetadata { path: path.clone(), seen, modified, executable });
            }
            Judgement::Transfer(why) => self.put(path, false, transfer(path, file, why, Condition::File(seen))),
        }
    }

    fn put(&mut self, path: &'a RemotePath, waits: bool, step: Step) {
        self.touch(path);
        match step {
            _ if waits => self.late.push(step),
            Step::MakeDirectory { .. } => self.directories.push(step),
            step => self.contents.push(step),
        }
    }

    fn touch(&mut self, path: &'a RemotePath) {
        self.touched.extend(path.parent());
    }

    /// What lies in a directory goes before it.
    fn remove(&mut self, clearing: &Clearing<'a>) {
        for &(path, node) in clearing.removals.iter().rev() {
            self.touch(path);
            let path = path.clone();
            self.removals.push(match node {
                Node::File(file) => Step::RemoveFile { path, seen: Seen::of(file) },
                Node::Link(text) => Step::RemoveLink { path, text: text.to_owned() },
                Node::Directory(_) => Step::RemoveDirectory { path },
            });
        }
    }

    fn set_directory_times(
        &mut self,
        source: &Side<'_>,
        target: &Side<'_>,
        clearing: &Clearing<'_>,
        options: &Options,
    ) {
        for (path, node) in source.nodes.iter().rev() {
            let Node::Directory(Some(wanted)) = *node else { continue };
            let differs = match target.nodes.get(path) {
                Some(Node::Directory(Some(there))) => {
                    self.touched.contains(path.as_str()) || !same_time(wanted, *there, options)
                }
                // Nobody would know whether it was done.
                Some(Node::Directory(None)) => false,
                // New; but one that stands by stays as it is.
                _ => {
                    clearing.waits(path)
                        || target.aside.get(path.as_str()).is_none_or(|(kind, _)| *kind != Kind::Directory)
                }
            };
            if differs && !clearing.is_obstructed(path) {
                self.directory_times.push(Step::SetDirectoryTime { path: path.clone(), modified: wanted });
            }
        }
    }

    /// How many copies are made on the target.
    pub(super) fn copies(&self) -> u64 {
        self.copies.len() as u64
    }

    /// All steps in a safe order, with what they come to.
    pub(super) fn into_steps(self) -> (Vec<Step>, Summary) {
        let groups = [self.directories, self.copies, self.contents, self.removals, self.late, self.directory_times];
        let steps: Vec<_> = groups.into_iter().flatten().collect();
        let mut summary = self.summary;
        steps.iter().for_each(|step| summary.count(step));
        (steps, summary)
    }
}

fn transfer(path: &RemotePath, file: &File, why: Why, onto: Condition) -> Step {
    Step::Transfer { path: path.clone(), file: file.clone(), why, onto }
}

/// Files of the target by content, from which a file of the source that is missing there can be copied.
struct Donors<'a> {
    by_digest: HashMap<Digest, Donor<'a>>,
}

struct Donor<'a> {
    /// Those that are going to be removed, the last one first: they were renamed, and each of them once.
    leaving: Vec<(&'a RemotePath, &'a File)>,
    first: (&'a RemotePath, &'a File),
}

impl<'a> Donors<'a> {
    fn new(target: &'a Side<'a>, clearing: &Clearing<'a>) -> Self {
        let leaving: HashSet<_> = clearing.removals.iter().map(|(path, _)| *path).collect();
        let mut by_digest: HashMap<Digest, Donor<'a>> = HashMap::new();
        for (path, node) in target.nodes.iter().rev() {
            let Node::File(file) = *node else { continue };
            let Some(digest) = file.sha256.filter(|_| file.size > 0) else { continue };
            let first = (path, file);
            let donor = by_digest.entry(digest).or_insert(Donor { leaving: Vec::new(), first });
            donor.first = first;
            if leaving.contains(path) {
                donor.leaving.push(first);
            }
        }
        Self { by_digest }
    }

    /// A file of the target with the content of `wanted`.
    fn find(&mut self, wanted: &File) -> Option<(&'a RemotePath, Seen)> {
        let donor = self.by_digest.get_mut(&wanted.sha256?)?;
        let (path, file) = donor.leaving.pop().unwrap_or(donor.first);
        // Another size with the same digest is a listing that lies.
        (file.size == wanted.size).then(|| (path, Seen::of(file)))
    }
}
