//! A page of a listing of Azure, which tells what stands beside each object.

use std::time::UNIX_EPOCH;

use crate::bucket::attributes::Attributes;
use crate::bucket::cloud::{Info, Next, Page, PageQuery};
use crate::bucket::error::CloudError;
use crate::bucket::other::our_name;
use crate::bucket::s3::visit;

/// A page, as `query` asked for it.
///
/// # Errors
/// [`CloudError::Nonsense`].
pub(super) fn page(document: &[u8], query: &PageQuery) -> Result<Page, CloudError> {
    let mut page = Page::default();
    let mut row = Row::default();
    let (mut is_page, mut wrong) = (false, false);
    visit(document, &mut |path, text| {
        let [root, rest @ ..] = path else { return };
        is_page |= root == "EnumerationResults";
        match rest.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["NextMarker"] if !text.is_empty() => page.next = Some(Next::Token(text.to_owned())),
            ["Blobs", "BlobPrefix", "Name"] => page.prefixes.push(text.to_owned()),
            ["Blobs", "Blob", "Name"] => text.clone_into(&mut row.key),
            ["Blobs", "Blob", "Properties", "Content-Length"] => row.size = text.parse().ok(),
            ["Blobs", "Blob", "Properties", "Etag"] => row.tag = Some(format!("\"{}\"", text.trim_matches('"'))),
            ["Blobs", "Blob", "Properties", "Last-Modified"] => row.changed = seconds(text),
            ["Blobs", "Blob", "Properties", "ResourceType"] => row.is_directory = text == "directory",
            ["Blobs", "Blob", "Metadata", name] => row.attributes.take(&our_name(&name.to_lowercase()), text),
            ["Blobs", "Blob"] => {
                let row = std::mem::take(&mut row);
                // Accounts may have directories of their own; what is in them shows them.
                if !row.is_directory {
                    match row.finish() {
                        Some(row) => page.objects.push(row),
                        None => wrong = true,
                    }
                }
            }
            _ => {}
        }
    })?;
    if wrong || !is_page {
        return Err(CloudError::nonsense("no listing, or a row without size or time"));
    }
    page.arrange(query);
    Ok(page)
}

#[derive(Default)]
struct Row {
    key: String,
    size: Option<u64>,
    tag: Option<String>,
    changed: Option<i64>,
    is_directory: bool,
    attributes: Attributes,
}

impl Row {
    fn finish(self) -> Option<(String, Info)> {
        let attributes = Some(self.attributes);
        Some((self.key, Info { size: self.size?, tag: self.tag, changed: self.changed?, attributes }))
    }
}

fn seconds(text: &str) -> Option<i64> {
    let at = httpdate::parse_http_date(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(at.as_secs()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = "<?xml version=\"1.0\"?><EnumerationResults ContainerName=\"c\"><Blobs><Blob><Name>a&amp;b</Name><Properties>\
        <Last-Modified>Thu, 01 Jan 2026 00:00:07 GMT</Last-Modified><Etag>0x1</Etag><Content-Length>5</Content-Length><Content-MD5 />\
        </Properties><Metadata><qfs_version>n1</qfs_version><Own>x</Own></Metadata></Blob>\
        <Blob><Name>d</Name><Properties><ResourceType>directory</ResourceType></Properties></Blob>\
        <BlobPrefix><Name>e/</Name></BlobPrefix></Blobs><NextMarker>m</NextMarker></EnumerationResults>";

    #[test]
    fn a_page_tells_what_stands_beside_each_object() {
        let found = page(DOCUMENT.as_bytes(), &PageQuery::default()).unwrap();
        let [(key, info)] = &found.objects[..] else { panic!("{:?}", found.objects) };
        assert_eq!((&**key, info.size, info.tag.as_deref(), info.changed), ("a&b", 5, Some("\"0x1\""), 1_767_225_607));
        let attributes = info.attributes.as_ref().unwrap();
        assert_eq!((attributes.nonce.as_deref(), attributes.others.len()), (Some("n1"), 1));
        assert_eq!(found.prefixes, ["e/"]);
        assert!(matches!(found.next, Some(Next::Token(token)) if token == "m"));
        let behind = PageQuery { after: Some("a&b".to_owned()), ..PageQuery::default() };
        assert!(page(DOCUMENT.as_bytes(), &behind).unwrap().objects.is_empty());
    }

    #[test]
    fn nonsense_is_refused() {
        let sizeless = "<EnumerationResults><Blobs><Blob><Name>a</Name></Blob></Blobs></EnumerationResults>";
        for document in ["", "<html/>", "<a><b/></a>", sizeless, &"<a>".repeat(100)] {
            assert!(page(document.as_bytes(), &PageQuery::default()).is_err(), "{document}");
        }
    }
}
