//! What a server answers.

use std::fmt;
use std::marker::PhantomData;

use bytes::{BufMut, Bytes, BytesMut};
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::codec::{DecodeError, EncodeError, decode, decode_error};
use super::{FRAME_PREFIX_BYTES, MAX_FRAME_BYTES, RemoteError, StatusCode};
use crate::model::{EntryMeta, HashKind, RemotePath};

/// Head of a listing (PROTOCOL §4.1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListHead {
    /// [`StatusCode::OK`].
    pub code: StatusCode,
    /// Whether the rows are those of a tree (PROTOCOL §4.1.1): the server knows how, and was asked.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tree: bool,
    /// What digests of this answer are made with, as was asked.
    #[serde(default, skip_serializing_if = "HashKind::is_default")]
    pub hash: HashKind,
}

/// Head of an answer to `download_many` (PROTOCOL §4.3); a record and a body for each file follow. Also of one to `upload_many` (§4.6).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManyHead {
    /// [`StatusCode::OK`].
    pub code: StatusCode,
    /// What digests of this answer are made with, as was asked.
    #[serde(default, skip_serializing_if = "HashKind::is_default")]
    pub hash: HashKind,
}

/// A page of a listing: a dictionary from name to metadata, and on the last page the end (PROTOCOL §4.1).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound(serialize = "R: Serialize", deserialize = "R: Deserialize<'de>"))]
pub struct ListPage<R = EntryMeta> {
    /// Rows in ascending byte order of their names, also across pages.
    #[serde(serialize_with = "write_rows", deserialize_with = "read_rows")]
    pub files: Vec<(RemotePath, R)>,
    /// Present on the last page only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<ListEnd>,
}

/// Says that a listing is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListEnd {
    /// Rows on all pages.
    pub count: u64,
    /// Whether something is there that could not be read, and so is no row (PROTOCOL §4.1.1).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
}

#[derive(Deserialize)]
struct Code {
    code: StatusCode,
}

/// Reads the payload of a head or trailer: the message, or the error that stands in its place.
///
/// # Errors
/// [`DecodeError::Malformed`] when it is neither.
pub fn decode_response<T: DeserializeOwned>(payload: &[u8]) -> Result<Result<T, RemoteError>, DecodeError> {
    // Successes are the frequent case, and every success message has a code. The payload is read a second time only on
    // failure.
    match decode::<Code>(payload)?.code {
        StatusCode::OK => Ok(Ok(decode(payload)?)),
        _ => Ok(Err(decode_error(payload)?)),
    }
}

impl<R: DeserializeOwned> ListPage<R> {
    /// Reads a page's payload and checks that its names ascend, the first one after `after`.
    ///
    /// # Errors
    /// [`DecodeError::Malformed`] for other JSON, an illegal name, or a page that brings nothing, [`DecodeError::Unordered`] for wrong order.
    pub fn decode(payload: &[u8], after: Option<&RemotePath>) -> Result<Self, DecodeError> {
        let page: Self = decode(payload)?;
        if page.files.is_empty() && page.end.is_none() {
            return Err(DecodeError::Malformed("a page without rows that is not the last".to_owned()));
        }
        let mut previous = after;
        for (name, _) in &page.files {
            if previous.is_some_and(|p| p >= name) {
                return Err(DecodeError::Unordered);
            }
            previous = Some(name);
        }
        Ok(page)
    }
}

fn write_rows<R: Serialize, S: Serializer>(rows: &[(RemotePath, R)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(rows.iter().map(|(name, meta)| (name, meta)))
}

fn read_rows<'de, R: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<(RemotePath, R)>, D::Error> {
    struct Rows<R>(PhantomData<R>);
    impl<'de, R: Deserialize<'de>> Visitor<'de> for Rows<R> {
        type Value = Vec<(RemotePath, R)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a dictionary of file names")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            // The frame is bounded, and so are the rows. No memory is reserved because of what the peer announces.
            let mut rows = Vec::new();
            while let Some(row) = map.next_entry()? {
                rows.push(row);
            }
            Ok(rows)
        }
    }
    deserializer.deserialize_map(Rows(PhantomData))
}

/// Packs rows into the frames of a listing, each as full as fits.
#[derive(Debug)]
pub struct PageBuilder {
    buffer: BytesMut,
    row: Vec<u8>,
    count: u64,
}

const PAGE_OPEN: &[u8] = b"{\"files\":{";
/// Room for `},"end":{"count":18446744073709551615,"partial":true}}`.
const PAGE_CLOSE_BYTES: usize = 64;

impl Default for PageBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl PageBuilder {
    /// A listing without rows.
    #[must_use]
    pub fn new() -> Self {
        Self { buffer: BytesMut::new(), row: Vec::new(), count: 0 }
    }

    /// Adds a row; returns a finished frame when the row did not fit the page begun before it.
    ///
    /// # Errors
    /// [`EncodeError`] when the row alone exceeds a frame, which no valid name does.
    pub fn push<R: Serialize>(&mut self, name: &RemotePath, meta: &R) -> Result<Option<Bytes>, EncodeError> {
        self.row.clear();
        let written = serde_json::to_writer(&mut self.row, name).and_then(|()| {
            self.row.push(b':');
            serde_json::to_writer(&mut self.row, meta)
        });
        let room = MAX_FRAME_BYTES - PAGE_OPEN.len() - PAGE_CLOSE_BYTES;
        if written.is_err() || self.row.len() > room {
            return Err(EncodeError(self.row.len()));
        }
        let used = self.buffer.len().saturating_sub(FRAME_PREFIX_BYTES + PAGE_OPEN.len());
        let full = if used + 1 + self.row.len() > room { Some(self.close(b"}}")?) } else { None };
        if self.buffer.is_empty() {
            self.open();
        } else {
            self.buffer.put_u8(b',');
        }
        self.buffer.put_slice(&self.row);
        self.count += 1;
        Ok(full)
    }

    /// The current page as it is, so that its rows do not have to wait for more. None when it has no rows.
    ///
    /// # Errors
    /// [`EncodeError`] cannot happen for pages built by [`Self::push`].
    pub fn take_page(&mut self) -> Result<Option<Bytes>, EncodeError> {
        if self.buffer.is_empty() { Ok(None) } else { self.close(b"}}").map(Some) }
    }

    /// The last frame.
    ///
    /// # Errors
    /// [`EncodeError`] cannot happen for pages built by [`Self::push`].
    pub fn finish(self) -> Result<Bytes, EncodeError> {
        self.end("")
    }

    /// As [`Self::finish`], and says that something could not be read.
    ///
    /// # Errors
    /// As [`Self::finish`].
    pub fn finish_partial(self) -> Result<Bytes, EncodeError> {
        self.end(",\"partial\":true")
    }

    fn end(mut self, more: &str) -> Result<Bytes, EncodeError> {
        if self.buffer.is_empty() {
            self.open();
        }
        let tail = format!("}},\"end\":{{\"count\":{}{more}}}}}", self.count);
        self.close(tail.as_bytes())
    }

    fn open(&mut self) {
        self.buffer.reserve(MAX_FRAME_BYTES / 4);
        self.buffer.put_u32(0);
        self.buffer.put_slice(PAGE_OPEN);
    }

    fn close(&mut self, tail: &[u8]) -> Result<Bytes, EncodeError> {
        self.buffer.put_slice(tail);
        let length = self.buffer.len() - FRAME_PREFIX_BYTES;
        let prefix = u32::try_from(length).map_err(|_| EncodeError(length))?;
        self.buffer[..FRAME_PREFIX_BYTES].copy_from_slice(&prefix.to_be_bytes());
        Ok(self.buffer.split().freeze())
    }
}

#[cfg(test)]
mod tests {
    use super::super::encode;
    use super::*;
    use crate::model::Digest;

    fn meta(size: u64) -> EntryMeta {
        EntryMeta { size, modified: "2026-11-23T08:00:00Z".parse().unwrap(), digest: None, executable: false }
    }

    fn path(name: &str) -> RemotePath {
        RemotePath::parse(name).unwrap()
    }

    #[test]
    fn golden_page() {
        let mut pages = PageBuilder::new();
        assert_eq!(pages.push(&path("a"), &meta(1)).unwrap(), None);
        assert_eq!(pages.push(&path("sub/b"), &meta(2)).unwrap(), None);
        let frame = pages.finish().unwrap();
        let json = concat!(
            r#"{"files":{"a":{"size":1,"modified":"2026-11-23T08:00:00Z","sha256":null},"#,
            r#""sub/b":{"size":2,"modified":"2026-11-23T08:00:00Z","sha256":null}},"end":{"count":2}}"#
        );
        assert_eq!(&frame[4..], json.as_bytes());
        let page = ListPage {
            files: vec![(path("a"), meta(1)), (path("sub/b"), meta(2))],
            end: Some(ListEnd { count: 2, partial: false }),
        };
        assert_eq!(ListPage::<EntryMeta>::decode(json.as_bytes(), None).unwrap(), page);
        assert_eq!(encode(&page).unwrap(), frame, "the builder writes what serde would");
    }

    // The byte example of PROTOCOL §4.1.
    #[test]
    fn golden_row_of_a_file_that_may_be_executed() {
        let mut pages = PageBuilder::new();
        let script = EntryMeta { executable: true, ..meta(3) };
        assert_eq!(pages.push(&path("a"), &script).unwrap(), None);
        let frame = pages.finish().unwrap();
        let json = concat!(
            r#"{"files":{"a":{"size":3,"modified":"2026-11-23T08:00:00Z","sha256":null,"executable":true}},"#,
            r#""end":{"count":1}}"#
        );
        assert_eq!(std::str::from_utf8(&frame[4..]).unwrap(), json);
        assert_eq!(<ListPage>::decode(json.as_bytes(), None).unwrap().files[0].1, script);
        let null = json.replace(":true", ":null");
        assert_eq!(<ListPage>::decode(null.as_bytes(), None).unwrap().files[0].1, meta(3));
    }

    #[test]
    fn golden_heads_and_rows_of_either_kind() {
        let head = |hash| ListHead { code: StatusCode::OK, tree: false, hash };
        assert_eq!(&encode(&head(HashKind::Sha256)).unwrap()[..], b"\0\0\0\x0a{\"code\":0}");
        assert_eq!(&encode(&head(HashKind::Blake3)).unwrap()[4..], br#"{"code":0,"hash":"blake3"}"#);
        let many = ManyHead { code: StatusCode::OK, hash: HashKind::Blake3 };
        assert_eq!(&encode(&many).unwrap()[4..], br#"{"code":0,"hash":"blake3"}"#);
        for (kind, key) in [(HashKind::Sha256, "sha256"), (HashKind::Blake3, "blake3")] {
            let digest = Digest::of_kind(kind, b"abc");
            let row = EntryMeta { digest: Some(digest), ..meta(3) };
            let json = format!(r#"{{"size":3,"modified":"2026-11-23T08:00:00Z","{key}":"{digest}"}}"#);
            assert_eq!(serde_json::to_string(&row).unwrap(), json);
            assert_eq!(serde_json::from_str::<EntryMeta>(&json).unwrap(), row);
        }
        let null = r#"{"size":3,"modified":"2026-11-23T08:00:00Z","blake3":null}"#;
        assert_eq!(serde_json::from_str::<EntryMeta>(null).unwrap(), meta(3));
    }

    #[test]
    fn a_page_may_leave_early() {
        let mut pages = PageBuilder::new();
        assert_eq!(pages.take_page().unwrap(), None);
        pages.push(&path("a"), &meta(1)).unwrap();
        let early = pages.take_page().unwrap().unwrap();
        assert_eq!(pages.take_page().unwrap(), None);
        pages.push(&path("b"), &meta(2)).unwrap();
        let last = pages.finish().unwrap();
        let first = ListPage::<EntryMeta>::decode(&early[4..], None).unwrap();
        assert_eq!((first.files.len(), first.end), (1, None));
        let last = ListPage::<EntryMeta>::decode(&last[4..], Some(&path("a"))).unwrap();
        assert_eq!((last.files.len(), last.end), (1, Some(ListEnd { count: 2, partial: false })));
    }

    #[test]
    fn an_empty_listing_is_one_page() {
        assert_eq!(&PageBuilder::new().finish().unwrap()[4..], br#"{"files":{},"end":{"count":0}}"#);
    }

    #[test]
    fn long_listings_are_paged_within_the_frame_limit() {
        let mut pages = PageBuilder::new();
        let mut frames = Vec::new();
        let names: Vec<_> = (0..3000).map(|i| path(&format!("{i:06}{}", "\u{1}".repeat(200)))).collect();
        for name in &names {
            frames.extend(pages.push(name, &meta(u64::MAX)).unwrap());
        }
        frames.push(pages.finish().unwrap());
        let mut seen = Vec::new();
        for frame in &frames {
            assert!(frame.len() <= FRAME_PREFIX_BYTES + MAX_FRAME_BYTES);
            assert_eq!(frame[..4], u32::try_from(frame.len() - 4).unwrap().to_be_bytes());
            let page = ListPage::<EntryMeta>::decode(&frame[4..], seen.last()).unwrap();
            seen.extend(page.files.into_iter().map(|(name, _)| name));
        }
        assert_eq!(seen, names);
        assert!(frames.len() > 2 && frames[0].len() > MAX_FRAME_BYTES / 2, "pages are filled");
    }

    #[test]
    fn the_longest_name_fits() {
        let component = "\u{1}".repeat(255);
        let name = path(&vec![&*component; 16].join("/"));
        assert!(PageBuilder::new().push(&name, &meta(1)).is_ok());
    }

    #[test]
    fn disorder_duplicates_and_illegal_names_are_refused() {
        let row = r#"{"size":1,"modified":"2026-11-23T08:00:00Z"}"#;
        let page = |a: &str, b: &str| format!(r#"{{"files":{{"{a}":{row},"{b}":{row}}}}}"#);
        assert!(ListPage::<EntryMeta>::decode(page("a", "b").as_bytes(), None).is_ok());
        assert!(matches!(ListPage::<EntryMeta>::decode(page("b", "a").as_bytes(), None), Err(DecodeError::Unordered)));
        assert!(matches!(ListPage::<EntryMeta>::decode(page("a", "a").as_bytes(), None), Err(DecodeError::Unordered)));
        assert!(matches!(
            ListPage::<EntryMeta>::decode(page("a", "b").as_bytes(), Some(&path("a"))),
            Err(DecodeError::Unordered)
        ));
        assert!(matches!(ListPage::<EntryMeta>::decode(br#"{"files":{}}"#, None), Err(DecodeError::Malformed(_))));
        assert!(matches!(ListPage::<EntryMeta>::decode(br#"[{},{"count":3}]"#, None), Err(DecodeError::Malformed(_))));
        assert!(matches!(
            ListPage::<EntryMeta>::decode(page("../a", "b").as_bytes(), None),
            Err(DecodeError::Malformed(_))
        ));
    }
}
