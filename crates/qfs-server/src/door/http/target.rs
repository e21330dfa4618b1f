//! What a request is about: the path and the query of its target, decoded once. Pure.

use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use qfs_core::model::RemotePath;

/// Longest query that is looked at, in bytes; of more nothing is understood.
pub(super) const MAX_QUERY_BYTES: usize = 4096;

/// What stays as it is in a path: what RFC 3986 has as `pchar`, less what means something to HTML, shells or Windows.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// What must not stand in a header's quoted text as it is.
const EXTENDED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'%')
    .add(b'\'')
    .add(b'(')
    .add(b')')
    .add(b'*')
    .add(b',')
    .add(b'/')
    .add(b':')
    .add(b';')
    .add(b'<')
    .add(b'=')
    .add(b'>')
    .add(b'?')
    .add(b'@')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'{')
    .add(b'}');

/// What a path stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// The published directory itself.
    Root,
    /// A directory: a slash stands at the end.
    Directory(RemotePath),
    /// A file, or a directory whose slash was forgotten.
    File(RemotePath),
    /// Something that this door brings itself; the name behind [`OWN`].
    Own(String),
    /// No name that anything can be published under.
    Nothing,
}

/// Below this the door's own things are found. Names with a dot at the front are not published, unless with `--hidden`.
pub(super) const OWN: &str = "/.qfs/";

/// Where the form for a token is sent to, below [`OWN`].
pub(super) const TOKEN: &str = "token";

/// Where a browser is told to forget its token, below [`OWN`].
pub(super) const FORGET: &str = "forget";

/// A target (RFC 9112 §3.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) place: Place,
    pub(super) query: Vec<(String, String)>,
}

impl Target {
    /// Reads a path and a query as they came. None when the path is malformed: not absolute, or with a `%` that begins nothing.
    pub(super) fn parse(path: &str, query: Option<&str>) -> Option<Self> {
        Some(Self { place: place(path)?, query: query.map(pairs).unwrap_or_default() })
    }

    /// The value of a part of the query; empty where it has none.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Whether the query has this part.
    pub(super) fn has(&self, name: &str) -> bool {
        self.value(name).is_some()
    }
}

fn place(path: &str) -> Option<Place> {
    if !path.starts_with('/') || !is_well_formed(path) {
        return None;
    }
    if let Some(own) = path.strip_prefix(OWN) {
        return Some(Place::Own(own.to_owned()));
    }
    let encoded = &path[1..];
    if encoded.is_empty() {
        return Some(Place::Root);
    }
    // Once: what is encoded twice is a name with a percent sign in it.
    let Ok(name) = percent_decode_str(encoded).decode_utf8() else { return Some(Place::Nothing) };
    let (name, is_directory) = match name.strip_suffix('/') {
        Some(name) => (name, true),
        None => (&*name, false),
    };
    Some(match RemotePath::parse(name) {
        Ok(name) if is_directory => Place::Directory(name),
        Ok(name) => Place::File(name),
        Err(_) => Place::Nothing,
    })
}

/// Whether each `%` has two hexadecimal digits behind it.
fn is_well_formed(path: &str) -> bool {
    let mut parts = path.as_bytes().split(|b| *b == b'%');
    parts.next();
    parts.all(|part| part.len() >= 2 && part[..2].iter().all(u8::is_ascii_hexdigit))
}

/// The parts of a query or a form (`application/x-www-form-urlencoded`); what is no UTF-8 is left out.
pub(super) fn pairs(text: &str) -> Vec<(String, String)> {
    if text.len() > MAX_QUERY_BYTES {
        return Vec::new();
    }
    let decode = |text: &str| {
        let spaced = text.replace('+', " ");
        percent_decode_str(&spaced).decode_utf8().map(|text| text.into_owned()).ok()
    };
    let pair = |part: &str| {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        Some((decode(key)?, decode(value)?))
    };
    text.split('&').filter(|part| !part.is_empty()).filter_map(pair).collect()
}

/// A name as it stands in the path of a URL.
pub(super) fn encoded(name: &str) -> String {
    utf8_percent_encode(name, PATH).to_string()
}

/// A text as it stands in a query.
pub(super) fn encoded_value(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// A name as it stands behind `filename*=UTF-8''` (RFC 8187).
pub(super) fn encoded_extended(name: &str) -> String {
    utf8_percent_encode(name, EXTENDED).to_string()
}

/// The absolute path of a directory's page; the root's where there is none.
pub(super) fn directory_path(directory: Option<&RemotePath>) -> String {
    directory.map_or_else(|| "/".to_owned(), |path| format!("/{}/", encoded(path.as_str())))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(name: &str) -> Option<Place> {
        Some(Place::File(RemotePath::parse(name).unwrap()))
    }

    #[test]
    fn a_path_is_decoded_once() {
        assert_eq!(place("/"), Some(Place::Root));
        assert_eq!(place("/a%20b/c"), file("a b/c"));
        assert_eq!(place("/100%25"), file("100%"));
        assert_eq!(place("/%2541"), file("%41"), "encoded twice is a name with a percent sign");
        assert_eq!(place("/a+b"), file("a+b"));
        assert_eq!(place("/d/"), Some(Place::Directory(RemotePath::parse("d").unwrap())));
        assert_eq!(place("/.qfs/page.js"), Some(Place::Own("page.js".into())));
        for path in ["/..", "/a/../b", "/%2e%2e/x", "/a//b", "//a", "/a%5Cb", "/%00", "/%ff", "/.", "/a/%2e%2e%2f"] {
            assert_eq!(place(path), Some(Place::Nothing), "{path}");
        }
        for path in ["", "a", "*", "/%", "/%4", "/%zz", "/a%4g"] {
            assert_eq!(place(path), None, "{path}");
        }
    }

    #[test]
    fn a_query_has_parts() {
        let target = Target::parse("/d/", Some("tar&q=a%20b+c&&sort=size&x=%ff")).unwrap();
        assert!(target.has("tar") && !target.has("x"));
        assert_eq!((target.value("q"), target.value("sort")), (Some("a b c"), Some("size")));
        assert!(!Target::parse("/", Some(&"a&".repeat(MAX_QUERY_BYTES))).unwrap().has("a"));
    }

    proptest! {
        #[test]
        fn what_is_encoded_reads_back(name in "[^/\\\\\0]{1,20}(/[^/\\\\\0]{1,20})?") {
            if let Ok(path) = RemotePath::parse(&name) {
                prop_assume!(!name.starts_with(".qfs/"));
                let url = format!("/{}", encoded(&name));
                prop_assert!(url.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~/%".contains(&b)));
                prop_assert_eq!(place(&url), Some(Place::File(path)));
            }
        }

        #[test]
        fn no_path_panics(path in "\\PC{0,60}", query in "\\PC{0,60}") {
            let _ = Target::parse(&path, Some(&query));
        }
    }
}
