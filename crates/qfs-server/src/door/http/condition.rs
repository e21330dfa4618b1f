//! Conditional requests (RFC 9110 §13): whether a version is still, or no longer, the one that the client has. Pure.

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::{HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE};
use qfs_core::store::{Condition, ObjectMeta};

/// The validators of a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Validators {
    /// With its quotation marks; weak where a later change could leave it as it is.
    pub(super) etag: String,
    is_strong: bool,
    /// To the second, as HTTP has it.
    modified: SystemTime,
    /// The same as text.
    pub(super) last_modified: String,
}

/// What the conditions of a request come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Answer it.
    Proceed,
    /// The client has this version already.
    NotModified,
    /// It is not the version that was meant.
    Failed,
}

impl Validators {
    pub(super) fn of(meta: &ObjectMeta) -> Self {
        let seconds = u64::try_from(meta.modified.as_second()).unwrap_or(0);
        // The last second that an HTTP date can name, in the year 9999.
        let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.min(253_402_300_799));
        let mark = if meta.unsettled { "W/" } else { "" };
        Self {
            etag: format!("{mark}\"{}\"", meta.etag),
            is_strong: !meta.unsettled,
            modified,
            last_modified: httpdate::fmt_http_date(modified),
        }
    }

    /// What the conditions in `headers` come to, in the order of RFC 9110 §13.2.2.
    pub(super) fn judge(&self, headers: &HeaderMap) -> Outcome {
        if headers.contains_key(IF_MATCH) {
            if !tags(headers, &IF_MATCH).any(|tag| tag == "*" || (self.is_strong && tag == self.etag)) {
                return Outcome::Failed;
            }
        } else if date(headers, &IF_UNMODIFIED_SINCE).is_some_and(|date| self.modified > date) {
            return Outcome::Failed;
        }
        if headers.contains_key(IF_NONE_MATCH) {
            if tags(headers, &IF_NONE_MATCH).any(|tag| tag == "*" || is_same_weakly(tag, &self.etag)) {
                return Outcome::NotModified;
            }
        } else if date(headers, &IF_MODIFIED_SINCE).is_some_and(|date| self.modified <= date) {
            return Outcome::NotModified;
        }
        Outcome::Proceed
    }

    /// The Range header, where it counts: If-Range, if there is one, names exactly this version (RFC 9110 §13.1.5).
    pub(super) fn range<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        let range = headers.get(RANGE)?.to_str().ok()?;
        let Some(wanted) = headers.get(IF_RANGE) else { return Some(range) };
        let wanted = wanted.to_str().ok()?;
        let same = if wanted.starts_with('"') {
            self.is_strong && wanted == self.etag
        } else {
            // A date tells versions apart only if there was no second change within its second.
            self.is_strong && wanted == self.last_modified
        };
        same.then_some(range)
    }
}

/// What has to be there for a request with `headers` to change what is `current`ly there; None when that does not hold already. Where
/// something is asked for, it is this very version, or nothing, that is replaced, and never what came meanwhile.
pub(super) fn of_change(headers: &HeaderMap, current: Option<&ObjectMeta>) -> Option<Condition> {
    let unchanged = date(headers, &IF_UNMODIFIED_SINCE);
    let asks = [IF_MATCH, IF_NONE_MATCH].iter().any(|name| headers.contains_key(name)) || unchanged.is_some();
    let Some(current) = current else {
        return match (headers.contains_key(IF_MATCH), asks) {
            (true, _) => None,
            (false, true) => Some(Condition::Absent),
            (false, false) => Some(Condition::Any),
        };
    };
    let validators = Validators::of(current);
    let holds = if headers.contains_key(IF_MATCH) {
        tags(headers, &IF_MATCH).any(|tag| tag == "*" || (validators.is_strong && tag == validators.etag))
    } else {
        unchanged.is_none_or(|date| validators.modified <= date)
    };
    let is_other = !tags(headers, &IF_NONE_MATCH).any(|tag| tag == "*" || is_same_weakly(tag, &validators.etag));
    match (holds && is_other, asks) {
        (false, _) => None,
        (true, true) => Some(Condition::Matches(current.etag.clone())),
        (true, false) => Some(Condition::Any),
    }
}

/// Whether two entity tags are equal by the weak comparison (RFC 9110 §8.8.3.2).
fn is_same_weakly(one: &str, other: &str) -> bool {
    let opaque = |tag: &str| tag.strip_prefix("W/").unwrap_or(tag).to_owned();
    opaque(one) == opaque(other)
}

/// The members of a list of entity tags; none of what this server makes has a comma in it.
fn tags<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

fn date(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(name)?.to_str().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(unsettled: bool) -> ObjectMeta {
        let modified = "2026-11-23T08:09:24.9Z".parse().unwrap();
        ObjectMeta { size: 5, modified, etag: "v1".parse().unwrap(), unsettled, executable: false }
    }

    fn validators(unsettled: bool) -> Validators {
        Validators::of(&meta(unsettled))
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    const SAME: &str = "Mon, 23 Nov 2026 08:09:24 GMT";
    const BEFORE: &str = "Mon, 23 Nov 2026 08:09:23 GMT";

    #[test]
    fn conditions_are_judged_in_order() {
        let judge = |pairs: &[(&'static str, &str)]| validators(false).judge(&headers(pairs));
        assert_eq!(judge(&[]), Outcome::Proceed);
        assert_eq!(judge(&[("if-none-match", "\"v0\", \"v1\"")]), Outcome::NotModified);
        assert_eq!(judge(&[("if-none-match", "W/\"v1\"")]), Outcome::NotModified);
        assert_eq!(judge(&[("if-none-match", "*")]), Outcome::NotModified);
        assert_eq!(judge(&[("if-none-match", "\"v0\""), ("if-modified-since", SAME)]), Outcome::Proceed);
        assert_eq!(judge(&[("if-modified-since", SAME)]), Outcome::NotModified);
        assert_eq!(judge(&[("if-modified-since", BEFORE)]), Outcome::Proceed);
        assert_eq!(judge(&[("if-modified-since", "yesterday")]), Outcome::Proceed);
        assert_eq!(judge(&[("if-match", "\"v1\"")]), Outcome::Proceed);
        assert_eq!(judge(&[("if-match", "\"v0\"")]), Outcome::Failed);
        assert_eq!(judge(&[("if-match", "W/\"v1\"")]), Outcome::Failed);
        assert_eq!(judge(&[("if-unmodified-since", BEFORE)]), Outcome::Failed);
        assert_eq!(judge(&[("if-unmodified-since", SAME)]), Outcome::Proceed);
    }

    /// Fails when a client continues a file that may have changed without a trace.
    #[test]
    fn a_range_counts_for_the_version_that_was_meant() {
        let range = |unsettled, if_range| {
            validators(unsettled).range(&headers(&[("range", "bytes=1-"), ("if-range", if_range)])).is_some()
        };
        assert!(range(false, "\"v1\"") && range(false, SAME));
        assert!(!range(false, "\"v0\"") && !range(false, "W/\"v1\"") && !range(false, BEFORE));
        assert!(!range(true, "\"v1\"") && !range(true, "W/\"v1\"") && !range(true, SAME));
        assert_eq!(validators(true).range(&headers(&[("range", "bytes=1-")])), Some("bytes=1-"));
        assert_eq!(validators(false).etag, "\"v1\"");
        assert_eq!(validators(true).etag, "W/\"v1\"");
    }

    /// Fails when a change that was meant for one version, or for none, is made to another.
    #[test]
    fn a_change_is_made_to_what_was_meant() {
        let of = |pairs: &[(&'static str, &str)], current: Option<&ObjectMeta>| of_change(&headers(pairs), current);
        let (known, young) = (meta(false), meta(true));
        let same = Some(Condition::Matches("v1".parse().unwrap()));
        assert_eq!((of(&[], None), of(&[], Some(&known))), (Some(Condition::Any), Some(Condition::Any)));
        assert_eq!(of(&[("if-none-match", "*")], None), Some(Condition::Absent));
        assert_eq!(of(&[("if-none-match", "*")], Some(&known)), None);
        assert_eq!(of(&[("if-none-match", "\"v1\"")], Some(&known)), None);
        assert_eq!(of(&[("if-none-match", "\"v0\"")], Some(&known)), same);
        assert_eq!(of(&[("if-match", "\"v0\", \"v1\"")], Some(&known)), same);
        assert_eq!(of(&[("if-match", "*")], Some(&known)), same);
        assert_eq!((of(&[("if-match", "*")], None), of(&[("if-match", "\"v0\"")], Some(&known))), (None, None));
        assert_eq!(of(&[("if-match", "\"v1\"")], Some(&young)), None, "a weak tag names no version");
        assert_eq!(of(&[("if-unmodified-since", SAME)], Some(&known)), same);
        assert_eq!(of(&[("if-unmodified-since", BEFORE)], Some(&known)), None);
        // What counts for reading alone.
        assert_eq!(of(&[("if-modified-since", SAME)], Some(&known)), Some(Condition::Any));
    }
}
