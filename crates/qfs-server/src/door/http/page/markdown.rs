//! README files as HTML. Their authors may be anybody: HTML in them is shown as text, links lead where links may, images come from
//! this server.

use pulldown_cmark::{CowStr, Event, LinkType, Options, Parser, Tag, TagEnd, html};

/// What `text` looks like.
pub(in crate::door::http) fn render(text: &str) -> String {
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS;
    let mut out = String::with_capacity(text.len() * 2);
    html::push_html(&mut out, Parser::new_ext(text, options).map(tame));
    out
}

/// An event that can do no harm.
fn tame(event: Event<'_>) -> Event<'_> {
    match event {
        Event::Html(text) | Event::InlineHtml(text) => Event::Text(text),
        Event::Start(Tag::HtmlBlock) => Event::Start(Tag::Paragraph),
        Event::End(TagEnd::HtmlBlock) => Event::End(TagEnd::Paragraph),
        Event::Start(Tag::Link { link_type, dest_url, title, id }) => {
            let dest_url = match link_type {
                LinkType::Email => CowStr::from(format!("mailto:{dest_url}")),
                _ if leads(&dest_url, &["http", "https", "mailto"]) => dest_url,
                _ => "#".into(),
            };
            let link_type = if link_type == LinkType::Email { LinkType::Autolink } else { link_type };
            Event::Start(Tag::Link { link_type, dest_url, title, id })
        }
        Event::Start(Tag::Image { link_type, dest_url, title, id }) => {
            let dest_url = if leads(&dest_url, &[]) { dest_url } else { "#".into() };
            Event::Start(Tag::Image { link_type, dest_url, title, id })
        }
        other => other,
    }
}

/// Whether `address` lies on this server, or has one of `schemes`.
fn leads(address: &str, schemes: &[&str]) -> bool {
    // Browsers drop some of these before they look.
    if address.chars().any(|c| c.is_control() || c.is_whitespace() || c == '\\') {
        return false;
    }
    match address.split_once([':', '/', '?', '#']) {
        Some((scheme, _)) if address[scheme.len()..].starts_with(':') => {
            schemes.iter().any(|known| scheme.eq_ignore_ascii_case(known))
        }
        // Two slashes lead to another server.
        _ => !address.starts_with("//"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_harmless_is_kept() {
        let out = render("# A\n\n[x](sub/y.txt) [z](https://example.org/a:b) ![i](pic.png) **b**\n\n|a|\n|-|\n|1|\n");
        for part in
            ["<h1>A</h1>", "href=\"sub/y.txt\"", "href=\"https://example.org/a:b\"", "src=\"pic.png\"", "<table>"]
        {
            assert!(out.contains(part), "{part} in {out}");
        }
    }

    /// Fails when markup or a script of an author reaches the page.
    #[test]
    fn what_could_do_harm_is_shown_as_text() {
        for text in [
            "<script>alert(1)</script>",
            "a <img src=x onerror=alert(1)> b",
            "<div>\n<script>alert(1)</script>\n</div>",
            "[x](javascript:alert(1))",
            "[x](JaVaScRiPt:alert(1))",
            "[x](java&#10;script:alert(1))",
            "[x](<java\tscript:alert(1)>)",
            "[x](&#1;javascript:alert(1))",
            "[x](data:text/html,<script>alert(1)</script>)",
            "[x](vbscript:x)",
            "[a]: javascript:alert(1)\n\n[a]",
            "<javascript:alert(1)>",
            "![x](https://elsewhere.example/pixel.png)",
            "![x](//elsewhere.example/pixel.png)",
            "![x](data:image/svg+xml,x)",
            "```\"><script>alert(1)</script>\nx\n```",
            "[x](y \"\\\"><script>alert(1)</script>\")",
        ] {
            let out = render(text);
            let tags = out.to_lowercase();
            for bad in [
                "<script",
                "<img src=\"x\"",
                "href=\"javascript",
                "href=\"data",
                "href=\"vbscript",
                "src=\"http",
                "src=\"//",
                "src=\"data",
                "<div",
            ] {
                assert!(!tags.contains(bad), "{bad} from {text:?}: {out}");
            }
        }
    }

    proptest! {
        #[test]
        fn only_tags_of_markdown_come_out(text in "[<>a-z\"'=\\[\\]()!:/ \\n`*&#;-]{0,80}") {
            let out = render(&text);
            for tag in out.split('<').skip(1) {
                let name: String = tag.trim_start_matches('/').chars().take_while(char::is_ascii_alphanumeric).collect();
                let known = ["p", "a", "em", "strong", "code", "pre", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "li", "blockquote",
                    "hr", "br", "img", "table", "thead", "tbody", "tr", "th", "td", "del", "input", "div"];
                prop_assert!(known.contains(&name.as_str()), "{} in {}", name, out);
            }
        }
    }
}
