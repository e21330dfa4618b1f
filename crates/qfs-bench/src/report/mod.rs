//! Results as text, JSON, Markdown, HTML and SVG. This module makes strings; it prints nothing and measures nothing.

pub mod crowd;
pub mod html;
pub mod markdown;
pub mod picture;
mod svg;
pub mod text;
mod units;

pub use units::{escape, link_rate, mib, rate, seconds, size};

/// `value` as one indented JSON object and a newline.
#[must_use]
pub fn json<T: serde::Serialize>(value: &T) -> String {
    // This cannot fail, because the reports contain no map with keys that are not text.
    let mut text = serde_json::to_string_pretty(value).unwrap_or_default();
    text.push('\n');
    text
}
