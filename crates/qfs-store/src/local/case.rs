//! Whether names that differ in case only are one name here.

use std::os::fd::AsFd;

/// File systems on which they are, or may be, by the numbers that statfs gives: FAT, exFAT, NTFS (two drivers), CIFS, SMB2, HFS+, APFS.
const FOLDING: [u64; 8] =
    [0x4d44, 0x2011_bab0, 0x5346_544e, 0x7366_746e, 0xff53_4d42, 0xfe53_4d42, 0x482b, 0x4253_5041];

/// `FS_CASEFOLD_FL`: a directory of ext4, f2fs or tmpfs in which they are. Directories that are made in it inherit this.
const CASEFOLD: u32 = 0x4000_0000;

/// Whether they are in this directory, as far as the system says. Nothing is written to find out.
pub(super) fn folds_case(directory: impl AsFd) -> bool {
    let by_kind = rustix::fs::fstatfs(&directory).is_ok_and(|found| is_folding(found.f_type));
    // Not every file system has flags.
    by_kind || rustix::fs::ioctl_getflags(&directory).is_ok_and(|flags| flags.bits() & CASEFOLD != 0)
}

/// The number is signed on some architectures, and of 32 bits on some.
#[allow(
    clippy::cast_lossless,
    clippy::cast_sign_loss,
    clippy::unnecessary_cast,
    reason = "its type differs between architectures"
)]
fn is_folding(kind: impl Into<i64>) -> bool {
    FOLDING.contains(&u64::from(kind.into() as u32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_file_systems() {
        for kind in [0x4d44_i64, 0xff53_4d42, 0x2011_bab0] {
            assert!(is_folding(kind));
        }
        // As a signed number of 32 bits.
        assert!(is_folding(0xff53_4d42_u32.cast_signed()));
        for kind in [0xef53_i64, 0x0102_1994, 0x9123_683e] {
            assert!(!is_folding(kind));
        }
        assert!(!folds_case(std::fs::File::open("/proc/self").unwrap()));
    }
}
