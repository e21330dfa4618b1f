//! Whether a file of the target is that of the source.

use jiff::Timestamp;

use super::listing::File;
use super::options::Options;
use super::step::Why;

/// What is to be done about a file that both sides have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judgement {
    /// Nothing: they are the same.
    Keep,
    /// Nothing: the target's is newer, and is not to be replaced.
    Newer,
    /// The content is the same, and what is given here is not.
    Set { modified: Option<Timestamp>, executable: Option<bool> },
    /// The content differs, or may.
    Transfer(Why),
}

pub(super) fn compare(source: &File, target: &File, options: &Options) -> Judgement {
    let same_time = same_time(source.modified, target.modified, options);
    if options.update && target.modified > source.modified && !same_time {
        return Judgement::Newer;
    }
    if let Some(why) = difference(source, target, same_time, options) {
        return Judgement::Transfer(why);
    }
    // A time says when content was made. Where only sizes were compared, nobody knows whether this one was.
    let keeps_time = same_time || (options.size_only && !options.checksum);
    let modified = (!keeps_time).then_some(source.modified);
    let executable = match (source.executable, target.executable) {
        (Some(wanted), Some(there)) if options.executable && wanted != there => Some(wanted),
        _ => None,
    };
    if modified.is_none() && executable.is_none() { Judgement::Keep } else { Judgement::Set { modified, executable } }
}

fn difference(source: &File, target: &File, same_time: bool, options: &Options) -> Option<Why> {
    if source.size != target.size {
        return Some(Why::Size);
    }
    let same_digest = match (source.sha256, target.sha256) {
        _ if source.size == 0 => Some(true),
        // Those of different kinds say nothing about each other.
        (Some(wanted), Some(there)) if wanted.kind() == there.kind() => Some(wanted == there),
        _ => None,
    };
    if options.checksum {
        return (same_digest != Some(true)).then_some(Why::Digest);
    }
    match same_digest {
        _ if options.size_only => None,
        Some(true) => None,
        // What is known to differ is not kept because its time was set back.
        Some(false) => Some(if same_time { Why::Digest } else { Why::Time }),
        None => (!same_time).then_some(Why::Time),
    }
}

/// Whether the digests of these two would decide something, and one of them is not known.
pub(super) fn wants_digests(source: &File, target: &File, options: &Options) -> bool {
    let same_time = same_time(source.modified, target.modified, options);
    let newer = options.update && target.modified > source.modified && !same_time;
    let unknown = source.sha256.is_none() || target.sha256.is_none();
    let counts = options.checksum || !(options.size_only || same_time);
    !newer && unknown && counts && source.size == target.size && source.size > 0
}

pub(super) fn same_time(a: Timestamp, b: Timestamp, options: &Options) -> bool {
    a.as_nanosecond().abs_diff(b.as_nanosecond()) <= options.time_tolerance.as_nanos()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use qfs_core::model::{Digest, HashKind};

    use super::*;

    fn file(size: u64, second: i64, content: Option<&str>) -> File {
        let modified = Timestamp::from_second(second).unwrap();
        let sha256 = content.map(|content| Digest::of(content.as_bytes()));
        File { size, modified, executable: Some(false), sha256, etag: None }
    }

    /// Fails when digests of different kinds are taken for those of different contents.
    #[test]
    fn digests_of_different_kinds_say_nothing() {
        let other = File { sha256: Some(Digest::of_kind(HashKind::Blake3, b"a")), ..file(1, 1, None) };
        let plain = Options::default();
        assert_eq!(difference(&file(1, 1, Some("a")), &other, true, &plain), None);
        let checksum = Options { checksum: true, ..plain };
        assert_eq!(difference(&file(1, 1, Some("a")), &other, true, &checksum), Some(Why::Digest));
    }

    #[test]
    fn the_whole_table() {
        let plain = Options::default();
        let checksum = Options { checksum: true, ..plain.clone() };
        let size_only = Options { size_only: true, ..plain.clone() };
        let both = Options { size_only: true, ..checksum.clone() };
        let update = Options { update: true, ..plain.clone() };
        let set = |second| Judgement::Set { modified: Some(Timestamp::from_second(second).unwrap()), executable: None };
        let transfer = Judgement::Transfer;
        let keep = Judgement::Keep;
        for (source, target, options, expected) in [
            (file(1, 1, None), file(1, 1, None), &plain, keep),
            (file(1, 1, Some("a")), file(1, 1, None), &plain, keep),
            (file(1, 1, Some("a")), file(1, 1, Some("b")), &plain, transfer(Why::Digest)),
            (file(1, 1, None), file(2, 1, None), &plain, transfer(Why::Size)),
            (file(1, 1, None), file(1, 2, None), &plain, transfer(Why::Time)),
            (file(1, 1, Some("a")), file(1, 2, None), &plain, transfer(Why::Time)),
            (file(1, 1, Some("a")), file(1, 2, Some("a")), &plain, set(1)),
            (file(0, 1, None), file(0, 2, None), &plain, set(1)),
            (file(1, 1, None), file(1, 1, None), &checksum, transfer(Why::Digest)),
            (file(1, 1, Some("a")), file(1, 1, Some("a")), &checksum, keep),
            (file(1, 1, Some("a")), file(1, 2, Some("a")), &checksum, set(1)),
            (file(0, 1, None), file(0, 1, None), &checksum, keep),
            (file(1, 1, None), file(1, 2, None), &size_only, keep),
            (file(1, 1, Some("a")), file(1, 2, Some("b")), &size_only, keep),
            (file(1, 1, None), file(2, 1, None), &size_only, transfer(Why::Size)),
            (file(1, 1, Some("a")), file(1, 2, Some("b")), &both, transfer(Why::Digest)),
            (file(1, 1, Some("a")), file(1, 2, Some("a")), &both, set(1)),
            (file(1, 1, None), file(2, 2, None), &update, Judgement::Newer),
            (file(1, 2, None), file(2, 1, None), &update, transfer(Why::Size)),
            (file(1, 1, None), file(2, 1, None), &update, transfer(Why::Size)),
        ] {
            assert_eq!(compare(&source, &target, options), expected, "{source:?} {target:?} {options:?}");
        }
    }

    #[test]
    fn times_within_the_tolerance_are_equal() {
        let options = Options { time_tolerance: Duration::from_secs(2), update: true, ..Options::default() };
        let compare = |target| compare(&file(1, 10, None), &file(1, target, None), &options);
        assert_eq!([8, 10, 12].map(compare), [Judgement::Keep; 3]);
        assert_eq!((compare(7), compare(13)), (Judgement::Transfer(Why::Time), Judgement::Newer));
    }

    #[test]
    fn the_executable_bit_counts_where_both_sides_tell_it() {
        let with = |executable| File { executable, ..file(1, 1, None) };
        let options = Options::default();
        let without = Options { executable: false, ..options.clone() };
        let set = Judgement::Set { modified: None, executable: Some(true) };
        assert_eq!(compare(&with(Some(true)), &with(Some(false)), &options), set);
        assert_eq!(compare(&with(Some(true)), &with(Some(false)), &without), Judgement::Keep);
        assert_eq!(compare(&with(None), &with(Some(false)), &options), Judgement::Keep);
        assert_eq!(compare(&with(Some(true)), &with(None), &options), Judgement::Keep);
    }
}
