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
    /// Whether it may be executed.
    pub executable: bool,
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

/// Whether a file that is kept has to be let be executed. One that may be here and not there stays so: servers of before that bit was
/// carried say it of no file.
#[must_use]
pub fn lacks_bit(executable: bool, local: Option<TargetMeta>, config: &FetchConfig) -> bool {
    config.perms && executable && !local.is_some_and(|local| local.executable)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn remote(size: u64, second: i64) -> Option<RemoteMeta> {
        Some(RemoteMeta { size, modified: Timestamp::from_second(second).unwrap(), executable: false })
    }

    fn local(size: u64, second: i64) -> Option<TargetMeta> {
        Some(TargetMeta { size, modified: Timestamp::from_second(second).unwrap(), executable: false })
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

    /// Few sizes and times, so that they often agree.
    fn meta() -> impl Strategy<Value = (u64, i64)> {
        (prop_oneof![0..3u64, Just(u64::MAX)], -1..2i64)
    }

    /// The steps for one file to their end, as a download takes them: `same` is whether the contents agree.
    fn walk(listed: bool, server: (u64, i64), here: Option<(u64, i64)>, same: bool, config: &FetchConfig) -> Vec<Step> {
        let there = remote(server.0, server.1);
        let local = here.and_then(|(size, second)| local(size, second));
        let mut steps = vec![next_step(there.filter(|_| listed), local, config)];
        if steps == [Step::Probe] {
            steps.push(next_step(there, local, config));
        }
        if steps.ends_with(&[Step::Compare]) {
            steps.push(if same { Step::Keep } else { on_difference(config) });
        }
        steps
    }

    proptest! {
        /// Whatever the listing says and whatever is here: nothing is fetched that is here, nothing is kept that differs
        /// where that can be known, and nothing is replaced that was not to be.
        ///
        /// Fails when: a file of another size is compared or kept; `--checksum` believes the time; without `--overwrite`
        /// anything but a missing file is fetched; a file that was asked about is asked about again.
        #[test]
        fn any_file_ends_in_what_its_state_demands(
            listed in any::<bool>(),
            server in meta(),
            here in prop::option::of(meta()),
            same in any::<bool>(),
            overwrite in any::<bool>(),
            checksum in any::<bool>(),
        ) {
            let config = FetchConfig { overwrite, checksum, ..FetchConfig::default() };
            let steps = walk(listed, server, here, same, &config);
            let Some((&last, before)) = steps.split_last() else { unreachable!("at least one step") };
            let expected = match here {
                None => Step::Fetch,
                Some((size, _)) if size != server.0 => on_difference(&config),
                Some((_, second)) if second == server.1 && !checksum => Step::Keep,
                Some(_) if same => Step::Keep,
                Some(_) => on_difference(&config),
            };
            prop_assert_eq!(last, expected, "{:?}", &steps);
            prop_assert!(overwrite || last != Step::Fetch || here.is_none());
            prop_assert_eq!(before.contains(&Step::Probe), !listed && here.is_some());
            prop_assert!(before.iter().all(|step| matches!(step, Step::Probe | Step::Compare)));
        }
    }
}
