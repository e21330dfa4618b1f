//! The documents of S3, as far as they are needed. Whatever stands in them is a stranger's: nothing is believed beyond its bounds.

use bytes::Bytes;
use quick_xml::Reader;
use quick_xml::events::Event;

use crate::bucket::cloud::{Info, Next, Page};
use crate::bucket::error::CloudError;

/// Elements inside one another, at most.
const MAX_DEPTH: usize = 16;

/// The code of an `<Error>`, if the document is one.
pub(in crate::bucket) fn error_code(document: &[u8]) -> Option<String> {
    let (mut code, mut is_error) = (None, false);
    let _ = visit(document, &mut |path, text| {
        is_error |= path.first().is_some_and(|name| name == "Error");
        if path == ["Error", "Code"] {
            code = Some(text.to_owned());
        }
    });
    is_error.then(|| code.unwrap_or_else(|| "Error".to_owned()))
}

/// The text of one element of the document.
pub(in crate::bucket) fn text_of(document: &[u8], path: &[&str]) -> Option<String> {
    let mut found = None;
    visit(document, &mut |at, text| {
        if at == path {
            found = Some(text.to_owned());
        }
    })
    .ok()?;
    found
}

/// A page of a listing.
///
/// # Errors
/// [`CloudError::Nonsense`].
pub(in crate::bucket) fn page(document: &Bytes) -> Result<Page, CloudError> {
    let mut page = Page::default();
    let (mut is_truncated, mut token, mut is_page) = (false, None, false);
    let mut row = Row::default();
    let mut wrong = None;
    visit(document, &mut |path, text| {
        let [root, rest @ ..] = path else { return };
        is_page |= root == "ListBucketResult";
        match rest.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["IsTruncated"] => is_truncated = text == "true",
            ["NextContinuationToken"] => token = Some(text.to_owned()),
            ["CommonPrefixes", "Prefix"] => page.prefixes.push(text.to_owned()),
            ["Contents", "Key"] => text.clone_into(&mut row.key),
            ["Contents", "Size"] => row.size = text.parse().ok(),
            ["Contents", "ETag"] => row.tag = Some(text.to_owned()),
            ["Contents", "LastModified"] => {
                row.changed = text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_second)
            }
            ["Contents"] => match std::mem::take(&mut row).finish() {
                Some(row) => page.objects.push(row),
                None => wrong = Some("a row without size or time"),
            },
            _ => {}
        }
    })?;
    if let Some(wrong) = wrong.or((!is_page).then_some("no listing")) {
        return Err(CloudError::nonsense(wrong));
    }
    let last = || {
        let last = page.objects.last().map(|(key, _)| key.clone());
        last.max(page.prefixes.last().map(|prefix| format!("{prefix}\u{10ffff}")))
    };
    page.next = match (is_truncated, token) {
        (false, _) => None,
        (true, Some(token)) => Some(Next::Token(token)),
        (true, None) => Some(Next::After(last().ok_or_else(|| CloudError::nonsense("a page of nothing"))?)),
    };
    Ok(page)
}

#[derive(Default)]
struct Row {
    key: String,
    size: Option<u64>,
    tag: Option<String>,
    changed: Option<i64>,
}

impl Row {
    fn finish(self) -> Option<(String, Info)> {
        let info = Info { size: self.size?, tag: self.tag, changed: self.changed?, attributes: None };
        Some((self.key, info))
    }
}

/// Visits every element when it ends: the names on the way to it, and its text.
///
/// # Errors
/// [`CloudError::Nonsense`].
pub(in crate::bucket) fn visit(document: &[u8], end: &mut dyn FnMut(&[String], &str)) -> Result<(), CloudError> {
    let mut reader = Reader::from_reader(document);
    let (mut path, mut text) = (Vec::new(), String::new());
    loop {
        match reader.read_event().map_err(CloudError::nonsense)? {
            Event::Start(start) => {
                if path.len() == MAX_DEPTH {
                    return Err(CloudError::nonsense("a document too deep"));
                }
                path.push(String::from_utf8_lossy(start.local_name().as_ref()).into_owned());
                text.clear();
            }
            Event::Text(piece) => text.push_str(&piece.decode().map_err(CloudError::nonsense)?),
            Event::CData(piece) => text.push_str(&piece.decode().map_err(CloudError::nonsense)?),
            // NUL is none of XML's characters, but may be one of a key, which is no name of ours then.
            Event::GeneralRef(reference) => match reference.resolve_char_ref().unwrap_or(Some('\0')) {
                Some(character) => text.push(character),
                None => {
                    let name = reference.decode().map_err(CloudError::nonsense)?;
                    let known = quick_xml::escape::resolve_predefined_entity(&name);
                    text.push_str(known.ok_or_else(|| CloudError::nonsense("an unknown entity"))?);
                }
            },
            Event::End(_) => {
                end(&path, &text);
                path.pop();
                text.clear();
            }
            Event::Eof => return Ok(()),
            _ => {}
        }
    }
}

/// What completes an upload: its parts in order.
pub(in crate::bucket) fn parts(tags: &[String]) -> Bytes {
    let mut document = String::from("<CompleteMultipartUpload>");
    for (number, tag) in tags.iter().enumerate() {
        let tag = quick_xml::escape::escape(tag.as_str());
        document.push_str(&format!("<Part><PartNumber>{}</PartNumber><ETag>{tag}</ETag></Part>", number + 1));
    }
    document.push_str("</CompleteMultipartUpload>");
    document.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read_with_every_odd_name() {
        let document = "<?xml version=\"1.0\"?><ListBucketResult xmlns=\"x\"><IsTruncated>true</IsTruncated>\
             <NextContinuationToken>t&amp;1</NextContinuationToken><Contents><Key>a&lt;&#x1;&amp;é</Key>\
             <LastModified>2026-01-02T03:04:05.678Z</LastModified><ETag>&quot;e&quot;</ETag><Size>7</Size>\
             <Owner><ID>x</ID></Owner></Contents><CommonPrefixes><Prefix>d/</Prefix></CommonPrefixes></ListBucketResult>";
        let page = page(&Bytes::from(document)).unwrap();
        let (key, info) = &page.objects[0];
        assert_eq!((&**key, info.size, info.tag.as_deref()), ("a<\u{1}&é", 7, Some("\"e\"")));
        assert_eq!((info.changed, &page.prefixes[..]), (1_767_323_045, &["d/".to_owned()][..]));
        assert!(matches!(page.next, Some(Next::Token(token)) if token == "t&1"));
    }

    #[test]
    fn nonsense_is_refused() {
        let deep = "<a>".repeat(100);
        let sizeless = "<ListBucketResult><Contents><Key>a</Key></Contents></ListBucketResult>";
        for document in
            ["", "<html/>", "<ListBucketResult>", sizeless, "<ListBucketResult>&bomb;</ListBucketResult>", &deep]
        {
            let read = page(&Bytes::from(document.to_owned()));
            assert!(read.is_err() || document == "<ListBucketResult>", "{document}");
        }
    }

    #[test]
    fn errors_are_told_from_other_documents() {
        assert_eq!(error_code(b"<Error><Code>SlowDown</Code></Error>").as_deref(), Some("SlowDown"));
        assert_eq!(error_code(b"<CopyObjectResult><Code>x</Code></CopyObjectResult>"), None);
        assert_eq!(error_code(b"not xml <"), None);
        assert_eq!(text_of(b"<R><UploadId>u</UploadId></R>", &["R", "UploadId"]).as_deref(), Some("u"));
    }
}
