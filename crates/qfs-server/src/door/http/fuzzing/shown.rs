//! Pages and archives with names and texts of strangers in them.

use std::io::Read as _;

use http::HeaderValue;
use percent_encoding::percent_decode_str;
use qfs_core::model::{ETag, RemotePath};
use qfs_core::store::ObjectMeta;

use super::markup::{addresses, leaves, scheme, skeleton, tags};
use super::posix::next;
use crate::door::http::archive::{RECORD, header, padding, zeros};
use crate::door::http::kind::{content_type, disposition};
use crate::door::http::page::listing::{INDEX_END, Listing, May, index_head, index_row};
use crate::door::http::page::{breadcrumbs, markdown, preview, token_form};
use crate::door::http::rows::{Choice, Row, Rows};
use crate::door::http::target::{Target, encoded};

/// Most names of one input.
const MAX_NAMES: usize = 32;

/// A query, a directory, a text and names, with zeros between. Whatever they are, a page has the same tags as with harmless ones, leads
/// nowhere but to this server, and a README brings no tag but those of Markdown.
pub fn http_page(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut parts = text.split('\0');
    let (query, directory) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let content = parts.next().unwrap_or_default();
    let names: Vec<_> = parts.take(MAX_NAMES).filter_map(|name| RemotePath::parse(name).ok()).collect();
    readme(content);
    let (directory, Some(target)) = (RemotePath::parse(directory).ok(), Target::parse("/", Some(query))) else {
        return;
    };
    listing(directory.as_ref(), &target, &names);
    for name in &names {
        file(name, content);
    }
    let form = token_form(query, true);
    assert_eq!(skeleton(&form), skeleton(&token_form("x", true)));
}

/// A README: tags of Markdown, inside one another, and links that lead where links may.
fn readme(text: &str) {
    const ELEMENTS: [&str; 26] = [
        "a",
        "blockquote",
        "br",
        "code",
        "del",
        "em",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "hr",
        "img",
        "input",
        "li",
        "ol",
        "p",
        "pre",
        "strong",
        "table",
        "tbody",
        "td",
        "th",
        "thead",
        "tr",
    ];
    const ATTRIBUTES: [&str; 10] =
        ["alt", "checked", "class", "disabled", "href", "src", "start", "style", "title", "type"];
    let html = markdown::render(text);
    for tag in tags(&html) {
        assert!(ELEMENTS.contains(&tag.name) || tag.name == "ul", "{tag:?} from {text:?}");
        for (name, value) in &tag.attributes {
            assert!(ATTRIBUTES.contains(name), "{tag:?} from {text:?}");
            let is_known =
                |value: &str| ["text-align: left", "text-align: center", "text-align: right"].contains(&value);
            assert!(*name != "style" || value.is_some_and(is_known), "{tag:?} from {text:?}");
            assert!(*name != "type" || *value == Some("checkbox"), "{tag:?} from {text:?}");
        }
    }
    for (attribute, address) in addresses(&html) {
        assert!(!leaves(&address), "{address:?} from {text:?}");
        let Some(scheme) = scheme(&address) else { continue };
        let is_link = attribute == "href" && ["http", "https", "mailto"].contains(&scheme.as_str());
        assert!(is_link, "{attribute} {address:?} from {text:?}");
    }
}

/// The same with harmless names in the place of the others.
fn harmless(path: &RemotePath) -> RemotePath {
    let names: Vec<_> = path.components().map(|_| "x").collect();
    RemotePath::parse(&names.join("/")).expect("it is harmless")
}

fn row(name: &str, number: usize) -> Row {
    Row {
        name: name.to_owned(),
        is_directory: number % 2 == 1,
        size: number as u64,
        modified: None,
        digest: None,
        etag: None,
    }
}

/// The pages of a directory, for people and for programs.
fn listing(directory: Option<&RemotePath>, target: &Target, names: &[RemotePath]) {
    let choice = Choice::of(target);
    let render = |directory: Option<&RemotePath>, choice: &Choice, rows: Vec<Row>| {
        let rows = Rows { count: 5000, rows, ..Rows::default() };
        let may = May { write: true, delete: true };
        let page = Listing { directory, choice, rows: &rows, readme: None, has_token: true, may }.render();
        let index: String = rows.rows.iter().map(index_row).collect();
        (page, format!("{}{index}{INDEX_END}", index_head(directory)))
    };
    let rows =
        |name: &dyn Fn(&RemotePath) -> String| names.iter().enumerate().map(|(n, path)| row(&name(path), n)).collect();
    let (page, index) = render(directory, &choice, rows(&|path| path.as_str().to_owned()));
    let plain = Choice { search: if choice.search.is_empty() { String::new() } else { "x".to_owned() }, ..choice };
    let (plain_page, plain_index) = render(directory.map(harmless).as_ref(), &plain, rows(&|_| "x".to_owned()));
    assert_eq!(skeleton(&page), skeleton(&plain_page));
    assert_eq!(skeleton(&index), skeleton(&plain_index));
    for (_, address) in addresses(&page).into_iter().chain(addresses(&index)) {
        stays(&address);
    }
}

/// A link of this door's own: to this server, and no further from where it stands than up to its root.
fn stays(address: &str) {
    assert!(scheme(address).is_none() && !leaves(address), "{address:?}");
    let starts = ["/", "./", "../", "?", "#"];
    assert!(starts.iter().any(|start| address.starts_with(start)), "{address:?}");
    assert!(address.bytes().all(|b| b.is_ascii_graphic() && !b"\"'<>\\`{}|^".contains(&b)), "{address:?}");
}

/// A look at a file, and the headers that have its name in them.
fn file(path: &RemotePath, text: &str) {
    let crumbs =
        breadcrumbs(path.parent().and_then(|parent| RemotePath::parse(parent).ok()).as_ref(), Some(path.file_name()));
    let plain = harmless(path);
    let harmless_crumbs =
        breadcrumbs(plain.parent().and_then(|parent| RemotePath::parse(parent).ok()).as_ref(), Some("x"));
    let crumbs = crumbs.into_string();
    assert_eq!(skeleton(&crumbs), skeleton(&harmless_crumbs.into_string()));
    addresses(&crumbs).iter().for_each(|(_, address)| stays(address));

    let (kind, name) = (content_type(path), path.file_name());
    let link = format!("./{}", encoded(name));
    let look = |link: &str, name: &str, text: &str| {
        let length = text.len() as u64;
        // Where it is Markdown, `readme` has looked at it.
        let kind = if kind.starts_with("text/markdown") { "text/plain" } else { &kind };
        skeleton(&preview::content(link, name, kind, Some(text), length).into_string())
    };
    assert_eq!(look(&link, name, text), look("./x", "x", "x"));
    assert!(HeaderValue::try_from(&kind).is_ok(), "{kind:?}");
    let said = disposition(name, &kind, false);
    assert!(HeaderValue::try_from(&said).is_ok(), "{said:?}");
    let (plain, extended) = said.split_once("; filename*=UTF-8''").expect("it has both");
    assert_eq!(percent_decode_str(extended).decode_utf8().ok().as_deref(), Some(name));
    assert!(extended.bytes().all(|b| b.is_ascii_graphic() && !b"\"\\;,".contains(&b)), "{said:?}");
    let quoted = plain.split_once("; filename=").expect("it has one").1;
    assert!(quoted.len() >= 2 && !quoted[1..quoted.len() - 1].contains(['"', '\\']), "{said:?}");
}

/// A size (1 byte), a time (8) and names, with zeros between. The archive of such files is read as POSIX has it, and by another program;
/// both find these names, contents and times and nothing else.
pub fn http_archive(data: &[u8]) {
    let Some(([size, seconds @ ..], names)) = data.split_first_chunk::<9>() else { return };
    let Ok(names) = std::str::from_utf8(names) else { return };
    let modified = jiff::Timestamp::from_second(i64::from_be_bytes(*seconds)).unwrap_or_default();
    let etag: ETag = "v1".parse().expect("it is an etag");
    let meta = |size| ObjectMeta { size, modified, etag: etag.clone(), unsettled: false, executable: false };
    let names: Vec<_> = names.split('\0').take(MAX_NAMES).filter_map(|name| RemotePath::parse(name).ok()).collect();
    let content = vec![b'<'; usize::from(*size)];
    let mut archive = Vec::new();
    for name in &names {
        let size = content.len() as u64;
        archive.extend_from_slice(&header(name.as_str(), &meta(size)).expect("every name has a header"));
        archive.extend_from_slice(&content);
        archive.extend_from_slice(&zeros(padding(size)));
        // A size beyond what a header has room for changes nothing else.
        let (large, mut empty) = (u64::from_be_bytes(*seconds), Vec::new());
        let large = header(name.as_str(), &meta(large)).map(|header| (header, large)).expect("every name has a header");
        let entry = next(&mut &large.0[..], &mut empty).expect("it is an entry");
        assert_eq!((entry.name.as_str(), entry.size), (name.as_str(), large.1));
    }
    archive.extend_from_slice(&zeros(2 * RECORD));
    let time = u64::try_from(modified.as_second()).unwrap_or(0).min((1 << 33) - 1);
    let mut rest = &archive[..];
    for name in &names {
        let mut bytes = Vec::new();
        let entry = next(&mut rest, &mut bytes).expect("it is an entry");
        assert_eq!((entry.name.as_str(), entry.modified, entry.mode), (name.as_str(), time, 0o644));
        assert_eq!(bytes, content);
    }
    assert!(rest.len() as u64 == 2 * RECORD && rest.iter().all(|byte| *byte == 0));
    other_program(&archive, &names, &content);
}

/// What the crate `tar` reads. It takes a line feed in the name of a record for the record's end.
fn other_program(archive: &[u8], names: &[RemotePath], content: &[u8]) {
    if names.iter().any(|name| name.as_str().contains('\n')) {
        return;
    }
    let (mut read, mut found) = (tar::Archive::new(archive), 0);
    for entry in read.entries().expect("it is an archive") {
        let mut entry = entry.expect("it is read");
        assert_eq!(Some(&*entry.path_bytes()), names.get(found).map(|name| name.as_str().as_bytes()));
        assert!(entry.header().entry_type().is_file() && entry.link_name_bytes().is_none());
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).expect("it is whole");
        assert_eq!(bytes, content);
        found += 1;
    }
    assert_eq!(found, names.len());
}
