//! Rows of a listing that shows the whole tree: directories, links, modes and versions too (PROTOCOL §4.1.1).

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::write::Kind;
use crate::model::{Digest, ETag, keyed};

/// One row of a listing that was asked for as a tree. A row of a plain listing reads as one too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "RawEntry")]
pub struct TreeEntry {
    /// What it is.
    #[serde(skip_serializing_if = "Kind::is_file")]
    pub kind: Kind,
    /// Size of a file in bytes; 0 for everything else.
    pub size: u64,
    /// Modification time; of a link its own.
    pub modified: Timestamp,
    /// Digest of a file, when the server already knows it.
    #[serde(flatten, serialize_with = "keyed::write_or_null")]
    pub digest: Option<Digest>,
    /// The version of a file; absent in a plain listing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etag: Option<ETag>,
    /// Whether a file may be executed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub executable: bool,
    /// Where a link leads, as it stands in the link: a stranger's text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}

/// [`TreeEntry`] as it is read.
#[derive(Deserialize)]
struct RawEntry {
    #[serde(default)]
    kind: Kind,
    #[serde(default)]
    size: u64,
    modified: Timestamp,
    #[serde(default)]
    sha256: Option<Digest>,
    #[serde(default, deserialize_with = "keyed::blake3")]
    blake3: Option<Digest>,
    #[serde(default)]
    etag: Option<ETag>,
    #[serde(default)]
    executable: bool,
    #[serde(default)]
    target: Option<String>,
}

impl From<RawEntry> for TreeEntry {
    fn from(raw: RawEntry) -> Self {
        let RawEntry { kind, size, modified, sha256, blake3, etag, executable, target } = raw;
        Self { kind, size, modified, digest: keyed::either(sha256, blake3), etag, executable, target }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::RemotePath;
    use crate::wire::{ListEnd, ListPage, PageBuilder};

    // The byte example of PROTOCOL §4.1.1.
    #[test]
    fn golden_page() {
        let modified: Timestamp = "2026-11-23T08:00:00Z".parse().unwrap();
        let directory = TreeEntry {
            kind: Kind::Directory,
            size: 0,
            modified,
            digest: None,
            etag: None,
            executable: false,
            target: None,
        };
        let file = TreeEntry {
            kind: Kind::File,
            size: 3,
            etag: Some("0a1b".parse().unwrap()),
            executable: true,
            ..directory.clone()
        };
        let link = TreeEntry { kind: Kind::Link, target: Some("../a".into()), ..directory.clone() };
        let path = |name: &str| RemotePath::parse(name).unwrap();
        let rows = vec![(path("sub"), directory), (path("sub/b"), file), (path("sub/l"), link)];
        let mut pages = PageBuilder::new();
        for (name, row) in &rows {
            assert_eq!(pages.push(name, row).unwrap(), None);
        }
        let frame = pages.finish().unwrap();
        let json = concat!(
            r#"{"files":{"sub":{"kind":"directory","size":0,"modified":"2026-11-23T08:00:00Z","sha256":null},"#,
            r#""sub/b":{"size":3,"modified":"2026-11-23T08:00:00Z","sha256":null,"etag":"0a1b","executable":true},"#,
            r#""sub/l":{"kind":"link","size":0,"modified":"2026-11-23T08:00:00Z","sha256":null,"target":"../a"}},"#,
            r#""end":{"count":3}}"#
        );
        assert_eq!(std::str::from_utf8(&frame[4..]).unwrap(), json);
        let page = ListPage { files: rows, end: Some(ListEnd { count: 3, partial: false }) };
        assert_eq!(ListPage::<TreeEntry>::decode(json.as_bytes(), None).unwrap(), page);
    }

    // The byte example of PROTOCOL §4.1.1, second.
    #[test]
    fn golden_end_of_what_could_not_be_read() {
        let frame = PageBuilder::new().finish_partial().unwrap();
        let json = r#"{"files":{},"end":{"count":0,"partial":true}}"#;
        assert_eq!(std::str::from_utf8(&frame[4..]).unwrap(), json);
        let page = ListPage::<TreeEntry>::decode(json.as_bytes(), None).unwrap();
        assert_eq!(page.end, Some(ListEnd { count: 0, partial: true }));
    }

    #[test]
    fn a_plain_row_reads_as_a_file() {
        let row = r#"{"size":5,"modified":"2026-11-23T08:09:24.5Z","sha256":null}"#;
        let row: TreeEntry = serde_json::from_str(row).unwrap();
        assert_eq!((row.kind, row.size, row.etag, row.executable), (Kind::File, 5, None, false));
    }
}
