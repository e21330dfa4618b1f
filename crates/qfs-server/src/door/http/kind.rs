//! What a file is by its name, and how a browser is told. Pure.

use qfs_core::model::RemotePath;

use super::target;

/// The type of a file, by its name.
pub(super) fn content_type(path: &RemotePath) -> String {
    let kind = mime_guess::from_path(path.file_name()).first_or_octet_stream();
    match (kind.type_().as_str(), kind.essence_str()) {
        // Text that says nothing of its encoding is UTF-8 today.
        ("text", _) | (_, "application/json" | "application/javascript" | "image/svg+xml") => {
            format!("{kind}; charset=utf-8")
        }
        _ => kind.to_string(),
    }
}

/// Shown in the browser where it can show it, saved otherwise; in either case under its own name (RFC 6266).
pub(super) fn disposition(name: &str, kind: &str, is_download: bool) -> String {
    let shows = ["text/", "image/", "audio/", "video/", "application/pdf", "application/json"];
    let way = if !is_download && shows.iter().any(|shown| kind.starts_with(shown)) { "inline" } else { "attachment" };
    let plain: String =
        name.chars().map(|c| if c.is_ascii_graphic() && !"\"\\%".contains(c) { c } else { '_' }).collect();
    format!("{way}; filename=\"{plain}\"; filename*=UTF-8''{}", target::encoded_extended(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails when a name can end its header, or begin another one.
    #[test]
    fn a_name_stays_in_its_place() {
        let said = disposition("a\"\r\nSet-Cookie: x=1;é.txt", "text/plain", false);
        assert_eq!(
            said,
            "inline; filename=\"a___Set-Cookie:_x=1;_.txt\"; filename*=UTF-8''a%22%0D%0ASet-Cookie%3A%20x%3D1%3B%C3%A9.txt"
        );
        assert!(disposition("x.bin", "application/octet-stream", false).starts_with("attachment"));
        assert!(disposition("x.png", "image/png", true).starts_with("attachment"));
    }

    #[test]
    fn what_a_file_is_follows_from_its_name() {
        let kind = |name: &str| content_type(&RemotePath::parse(name).unwrap());
        assert_eq!(kind("a/b.html"), "text/html; charset=utf-8");
        assert_eq!(kind("b.png"), "image/png");
        assert_eq!(kind("b"), "application/octet-stream");
        assert_eq!(kind("html"), "application/octet-stream");
    }
}
