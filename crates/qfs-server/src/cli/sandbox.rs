//! Gives up what the server does not need, once it has opened what it does: after this, a mistake anywhere in it reaches the
//! published directory for reading, what symbolic links in it end at where those are followed, the identity for reading, the
//! remembered digests, and no other file of this machine.
//!
//! Landlock, a part of the Linux kernel (landlock(7)). It covers files, TCP, signals and abstract sockets; it knows no UDP. Rules
//! hold for one thread and for those it starts, so there must be no other yet.

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, NetPort, PathBeneath, PathFd, Ruleset,
    RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};
use qfs_store::local::Outside;
use tracing::{info, warn};

use super::failure::Failure;

/// Whether the server confines itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Sandbox {
    /// As far as the kernel can.
    #[default]
    Auto,
    /// Or it does not start.
    Require,
    /// Not at all.
    Off,
}

impl Sandbox {
    /// The names of [`Sandbox`] on the command line.
    pub(crate) const NAMES: [&str; 3] = ["auto", "require", "off"];
}

impl FromStr for Sandbox {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        match name {
            "auto" => Ok(Self::Auto),
            "require" => Ok(Self::Require),
            "off" => Ok(Self::Off),
            _ => Err(()),
        }
    }
}

/// What the server goes on needing of the file system.
#[derive(Debug, Default)]
pub(crate) struct Places {
    /// Directories that are read and listed, with all that is in them.
    pub(crate) published: Vec<PathBuf>,
    /// What published links end at outside of them: files that are read, directories that are read and listed.
    pub(crate) linked: Vec<Outside>,
    /// Directories in which anything may be made, written, renamed and removed besides.
    pub(crate) uploads: Vec<PathBuf>,
    /// Directories whose files are read.
    pub(crate) read: Vec<PathBuf>,
    /// Directories whose files are read, made, written, renamed and removed.
    pub(crate) kept: Vec<PathBuf>,
    /// The same, and which files there are can be seen.
    pub(crate) cached: Vec<PathBuf>,
    /// TCP ports that are connected to, on any machine.
    pub(crate) connects: Vec<u16>,
}

/// The first version of Landlock that governs everything that changes a file (truncation came last, with Linux 6.2).
const WHOLE_FOR_FILES: ABI = ABI::V3;

/// The newest one whose rules are known here: TCP, devices, signals and abstract sockets besides.
const NEWEST: ABI = ABI::V6;

/// To look into directories and read files.
fn published() -> BitFlags<AccessFs> {
    AccessFs::ReadFile | AccessFs::ReadDir
}

/// To change what is published: files, directories and links, but nothing that is no data, and nothing is executed.
fn uploads() -> BitFlags<AccessFs> {
    published() | kept() | AccessFs::MakeDir | AccessFs::RemoveDir | AccessFs::MakeSym | AccessFs::Refer
}

/// To read files whose names are known.
fn read() -> BitFlags<AccessFs> {
    AccessFs::ReadFile.into()
}

/// To replace files by a rename in the same directory.
fn kept() -> BitFlags<AccessFs> {
    AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::MakeReg | AccessFs::RemoveFile | AccessFs::Truncate
}

/// To do so, and see what is there to be removed.
fn cached() -> BitFlags<AccessFs> {
    kept() | AccessFs::ReadDir
}

/// Confines this thread, and the process with it, to `places`.
///
/// # Errors
/// Where `wanted` is [`Sandbox::Require`]: when the kernel cannot. Otherwise: when it can and it failed all the same.
pub(crate) fn enter(wanted: Sandbox, places: &Places) -> Result<(), Failure> {
    if wanted == Sandbox::Off {
        info!("sandbox: off, as asked");
        return Ok(());
    }
    refuse_other_threads()?;
    match restrict(wanted, places) {
        Ok(RulesetStatus::FullyEnforced) => info!("sandbox: Landlock, in full"),
        Ok(RulesetStatus::PartiallyEnforced) => info!("sandbox: Landlock, as far as this kernel has it"),
        Ok(RulesetStatus::NotEnforced) => {
            info!("sandbox: none, this kernel has no Landlock; it can open whatever its user can");
        }
        Err(error) if wanted == Sandbox::Require => {
            let hint = "Linux 6.2 or newer with Landlock enabled is needed; --sandbox=auto starts without";
            return Err(Failure::refused(format!("cannot confine the server: {error}"), hint));
        }
        Err(error) => {
            let hint = "--sandbox=off starts without";
            return Err(Failure::refused(format!("cannot confine the server: {error}"), hint));
        }
    }
    Ok(())
}

fn restrict(wanted: Sandbox, places: &Places) -> Result<RulesetStatus, RulesetError> {
    let must = if wanted == Sandbox::Require { CompatLevel::HardRequirement } else { CompatLevel::BestEffort };
    let mut rules = Ruleset::default()
        .set_compatibility(must)
        .handle_access(AccessFs::from_all(WHOLE_FOR_FILES))?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))?
        // The TCP port is open by now; a bucket is connected to, and nobody else; nobody is signalled.
        .handle_access(AccessNet::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?
        .create()?
        .set_compatibility(CompatLevel::BestEffort);
    let named = [
        (&places.published, published()),
        (&places.uploads, uploads()),
        (&places.read, read()),
        (&places.kept, kept()),
        (&places.cached, cached()),
    ];
    for (directories, access) in named {
        for directory in directories {
            match PathFd::new(directory) {
                Ok(handle) => rules = rules.add_rule(PathBeneath::new(handle, access))?,
                // Not reached now, not reached later.
                Err(error) => warn!("the sandbox leaves out {}: {error}", shown(directory)),
            }
        }
    }
    for port in &places.connects {
        rules = rules.add_rule(NetPort::new(*port, AccessNet::ConnectTcp))?;
    }
    for place in &places.linked {
        let access = if place.is_directory { published() } else { read() };
        rules = rules.add_rule(PathBeneath::new(place, access))?;
    }
    Ok(rules.restrict_self()?.ruleset)
}

fn shown(path: &Path) -> String {
    qfs_core::model::escape_untrusted(&path.to_string_lossy())
}

/// Threads that exist already would stay free.
fn refuse_other_threads() -> Result<(), Failure> {
    // Where there is no /proc nothing can be counted; the order of `start` and `main` is what keeps the rule.
    let threads = fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
    if threads > 1 {
        return Err(Failure::refused(
            format!("cannot confine the server: {threads} threads run already"),
            "this is a mistake in qfs-server; --sandbox=off starts without",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_one() {
        assert!(Sandbox::NAMES.iter().all(|name| name.parse::<Sandbox>().is_ok()));
        assert!("none".parse::<Sandbox>().is_err());
    }

    /// Fails when: one of the sets of rights grows beyond what its directory is for.
    #[test]
    fn nothing_more_than_needed_is_permitted() {
        let all = AccessFs::from_all(NEWEST);
        assert!(all.contains(published() | read() | kept()), "known to the rules, and so denied elsewhere");
        let changes = AccessFs::from_write(NEWEST);
        assert!(!published().intersects(changes) && !read().intersects(changes));
        let nowhere =
            AccessFs::Execute | AccessFs::MakeSym | AccessFs::MakeDir | AccessFs::MakeSock | AccessFs::RemoveDir;
        assert!(!(published() | read() | kept() | cached()).intersects(nowhere | AccessFs::Refer | AccessFs::IoctlDev));
    }
}
