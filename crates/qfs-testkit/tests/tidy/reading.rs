//! What one file of Rust says: its names, what it imports, and the paths it writes out.
//!
//! Knows syntax only; where a path leads is [`crate_map`](crate::crate_map)'s affair.

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{
    Attribute, ExprCall, Field, FieldValue, ImplItemFn, Item, ItemMod, ItemUse, Macro, Meta, Path, UseTree, Visibility,
};

/// Deepest nesting of token groups that is looked into; a macro's input nested deeper is an error of the test.
const MAX_GROUPS: usize = 64;

/// One module as its source shows it; inline modules are modules of their own.
#[derive(Debug, Default)]
pub(crate) struct ModuleText {
    /// Names of the items defined here.
    pub(crate) defined: Vec<String>,
    /// Macros defined here that stand in the crate's root for everybody (`#[macro_export]`).
    pub(crate) exported_macros: Vec<String>,
    /// `use` declarations, one for each leaf of their trees.
    pub(crate) uses: Vec<Use>,
    /// Paths written out in code, macros and attributes.
    pub(crate) mentions: Vec<Mention>,
    /// Modules declared here.
    pub(crate) modules: Vec<Declared>,
}

/// One leaf of a `use` declaration.
#[derive(Debug)]
pub(crate) struct Use {
    /// Where it leads, segment by segment.
    pub(crate) path: Vec<String>,
    /// The name it binds; None for a glob.
    pub(crate) name: Option<String>,
    /// Whether it passes the name on (`pub use`, `pub(crate) use`, …).
    pub(crate) passes_on: bool,
    pub(crate) line: usize,
}

/// A path in code.
#[derive(Debug)]
pub(crate) struct Mention {
    pub(crate) path: Vec<String>,
    pub(crate) line: usize,
}

/// A `mod` declaration.
#[derive(Debug)]
pub(crate) struct Declared {
    pub(crate) name: String,
    /// Its content, when it stands in the same file.
    pub(crate) inline: Option<ModuleText>,
}

/// Reads a file. Items behind `#[cfg(test)]` are left out.
///
/// # Errors
/// When it is no Rust.
pub(crate) fn read(text: &str) -> Result<ModuleText, String> {
    let file = syn::parse_file(text).map_err(|error| format!("line {}: {error}", error.span().start().line))?;
    let mut reader = Reader { module: ModuleText::default() };
    reader.items(&file.items);
    Ok(reader.module)
}

struct Reader {
    module: ModuleText,
}

impl Reader {
    /// The items of a module, whose names are the module's.
    fn items(&mut self, items: &[Item]) {
        for item in items.iter().filter(|item| !is_for_tests(attributes(item))) {
            let exported = attributes(item).iter().any(|attribute| attribute.path().is_ident("macro_export"));
            let names = if exported { &mut self.module.exported_macros } else { &mut self.module.defined };
            names.extend(name_of(item));
            self.visit_item(item);
        }
    }

    fn mention(&mut self, path: Vec<String>, line: usize) {
        self.module.mentions.push(Mention { path, line });
    }

    fn leaves(&mut self, tree: &UseTree, before: &[String], passes_on: bool) {
        let line = match tree {
            UseTree::Path(path) => path.ident.span(),
            UseTree::Name(name) => name.ident.span(),
            UseTree::Rename(name) => name.ident.span(),
            UseTree::Glob(glob) => glob.star_token.span,
            UseTree::Group(group) => group.brace_token.span.open(),
        };
        let line = line.start().line;
        let mut leaf = |path: Vec<String>, name: Option<String>| {
            self.module.uses.push(Use { path, name, passes_on, line });
        };
        let with = |name: &syn::Ident| [before, &[name.to_string()]].concat();
        match tree {
            UseTree::Path(path) => self.leaves(&path.tree, &with(&path.ident), passes_on),
            UseTree::Name(name) if name.ident == "self" => leaf(before.to_vec(), before.last().cloned()),
            UseTree::Name(name) => leaf(with(&name.ident), Some(name.ident.to_string())),
            UseTree::Rename(name) if name.ident == "self" => leaf(before.to_vec(), Some(name.rename.to_string())),
            UseTree::Rename(name) => leaf(with(&name.ident), Some(name.rename.to_string())),
            UseTree::Glob(_) => leaf(before.to_vec(), None),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.leaves(tree, before, passes_on)),
        }
    }

    /// Paths in what no grammar is known for: the input of macros and attributes.
    fn tokens(&mut self, stream: TokenStream, depth: usize) {
        assert!(depth < MAX_GROUPS, "a macro's input is nested too deep to be read");
        let tokens: Vec<TokenTree> = stream.into_iter().collect();
        let mut at = 0;
        while at < tokens.len() {
            match &tokens[at] {
                TokenTree::Group(group) => self.tokens(group.stream(), depth + 1),
                TokenTree::Ident(first) => {
                    let line = first.span().start().line;
                    let (path, behind) = path_at(&tokens, at);
                    let called = matches!(tokens.get(behind), Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Parenthesis);
                    if !follows_dot(&tokens, at) && (path.len() > 1 || called || is_type(&path[0])) {
                        self.mention(path, line);
                    }
                    at = behind;
                    continue;
                }
                // serde and others take paths in quotes.
                TokenTree::Literal(literal) => {
                    let line = literal.span().start().line;
                    let text = literal.to_string();
                    let inside = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
                    if let Some(path) = inside.filter(|text| text.contains("::")).and_then(|t| syn::parse_str(t).ok()) {
                        self.mention(segments(&path), line);
                    }
                }
                TokenTree::Punct(_) => {}
            }
            at += 1;
        }
    }
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_for_tests(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_field(&mut self, field: &'ast Field) {
        if !is_for_tests(&field.attrs) {
            visit::visit_field(self, field);
        }
    }

    fn visit_field_value(&mut self, field: &'ast FieldValue) {
        if !is_for_tests(&field.attrs) {
            visit::visit_field_value(self, field);
        }
    }

    fn visit_impl_item_fn(&mut self, function: &'ast ImplItemFn) {
        if !is_for_tests(&function.attrs) {
            visit::visit_impl_item_fn(self, function);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        let inline = item.content.as_ref().map(|(_, items)| {
            let mut reader = Reader { module: ModuleText::default() };
            reader.items(items);
            reader.module
        });
        self.module.modules.push(Declared { name: item.ident.to_string(), inline });
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        if item.leading_colon.is_none() {
            self.leaves(&item.tree, &[], !matches!(item.vis, Visibility::Inherited));
        }
    }

    fn visit_expr_call(&mut self, call: &'ast ExprCall) {
        if let syn::Expr::Path(function) = &*call.func {
            self.mention(segments(&function.path), line_of(&function.path));
        }
        visit::visit_expr_call(self, call);
    }

    fn visit_path(&mut self, path: &'ast Path) {
        let segments = segments(path);
        // A single word in lower case is a variable more often than not; calls are read above.
        if path.leading_colon.is_none() && (segments.len() > 1 || is_type(&segments[0])) {
            self.mention(segments, line_of(path));
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        self.tokens(call.tokens.clone(), 0);
        visit::visit_macro(self, call);
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        if let Meta::List(list) = &attribute.meta {
            self.tokens(list.tokens.clone(), 0);
        }
    }

    // `pub(in crate::a)` names a module and uses nothing of it.
    fn visit_visibility(&mut self, _: &'ast Visibility) {}
}

fn segments(path: &Path) -> Vec<String> {
    path.segments.iter().map(|segment| segment.ident.to_string()).collect()
}

fn line_of(path: &Path) -> usize {
    path.segments.first().map_or(0, |segment| segment.ident.span().start().line)
}

fn is_type(word: &str) -> bool {
    word.starts_with(char::is_uppercase)
}

/// The path that begins at this identifier, and where the tokens behind it begin.
fn path_at(tokens: &[TokenTree], mut at: usize) -> (Vec<String>, usize) {
    let punct = |at: usize, c| matches!(tokens.get(at), Some(TokenTree::Punct(p)) if p.as_char() == c);
    let mut path = Vec::new();
    while let Some(TokenTree::Ident(name)) = tokens.get(at) {
        path.push(name.to_string());
        at += 1;
        if !(punct(at, ':') && punct(at + 1, ':') && matches!(tokens.get(at + 2), Some(TokenTree::Ident(_)))) {
            break;
        }
        at += 2;
    }
    (path, at)
}

/// Whether what stands here is a field or a method.
fn follows_dot(tokens: &[TokenTree], at: usize) -> bool {
    let dot = |back: usize| {
        at.checked_sub(back).is_some_and(|at| matches!(&tokens[at], TokenTree::Punct(p) if p.as_char() == '.'))
    };
    dot(1) && !dot(2)
}

/// Whether an item is there for unit tests only.
fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::List(list) if list.path.is_ident("cfg") => {
            let says = |word: &str| contains(list.tokens.clone(), word);
            says("test") && !says("not")
        }
        _ => false,
    })
}

fn contains(tokens: TokenStream, word: &str) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(name) => name == word,
        TokenTree::Group(group) => contains(group.stream(), word),
        _ => false,
    })
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(i) => &i.attrs,
        Item::Enum(i) => &i.attrs,
        Item::Fn(i) => &i.attrs,
        Item::Impl(i) => &i.attrs,
        Item::Macro(i) => &i.attrs,
        Item::Mod(i) => &i.attrs,
        Item::Static(i) => &i.attrs,
        Item::Struct(i) => &i.attrs,
        Item::Trait(i) => &i.attrs,
        Item::TraitAlias(i) => &i.attrs,
        Item::Type(i) => &i.attrs,
        Item::Union(i) => &i.attrs,
        Item::Use(i) => &i.attrs,
        _ => &[],
    }
}

fn name_of(item: &Item) -> Option<String> {
    let name = match item {
        Item::Const(i) => &i.ident,
        Item::Enum(i) => &i.ident,
        Item::Fn(i) => &i.sig.ident,
        Item::Macro(i) => i.ident.as_ref()?,
        Item::Static(i) => &i.ident,
        Item::Struct(i) => &i.ident,
        Item::Trait(i) => &i.ident,
        Item::TraitAlias(i) => &i.ident,
        Item::Type(i) => &i.ident,
        Item::Union(i) => &i.ident,
        _ => return None,
    };
    Some(name.to_string())
}

#[test]
fn paths_are_found_in_code_macros_and_attributes() {
    let text = r#"
        use crate::a::{self, B as C, d::*};
        pub(crate) use e::F;
        #[cfg(test)]
        mod tests { use crate::never; }
        #[serde(with = "crate::g::h")]
        struct S { #[error(i::J)] field: super::k::L, #[cfg(test)] only: super::never::Never }
        fn f() -> S { m(n.o.p); say!("{}", q::r(x.S, T)); }
        #[cfg(all(test, unix))]
        fn g() { never::there() }
    "#;
    let module = read(text).unwrap();
    let uses: Vec<_> = module.uses.iter().map(|u| (u.path.join("::"), u.name.as_deref(), u.passes_on)).collect();
    let expected = [
        ("crate::a", Some("a"), false),
        ("crate::a::B", Some("C"), false),
        ("crate::a::d", None, false),
        ("e::F", Some("F"), true),
    ];
    assert_eq!(uses, expected.map(|(path, name, on)| (path.to_owned(), name, on)));
    assert_eq!(module.defined, ["S", "f"]);
    assert_eq!(module.modules.len(), 0);
    let mentions: Vec<_> = module.mentions.iter().map(|m| m.path.join("::")).collect();
    assert_eq!(mentions, ["crate::g::h", "i::J", "super::k::L", "S", "m", "q::r", "T"]);
    assert!(read("fn (").is_err());
}
