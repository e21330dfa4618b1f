//! Names of partial files, and the records in them, for the fuzzers.

use qfs_core::model::{ETag, MAX_COMPONENT_BYTES, RemotePath};

use super::partial::{
    Frontier, RECORD_BYTES, SUFFIX, belongs_to, is_partial, is_passing, is_reserved, prefix, private_name, shared_name,
};

/// A size (8 bytes), a record, and texts with zeros between: an etag, the name of a target, the name of another file. A record that is
/// believed is the one that is written for this size and version, and is within the size. A partial file is that of its target alone, and
/// whatever counts as one can be no file of anybody's.
pub fn partial(data: &[u8]) {
    let Some((size, rest)) = data.split_first_chunk() else { return };
    let (record, rest) = rest.split_at(rest.len().min(RECORD_BYTES));
    let Ok(texts) = std::str::from_utf8(rest) else { return };
    let mut texts = texts.split('\0');
    let Some(Ok(etag)) = texts.next().map(str::parse::<ETag>) else { return };
    let size = u64::from_be_bytes(*size);
    if let Some(bytes) = Frontier::decode(record, size, &etag) {
        assert!(bytes <= size);
        assert_eq!(Frontier { bytes, size, etag: &etag }.encode(), record);
        assert_eq!(Frontier::decode(record, size.wrapping_add(1), &etag), None);
    }
    let own = Frontier { bytes: size / 2, size, etag: &etag }.encode();
    assert_eq!(Frontier::decode(&own, size, &etag), Some(size / 2));

    let mut named = texts.filter(|name| RemotePath::parse(name).is_ok() && !name.contains('/'));
    let (Some(target), candidate) = (named.next(), named.next()) else { return };
    for partial in [shared_name(target, &etag), private_name(target, &etag)] {
        assert!(partial.len() <= MAX_COMPONENT_BYTES && RemotePath::parse(&partial).is_ok_and(|path| path.is_hidden()));
        assert!(belongs_to(&partial, &prefix(target)) && is_partial(&partial) && is_reserved(&partial));
        assert!(!is_passing(&partial));
    }
    let Some(candidate) = candidate else { return };
    if belongs_to(candidate, &prefix(target)) || is_passing(candidate) {
        assert!(is_partial(candidate), "{candidate:?}");
    }
    if is_partial(candidate) {
        assert!(is_reserved(candidate), "{candidate:?}");
    }
    // Where both are of one target, one is the other, but for versions named as a private partial file ends.
    let is_private = is_passing(&format!(".{etag}{SUFFIX}"));
    if target != candidate && !is_private && belongs_to(&shared_name(candidate, &etag), &prefix(target)) {
        assert_eq!(prefix(candidate), prefix(target), "{candidate:?} {target:?}");
    }
}
