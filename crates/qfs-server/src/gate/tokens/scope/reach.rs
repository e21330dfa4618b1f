//! How far a scope reaches into a directory, as far as the texts of its rules say. Pure: what is there is not asked.

use qfs_core::model::RemotePath;

use super::{Rule, Scope};

/// How much of a directory is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reach {
    /// The directory itself and everything below it.
    All,
    /// Nothing below it, whatever is there.
    Nothing,
    /// Whatever is reached below it lies in one of these places. Whether anything is there, only a look at them tells.
    Within(Vec<Place>),
}

/// Where something that is reached may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// The directory; None for the root.
    pub(crate) directory: Option<RemotePath>,
    /// Whether it may lie deeper than directly in it.
    pub(crate) deep: bool,
}

impl Scope {
    /// How far it reaches into `directory`, which is the root where there is none.
    pub(crate) fn reach(&self, directory: Option<&RemotePath>) -> Reach {
        let directory = directory.map_or("", RemotePath::as_str);
        let mut places = Vec::new();
        for rule in &self.rules {
            match rule.reach(directory) {
                Reach::All => return Reach::All,
                Reach::Nothing => {}
                Reach::Within(more) => places.extend(more),
            }
        }
        if places.is_empty() { Reach::Nothing } else { Reach::Within(places) }
    }
}

impl Rule {
    /// As [`Scope::reach`]; the root is empty.
    fn reach(&self, directory: &str) -> Reach {
        if self.pattern.is_some() {
            return self.reach_of_pattern(directory);
        }
        if is_in(directory, &self.text) {
            Reach::All
        } else if is_in(&self.text, directory) {
            within(self.text.rsplit_once('/').map_or("", |(above, _)| above), false)
        } else {
            Reach::Nothing
        }
    }

    fn reach_of_pattern(&self, directory: &str) -> Reach {
        let base = literal_base(&self.text);
        if is_in(directory, base) {
            let rest = self.text[base.len()..].trim_start_matches('/');
            // `a/**` matches all that is in `a`, and not `a`; there is nothing beside the root.
            if rest == "**" && (directory != base || directory.is_empty()) {
                return Reach::All;
            }
            match self.depth() {
                Some(depth) if levels(directory) >= depth => Reach::Nothing,
                Some(depth) => within(directory, levels(directory) + 1 < depth),
                None => within(directory, true),
            }
        } else if is_in(base, directory) {
            within(base, self.depth().is_none_or(|depth| levels(base) + 1 < depth))
        } else {
            Reach::Nothing
        }
    }

    /// The number of components of all names that the pattern matches; None where they may differ.
    fn depth(&self) -> Option<usize> {
        (!self.text.contains("**") && !self.text.contains(['{', '['])).then(|| levels(&self.text))
    }
}

fn within(directory: &str, deep: bool) -> Reach {
    // What a rule begins with is a name, and so is what was asked for; the root alone is none.
    Reach::Within(vec![Place { directory: RemotePath::parse(directory).ok(), deep }])
}

/// Whether `name` is `directory`, or something below it. Everything is in the root.
fn is_in(name: &str, directory: &str) -> bool {
    directory.is_empty() || name.strip_prefix(directory).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The components in front that stand for themselves.
fn literal_base(pattern: &str) -> &str {
    let end = pattern.find(['*', '?', '[', ']', '{', '}']).unwrap_or(pattern.len());
    pattern[..end].rsplit_once('/').map_or("", |(base, _)| base)
}

fn levels(name: &str) -> usize {
    if name.is_empty() { 0 } else { name.split('/').count() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn path(name: &str) -> RemotePath {
        RemotePath::parse(name).unwrap()
    }

    fn reach(text: &str, directory: &str) -> Reach {
        let directory = (!directory.is_empty()).then(|| path(directory));
        Scope::parse(&[text.to_owned()]).unwrap().reach(directory.as_ref())
    }

    #[test]
    fn what_the_rules_say_needs_no_look() {
        for (text, directory) in [("a", "a"), ("a", "a/b"), ("a/**", "a/b"), ("**", ""), ("**", "x/y")] {
            assert_eq!(reach(text, directory), Reach::All, "{text} {directory}");
        }
        for (text, directory) in [
            ("a", "b"),
            ("a", "ab"),
            ("a/b", "a/c"),
            ("a/*.csv", "b"),
            ("a/*.csv", "a/b"),
            ("*.csv", "a"),
            ("a/**", "ab"),
            ("*/?/c", "a/b/c"),
        ] {
            assert_eq!(reach(text, directory), Reach::Nothing, "{text} {directory}");
        }
        for (text, directory, place, deep) in [
            ("a", "", "", false),
            ("a/b/c", "", "a/b", false),
            ("a/b/c", "a", "a/b", false),
            ("a/*.csv", "", "a", false),
            ("a/*.csv", "a", "a", false),
            ("a/*/x", "", "a", true),
            ("a/*/x", "a/b", "a/b", false),
            ("a/**", "a", "a", true),
            ("**/*.csv", "a", "a", true),
            ("a/{b/c,d}", "", "a", true),
            ("a/[b-c]", "a/b", "a/b", true),
        ] {
            assert_eq!(reach(text, directory), within(place, deep), "{text} {directory}");
        }
    }

    proptest! {
        /// Fails when a directory is given up, or taken for reached as a whole, that the rules say otherwise of.
        #[test]
        fn it_agrees_with_what_is_covered(
            text in "[ab*?](/?[ab*?{},]{1,2}){0,3}", directory in "([ab](/[ab]){0,2})?", rest in "[ab](/[ab]){0,3}",
        ) {
            let Ok(scope) = Scope::parse(&[text]) else { return Ok(()) };
            let name = if directory.is_empty() { rest.clone() } else { format!("{directory}/{rest}") };
            let covered = scope.covers(&path(&name));
            let above = (!directory.is_empty()).then(|| path(&directory));
            match scope.reach(above.as_ref()) {
                Reach::All => prop_assert!(covered && above.is_none_or(|above| scope.covers(&above))),
                Reach::Nothing => prop_assert!(!covered),
                Reach::Within(places) if covered => {
                    let is_there = places.iter().any(|place| {
                        let within = place.directory.as_ref().map_or("", RemotePath::as_str);
                        // A name is looked for itself; what is below it comes with it.
                        let is_near = levels(&name) == levels(within) + 1 || scope.rules[0].pattern.is_none();
                        is_in(within, &directory) && is_in(&name, within) && name != within && (place.deep || is_near)
                    });
                    prop_assert!(is_there);
                }
                Reach::Within(_) => {}
            }
        }
    }
}
