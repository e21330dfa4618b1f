//! Permission bits of what is written: those of what it replaces, else as the umask lets, and never more than reading gives.

use qfs_core::store::Condition;
use rustix::fs::{AtFlags, FileType, Mode};

use super::directory::Directory;

/// The bits that let somebody execute a file.
const EXECUTE: u32 = 0o111;

/// What a new file is created with; the kernel takes the umask off.
pub(super) fn create(executable: Option<bool>) -> Mode {
    Mode::from_raw_mode(if executable == Some(true) { 0o777 } else { 0o666 })
}

/// The bits of a file that was created with `mode`, and is to be executable or not.
pub(super) fn with_execute(mode: u32, executable: bool, umask: u32) -> u32 {
    let kept = mode & 0o777 & !EXECUTE;
    if executable { kept | ((mode & 0o444) >> 2) & !umask } else { kept }
}

/// The bits of a file that is to be executable or not, if that is said, and was created with `mode`: what it replaces, with the bits
/// `replaced`, keeps those for whoever may not read it.
pub(super) fn in_place_of(replaced: Option<u32>, mode: u32, executable: Option<bool>, umask: u32) -> u32 {
    let mode = replaced.unwrap_or(mode) & 0o777;
    executable.map_or(mode, |executable| with_execute(mode, executable, umask))
}

/// The bits of the file `name`, which one with `condition` replaces; none where it replaces none.
pub(super) fn of_replaced(directory: &Directory, name: &str, condition: &Condition) -> Option<u32> {
    if *condition == Condition::Absent {
        return None;
    }
    let stat = rustix::fs::statat(directory.handle(), name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    (FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile).then_some(stat.st_mode & 0o777)
}

/// The umask of this process; none when the system does not say. Asking for it by `umask(2)` would change it for a moment, and
/// with it the files that other threads make.
pub(super) fn umask() -> u32 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let digits = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    digits.and_then(|digits| u32::from_str_radix(digits.trim(), 8).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_read_may_execute_unless_the_umask_forbids() {
        assert_eq!(with_execute(0o644, true, 0o022), 0o755);
        assert_eq!(with_execute(0o600, true, 0o077), 0o700);
        assert_eq!(with_execute(0o644, true, 0o033), 0o744);
        assert_eq!(with_execute(0o100_755, false, 0o022), 0o644);
        assert_eq!(with_execute(0o106_755, true, 0), 0o755);
        assert!(umask() <= 0o777);
    }

    #[test]
    fn what_is_replaced_opens_to_nobody_else() {
        assert_eq!(in_place_of(None, 0o100_644, None, 0o022), 0o644);
        assert_eq!(in_place_of(Some(0o750), 0o644, None, 0o022), 0o750);
        assert_eq!(in_place_of(Some(0o600), 0o644, Some(true), 0o022), 0o700);
        assert_eq!(in_place_of(Some(0o750), 0o755, Some(false), 0o022), 0o640);
    }
}
