//! Which rows of a listing a selection means, decided while the rows come. Pure.
//!
//! Of what a text may stand for, a file of that very name comes first, then a pattern, then a directory (CLI.md, `get`). Rows come in
//! ascending order, so a row can precede the one that decides about it: `a1` comes before `a[1]`. Such a row is held, and all
//! rows behind it wait with it, so that they leave in the order in which they came.

use std::collections::{HashMap, VecDeque};

use qfs_core::model::RemotePath;

use super::nesting::parents;
use super::selection::{Item, Selection};

/// Passes on the rows that are meant. What it holds is bounded by the longest listing that a client accepts (PROTOCOL §4.1).
pub(crate) struct Sieve<'a, M> {
    selection: &'a Selection,
    /// The items by their text, slashes at the end left out: so a long list of names costs a look-up for each row, not a walk.
    named: HashMap<&'a str, Vec<usize>>,
    patterns: Vec<usize>,
    /// What each item of the selection has met so far.
    met: Vec<Met>,
    held: VecDeque<Held<M>>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Met {
    literal: bool,
    pattern: bool,
    below: bool,
}

struct Held<M> {
    path: RemotePath,
    meta: M,
    reasons: Vec<Reason>,
}

/// Why a row may be meant; the number is that of the item.
#[derive(Debug, Clone, Copy)]
enum Reason {
    Literal,
    Pattern(usize),
    Below(usize),
}

/// How much of the listing has been seen.
#[derive(Clone, Copy)]
enum Seen<'a> {
    UpTo(&'a RemotePath),
    All,
}

impl<'a, M> Sieve<'a, M> {
    pub(crate) fn new(selection: &'a Selection) -> Self {
        let mut named: HashMap<_, Vec<_>> = HashMap::new();
        let items = || selection.items().iter().enumerate();
        items().for_each(|(n, item)| named.entry(item.directory()).or_default().push(n));
        let patterns = items().filter(|(_, item)| item.is_pattern()).map(|(n, _)| n).collect();
        let met = vec![Met::default(); selection.items().len()];
        Self { selection, named, patterns, met, held: VecDeque::new() }
    }

    /// Takes the next rows of the listing; returns those rows, of these and earlier ones, that are now known to be meant.
    pub(crate) fn offer(&mut self, rows: Vec<(RemotePath, M)>) -> Vec<(RemotePath, M)> {
        if self.selection.is_everything() {
            return rows;
        }
        let mut wanted = Vec::new();
        for (path, meta) in rows {
            let reasons = self.reasons(&path);
            let last = path.clone();
            if !reasons.is_empty() {
                self.held.push_back(Held { path, meta, reasons });
            }
            self.release(Seen::UpTo(&last), &mut wanted);
        }
        wanted
    }

    /// Takes the end of the listing; returns the remaining rows that are meant.
    pub(crate) fn end(&mut self) -> Vec<(RemotePath, M)> {
        let mut wanted = Vec::new();
        self.release(Seen::All, &mut wanted);
        wanted
    }

    /// The items for which nothing was in the listing.
    pub(crate) fn unmatched(&self) -> impl Iterator<Item = &'a Item> {
        let met = self.met.clone();
        let items = self.selection.items().iter().zip(met);
        items.filter(|(_, met)| !(met.literal || met.pattern || met.below)).map(|(item, _)| item)
    }

    fn reasons(&mut self, path: &RemotePath) -> Vec<Reason> {
        let (items, mut reasons) = (self.selection.items(), Vec::new());
        for n in self.named.get(path.as_str()).into_iter().flatten() {
            if items[*n].text == path.as_str() {
                self.met[*n].literal = true;
                reasons.push(Reason::Literal);
            }
        }
        // Where there is a file of that very name, nothing else is meant.
        for n in self.patterns.iter().copied().filter(|n| items[*n].is_match(path)) {
            if !self.met[n].literal {
                self.met[n].pattern = true;
                reasons.push(Reason::Pattern(n));
            }
        }
        for n in parents(path.as_str()).filter_map(|parent| self.named.get(parent)).flatten().copied() {
            if !self.met[n].literal {
                self.met[n].below = true;
                reasons.push(Reason::Below(n));
            }
        }
        reasons
    }

    /// Moves the foremost rows that are decided out of `held`.
    fn release(&mut self, seen: Seen<'_>, wanted: &mut Vec<(RemotePath, M)>) {
        while let Some(front) = self.held.front() {
            let verdicts = || front.reasons.iter().map(|reason| self.verdict(*reason, seen));
            let is_wanted = verdicts().any(|verdict| verdict == Some(true));
            if !is_wanted && verdicts().any(|verdict| verdict.is_none()) {
                return;
            }
            if let Some(front) = self.held.pop_front()
                && is_wanted
            {
                wanted.push((front.path, front.meta));
            }
        }
    }

    /// Whether a reason holds; None while that is open.
    fn verdict(&self, reason: Reason, seen: Seen<'_>) -> Option<bool> {
        let n = match reason {
            Reason::Literal => return Some(true),
            Reason::Pattern(n) | Reason::Below(n) => n,
        };
        let (item, met) = (&self.selection.items()[n], self.met[n]);
        let is_all = matches!(seen, Seen::All);
        match reason {
            _ if met.literal => Some(false),
            Reason::Pattern(_) => {
                let is_past = match seen {
                    Seen::UpTo(path) => item.text.as_bytes() < path.as_str().as_bytes(),
                    Seen::All => true,
                };
                is_past.then_some(true)
            }
            // A file of this name would have come before what lies below it.
            _ if !item.is_pattern() => Some(true),
            _ if met.pattern => Some(false),
            _ => is_all.then_some(true),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is passed on of `listing`, and what was not found.
    fn sift(names: &[&str], listing: &[&str], page: usize) -> (Vec<String>, Vec<String>) {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let selection = Selection::parse(&names).unwrap();
        let mut sieve = Sieve::new(&selection);
        let mut wanted = Vec::new();
        for rows in listing.chunks(page) {
            wanted.extend(sieve.offer(rows.iter().map(|name| (RemotePath::parse(name).unwrap(), ())).collect()));
        }
        wanted.extend(sieve.end());
        let unmatched = sieve.unmatched().map(|item| item.text.clone()).collect();
        (wanted.into_iter().map(|(path, ())| path.as_str().to_owned()).collect(), unmatched)
    }

    /// Fails when: a pattern counts beside the file of that name, or a directory beside either; a row leaves before those in
    /// front of it; what comes before the row that decides is passed on too early.
    #[test]
    fn a_literal_name_wins_over_a_pattern_and_both_over_a_directory() {
        let listing = ["a1", "a[1]", "b/x", "c*/y", "ca/b", "cd", "sub", "sub/x", "z/1", "z/2"];
        for (names, wanted) in [
            (&["a[1]"][..], &["a[1]"][..]),
            (&["a[1]", "a1"], &["a1", "a[1]"]),
            (&["a[1]", "z"], &["a[1]", "z/1", "z/2"]),
            (&["b"], &["b/x"]),
            (&["b/"], &["b/x"]),
            (&["c*"], &["cd"]),
            (&["c*/"], &["c*/y"]),
            (&["sub"], &["sub"]),
            (&["sub/"], &["sub/x"]),
            (&["z", "z/1"], &["z/1", "z/2"]),
        ] {
            for page in [1, 3, 100] {
                assert_eq!(sift(names, &listing, page).0, wanted, "{names:?}");
            }
        }
        assert_eq!(sift(&["nope", "b", "no*", "x/"], &listing, 2).1, ["nope", "no*", "x/"]);
    }

    proptest! {
        /// Against the slow way, which has the whole listing before it.
        #[test]
        fn deciding_on_the_way_is_deciding_at_the_end(
            listing in prop::collection::btree_set("[a*](/?[a1*]){0,3}", 0..30),
            names in prop::collection::vec("[a*](/?[a1*]){0,2}/?", 1..4),
            page in 1usize..5,
        ) {
            let paths: Vec<_> = listing.iter().map(|name| RemotePath::parse(name).unwrap()).collect();
            let selection = Selection::parse(&names).unwrap();
            let means = |item: &Item, path: &RemotePath| {
                let is_literal = |path: &RemotePath| item.text == path.as_str();
                if paths.iter().any(is_literal) {
                    is_literal(path)
                } else if paths.iter().any(|path| item.is_match(path)) {
                    item.is_match(path)
                } else {
                    item.is_above(path)
                }
            };
            let expected: Vec<_> = paths
                .iter()
                .filter(|path| selection.items().iter().any(|item| means(item, path)))
                .map(|path| path.as_str().to_owned())
                .collect();
            let names: Vec<_> = names.iter().map(String::as_str).collect();
            let listing: Vec<_> = listing.iter().map(String::as_str).collect();
            prop_assert_eq!(sift(&names, &listing, page).0, expected);
        }
    }
}
