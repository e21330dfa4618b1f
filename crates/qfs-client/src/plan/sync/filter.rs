//! Which names take part: gitignore's rules.
//!
//! Rules stand in this order, and of those that match a name the last one decides: the lines of all `--filter-from` files in the order
//! of the files, then every `--exclude`, then every `--include`. So what an `--include` names is taken whatever an `--exclude` says, in
//! either order on the command line: users of rsync write the exception first, users of gitignore last.
//!
//! Nothing below an excluded directory takes part, whatever matches it, as with git. Where there are `--include`s and no other rule,
//! only what matches one of them takes part, and what lies below a directory that does.

use std::collections::HashMap;

use ignore::gitignore::{Gitignore, GitignoreBuilder};
use qfs_core::model::escape_untrusted;

use super::listing::above;

/// The rules of one run.
#[derive(Debug, Clone, Default)]
pub struct Filters {
    /// None without rules.
    rules: Option<Gitignore>,
    only_includes: bool,
}

impl Filters {
    /// Whether the rules exclude this name, or a directory that it lies in.
    #[must_use]
    pub fn exclude(&self, name: &str, is_directory: bool) -> bool {
        Judge::new(self).judge(name, is_directory) == Verdict::Excluded
    }
}

/// Rules as they were given, from which [`Filters`] are made.
#[derive(Debug, Clone, Default)]
pub struct FilterRules {
    files: Vec<(String, String)>,
    excludes: Vec<String>,
    includes: Vec<String>,
}

/// A rule that cannot be understood. It is never left out: what it was to keep back would be sent, or deleted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the pattern {pattern:?}{place} is malformed: {reason}", pattern = escape_untrusted(pattern))]
pub struct FilterError {
    /// The rule.
    pub pattern: String,
    /// In which line of which file, where it stands in one.
    pub place: String,
    /// What is wrong with it.
    pub reason: String,
}

impl FilterRules {
    /// Adds the lines of a `--filter-from` file called `name`.
    pub fn file(&mut self, name: &str, text: &str) -> &mut Self {
        self.files.push((name.to_owned(), text.to_owned()));
        self
    }

    /// Adds an `--exclude`. One that begins with `!` takes in again, as in a file.
    pub fn exclude(&mut self, pattern: &str) -> &mut Self {
        self.excludes.push(pattern.to_owned());
        self
    }

    /// Adds an `--include`.
    pub fn include(&mut self, pattern: &str) -> &mut Self {
        self.includes.push(pattern.to_owned());
        self
    }

    /// Compiles the rules.
    ///
    /// # Errors
    /// [`FilterError`] for the first rule that is malformed, and for an empty `--exclude` or `--include`.
    pub fn compile(&self) -> Result<Filters, FilterError> {
        let mut builder = GitignoreBuilder::new("");
        builder.allow_unclosed_class(false);
        for (name, text) in &self.files {
            // As git does; editors of some systems write it.
            let text = text.strip_prefix('\u{feff}').unwrap_or(text);
            for (number, line) in text.lines().enumerate() {
                let place = || format!(" in line {} of {}", number + 1, escape_untrusted(name));
                add(&mut builder, line, line, &place)?;
            }
        }
        for pattern in &self.excludes {
            // A comment makes sense in files only.
            let line = if pattern.starts_with('#') { format!("\\{pattern}") } else { pattern.clone() };
            add_given(&mut builder, pattern, pattern.strip_prefix('!').unwrap_or(pattern), &line)?;
        }
        let others = build(&builder)?.len();
        for pattern in &self.includes {
            // `!` of a file's rule, and then the pattern as it is: neither `!` nor `#` means anything in an include.
            let line = if pattern.starts_with('!') { format!("!\\{pattern}") } else { format!("!{pattern}") };
            add_given(&mut builder, pattern, pattern, &line)?;
        }
        let rules = build(&builder)?;
        Ok(Filters { only_includes: others == 0 && !rules.is_empty(), rules: (!rules.is_empty()).then_some(rules) })
    }
}

fn build(builder: &GitignoreBuilder) -> Result<Gitignore, FilterError> {
    let all =
        |error: ignore::Error| FilterError { pattern: String::new(), place: String::new(), reason: error.to_string() };
    builder.build().map_err(all)
}

/// Adds a rule of the command line. One that says nothing is a mistake there.
fn add_given(builder: &mut GitignoreBuilder, pattern: &str, bare: &str, line: &str) -> Result<(), FilterError> {
    if bare.trim().trim_matches('/').is_empty() {
        let reason = "it is empty".to_owned();
        return Err(FilterError { pattern: pattern.to_owned(), place: String::new(), reason });
    }
    add(builder, pattern, line, &String::new)
}

fn add(
    builder: &mut GitignoreBuilder,
    pattern: &str,
    line: &str,
    place: &dyn Fn() -> String,
) -> Result<(), FilterError> {
    match builder.add_line(None, line) {
        Ok(_) => Ok(()),
        Err(error) => {
            let reason = match error {
                ignore::Error::Glob { err, .. } => err,
                other => other.to_string(),
            };
            Err(FilterError { pattern: pattern.to_owned(), place: place(), reason })
        }
    }
}

/// What the rules say of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It takes part.
    Included,
    /// It does not, nor does anything below it.
    Excluded,
    /// A directory that takes no part itself; what lies below it may.
    Entered,
}

/// Judges the names of one listing, and remembers what it found of directories.
pub(super) struct Judge<'a> {
    filters: &'a Filters,
    directories: HashMap<&'a str, Verdict>,
}

impl<'a> Judge<'a> {
    pub(super) fn new(filters: &'a Filters) -> Self {
        Self { filters, directories: HashMap::new() }
    }

    pub(super) fn judge(&mut self, name: &'a str, is_directory: bool) -> Verdict {
        let Some(rules) = &self.filters.rules else { return Verdict::Included };
        let only_includes = self.filters.only_includes;
        // From the root down; what is decided for a directory is decided for all below it.
        let mut verdict = if only_includes { Verdict::Entered } else { Verdict::Included };
        let open = verdict;
        for directory in above(name) {
            if verdict == open {
                let one = || one(rules, directory, true, open);
                verdict = *self.directories.entry(directory).or_insert_with(one);
            }
        }
        if verdict == open {
            verdict = one(rules, name, is_directory, open);
        }
        if verdict == Verdict::Entered && !is_directory { Verdict::Excluded } else { verdict }
    }
}

/// What the rules say of a name by itself; `open` where they say nothing.
fn one(rules: &Gitignore, name: &str, is_directory: bool, open: Verdict) -> Verdict {
    match (rules.matched(name, is_directory), open) {
        (ignore::Match::Ignore(_), _) => Verdict::Excluded,
        (ignore::Match::Whitelist(_), _) => Verdict::Included,
        (ignore::Match::None, open) => open,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(file: &str, excludes: &[&str], includes: &[&str]) -> Filters {
        let mut rules = FilterRules::default();
        rules.file("rules", file);
        excludes.iter().fold(&mut rules, |rules, pattern| rules.exclude(pattern));
        includes.iter().fold(&mut rules, |rules, pattern| rules.include(pattern));
        rules.compile().unwrap()
    }

    /// The names of `names` that take part; directories end in `/`.
    fn taken<'a>(filters: &Filters, names: &[&'a str]) -> Vec<&'a str> {
        let mut judge = Judge::new(filters);
        let mut taken = Vec::new();
        for name in names {
            let bare = name.strip_suffix('/');
            if judge.judge(bare.unwrap_or(name), bare.is_some()) == Verdict::Included {
                taken.push(*name);
            }
        }
        taken
    }

    #[test]
    fn lines_of_a_file_are_gitignores() {
        let names = [
            "a.log",
            "keep.log",
            "sub/",
            "sub/b.log",
            "sub/c",
            "build/",
            "build/x",
            "lib/build",
            "top",
            "sub/top",
            "#x",
            "d /",
        ];
        let filters = rules("# a comment\n*.log\n!keep.log\nbuild/\n/top\n\\#x\n\nd\\ \n", &[], &[]);
        assert_eq!(taken(&filters, &names), ["keep.log", "sub/", "sub/c", "lib/build", "sub/top"]);
        assert_eq!(taken(&rules("", &[], &[]), &names), names);
        assert_eq!(taken(&rules("\u{feff}a\r\n", &[], &[]), &["a", "b"]), ["b"]);
    }

    #[test]
    fn nothing_comes_back_from_below_an_excluded_directory() {
        let filters = rules("sub/\n!sub/keep\nother/*\n!other/keep\n", &[], &[]);
        assert_eq!(
            taken(&filters, &["sub/", "sub/keep", "sub/a/b", "other/", "other/keep", "other/x"]),
            ["other/", "other/keep"]
        );
    }

    #[test]
    fn double_stars_and_slashes() {
        let filters = rules("a/**/z\n**/tmp\nonly/**\n", &[], &[]);
        let names = ["a/z", "a/b/c/z", "b/z", "x/tmp", "tmp", "only/", "only/y"];
        assert_eq!(taken(&filters, &names), ["b/z", "only/"]);
    }

    #[test]
    fn includes_win_over_excludes_in_either_order() {
        let names = ["a.csv", "b.txt", "sub/", "sub/c.csv"];
        assert_eq!(taken(&rules("", &["*"], &["*.csv"]), &names), ["a.csv"]);
        assert_eq!(taken(&rules("", &["*"], &["*.csv", "*/"]), &names), ["a.csv", "sub/", "sub/c.csv"]);
        assert_eq!(taken(&rules("*.csv", &[], &["a.*"]), &names), ["a.csv", "b.txt", "sub/"]);
        assert_eq!(taken(&rules("!b.txt", &["b.*"], &[]), &names), ["a.csv", "sub/", "sub/c.csv"]);
        assert_eq!(taken(&rules("", &["*.csv", "!a.csv"], &[]), &names), ["a.csv", "b.txt", "sub/"]);
    }

    #[test]
    fn includes_alone_take_only_what_matches() {
        let names = ["a.csv", "b.txt", "sub/", "sub/c.csv", "sub/d.txt", "raw/", "raw/x", "raw/y/z"];
        assert_eq!(taken(&rules("", &[], &["*.csv"]), &names), ["a.csv", "sub/c.csv"]);
        assert_eq!(taken(&rules("# nothing\n", &[], &["raw/"]), &names), ["raw/", "raw/x", "raw/y/z"]);
    }

    #[test]
    fn signs_that_mean_nothing_on_the_command_line() {
        assert_eq!(taken(&rules("", &["#a"], &[]), &["#a", "b"]), ["b"]);
        assert_eq!(taken(&rules("", &[], &["!a", "#b"]), &["!a", "a", "#b", "b"]), ["!a", "#b"]);
    }

    #[test]
    fn odd_names_match_as_they_are() {
        let names = ["new\nline", "é.log", "a b", "-rf", "x\u{202e}y", "C:z"];
        assert_eq!(taken(&rules("", &["new?line", "*.log", "-*", "?:z"], &[]), &names), ["a b", "x\u{202e}y"]);
    }

    // Fails when: a rule that cannot be understood is left out.
    #[test]
    fn malformed_rules_are_refused_with_their_place() {
        let error = |rules: &mut FilterRules| rules.compile().unwrap_err().to_string();
        let text = error(FilterRules::default().file("a\u{1b}b", "ok\n[z-a]\n"));
        assert!(text.starts_with("the pattern \"[z-a]\" in line 2 of a\\u{1b}b is malformed: "), "{text}");
        assert!(error(FilterRules::default().exclude("a[")).starts_with("the pattern \"a[\" is malformed"));
        assert!(error(FilterRules::default().include(" ")).contains("empty"));
        assert!(error(FilterRules::default().exclude("")).contains("empty"));
        assert!(error(FilterRules::default().exclude("!")).contains("empty"));
        assert!(error(FilterRules::default().include("/")).contains("empty"));
    }
}
