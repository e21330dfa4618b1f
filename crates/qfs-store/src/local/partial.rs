//! Names of partial files, and the record in them of how far they got.
//!
//! A partial file lies beside its target and is named `.TARGET.ETAG.qfs-part`. One that nobody else shall find is
//! `.TARGET.ETAG.PID-N.qfs-part`, and a small file on its way `.PID-N.qfs-part`. The record stands behind the body, at
//! the offset that is the object's size, and is cut off before the rename: a second file could be lost or left behind.

use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::directory::Directory;
use qfs_core::model::{Digest, ETag, MAX_COMPONENT_BYTES};

/// How every partial file's name ends.
pub(super) const SUFFIX: &str = ".qfs-part";

/// Most digits of the number of a process.
const MAX_PID_DIGITS: usize = 10;

/// Most digits of the number that a process gives a file.
const MAX_COUNT_DIGITS: usize = 20;

/// Longest `PID-N`.
const MAX_UNIQUE_BYTES: usize = MAX_PID_DIGITS + 1 + MAX_COUNT_DIGITS;

/// Target names up to this length are part of the partial file's name as they are, whatever etag follows.
const MAX_PLAIN_BYTES: usize = MAX_COMPONENT_BYTES - 3 - ETag::MAX_BYTES - MAX_UNIQUE_BYTES - SUFFIX.len();

/// Digits of its hash that stand for a longer name.
const HASH_DIGITS: usize = 32;

/// What all partial files of the target `name` start with, the dot before the etag included.
pub(super) fn prefix(name: &str) -> String {
    if name.len() <= MAX_PLAIN_BYTES {
        format!(".{name}.")
    } else {
        format!(".{}.", &Digest::of(name.as_bytes()).to_string()[..HASH_DIGITS])
    }
}

/// The name under which every process looks for this version's partial file.
pub(super) fn shared_name(name: &str, etag: &ETag) -> String {
    format!("{}{etag}{SUFFIX}", prefix(name))
}

/// A name for a partial file of this version that no other process looks for.
pub(super) fn private_name(name: &str, etag: &ETag) -> String {
    format!("{}{etag}.{}{SUFFIX}", prefix(name), unique())
}

/// A name for a small file on its way to its target.
pub(super) fn passing_name() -> String {
    format!(".{}{SUFFIX}", unique())
}

/// Whether `candidate` is a partial file of the target whose [`prefix`] is given.
///
/// A server that names its versions `PID-N`, which none of qfs does, could have that said of `.T.qfs-part.PID-N.qfs-part` and the target
/// `T` too. All that it costs is that what came of `T.qfs-part` is fetched again.
pub(super) fn belongs_to(candidate: &str, prefix: &str) -> bool {
    let Some(middle) = candidate.strip_prefix(prefix).and_then(|rest| rest.strip_suffix(SUFFIX)) else {
        return false;
    };
    match middle.split_once('.') {
        None => middle.parse::<ETag>().is_ok(),
        Some((etag, unique)) => etag.parse::<ETag>().is_ok() && is_unique(unique),
    }
}

/// Whether `candidate` is what [`passing_name`] makes.
pub(super) fn is_passing(candidate: &str) -> bool {
    candidate.strip_prefix('.').and_then(|rest| rest.strip_suffix(SUFFIX)).is_some_and(is_unique)
}

/// Whether `candidate` has the form of a partial file, of whatever target.
pub(super) fn is_partial(candidate: &str) -> bool {
    let rest =
        candidate.strip_prefix('.').and_then(|rest| rest.strip_suffix(SUFFIX)).and_then(|rest| rest.rsplit_once('.'));
    // What makes a private name unique has the form of an etag, too.
    is_passing(candidate) || rest.is_some_and(|(before, last)| !before.is_empty() && last.parse::<ETag>().is_ok())
}

/// Whether a file of this name is the store's own business: no object of any store, whatever names it includes.
pub(super) fn is_reserved(component: &str) -> bool {
    component.starts_with('.') && component.ends_with(SUFFIX)
}

fn unique() -> String {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    format!("{}-{count}", rustix::process::getpid().as_raw_nonzero())
}

fn is_unique(text: &str) -> bool {
    let is_number =
        |part: &str, most| (1..=most).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
    text.split_once('-')
        .is_some_and(|(pid, count)| is_number(pid, MAX_PID_DIGITS) && is_number(count, MAX_COUNT_DIGITS))
}

/// How often a unique name that is taken, by a process of the same number before this one, is replaced by the next.
const UNIQUE_ATTEMPTS: usize = 64;

/// Makes a new file under one of the names that `name` gives, and locks it against [`leftovers`](super::leftovers).
pub(super) fn create_unique(
    directory: &Directory,
    flags: OFlags,
    mode: Mode,
    name: impl Fn() -> String,
) -> Result<(std::os::fd::OwnedFd, String), Errno> {
    let flags = flags | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    for _ in 0..UNIQUE_ATTEMPTS {
        let name = name();
        match rustix::io::retry_on_intr(|| rustix::fs::openat(directory.handle(), &*name, flags, mode)) {
            Err(Errno::EXIST) => {}
            Err(error) => return Err(error),
            Ok(file) => match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                // Another process takes it for a leftover and is about to remove it.
                Err(Errno::WOULDBLOCK) => {}
                // It did so before the lock was there; what is written to this file would be lost.
                Ok(()) if rustix::fs::fstat(&file)?.st_nlink == 0 => {}
                // Without locks on this file system nobody sweeps leftovers either.
                Ok(()) | Err(_) => return Ok((file, name)),
            },
        }
    }
    Err(Errno::EXIST)
}

/// Removes the name `name`; that it is gone already is fine.
pub(super) fn remove(directory: &Directory, name: &str) -> Result<(), Errno> {
    match rustix::fs::unlinkat(directory.handle(), name, AtFlags::empty()) {
        Err(Errno::NOENT) => Ok(()),
        done => done,
    }
}

/// Bytes of an encoded [`Frontier`].
pub(super) const RECORD_BYTES: usize = 32;

const MAGIC: &[u8; 8] = b"qfs-part";

/// Everything before this offset has been written, of an object of this size and version.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frontier<'a> {
    pub(super) bytes: u64,
    pub(super) size: u64,
    pub(super) etag: &'a ETag,
}

impl Frontier<'_> {
    /// Magic, frontier (little endian), and 16 bytes of a hash over both, the size and the etag.
    pub(super) fn encode(&self) -> [u8; RECORD_BYTES] {
        let mut record = [0; RECORD_BYTES];
        record[..8].copy_from_slice(MAGIC);
        record[8..16].copy_from_slice(&self.bytes.to_le_bytes());
        let mut checked = record[..16].to_vec();
        checked.extend_from_slice(&self.size.to_le_bytes());
        checked.extend_from_slice(self.etag.as_str().as_bytes());
        record[16..].copy_from_slice(&Digest::of(&checked).as_bytes()[..16]);
        record
    }

    /// The frontier that `record` states for this size and etag; None when it is none of ours.
    pub(super) fn decode(record: &[u8], size: u64, etag: &ETag) -> Option<u64> {
        let bytes = u64::from_le_bytes(record.get(8..16)?.try_into().ok()?);
        let intact = record == Frontier { bytes, size, etag }.encode();
        (intact && bytes <= size).then_some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn etag(text: &str) -> ETag {
        text.parse().unwrap()
    }

    #[test]
    fn names_fit_and_are_recognised() {
        let tags = [etag("0123456789abcdef0123456789abcdef"), etag(&"x".repeat(64))];
        for name in ["a", "a.b", ".x", &"n".repeat(MAX_PLAIN_BYTES), &"n".repeat(MAX_PLAIN_BYTES + 1), &"é".repeat(127)]
        {
            for tag in &tags {
                for partial in [shared_name(name, tag), private_name(name, tag)] {
                    assert!(partial.len() <= MAX_COMPONENT_BYTES && partial.starts_with('.'), "{partial}");
                    assert!(belongs_to(&partial, &prefix(name)), "{partial}");
                    assert!(!is_passing(&partial), "{partial}");
                }
            }
        }
        assert!(is_passing(&passing_name()));
        // The largest number of a process, and of a file.
        assert!(is_passing(&format!(".{}-{}{SUFFIX}", i32::MAX, u64::MAX)));
    }

    #[test]
    fn other_files_are_not_taken_for_partials() {
        for other in
            [".a.b.c.qfs-part", ".a..qfs-part", ".a.x", "a.b", ".ab.t.qfs-part", ".a.t.1-.qfs-part", ".a.é.qfs-part"]
        {
            assert!(!belongs_to(other, &prefix("a")), "{other}");
        }
        // More digits than a number of ours has: the name is nobody's leftover.
        let long = format!(".a.t.12-{}.qfs-part", "3".repeat(21));
        assert!(!belongs_to(&long, &prefix("a")) && !is_passing(&long.replace(".a.t", "")));
        for other in [".qfs-part", ".1.qfs-part", ".1-2", ".x-1.qfs-part", ".1-2.qfs-part.qfs-part"] {
            assert!(!is_passing(other), "{other}");
        }
        assert!(!belongs_to(&shared_name("a.b", &etag("t")), &prefix("a")));
    }

    #[test]
    fn a_record_reads_back_and_any_flipped_bit_voids_it() {
        let tag = etag("v1");
        let record = Frontier { bytes: 700, size: 1000, etag: &tag }.encode();
        assert_eq!(Frontier::decode(&record, 1000, &tag), Some(700));
        assert_eq!(Frontier::decode(&record, 1001, &tag), None);
        assert_eq!(Frontier::decode(&record, 1000, &etag("v2")), None);
        assert_eq!(Frontier::decode(&record[..31], 1000, &tag), None);
        assert_eq!(Frontier::decode(&[], 1000, &tag), None);
        for bit in 0..RECORD_BYTES * 8 {
            let mut broken = record;
            broken[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Frontier::decode(&broken, 1000, &tag), None, "{bit}");
        }
        let beyond = Frontier { bytes: 1001, size: 1000, etag: &tag }.encode();
        assert_eq!(Frontier::decode(&beyond, 1000, &tag), None);
    }

    /// Sizes and frontiers at both ends of what there is, and in between.
    fn offset() -> impl Strategy<Value = u64> {
        prop_oneof![0..4u64, u64::MAX - 4..=u64::MAX, any::<u64>()]
    }

    proptest! {
        /// Fails when: the size or the etag is left out of the hash; a frontier beyond the size is believed.
        #[test]
        fn a_record_counts_for_its_own_size_and_version_only(
            bytes in offset(),
            size in offset(),
            other_size in offset(),
            tag in "[0-9a-zA-Z_-]{1,64}",
            other_tag in "[0-9a-zA-Z_-]{1,64}",
        ) {
            let (tag, other_tag) = (etag(&tag), etag(&other_tag));
            let record = Frontier { bytes, size, etag: &tag }.encode();
            prop_assert_eq!(Frontier::decode(&record, size, &tag), (bytes <= size).then_some(bytes));
            let same_size = size == other_size && bytes <= size;
            prop_assert_eq!(Frontier::decode(&record, other_size, &tag).is_some(), same_size);
            let same_tag = tag == other_tag && bytes <= size;
            prop_assert_eq!(Frontier::decode(&record, size, &other_tag).is_some(), same_tag);
        }

        /// Fails when: only a part of the hash is compared; a record is looked for anywhere in the bytes.
        #[test]
        fn a_cut_lengthened_or_damaged_record_is_void(
            bytes in 0..1000u64,
            cut in 0..RECORD_BYTES,
            more in prop::collection::vec(any::<u8>(), 1..40),
            at in 0..RECORD_BYTES,
            damage in 1..=255u8,
        ) {
            let tag = etag("v1");
            let record = Frontier { bytes, size: 1000, etag: &tag }.encode();
            let mut damaged = record;
            damaged[at] ^= damage;
            let longer = [&record[..], &more].concat();
            let shifted = [&more[..], &record].concat();
            for void in [&record[..cut], &damaged, &longer, &shifted] {
                prop_assert_eq!(Frontier::decode(void, 1000, &tag), None, "{:?}", void);
            }
        }

        /// Bytes of a body, of another file or of a torn write. Fails when: the magic alone makes a record.
        #[test]
        fn garbage_is_never_believed(
            mut garbage in prop::collection::vec(any::<u8>(), 0..80),
            with_magic in any::<bool>(),
            size in offset(),
        ) {
            if with_magic && garbage.len() >= MAGIC.len() {
                garbage[..MAGIC.len()].copy_from_slice(MAGIC);
            }
            prop_assert_eq!(Frontier::decode(&garbage, size, &etag("v1")), None);
        }
    }
}
