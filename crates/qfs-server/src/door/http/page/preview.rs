//! `?view`: a look at a file in the browser. Text, Markdown, images, sound and films; of everything else its size and its digest.

use std::sync::Arc;

use http::StatusCode;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use maud::{Markup, PreEscaped, html};
use qfs_core::body::{Opened, Reservation};
use qfs_core::model::{RemotePath, escape_untrusted};
use qfs_core::store::WriteStore;

use super::{breadcrumbs, guarded, layout, markdown, minute, size};
use crate::door::http::ask::Ask;
use crate::door::http::error::HttpError;
use crate::door::http::kind::content_type;
use crate::door::http::reply::{self, Answer, HTML};
use crate::door::http::target;

/// Answers with a page about the file at `path`, whose first block is in `room`.
pub(in crate::door::http) async fn answer<S: WriteStore, R: Answer>(
    _ask: &Ask<'_, S>,
    path: &RemotePath,
    opened: Opened,
    room: Reservation,
    reply: &mut R,
) -> Result<(), HttpError> {
    let kind = content_type(path);
    let is_shown_by_name = ["image/", "audio/", "video/"].iter().any(|shown| kind.starts_with(shown));
    let start = match &opened.content {
        _ if is_shown_by_name => None,
        Some(content) => Some(content.clone()),
        None => {
            let version = Arc::clone(&opened.version);
            Some(qfs_store::blocking(move || version.block(0)).await?)
        }
    };
    let text = start.as_deref().and_then(as_text);
    let page = page(path, &opened, &kind, text);
    let head = reply::head(StatusCode::OK).header(CONTENT_TYPE, HTML).header(CONTENT_LENGTH, page.len());
    reply.begin(guarded(head)).await?;
    Ok(reply.send(room.attach(page.into())).await?)
}

/// The text that `bytes` are the beginning of; None when they are none.
fn as_text(bytes: &[u8]) -> Option<&str> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        // A character may be cut in two at the end of a block.
        Err(error) if bytes.len() - error.valid_up_to() < 4 => {
            std::str::from_utf8(&bytes[..error.valid_up_to()]).ok()?
        }
        Err(_) => return None,
    };
    (!text.contains('\0')).then_some(text)
}

fn page(path: &RemotePath, opened: &Opened, kind: &str, text: Option<&str>) -> String {
    let meta = opened.version.meta();
    let name = escape_untrusted(path.file_name());
    let link = format!("./{}", target::encoded(path.file_name()));
    let directory = path.parent().and_then(|parent| RemotePath::parse(parent).ok());
    layout(
        &name,
        &html! {
            header {
                (breadcrumbs(directory.as_ref(), Some(&name)))
                div.tools {
                    a.button href={ (link) "?download" } download { "Download " span.hint { "(" (size(meta.size)) ")" } }
                    a.button.quiet href=(link) { "Raw" }
                }
            }
            main {
                h1.unseen { (name) }
                dl.facts {
                    dt { "Size" } dd { (meta.size) " bytes" }
                    dt { "Modified" } dd { time datetime=(meta.modified) { (minute(meta.modified)) } }
                    @if let Some(digest) = opened.digest() { dt { "SHA-256" } dd { code { (digest) } } }
                }
                (content(&link, &name, kind, text, meta.size))
            }
        },
    )
}

pub(in crate::door::http) fn content(link: &str, name: &str, kind: &str, text: Option<&str>, size: u64) -> Markup {
    html! {
        @if kind.starts_with("image/") {
            figure { img src=(link) alt=(name); }
        } @else if kind.starts_with("audio/") {
            audio controls preload="metadata" src=(link) {}
        } @else if kind.starts_with("video/") {
            video controls preload="metadata" src=(link) {}
        } @else if let Some(text) = text {
            @if kind.starts_with("text/markdown") {
                article.readme { (PreEscaped(markdown::render(text))) }
            } @else {
                pre.text tabindex="0" { code { (text) } }
            }
            @if (text.len() as u64) < size { p.none { "This is its beginning; download it for the rest." } }
        } @else {
            p.none { "There is no preview of this kind of file." }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_told_from_the_rest() {
        assert_eq!(as_text("grün".as_bytes()), Some("grün"));
        assert_eq!(as_text(&"grü".as_bytes()[..3]), Some("gr"), "cut in the middle of a character");
        assert_eq!(as_text(b"a\xff\xfe\xfd\xfc\xfb"), None);
        assert_eq!(as_text(b"a\0b"), None);
    }

    #[test]
    fn markup_in_a_file_is_shown_as_text() {
        let shown = content("./a", "a", "text/html", Some("<script>alert(1)</script>"), 25).into_string();
        assert!(shown.contains("&lt;script&gt;") && !shown.contains("<script"), "{shown}");
        let shown = content("./a", "\"><script>", "image/png", None, 1).into_string();
        assert!(!shown.contains("\"><script>"), "{shown}");
    }
}
