//! Who asks: a token as `Authorization: Bearer`, or in a cookie; and whether a browser sent a request because another site made it.
//! Pure.

use http::HeaderMap;
use http::header::{AUTHORIZATION, COOKIE, HOST, ORIGIN};
use qfs_core::model::Token;

/// The name of the cookie. Cookies are shared by all ports of a host, so that the port is in it; browsers keep one whose name begins so
/// only from the host itself, and over TLS (RFC 6265bis §4.1.3).
fn cookie_name(port: u16) -> String {
    format!("__Host-qfs-{port}")
}

/// The token that `headers` show to the server on `port`. What is no token is shown as none.
pub(super) fn shown(headers: &HeaderMap, port: u16) -> Option<Token> {
    if let Some(value) = headers.get(AUTHORIZATION) {
        let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
        return scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().parse().ok())?;
    }
    let name = cookie_name(port);
    let values = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = values.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(key, _)| *key == name).and_then(|(_, value)| value.parse().ok())
}

/// The Set-Cookie header that has a browser show `token` from now on until it is closed; without one, no longer.
pub(super) fn set_cookie(token: Option<&Token>, port: u16) -> String {
    let (value, age) = token.map_or(("", "; Max-Age=0"), |token| (token.reveal(), ""));
    format!("{}={value}; Path=/; Secure; HttpOnly; SameSite=Strict{age}", cookie_name(port))
}

/// Whether a request that changes something was not sent because of another site. `authority`: the host of its target, where it has
/// one; HTTP/1.1 has it in a header.
pub(super) fn is_same_site(headers: &HeaderMap, authority: Option<&str>) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    match text("sec-fetch-site") {
        Some("same-origin" | "none") => return true,
        Some(_) => return false,
        None => {}
    }
    // Browsers before 2023 lack the former and have this. A site can make neither itself, nor the name it is addressed by.
    let Some(origin) = headers.get(ORIGIN).and_then(|value| value.to_str().ok()) else { return false };
    let host = authority.or_else(|| headers.get(HOST)?.to_str().ok());
    host.is_some_and(|host| origin.strip_prefix("https://").is_some_and(|origin| origin.eq_ignore_ascii_case(host)))
}

/// Whether a request that changes a file may do so as far as where it comes from goes. What a browser sends has to come from this server's
/// own page. Others say nothing of where they come from; from them a cookie counts for nothing, because only browsers have any.
pub(super) fn may_change(headers: &HeaderMap, authority: Option<&str>) -> bool {
    if headers.contains_key("sec-fetch-site") || headers.contains_key(ORIGIN) {
        return is_same_site(headers, authority);
    }
    headers.contains_key(AUTHORIZATION) || !headers.contains_key(COOKIE)
}

#[cfg(test)]
mod tests {
    use http::header::HeaderName;

    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[test]
    fn tokens_are_found_and_nothing_else() {
        let found =
            |pairs: &[(&'static str, &str)]| shown(&headers(pairs), 8000).map(|token| token.reveal().to_owned());
        assert_eq!(found(&[("authorization", "Bearer qfs_1")]).as_deref(), Some("qfs_1"));
        assert_eq!(found(&[("authorization", "bearer  qfs_1")]).as_deref(), Some("qfs_1"));
        assert_eq!(found(&[("cookie", "a=b; __Host-qfs-8000=qfs_2")]).as_deref(), Some("qfs_2"));
        assert_eq!(
            found(&[("authorization", "Bearer qfs_1"), ("cookie", "__Host-qfs-8000=x")]).as_deref(),
            Some("qfs_1")
        );
        assert_eq!(found(&[("authorization", "Basic qfs_1")]), None);
        assert_eq!(found(&[("authorization", "Bearer a b")]), None);
        assert_eq!(found(&[("cookie", "__Host-qfs-8001=qfs_2; x__Host-qfs-8000=qfs_2")]), None);
        assert_eq!(found(&[]), None);
    }

    /// Fails when the cookie loses one of the marks that keep it from scripts, other sites and plain HTTP.
    #[test]
    fn the_cookie_is_kept_close() {
        let cookie = set_cookie(Some(&"qfs_1".parse().unwrap()), 8000);
        assert_eq!(cookie, "__Host-qfs-8000=qfs_1; Path=/; Secure; HttpOnly; SameSite=Strict");
        assert!(set_cookie(None, 8000).contains("Max-Age=0"));
    }

    #[test]
    fn what_another_site_caused_is_recognised() {
        let same = |pairs: &[(&'static str, &str)]| is_same_site(&headers(pairs), None);
        assert!(same(&[("sec-fetch-site", "same-origin")]) && same(&[("sec-fetch-site", "none")]));
        for site in ["cross-site", "same-site", "x"] {
            assert!(!same(&[("sec-fetch-site", site), ("origin", "https://h:1"), ("host", "h:1")]), "{site}");
        }
        assert!(same(&[("origin", "https://h:1"), ("host", "h:1")]));
        assert!(
            !same(&[("origin", "https://h:2"), ("host", "h:1")]) && !same(&[("origin", "http://h:1"), ("host", "h:1")])
        );
        assert!(!same(&[("origin", "null"), ("host", "null")]) && !same(&[("host", "h:1")]) && !same(&[]));
        assert!(is_same_site(&headers(&[("origin", "https://h:1")]), Some("H:1")));
    }

    /// Fails when a cookie is enough for a request that says nothing of where it comes from.
    #[test]
    fn a_cookie_alone_changes_nothing() {
        let may = |pairs: &[(&'static str, &str)]| may_change(&headers(pairs), Some("h:1"));
        assert!(may(&[]) && may(&[("authorization", "Bearer qfs_1")]));
        assert!(may(&[("cookie", "a=b"), ("sec-fetch-site", "same-origin")]) && may(&[("origin", "https://h:1")]));
        assert!(!may(&[("cookie", "a=b")]) && !may(&[("origin", "https://evil.example")]));
        assert!(!may(&[("authorization", "Bearer qfs_1"), ("sec-fetch-site", "cross-site")]));
    }
}
