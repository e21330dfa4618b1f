//! The rows of a directory's page: which are wanted, in which order. Pure.

use std::cmp::Ordering;

use jiff::Timestamp;
use qfs_core::model::{Digest, ETag, RemotePath, escape_untrusted};
use qfs_core::store::ObjectMeta;

use super::target::Target;
use crate::view::Child;

/// Rows of one page.
pub(super) const PAGE_ROWS: usize = 1000;

/// Most pages: what lies behind them is found by a search. Each page costs memory for all rows up to it, some 200 bytes each.
const MAX_PAGES: usize = 200;

/// Pages with more rows than these up to their end are made two at a time.
pub(super) const SHALLOW_ROWS: usize = 4 * PAGE_ROWS;

/// Longest search, in bytes.
const MAX_SEARCH_BYTES: usize = 255;

/// Something in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    /// Below the directory that is shown; of a search, with slashes in it.
    pub(super) name: String,
    pub(super) is_directory: bool,
    /// Bytes; 0 for a directory.
    pub(super) size: u64,
    pub(super) modified: Option<Timestamp>,
    pub(super) digest: Option<Digest>,
    /// Which version of the file it is.
    pub(super) etag: Option<ETag>,
}

impl Row {
    pub(super) fn new(name: &str, child: Child) -> Self {
        let name = name.to_owned();
        match child {
            Child::Directory => Self { name, is_directory: true, size: 0, modified: None, digest: None, etag: None },
            Child::File(meta, digest) => {
                let ObjectMeta { size, modified, etag, .. } = meta;
                Self { name, is_directory: false, size, modified: Some(modified), digest, etag: Some(etag) }
            }
        }
    }
}

/// What the rows of a page are sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Name,
    Size,
    Modified,
}

/// Which rows are wanted, in which order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) key: Key,
    pub(super) descending: bool,
    /// In lower case; empty for everything. A search looks into directories too.
    pub(super) search: String,
    /// From 0 on.
    pub(super) page: usize,
}

impl Choice {
    /// The one that a target asks for.
    pub(super) fn of(target: &Target) -> Self {
        let value = |name| target.value(name).unwrap_or_default();
        let key = match value("sort") {
            "size" => Key::Size,
            "modified" => Key::Modified,
            _ => Key::Name,
        };
        // Some characters are longer in lower case, which is what the links of the page search for.
        let search = value("q").trim().to_lowercase();
        let search = if search.len() > MAX_SEARCH_BYTES { String::new() } else { search };
        let page = value("page").parse().unwrap_or(1usize).clamp(1, MAX_PAGES) - 1;
        Self { key, descending: value("order") == "desc", search, page }
    }

    /// Rows up to the end of the page.
    pub(super) fn rows(&self) -> usize {
        (self.page + 1) * PAGE_ROWS
    }

    /// Directories stand before files, whatever the order.
    pub(super) fn compare(&self, a: &Row, b: &Row) -> Ordering {
        let names = || a.name.to_lowercase().cmp(&b.name.to_lowercase()).then_with(|| a.name.cmp(&b.name));
        let order = match self.key {
            Key::Name => names(),
            Key::Size => a.size.cmp(&b.size).then_with(names),
            Key::Modified => a.modified.cmp(&b.modified).then_with(names),
        };
        let order = if self.descending { order.reverse() } else { order };
        b.is_directory.cmp(&a.is_directory).then(order)
    }
}

/// The rows of a page, and how many there are in all.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Rows {
    pub(super) rows: Vec<Row>,
    pub(super) count: usize,
    /// Bytes of all files counted.
    pub(super) bytes: u64,
    /// Something to be shown below the rows.
    pub(super) readme: Option<String>,
}

/// What a directory is called; the root has no name of its own.
pub(super) fn title(directory: Option<&RemotePath>) -> String {
    directory.map_or_else(|| "Files".to_owned(), |path| escape_untrusted(path.file_name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, size: u64, is_directory: bool) -> Row {
        Row { name: name.to_owned(), is_directory, size, modified: None, digest: None, etag: None }
    }

    /// Fails when the links of a page of finds lead to the page of everything.
    #[test]
    fn a_search_that_grows_in_lower_case_is_as_long_as_it_is_then() {
        let of = |query: &str| Choice::of(&Target::parse("/", Some(query)).unwrap());
        for count in [1, 85, 86, 127] {
            let choice = of(&format!("q={}", "İ".repeat(count)));
            assert_eq!(of(&format!("q={}", choice.search)), choice);
            assert_eq!(choice.search.is_empty(), count > 85, "{count}");
        }
    }

    #[test]
    fn directories_come_first_in_every_order() {
        let rows = [row("b", 1, false), row("A", 9, false), row("z", 0, true), row("c", 5, false)];
        let sorted = |key, descending| {
            let choice = Choice { key, descending, search: String::new(), page: 0 };
            let mut rows = rows.to_vec();
            rows.sort_by(|a, b| choice.compare(a, b));
            rows.into_iter().map(|row| row.name).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(sorted(Key::Name, false), "z A b c");
        assert_eq!(sorted(Key::Name, true), "z c b A");
        assert_eq!(sorted(Key::Size, false), "z b c A");
        assert_eq!(sorted(Key::Size, true), "z A c b");
    }
}
