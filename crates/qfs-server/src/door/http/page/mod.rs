//! HTML, made so that no text becomes markup: maud escapes whatever is put between its tags and into its attributes, and addresses are
//! encoded by `target` first.
//!
//! Everything works without a script. Style and script come from this server under names of their own; what a page may load and do is
//! said in [`guarded`].

pub(super) mod listing;
pub(super) mod markdown;
pub(super) mod preview;

use http::StatusCode;
use http::header::{CONTENT_SECURITY_POLICY, HeaderName};
use jiff::Timestamp;
use maud::{DOCTYPE, Markup, html};
use qfs_core::model::RemotePath;

use super::target;

/// What a page may do: use style, script and images of this server, send its forms there, and nothing else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; \
    connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Adds what keeps a page to itself.
pub(super) fn guarded(head: http::response::Builder) -> http::response::Builder {
    head.header(CONTENT_SECURITY_POLICY, POLICY)
        .header(HeaderName::from_static("cross-origin-opener-policy"), "same-origin")
        .header(HeaderName::from_static("permissions-policy"), "camera=(), microphone=(), geolocation=()")
}

/// A page; `main` is what it is about.
fn layout(title: &str, main: &Markup) -> String {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="robots" content="none";
                title { (title) }
                link rel="icon" type="image/svg+xml" href="/.qfs/icon.svg";
                link rel="stylesheet" href="/.qfs/page.css";
                script src="/.qfs/page.js" defer {}
            }
            body { (main) }
        }
    }
    .into_string()
}

/// Where a page stands: each directory on the way to it, the last one without a link.
pub(super) fn breadcrumbs(directory: Option<&RemotePath>, file: Option<&str>) -> Markup {
    let components: Vec<&str> = directory.iter().flat_map(|path| path.components()).collect();
    let mut place = String::from("/");
    let mut crumbs = vec![("Files", place.clone())];
    for component in components {
        place.push_str(&target::encoded(component));
        place.push('/');
        crumbs.push((component, place.clone()));
    }
    if let Some(file) = file {
        crumbs.push((file, String::new()));
    }
    let last = crumbs.len() - 1;
    html! {
        nav.crumbs aria-label="Where you are" {
            ol {
                @for (index, (name, place)) in crumbs.iter().enumerate() {
                    li {
                        @if index == last {
                            span aria-current="page" { bdi { (name) } }
                        } @else {
                            a href=(place) { bdi { (name) } }
                        }
                    }
                }
            }
        }
    }
}

/// The page for something that went wrong.
pub(super) fn error(status: StatusCode, sentence: &str) -> String {
    if status == StatusCode::UNAUTHORIZED {
        return token_form("", false);
    }
    let reason = status.canonical_reason().unwrap_or("Error");
    layout(
        reason,
        &html! {
            main.card {
                p.code { (status.as_u16()) }
                h1 { (reason) }
                p { (sentence) "." }
                p { a.button href="/" { "All files" } }
            }
        },
    )
}

/// Asks for a token; `next`: where to go with it, or empty for the page that was asked for.
pub(super) fn token_form(next: &str, was_wrong: bool) -> String {
    layout(
        "A token is needed",
        &html! {
            main.card {
                h1 { "A token is needed" }
                p { "Whoever runs this server has given you one: a text that begins with " code { "qfs_" } "." }
                form method="post" action={ "/.qfs/" (target::TOKEN) } {
                    label for="token" { "Token" }
                    input #token type="password" name="token" autocomplete="current-password" required autofocus
                        spellcheck="false" autocapitalize="off" aria-invalid=[was_wrong.then_some("true")]
                        aria-describedby=[was_wrong.then_some("wrong")];
                    input type="hidden" name="next" value=(next);
                    @if was_wrong {
                        p #wrong .wrong role="alert" { "This token is not valid here, or no longer." }
                    }
                    button.button type="submit" { "Open" }
                }
            }
        },
    )
}

/// A size for people.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// A time to the minute, in UTC; the script has it in the reader's own zone.
fn minute(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        let said = [0, 1023, 1024, 1536, (1 << 20) - 1, 5 << 30, u64::MAX].map(size);
        assert_eq!(said, ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "1.0 MiB", "5.0 GiB", "16.0 EiB"]);
    }

    /// Fails when a name becomes markup, or leads elsewhere.
    #[test]
    fn names_stay_text() {
        let evil =
            RemotePath::parse("<script>alert(1)</script>/\"><img src=x onerror=alert(1)>/javascript:alert(1)").unwrap();
        let page = breadcrumbs(Some(&evil), Some("'\"><b>")).into_string();
        assert!(!page.contains("<script") && !page.contains("<img") && !page.contains("<b>"), "{page}");
        assert!(page.contains("href=\"/%3Cscript%3Ealert%281%29%3C/script%3E/"), "{page}");
        assert!(!page.contains("href=\"javascript"), "{page}");
        let form = token_form("/\"><script>", true);
        assert!(!form.contains("\"><script>"), "{form}");
    }
}
