//! HTML as this door writes it, read more strictly than browsers do: tags in lower case, attributes in double quotes, and nothing
//! unescaped between them.

/// A tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tag<'a> {
    pub(super) name: &'a str,
    /// Whether it ends its element.
    pub(super) closes: bool,
    /// In order; the values as they stand there, None where there is none.
    pub(super) attributes: Vec<(&'a str, Option<&'a str>)>,
}

/// Elements that have no end.
const VOID: [&str; 7] = ["br", "hr", "img", "input", "link", "meta", "!doctype"];

/// The tags of `html`.
///
/// # Panics
/// When it is not written as above, or its elements are not inside one another.
pub(super) fn tags(html: &str) -> Vec<Tag<'_>> {
    let (mut tags, mut open, mut rest) = (Vec::new(), Vec::new(), html);
    loop {
        let (text, from_tag) = rest.split_at(rest.find('<').unwrap_or(rest.len()));
        assert!(!text.contains('>'), "unescaped in {text:?}");
        let Some(inside) = from_tag.strip_prefix('<') else { break };
        let tag;
        (tag, rest) = self::tag(inside);
        if tag.closes {
            assert_eq!(open.pop(), Some(tag.name), "ends what is not open: {html}");
        } else if !VOID.contains(&tag.name) {
            open.push(tag.name);
        }
        tags.push(tag);
    }
    assert!(open.is_empty(), "{open:?} are left open: {html}");
    tags
}

/// The tag whose `<` stands before `text`, and what follows it.
fn tag(text: &str) -> (Tag<'_>, &str) {
    if let Some(rest) = text.strip_prefix("!DOCTYPE html>") {
        return (Tag { name: "!doctype", closes: false, attributes: Vec::new() }, rest);
    }
    let (closes, text) = text.strip_prefix('/').map_or((false, text), |text| (true, text));
    let (name, mut rest) = word(text);
    let mut attributes = Vec::new();
    loop {
        if let Some(rest) = rest.strip_prefix('>').or_else(|| rest.trim_start_matches(' ').strip_prefix("/>")) {
            assert!(!closes || attributes.is_empty());
            return (Tag { name, closes, attributes }, rest);
        }
        let spaced = rest.strip_prefix(' ').unwrap_or_else(|| panic!("no tag goes on with {rest:?}"));
        let (name, after) = word(spaced);
        let Some(quoted) = after.strip_prefix("=\"") else {
            attributes.push((name, None));
            rest = after;
            continue;
        };
        let (value, after) = quoted.split_once('"').expect("the value ends");
        assert!(!value.contains(['<', '>']), "unescaped in {value:?}");
        attributes.push((name, Some(value)));
        rest = after;
    }
}

/// The name of a tag or of an attribute.
fn word(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_lowercase() && !c.is_ascii_digit() && c != '-').unwrap_or(text.len());
    assert!(end > 0, "no name begins with {text:?}");
    text.split_at(end)
}

/// What a page is made of: its tags with the names of their attributes, whatever the texts and values are.
pub(super) fn skeleton(html: &str) -> Vec<(String, bool, Vec<String>)> {
    let names = |tag: &Tag<'_>| tag.attributes.iter().map(|(name, _)| (*name).to_owned()).collect();
    tags(html).iter().map(|tag| (tag.name.to_owned(), tag.closes, names(tag))).collect()
}

/// The values of the attributes that are addresses, as a browser has them.
pub(super) fn addresses(html: &str) -> Vec<(&str, String)> {
    const ADDRESSES: [&str; 4] = ["href", "src", "action", "formaction"];
    let tags = tags(html);
    let attributes = tags.into_iter().flat_map(|tag| tag.attributes);
    attributes
        .filter(|(name, _)| ADDRESSES.contains(name))
        .map(|(name, value)| (name, plain(value.unwrap_or(""))))
        .collect()
}

/// Without the references that are written here.
pub(super) fn plain(text: &str) -> String {
    let known = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#x27;", "'"), ("&#39;", "'"), ("&amp;", "&")];
    known.iter().fold(text.to_owned(), |text, (reference, character)| text.replace(reference, character))
}

/// The scheme of an address, in lower case. Browsers drop what surrounds an address, and tabs and line feeds everywhere.
pub(super) fn scheme(address: &str) -> Option<String> {
    let address: String = address.chars().filter(|c| !c.is_control()).collect();
    let (scheme, _) = address.trim_start().split_once(':')?;
    let legal = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    (scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.chars().all(legal))
        .then(|| scheme.to_ascii_lowercase())
}

/// Whether a browser would go to another server for an address without a scheme.
pub(super) fn leaves(address: &str) -> bool {
    let address: String = address.chars().filter(|c| !c.is_control()).collect();
    let mut start = address.trim_start().chars();
    let is_slash = |c: Option<char>| matches!(c, Some('/' | '\\'));
    is_slash(start.next()) && is_slash(start.next())
}
