//! What a request asks for: its target, its range.

use qfs_core::model::RemotePath;

use crate::door::http::own::place_to_go;
use crate::door::http::page::listing::{Listing, May};
use crate::door::http::range::{self, MAX_RANGES, Wanted};
use crate::door::http::resumable::Resource;
use crate::door::http::rows::{Choice, Rows};
use crate::door::http::target::{self, OWN, Place, Target, directory_path, encoded, encoded_value, pairs};

/// The size of a file (8 bytes) and the value of a Range header. What is sent lies inside of the file, none of it is empty, and all of it
/// together is at most twice the file. Written anew, the same is read.
pub fn http_range(data: &[u8]) {
    let Some((size, header)) = data.split_first_chunk() else { return };
    let (size, Ok(header)) = (u64::from_be_bytes(*size), std::str::from_utf8(header)) else { return };
    let Wanted::Parts(parts) = range::parse(header, size) else { return };
    assert!((1..=MAX_RANGES).contains(&parts.len()));
    assert!(parts.iter().all(|part| part.start < part.end && part.end <= size));
    let sent: u128 = parts.iter().map(|part| u128::from(part.end - part.start)).sum();
    assert!(sent <= 2 * u128::from(size));
    let written: Vec<_> = parts.iter().map(|part| format!("{}-{}", part.start, part.end - 1)).collect();
    assert_eq!(range::parse(&format!("bytes={}", written.join(",")), size), Wanted::Parts(parts));
}

/// A path and, in a second line, a query. What is found is a name that may be published; it, what the query has, which rows of a directory
/// are wanted, and the address of an upload are written so that the same is read.
pub fn http_target(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (path, query) = text.split_once('\n').map_or((text, None), |(path, query)| (path, Some(query)));
    leads_here(&place_to_go(path));
    let Some(target) = Target::parse(path, query) else { return };
    match &target.place {
        Place::File(name) => {
            reads_back(&format!("/{}", encoded(name.as_str())), name, &target.place);
            upload(name, &target);
        }
        Place::Directory(name) => reads_back(&directory_path(Some(name)), name, &target.place),
        Place::Own(name) => assert_eq!(format!("{OWN}{name}"), path),
        Place::Root | Place::Nothing => {}
    }
    let written: Vec<_> =
        target.query.iter().map(|(key, value)| format!("{}={}", encoded_value(key), encoded_value(value))).collect();
    let written = written.join("&");
    assert!(written.bytes().all(|b| b.is_ascii_alphanumeric() || b"%&=".contains(&b)));
    // Escapes can make a query longer than any that is looked at.
    assert!(written.len() > target::MAX_QUERY_BYTES || pairs(&written) == target.query);
    rows(&target);
}

/// A place of this server, whatever was asked for: no browser goes elsewhere.
fn leads_here(place: &str) {
    assert!(place.starts_with('/') && !place.starts_with("//"), "{place}");
    assert!(place.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~/%".contains(&b)), "{place}");
}

fn reads_back(url: &str, name: &RemotePath, place: &Place) {
    assert_eq!(RemotePath::parse(name.as_str()).as_ref(), Ok(name));
    leads_here(url);
    // What is below this is the door's own, so that files there can be had only with a letter of it encoded.
    if !url.starts_with(OWN) {
        assert_eq!(Target::parse(url, None).map(|target| target.place).as_ref(), Some(place));
    }
}

/// The address of an upload to `name`, which stands in a header and names what is continued.
fn upload(name: &RemotePath, target: &Target) {
    let Some(resource) = Resource::of(name, target) else { return };
    let address = resource.address();
    let (path, query) = address.split_once('?').expect("it has a query");
    leads_here(path);
    assert!(http::HeaderValue::try_from(&address).is_ok(), "{address}");
    let again = Target::parse(path, Some(query)).expect("it is a target");
    assert_eq!(Resource::of(name, &again), Some(resource), "{address}");
}

/// Which rows are wanted, as the links of a page have it.
fn rows(target: &Target) {
    let choice = Choice::of(target);
    let rows = Rows::default();
    let may = May::default();
    let page = Listing { directory: None, choice: &choice, rows: &rows, readme: None, has_token: false, may };
    let link = page.link(choice.key, choice.descending, choice.page);
    let query = link.strip_prefix('?').expect("it is a query");
    let again = Target::parse("/", Some(query)).expect("it is a target");
    assert_eq!(Choice::of(&again), choice, "{link}");
}
