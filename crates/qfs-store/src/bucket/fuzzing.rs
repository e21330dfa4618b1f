//! What a bucket answers, for the fuzzers: its documents, and what stands beside an object.

use bytes::Bytes;
use qfs_core::model::HashKind;

use super::attributes::{Attributes, Info, MAX_OTHERS, etag, identity, listed_identity, meta};
use super::cloud::Next;
use super::s3::operations::content_range;
use super::s3::xml::{error_code, page, parts, text_of, visit};

/// A document. No more comes out of it than has gone in, whatever it refers to, and what the end of an upload says is read as it was meant.
pub fn documents(data: &[u8]) {
    let document = Bytes::copy_from_slice(data);
    if let Ok(page) = page(&document) {
        let bytes = |(key, info): &(String, Info)| key.len() + info.tag.as_ref().map_or(0, String::len);
        let rows: usize = page.objects.iter().map(bytes).sum();
        let prefixes: usize = page.prefixes.iter().map(String::len).sum();
        assert!(rows + prefixes <= data.len());
        match page.next {
            Some(Next::Token(token)) => assert!(token.len() <= data.len()),
            // The next page begins behind all of this one, or the listing would not end.
            Some(Next::After(after)) => {
                assert!(page.objects.last().is_none_or(|(key, _)| *key <= after));
                assert!(page.prefixes.last().is_none_or(|prefix| *prefix < after));
            }
            None => {}
        }
        for (key, info) in &page.objects {
            let version = etag(key, info);
            assert_eq!((version.as_str().len(), meta(key, info).size), (32, info.size));
            assert_ne!(identity(&version), listed_identity(key, info));
        }
    }
    if let Some(code) = error_code(data) {
        assert!(code.len() <= data.len().max("Error".len()));
    }
    assert!(text_of(data, &["InitiateMultipartUploadResult", "UploadId"]).is_none_or(|name| name.len() <= data.len()));

    let Ok(text) = std::str::from_utf8(data) else { return };
    let is_tag = |tag: &&str| !tag.is_empty() && tag.bytes().all(|b| b.is_ascii_graphic());
    let tags: Vec<_> = text.lines().filter(is_tag).map(str::to_owned).collect();
    let (mut numbers, mut read) = (Vec::new(), Vec::new());
    let visited = visit(&parts(&tags), &mut |path, text| match path.last().map(String::as_str) {
        Some("ETag") => read.push(text.to_owned()),
        Some("PartNumber") => numbers.push(text.to_owned()),
        _ => {}
    });
    assert!(visited.is_ok() && read == tags, "{tags:?}");
    assert!(numbers.iter().enumerate().all(|(index, number)| *number == (index + 1).to_string()));
    if let Some((start, size)) = content_range(text) {
        assert_eq!(content_range(&format!("bytes {start}-{start}/{size}")), Some((start, size)));
    }
}

/// What stands beside an object, one name and value a line. What is stored of it reads back as the same; as much of others is kept as there
/// is room for.
pub fn metadata(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut attributes = Attributes::default();
    for (name, value) in text.lines().filter_map(|line| line.split_once('=')) {
        attributes.take(name, value);
    }
    assert!(attributes.others.len() <= MAX_OTHERS);
    assert!(attributes.nonce.as_ref().is_none_or(|nonce| nonce.len() <= 64));
    assert!(attributes.sha256.is_none_or(|digest| digest.kind() == HashKind::Sha256));
    assert!(attributes.blake3.is_none_or(|digest| digest.kind() == HashKind::Blake3));
    let mut again = Attributes::default();
    attributes.metadata().iter().for_each(|(name, value)| again.take(name, value));
    assert_eq!(again, attributes);
    let info = |attributes| Info { size: 1, tag: None, changed: 7, attributes };
    let described = info(Some(attributes.clone()));
    assert_eq!(meta("a", &described).executable, attributes.executable);
    assert_eq!(etag("a", &described) == etag("a", &info(None)), attributes.nonce.is_none());
}
