//! What fstat says of a file, as etag, metadata and the answer to "is it still the same?".

use std::os::fd::AsFd;
use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use rustix::fs::{FileType, Mode, Stat, Timespec, Timestamps, UTIME_OMIT};

use super::errors::io_error;
use qfs_core::model::{Digest, ETag};
use qfs_core::store::{ObjectMeta, StoreError, TargetMeta};

const NANOS_PER_SECOND: i128 = 1_000_000_000;

/// Kernels stamp files with a clock that moves once a timer tick, at most 10 ms; two changes within a tick look like one.
pub(super) const CLOCK_TICK_NANOS: i128 = 20_000_000;

/// The coarsest file systems (FAT) count two seconds. Used when no sub-second part suggests anything finer.
const COARSE_CLOCK_NANOS: i128 = 2 * NANOS_PER_SECOND;

/// Bytes that `st_blocks` counts in.
pub(super) const ALLOCATION_UNIT_BYTES: u64 = 512;

/// Hexadecimal digits of an etag: 128 bits.
const ETAG_DIGITS: usize = 32;

/// The facts that tell versions of a file apart. Times are nanoseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) device: u64,
    pub(super) inode: u64,
    pub(super) links: u64,
    pub(super) size: u64,
    modified: i128,
    changed: i128,
    executable: bool,
    /// Bytes that are stored; fewer than `size` where there are holes.
    pub(super) allocated: u64,
}

impl Stamp {
    /// The stamp of a regular file, None of anything else.
    #[allow(clippy::useless_conversion, reason = "the width of these fields differs between architectures")]
    pub(super) fn regular(stat: &Stat) -> Option<Self> {
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return None;
        }
        Some(Self {
            device: stat.st_dev.into(),
            inode: stat.st_ino.into(),
            links: stat.st_nlink.into(),
            size: u64::try_from(stat.st_size).ok()?,
            modified: i128::from(stat.st_mtime) * NANOS_PER_SECOND + i128::from(stat.st_mtime_nsec),
            changed: i128::from(stat.st_ctime) * NANOS_PER_SECOND + i128::from(stat.st_ctime_nsec),
            executable: Mode::from_raw_mode(stat.st_mode).contains(Mode::XUSR),
            allocated: u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(ALLOCATION_UNIT_BYTES),
        })
    }

    /// The stamp of an open regular file.
    pub(super) fn of_handle(file: impl AsFd) -> Result<Self, StoreError> {
        let stat = rustix::fs::fstat(file).map_err(io_error)?;
        Self::regular(&stat).ok_or(StoreError::NotRegular)
    }

    /// Whether `later`, of the same handle, shows the same content.
    ///
    /// Removing or replacing the name changes ctime but not what the handle reads, so a changed link count excuses a
    /// changed ctime.
    pub(super) fn same_content(&self, later: &Self) -> bool {
        self.size == later.size
            && self.modified == later.modified
            && (self.changed == later.changed || self.links != later.links)
    }

    /// Whether `later` is the same file with the same content under another name: a rename changes ctime.
    pub(super) fn same_but_renamed(&self, later: &Self) -> bool {
        let facts = |stamp: &Self| (stamp.device, stamp.inode, stamp.size, stamp.modified);
        facts(self) == facts(later)
    }

    pub(super) fn modified(&self) -> Timestamp {
        timestamp(self.modified)
    }

    /// Nanoseconds until a change must show in ctime; 0 when it would already, or when waiting a tick is not what helps.
    pub(super) fn nanos_to_settle(&self, now: i128) -> i128 {
        let age = now - self.changed;
        if age.abs() < CLOCK_TICK_NANOS { CLOCK_TICK_NANOS - age } else { 0 }
    }

    pub(super) fn target(&self) -> TargetMeta {
        TargetMeta { size: self.size, modified: self.modified(), executable: self.executable }
    }

    pub(super) fn meta(&self) -> ObjectMeta {
        let unsettled = self.is_unsettled(now_nanos());
        ObjectMeta {
            size: self.size,
            modified: self.modified(),
            etag: self.etag(),
            unsettled,
            executable: self.executable,
        }
    }

    fn is_unsettled(&self, now: i128) -> bool {
        let coarse = self.modified % NANOS_PER_SECOND == 0 && self.changed % NANOS_PER_SECOND == 0;
        let resolution = if coarse { COARSE_CLOCK_NANOS } else { CLOCK_TICK_NANOS };
        // A time in the future is younger than any resolution: the clock may come by it again.
        self.modified.max(self.changed) > now - resolution
    }

    /// Opaque on purpose: inode numbers and ctimes of the server are nobody's business.
    pub(super) fn etag(&self) -> ETag {
        let mut facts = [0u8; 56];
        facts[0..8].copy_from_slice(&self.device.to_le_bytes());
        facts[8..16].copy_from_slice(&self.inode.to_le_bytes());
        facts[16..24].copy_from_slice(&self.size.to_le_bytes());
        facts[24..40].copy_from_slice(&self.modified.to_le_bytes());
        facts[40..56].copy_from_slice(&self.changed.to_le_bytes());
        let digits = Digest::of(&facts).to_string();
        digits[..ETAG_DIGITS].parse().expect("hexadecimal digits are an etag")
    }
}

/// The modification time of whatever `stat` is about.
#[allow(clippy::useless_conversion, reason = "the width of these fields differs between architectures")]
pub(super) fn modified(stat: &Stat) -> Timestamp {
    timestamp(i128::from(stat.st_mtime) * NANOS_PER_SECOND + i128::from(stat.st_mtime_nsec))
}

fn timestamp(nanos: i128) -> Timestamp {
    let nanos = nanos.clamp(Timestamp::MIN.as_nanosecond(), Timestamp::MAX.as_nanosecond());
    // Within the range by the clamp.
    Timestamp::from_nanosecond(nanos).unwrap_or_default()
}

/// The time now, in nanoseconds since 1970.
pub(super) fn now_nanos() -> i128 {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => i128::try_from(since.as_nanos()).unwrap_or(i128::MAX),
        Err(before) => i128::try_from(before.duration().as_nanos()).map_or(i128::MIN, |nanos| -nanos),
    }
}

/// The argument that sets a file's modification time and leaves its access time.
pub(super) fn times(modified: Timestamp) -> Timestamps {
    let nanos = modified.as_nanosecond();
    // A Timestamp spans 20,000 years: seconds fit 64 bits, and the remainder is below 10⁹.
    let tv_sec = i64::try_from(nanos.div_euclid(NANOS_PER_SECOND)).unwrap_or_default();
    let tv_nsec = nanos.rem_euclid(NANOS_PER_SECOND).try_into().unwrap_or_default();
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec, tv_nsec },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i128 = 1_800_000_000_123_456_789;

    fn stamp() -> Stamp {
        let old = NOW - 10 * NANOS_PER_SECOND;
        Stamp { device: 1, inode: 2, links: 1, size: 3, modified: old, changed: old, executable: false, allocated: 3 }
    }

    #[test]
    fn every_fact_that_ctime_does_not_cover_changes_the_etag() {
        let base = stamp();
        let mut tags = vec![base.etag()];
        tags.push(Stamp { device: 9, ..base }.etag());
        tags.push(Stamp { inode: 9, ..base }.etag());
        tags.push(Stamp { size: 9, ..base }.etag());
        tags.push(Stamp { modified: base.modified + 1, ..base }.etag());
        tags.push(Stamp { changed: base.changed + 1, ..base }.etag());
        let count = tags.len();
        tags.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        tags.dedup();
        assert_eq!(tags.len(), count);
        assert!(tags.iter().all(|tag| tag.as_str().len() == 32));
        assert_eq!(Stamp { links: 9, executable: true, allocated: 9, ..base }.etag(), base.etag());
    }

    #[test]
    fn young_coarse_and_future_times_are_unsettled() {
        assert!(!stamp().is_unsettled(NOW));
        for (modified, changed, expected) in [
            (NOW, NOW, true),
            (NOW - 10_000_000, NOW - NANOS_PER_SECOND, true),
            (NOW - 30_000_000, NOW - 30_000_000, false),
            (NOW + NANOS_PER_SECOND, stamp().changed, true),
            (1_799_999_999 * NANOS_PER_SECOND, 1_799_999_999 * NANOS_PER_SECOND, true),
            (1_799_999_997 * NANOS_PER_SECOND, 1_799_999_997 * NANOS_PER_SECOND, false),
            (1_799_999_999 * NANOS_PER_SECOND, 1_799_999_999 * NANOS_PER_SECOND + 1, false),
        ] {
            let stamp = Stamp { modified, changed, ..stamp() };
            assert_eq!(stamp.is_unsettled(NOW), expected, "{modified} {changed}");
        }
    }

    #[test]
    fn times_outside_all_calendars_are_clamped() {
        for nanos in [i128::from(i64::MIN) * NANOS_PER_SECOND, i128::from(i64::MAX) * NANOS_PER_SECOND, -1, 0] {
            let stamp = Stamp { modified: nanos, ..stamp() };
            let times = times(stamp.modified());
            assert!((0..NANOS_PER_SECOND).contains(&i128::from(times.last_modification.tv_nsec)));
            if nanos.abs() < NANOS_PER_SECOND {
                assert_eq!(stamp.modified().as_nanosecond(), nanos);
            }
        }
        assert_eq!(times(Timestamp::from_nanosecond(-1).unwrap()).last_modification.tv_sec, -1);
    }

    #[test]
    fn an_unlinked_file_is_still_the_same() {
        let base = stamp();
        assert!(base.same_content(&base));
        assert!(base.same_content(&Stamp { links: 0, changed: NOW, ..base }));
        assert!(!base.same_content(&Stamp { changed: NOW, ..base }));
        assert!(!base.same_content(&Stamp { size: 4, ..base }));
        assert!(!base.same_content(&Stamp { modified: NOW, links: 0, changed: NOW, ..base }));
    }
}
