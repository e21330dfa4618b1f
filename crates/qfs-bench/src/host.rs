//! The machine on which a figure was measured. A figure means nothing without it.

use std::fs;

use serde::Serialize;

/// What can be found out about a machine without asking its owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Host {
    /// Processor model.
    pub cpu: String,
    /// Processors the bench may use.
    pub cores: usize,
    /// Memory, bytes.
    pub memory_bytes: u64,
    /// Kernel name and release.
    pub kernel: String,
    /// Distribution.
    pub system: String,
    /// File system type of the place where data sets and copies lie.
    pub file_system: String,
}

impl Host {
    /// Describes this machine. `place` is where the data is.
    #[must_use]
    pub fn describe(place: &std::path::Path) -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let place = place.canonicalize().unwrap_or_else(|_| place.to_owned());
        Self {
            cpu: value(&read("/proc/cpuinfo"), "model name", ':').unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: memory(&read("/proc/meminfo")).unwrap_or_default(),
            kernel: format!("Linux {}", read("/proc/sys/kernel/osrelease").trim()),
            system: value(&read("/etc/os-release"), "PRETTY_NAME", '=').unwrap_or_else(|| "Linux".to_owned()),
            file_system: mount(&read("/proc/mounts"), &place.to_string_lossy()).unwrap_or_else(|| "unknown".to_owned()),
        }
    }
}

impl std::fmt::Display for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let gib = self.memory_bytes as f64 / 1_073_741_824.0;
        let Self { cpu, cores, kernel, system, file_system, .. } = self;
        write!(f, "{cores} × {cpu}, {gib:.1} GiB, {kernel}, {system}, data on {file_system}")
    }
}

/// What follows `key` and `separator`, without quotes.
fn value(text: &str, key: &str, separator: char) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with(key))?;
    let (_, value) = line.split_once(separator)?;
    Some(value.trim().trim_matches('"').to_owned())
}

fn memory(meminfo: &str) -> Option<u64> {
    let value = value(meminfo, "MemTotal", ':')?;
    value.strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

/// The type of the file system mounted nearest above `path`.
fn mount(mounts: &str, path: &str) -> Option<String> {
    let above = |point: &str| point == "/" || path == point || path.starts_with(&format!("{point}/"));
    let rows = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        Some((fields.next()?, fields.next()?))
    });
    // Of several file systems mounted at one point, the last is on top.
    rows.filter(|(point, _)| above(point)).max_by_key(|(point, _)| point.len()).map(|(_, kind)| kind.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_tables_are_read() {
        assert_eq!(value("a\t: 1\nmodel name\t: X (R) 3\n", "model name", ':').as_deref(), Some("X (R) 3"));
        assert_eq!(value("PRETTY_NAME=\"A 1\"\n", "PRETTY_NAME", '=').as_deref(), Some("A 1"));
        assert_eq!(memory("MemTotal:       2048 kB\n"), Some(2 << 20));
        let mounts = "d / ext4 rw 0 0\nt /tmp tmpfs rw 0 0\nt /tmpx xfs rw 0 0\n";
        assert_eq!(mount(mounts, "/tmp/a").as_deref(), Some("tmpfs"));
        assert_eq!(mount(mounts, "/home").as_deref(), Some("ext4"));
    }

    #[test]
    fn this_machine_has_something() {
        let host = Host::describe(std::path::Path::new("/"));
        assert!(host.cores > 0 && host.memory_bytes > 0 && host.kernel.len() > 6);
    }
}
