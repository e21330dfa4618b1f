//! The page of a directory, and the plain index for programs.

use jiff::Timestamp;
use maud::{Markup, PreEscaped, html};
use qfs_core::model::{RemotePath, escape_untrusted};

use super::{breadcrumbs, layout, markdown, minute, size};
use crate::door::http::rows::{Choice, Key, PAGE_ROWS, Row, Rows, title};
use crate::door::http::target;

/// What a page of a directory shows.
pub(in crate::door::http) struct Listing<'a> {
    pub(in crate::door::http) directory: Option<&'a RemotePath>,
    pub(in crate::door::http) choice: &'a Choice,
    pub(in crate::door::http) rows: &'a Rows,
    pub(in crate::door::http) readme: Option<&'a str>,
    /// Whether the browser was asked for a token, which it can be told to forget.
    pub(in crate::door::http) has_token: bool,
    /// Whether files may be put here, and removed. Both need a script.
    pub(in crate::door::http) may: May,
}

/// What whoever looks at a directory may do there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::door::http) struct May {
    pub(in crate::door::http) write: bool,
    pub(in crate::door::http) delete: bool,
}

impl Listing<'_> {
    pub(in crate::door::http) fn render(&self) -> String {
        let title = title(self.directory);
        layout(
            &title,
            &html! {
                a.skip href="#files" { "To the files" }
                header {
                    (breadcrumbs(self.directory, None))
                    div.tools {
                        (self.search())
                        @if self.may.write {
                            button #choose.button type="button" hidden { "Upload" }
                            input #pick type="file" multiple hidden aria-label="Files to upload";
                        }
                        a.button href="?tar" download { "Download all " span.hint { "(tar)" } }
                        @if self.has_token {
                            form method="post" action={ "/.qfs/" (target::FORGET) } {
                                button.button.quiet type="submit" { "Forget token" }
                            }
                        }
                    }
                }
                main {
                    h1.unseen { (title) }
                    @if self.may.write || self.may.delete {
                        ul #uploads.uploads aria-label="Uploads" hidden {}
                        p #told.wrong role="alert" hidden {}
                        script src="/.qfs/upload.js" defer {}
                    }
                    (self.table())
                    p #none .none hidden[!self.rows.rows.is_empty()] {
                        @if self.choice.search.is_empty() { "Nothing is here." } @else { "No file has this in its name." }
                    }
                    (self.pager())
                    p #sum .sum role="status" { (self.sum()) }
                    @if let Some(text) = self.readme {
                        article.readme aria-label="README" { (PreEscaped(markdown::render(text))) }
                    }
                }
                footer { "Served by qfs. Each file has its SHA-256 in the header " code { "Repr-Digest" } "." }
            },
        )
    }

    fn search(&self) -> Markup {
        html! {
            form.search role="search" method="get" {
                label.unseen for="q" { "Search below this directory" }
                input #q type="search" name="q" value=(self.choice.search) placeholder="Search" autocomplete="off"
                    aria-controls="files" aria-keyshortcuts="/";
                @if self.choice.key != Key::Name { input type="hidden" name="sort" value=(word(self.choice.key)); }
                @if self.choice.descending { input type="hidden" name="order" value="desc"; }
                button.button type="submit" { "Search" }
            }
        }
    }

    fn table(&self) -> Markup {
        html! {
            table #files tabindex="-1" data-removable[self.may.delete] data-whole[self.rows.count <= PAGE_ROWS && self.choice.search.is_empty()] {
                caption.unseen { "Files, " (word(self.choice.key)) @if self.choice.descending { " descending" } }
                thead {
                    tr {
                        (self.column(Key::Name, "Name"))
                        (self.column(Key::Size, "Size"))
                        (self.column(Key::Modified, "Modified"))
                        th scope="col" { span.unseen { "View" } }
                    }
                }
                tbody {
                    @if let Some(directory) = self.directory {
                        tr.up { td colspan="4" { a.folder href="../" { "Up" span.unseen { " from " (directory) } } } }
                    }
                    @for row in &self.rows.rows { (line(row, self.may.delete)) }
                }
            }
        }
    }

    /// A heading that sorts. The order that it leads to is the other one when it is in force.
    fn column(&self, key: Key, text: &str) -> Markup {
        let is_current = self.choice.key == key;
        let descending = if is_current { !self.choice.descending } else { key != Key::Name };
        let order = match (is_current, self.choice.descending) {
            (false, _) => None,
            (true, false) => Some("ascending"),
            (true, true) => Some("descending"),
        };
        html! {
            th scope="col" class=(word(key)) aria-sort=[order] {
                a href=(self.link(key, descending, 0)) data-key=(word(key)) { (text) }
            }
        }
    }

    pub(in crate::door::http) fn link(&self, key: Key, descending: bool, page: usize) -> String {
        let mut link = format!("?sort={}", word(key));
        if descending {
            link.push_str("&order=desc");
        }
        if !self.choice.search.is_empty() {
            link.push_str(&format!("&q={}", target::encoded_value(&self.choice.search)));
        }
        if page > 0 {
            link.push_str(&format!("&page={}", page + 1));
        }
        link
    }

    fn pager(&self) -> Markup {
        let pages = self.rows.count.div_ceil(PAGE_ROWS);
        let Choice { key, descending, page, .. } = *self.choice;
        html! {
            @if pages > 1 {
                nav.pager aria-label="Pages" {
                    @if page > 0 { a.button rel="prev" href=(self.link(key, descending, page - 1)) { "Previous" } }
                    span { "Page " (page + 1) " of " (pages) }
                    @if page + 1 < pages { a.button rel="next" href=(self.link(key, descending, page + 1)) { "Next" } }
                }
            }
        }
    }

    fn sum(&self) -> String {
        let count = self.rows.count;
        format!("{count} {}, {}", if count == 1 { "entry" } else { "entries" }, size(self.rows.bytes))
    }
}

fn word(key: Key) -> &'static str {
    match key {
        Key::Name => "name",
        Key::Size => "size",
        Key::Modified => "modified",
    }
}

/// One row. `data-` attributes are for the script, which sorts without asking again, and removes the version that is shown where files
/// are `removable`.
fn line(row: &Row, removable: bool) -> Markup {
    let slash = if row.is_directory { "/" } else { "" };
    // In front of it stands what makes it a path whatever the name has in it.
    let link = format!("./{}{slash}", target::encoded(&row.name));
    let name = escape_untrusted(&row.name);
    let seconds = row.modified.map_or(0, Timestamp::as_second);
    html! {
        tr data-name=(name) data-size=(row.size) data-modified=(seconds) data-directory[row.is_directory]
            data-etag=[row.etag.as_ref().filter(|_| removable)] {
            td.name {
                a href=(link) class=(if row.is_directory { "folder" } else { "file" }) title=[row.digest.map(|d| format!("SHA-256 {d}"))] {
                    bdi { (name) } (slash)
                }
            }
            td.size {
                @if !row.is_directory { data value=(row.size) title={ (row.size) " bytes" } { (size(row.size)) } }
            }
            td.modified {
                @if let Some(modified) = row.modified { time datetime=(modified) { (minute(modified)) } }
            }
            td.view {
                @if !row.is_directory {
                    a href={ (link) "?view" } { "View" span.unseen { " " (name) } }
                }
            }
        }
    }
}

/// The beginning of a plain index.
pub(in crate::door::http) fn index_head(directory: Option<&RemotePath>) -> String {
    let title = title(directory);
    let up = if directory.is_some() { "<a href=\"../\">../</a>\n" } else { "" };
    let heading = html! { title { (title) } h1 { (title) } }.into_string();
    format!("<!DOCTYPE html>\n<meta charset=\"utf-8\">\n{heading}\n<pre>\n{up}")
}

/// A row of a plain index.
pub(in crate::door::http) fn index_row(row: &Row) -> String {
    let slash = if row.is_directory { "/" } else { "" };
    let link = format!("./{}{slash}", target::encoded(&row.name));
    let name = escape_untrusted(&row.name);
    let anchor = html! { a href=(link) { (name) (slash) } }.into_string();
    let modified = row.modified.map(minute).unwrap_or_default();
    let size = if row.is_directory { "-".to_owned() } else { row.size.to_string() };
    let pad = 50usize.saturating_sub(name.chars().count() + slash.len());
    format!("{anchor}{:pad$} {modified:16} {size:>15}\n", "")
}

/// The end of a plain index.
pub(in crate::door::http) const INDEX_END: &str = "</pre>\n";
