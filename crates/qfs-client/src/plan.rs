//! What to do about one file, from what is known on both sides. Pure: no I/O, no clock.

use jiff::Timestamp;
use qfs_core::store::TargetMeta;

use crate::config::FetchConfig;

/// What is known of the server's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemoteMeta {
    /// Size in bytes.
    pub size: u64,
    /// Modification time.
    pub modified: Timestamp,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Fetch it.
    Fetch,
    /// Ask the server for its size and time first: something is there already.
    Probe,
    /// Nothing: size and time agree.
    Keep,
    /// Compare digests: the sizes agree, and that is not enough.
    Compare,
    /// Leave alone what is there and fail.
    Refuse,
}

/// The next step for a file, of which `remote` is known so far and `local` is there.
#[must_use]
pub fn next_step(remote: Option<RemoteMeta>, local: Option<TargetMeta>, config: &FetchConfig) -> Step {
    let Some(local) = local else { return Step::Fetch };
    let Some(remote) = remote else { return Step::Probe };
    if remote.size != local.size {
        return on_difference(config);
    }
    if remote.modified == local.modified && !config.checksum { Step::Keep } else { Step::Compare }
}

/// The step when the contents are known to differ.
#[must_use]
pub fn on_difference(config: &FetchConfig) -> Step {
    if config.overwrite { Step::Fetch } else { Step::Refuse }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remote(size: u64, second: i64) -> Option<RemoteMeta> {
        Some(RemoteMeta { size, modified: Timestamp::from_second(second).unwrap() })
    }

    fn local(size: u64, second: i64) -> Option<TargetMeta> {
        Some(TargetMeta { size, modified: Timestamp::from_second(second).unwrap() })
    }

    #[test]
    fn the_whole_table() {
        let plain = FetchConfig::default();
        let overwrite = FetchConfig { overwrite: true, ..plain };
        let checksum = FetchConfig { checksum: true, ..plain };
        for (remote, local, config, step) in [
            (remote(1, 1), None, plain, Step::Fetch),
            (None, None, plain, Step::Fetch),
            (None, local(1, 1), overwrite, Step::Probe),
            (remote(1, 1), local(1, 1), plain, Step::Keep),
            (remote(1, 1), local(1, 1), overwrite, Step::Keep),
            (remote(1, 1), local(1, 1), checksum, Step::Compare),
            (remote(1, 1), local(1, 2), plain, Step::Compare),
            (remote(1, 1), local(2, 1), plain, Step::Refuse),
            (remote(1, 1), local(2, 1), checksum, Step::Refuse),
            (remote(1, 1), local(2, 1), overwrite, Step::Fetch),
        ] {
            assert_eq!(next_step(remote, local, &config), step, "{remote:?} {local:?} {config:?}");
        }
    }
}
