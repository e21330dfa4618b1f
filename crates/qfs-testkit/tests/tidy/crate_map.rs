//! The modules of one crate, the files they are in, and which file uses what another one defines.
//!
//! A facade is seen through: what a module passes on (`pub use child::A`) leads to the file that defines it. Neither such a line
//! nor a `mod` declaration is an import; what the code of that file then makes of the name is one.

use std::collections::{BTreeMap, BTreeSet};

use crate::reading::{ModuleText, Use, read};

/// One file's use of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Import {
    /// The first line that uses it, from 1.
    pub(crate) line: usize,
    /// What is used, as it is written there.
    pub(crate) what: String,
}

/// The first import of each file from each other file, by both of them.
pub(crate) type Imports = BTreeMap<(String, String), Import>;

/// Reads the crate, or the part of it, that begins at the file `root`; `files` are all there are, by their paths.
///
/// # Errors
/// When a file is no Rust, a module's file is not there, or a path within the crate leads nowhere.
pub(crate) fn imports(files: &BTreeMap<String, String>, root: &str) -> Result<Imports, String> {
    let mut crate_ = Crate { files, modules: Vec::new(), imports: Imports::new() };
    let text = crate_.text(root)?;
    crate_.add(text, Place { file: root.to_owned(), children: directory(root).to_owned() }, None)?;
    for module in 0..crate_.modules.len() {
        crate_.follow(module)?;
    }
    Ok(crate_.imports)
}

/// Where a module is.
#[derive(Clone)]
struct Place {
    file: String,
    /// The directory of the modules it declares.
    children: String,
}

struct Module {
    text: ModuleText,
    file: String,
    parent: Option<usize>,
    children: BTreeMap<String, usize>,
}

struct Crate<'a> {
    files: &'a BTreeMap<String, String>,
    modules: Vec<Module>,
    imports: Imports,
}

/// Where a path leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Module(usize),
    /// An item that this module defines.
    ItemOf(usize),
}

/// Names under way to their definition, so that those that lead to themselves end.
type Seen = BTreeSet<(usize, String)>;

impl Crate<'_> {
    fn text(&self, file: &str) -> Result<ModuleText, String> {
        read(self.files.get(file).ok_or_else(|| format!("there is no {file}"))?).map_err(|why| format!("{file}: {why}"))
    }

    fn add(&mut self, mut text: ModuleText, place: Place, parent: Option<usize>) -> Result<usize, String> {
        let this = self.modules.len();
        let declared = std::mem::take(&mut text.modules);
        self.modules.push(Module { text, file: place.file.clone(), parent, children: BTreeMap::new() });
        for module in declared {
            let below = join(&place.children, &module.name);
            let child = match module.inline {
                Some(inline) => self.add(inline, Place { file: place.file.clone(), children: below }, Some(this))?,
                None => {
                    let candidates = [format!("{below}.rs"), format!("{below}/mod.rs")];
                    let file = candidates.into_iter().find(|file| self.files.contains_key(file));
                    let file = file.ok_or_else(|| format!("{}: no file for mod {}", place.file, module.name))?;
                    let text = self.text(&file)?;
                    self.add(text, Place { file, children: below }, Some(this))?
                }
            };
            self.modules[this].children.insert(module.name, child);
        }
        Ok(this)
    }

    /// Enters what a module uses of other files.
    fn follow(&mut self, module: usize) -> Result<(), String> {
        let text = &self.modules[module].text;
        let imports =
            text.uses.iter().filter(|import| !import.passes_on).map(|import| (&import.path, import.line, true));
        let mentions = text.mentions.iter().map(|mention| (&mention.path, mention.line, false));
        let mut found = Vec::new();
        for (path, line, is_import) in imports.chain(mentions) {
            let here = &self.modules[module].file;
            let what = path.join("::");
            let target = match self.resolve(module, path, &mut Seen::new()) {
                Some(target) => target,
                None if ["crate", "self", "super"].contains(&path[0].as_str()) => {
                    return Err(format!("{here}:{line}: {what} leads nowhere"));
                }
                None => continue,
            };
            // A module that is named is not used yet: what is taken out of it counts, and so does a glob, which takes everything.
            let is_glob = is_import && text.uses.iter().any(|u| u.name.is_none() && u.line == line && u.path == *path);
            let defined_in = match target {
                Target::ItemOf(module) => module,
                Target::Module(module) if is_glob => module,
                Target::Module(_) => continue,
            };
            let there = &self.modules[defined_in].file;
            if there != here {
                let what = if is_import { format!("use {what}{}", if is_glob { "::*" } else { "" }) } else { what };
                found.push(((here.clone(), there.clone()), Import { line, what }));
            }
        }
        for (edge, import) in found {
            let first = self.imports.entry(edge).or_insert_with(|| import.clone());
            if import.line < first.line {
                *first = import;
            }
        }
        Ok(())
    }

    /// Where `path`, written in `module`, leads; None for other crates and for what is no path of modules.
    fn resolve(&self, module: usize, path: &[String], seen: &mut Seen) -> Option<Target> {
        let (first, mut rest) = path.split_first()?;
        let mut target = match first.as_str() {
            "crate" => Target::Module(self.root_of(module)),
            "self" => Target::Module(module),
            "super" => Target::Module(self.modules[module].parent?),
            name => self.member(module, name, rest.is_empty(), seen)?,
        };
        while let (Target::Module(at), Some((name, behind))) = (target, rest.split_first()) {
            target = match name.as_str() {
                "super" => Target::Module(self.modules[at].parent?),
                name => self.member(at, name, behind.is_empty(), seen)?,
            };
            rest = behind;
        }
        // What is left are variants and associated items.
        Some(target)
    }

    /// What `name` is in a module. A module and an item may share a name: in front of `::` it is the module.
    fn member(&self, module: usize, name: &str, is_last: bool, seen: &mut Seen) -> Option<Target> {
        let child = self.modules[module].children.get(name).map(|child| Target::Module(*child));
        let text = &self.modules[module].text;
        let item = || text.defined.iter().any(|defined| defined == name).then_some(Target::ItemOf(module));
        let found = if is_last { item().or(child) } else { child.or_else(item) };
        // An import may be of an item beside a child of that name, as in `mod parse; pub use parse::parse;`.
        if found.is_some_and(|found| !(is_last && matches!(found, Target::Module(_)))) {
            return found;
        }
        if !seen.insert((module, name.to_owned())) {
            return found;
        }
        let named = text.uses.iter().filter(|import| import.name.as_deref() == Some(name));
        let through_name = named.filter_map(|import| self.resolve(module, &import.path, seen)).next();
        let through_globs = || self.through_globs(module, &text.uses, name, is_last, seen);
        through_name.or_else(through_globs).or_else(|| self.exported_macro(module, name)).or(found)
    }

    fn exported_macro(&self, module: usize, name: &str) -> Option<Target> {
        self.modules[module].parent.is_none().then_some(())?;
        let defines = |module: &Module| module.text.exported_macros.iter().any(|exported| exported == name);
        self.modules.iter().position(defines).map(Target::ItemOf)
    }

    fn through_globs(&self, module: usize, uses: &[Use], name: &str, is_last: bool, seen: &mut Seen) -> Option<Target> {
        uses.iter().filter(|import| import.name.is_none()).find_map(|import| {
            match self.resolve(module, &import.path, seen)? {
                Target::Module(from) => self.member(from, name, is_last, seen),
                // The variants of an enum.
                Target::ItemOf(_) => None,
            }
        })
    }

    fn root_of(&self, mut module: usize) -> usize {
        while let Some(parent) = self.modules[module].parent {
            module = parent;
        }
        module
    }
}

fn directory(file: &str) -> &str {
    file.rsplit_once('/').map_or("", |(directory, _)| directory)
}

fn join(directory: &str, name: &str) -> String {
    if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") }
}
