//! Finds circles: files of one crate that need each other, so that none of them can be read, tested or moved alone.
//!
//! A module that calls into its children, and children that use what it defines, are a circle like any other. It opens when what they
//! share gets a file of its own, which the module passes on (`pub use shared::Shared`): the children need not change.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::crate_map::{Import, Imports, imports};

/// Files that reach each other through their imports.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Circle {
    /// Ascending.
    pub(crate) files: Vec<String>,
    /// One import for each edge among them.
    pub(crate) imports: Vec<(String, String, Import)>,
}

impl fmt::Display for Circle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} files in a circle: {}", self.files.len(), self.files.join(", "))?;
        for (from, to, import) in &self.imports {
            writeln!(f, "    {from}:{} → {to}: {}", import.line, import.what)?;
        }
        Ok(())
    }
}

/// The circles of the crate that begins at `root`.
///
/// # Errors
/// As [`imports`].
pub(crate) fn circles(files: &BTreeMap<String, String>, root: &str) -> Result<Vec<Circle>, String> {
    let imports = imports(files, root)?;
    let all = imports.keys().flat_map(|(from, to)| [from.as_str(), to.as_str()]).collect();
    Ok(components(&imports, &all).into_iter().map(|files| circle(&imports, &files)).collect())
}

fn circle(imports: &Imports, files: &BTreeSet<&str>) -> Circle {
    let within = |file: &String| files.contains(file.as_str());
    let among = imports.iter().filter(|((from, to), _)| within(from) && within(to));
    Circle {
        files: files.iter().map(|file| (*file).to_owned()).collect(),
        imports: among.map(|((from, to), import)| (from.clone(), to.clone(), import.clone())).collect(),
    }
}

/// The strongly connected components of more than one file among `files`.
fn components<'a>(imports: &'a Imports, files: &BTreeSet<&'a str>) -> Vec<BTreeSet<&'a str>> {
    let reach: BTreeMap<&str, BTreeSet<&str>> =
        files.iter().map(|file| (*file, reachable(imports, files, file))).collect();
    let mut found = BTreeSet::new();
    for (file, reached) in &reach {
        let both: BTreeSet<&str> = reached.iter().filter(|other| reach[*other].contains(file)).copied().collect();
        if both.len() > 1 {
            found.insert(both);
        }
    }
    found.into_iter().collect()
}

/// What can be reached from `start` in at least one step, and by way of `files` only.
fn reachable<'a>(imports: &'a Imports, files: &BTreeSet<&'a str>, start: &'a str) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    let mut stack = vec![start];
    while let Some(at) = stack.pop() {
        for (_, to) in imports.keys().filter(|(from, _)| from == at) {
            if files.contains(to.as_str()) && found.insert(to.as_str()) {
                stack.push(to);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The circles of a planted crate: the files in each, and their imports as `from → to: what`.
    fn of(sources: &[(&str, &str)]) -> Vec<(Vec<String>, Vec<String>)> {
        let files = sources.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
        let shown =
            |(from, to, import): &(String, String, Import)| format!("{from}:{} → {to}: {}", import.line, import.what);
        let circles = circles(&files, "lib.rs").unwrap();
        circles.iter().map(|circle| (circle.files.clone(), circle.imports.iter().map(shown).collect())).collect()
    }

    fn files(sources: &[(&str, &str)]) -> Vec<Vec<String>> {
        of(sources).into_iter().map(|(files, _)| files).collect()
    }

    const NONE: Vec<Vec<String>> = Vec::new();

    #[test]
    fn two_files_are_a_circle() {
        let found = of(&[
            ("lib.rs", "mod a; mod b; mod c;"),
            ("a.rs", "use crate::b::B;\npub struct A(B);"),
            ("b.rs", "pub struct B;\n\nfn f() -> super::a::A { unknown() }"),
            ("c.rs", "use crate::{a::A, b::B};"),
        ]);
        let imports = ["a.rs:1 → b.rs: use crate::b::B", "b.rs:3 → a.rs: super::a::A"].map(str::to_owned);
        assert_eq!(found, [(vec!["a.rs".to_owned(), "b.rs".to_owned()], imports.to_vec())]);
    }

    #[test]
    fn three_files_are_a_circle_and_two_circles_are_two() {
        let found = files(&[
            ("lib.rs", "mod a; mod b; mod c; mod d; mod e;"),
            ("a.rs", "use crate::b; fn f() { b::g() }"),
            ("b.rs", "pub fn g() { crate::c::h() }"),
            ("c.rs", "use super::*;\npub fn h() { a::f(); d::d() }"),
            ("d.rs", "pub fn d() { if x { matches!(y, crate::e::E { .. }) } }"),
            ("e.rs", "#[serde(with = \"crate::d\")] pub struct E; impl E { fn f() { crate::d::d() } }"),
        ]);
        assert_eq!(found, [vec!["a.rs", "b.rs", "c.rs"], vec!["d.rs", "e.rs"]]);
    }

    /// Fails when a facade is taken for the place of what it passes on, either way.
    #[test]
    fn facades_are_seen_through() {
        let facade = "pub mod x; pub(crate) mod y; pub use x::X; pub(crate) use y::*;";
        let through =
            |x: &str, y: &str| files(&[("lib.rs", "mod m;"), ("m/mod.rs", facade), ("m/x.rs", x), ("m/y.rs", y)]);
        assert_eq!(
            through("use super::Y; pub struct X;", "use crate::m::X; pub struct Y;"),
            [vec!["m/x.rs", "m/y.rs"]]
        );
        assert_eq!(through("pub struct X;", "use crate::m::X; pub struct Y;"), NONE);
        assert_eq!(through("use super::Y; pub enum X {} type Z = super::X;", "pub enum Y { A } use Y::*;"), NONE);
        // What is imported privately is seen through as well.
        let private = [
            ("lib.rs", "mod m; mod n;"),
            ("m.rs", "mod x; use crate::n::N; fn f(_: N) { x::x() }"),
            ("m/x.rs", "use super::N; pub fn x() {}"),
            ("n.rs", "pub struct N;"),
        ];
        assert_eq!(files(&private), NONE);
    }

    #[test]
    fn a_parent_and_its_child_are_a_circle_when_each_uses_the_other() {
        let of = |parent: &str, child: &str| files(&[("lib.rs", "mod m;"), ("m.rs", parent), ("m/x.rs", child)]);
        assert_eq!(
            of("mod x; pub struct S; fn f() { x::g() }", "use super::S; pub fn g() {}"),
            [vec!["m.rs", "m/x.rs"]]
        );
        assert_eq!(
            of("mod x; pub use x::X; pub struct S; fn f() -> X {}", "use super::S; pub struct X;"),
            [vec!["m.rs", "m/x.rs"]]
        );
        // Declaring a child and passing on what it defines is no use of it.
        assert_eq!(of("mod x; pub use x::X; pub struct S;", "use super::S; pub struct X;"), NONE);
        assert_eq!(of("mod x; fn f() { x::g() }", "pub fn g() {}"), NONE);
    }

    #[test]
    fn what_only_tests_import_counts_for_nothing() {
        let found = files(&[
            ("lib.rs", "mod a; mod b;"),
            ("a.rs", "pub struct A; #[cfg(test)] mod tests { use crate::b::B; } #[cfg(test)] use crate::b::B;"),
            ("b.rs", "use crate::a::A; pub struct B; #[cfg(test)] mod not_there;"),
        ]);
        assert_eq!(found, NONE);
    }

    #[test]
    fn comments_strings_and_other_crates_count_for_nothing() {
        let found = files(&[
            ("lib.rs", "mod a; mod b;"),
            ("a.rs", "//! See [`crate::b::B`].\n/// As crate::b::B\nuse ::b::B; use std::b::B as C; pub struct A;"),
            ("b.rs", "use crate::a::A; pub struct B; const TEXT: &str = \"crate :: a\";"),
        ]);
        assert_eq!(found, NONE);
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        let fails = |sources: &[(&str, &str)]| {
            let files = sources.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
            circles(&files, "lib.rs").unwrap_err()
        };
        assert_eq!(fails(&[("lib.rs", "mod a;")]), "lib.rs: no file for mod a");
        assert_eq!(fails(&[("lib.rs", "mod a;"), ("a.rs", "\nuse crate::b::B;")]), "a.rs:2: crate::b::B leads nowhere");
        assert!(fails(&[("lib.rs", "fn (")]).starts_with("lib.rs: line 1: "));
    }
}
