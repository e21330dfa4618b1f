//! CLI.md: what a server writes down about the path is kept, and brought along the next time; `--no-path-notes`.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use qfs_testkit::udp_proxy::{Bottleneck, Faults, LinkSpec, PathFaults, UdpProxy};

use crate::support::{Lab, finish, noise};

/// What the network carries, in bytes a second, and how long it takes one way: 2.5 MB under way, which start-up needs two seconds to
/// find.
const RATE: u64 = 8 << 20;
const DELAY: Duration = Duration::from_millis(150);

fn long_network(lab: &Lab) -> UdpProxy {
    let bottleneck = Some(Bottleneck { bits_per_second: RATE * 8, queue_bytes: 2 << 20 });
    let link = LinkSpec { bottleneck, delay: DELAY, ..LinkSpec::default() };
    UdpProxy::start(lab.server().address(), Faults::both(PathFaults { link, ..PathFaults::default() })).unwrap()
}

fn notes(lab: &Lab) -> PathBuf {
    lab.known_servers().with_file_name("path_notes")
}

/// Fetches `large` into an empty directory; how long that took.
fn get(lab: &Lab, port: u16, args: &[&str]) -> Duration {
    let _ = std::fs::remove_dir_all(lab.home().join("client_env"));
    let mut command: Command = lab.bare();
    let begun = Instant::now();
    command.env("QFS_PORT", port.to_string()).args(["get", "large", "--transport", "udp"]).args(args);
    finish(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()).ends_with(0);
    begun.elapsed()
}

/// Fails when: no note is given, kept or shown; a note does nothing; others can read it; a bad one does any harm; or the flag is
/// ignored.
#[test]
fn the_second_run_to_a_server_starts_where_the_first_one_was() {
    let large = noise(20 << 20);
    let lab = Lab::new(&[("large", &large)]);
    let proxy = long_network(&lab);
    let port = proxy.addr().port();
    get(&lab, port, &["--no-path-notes"]);
    assert!(!notes(&lab).exists());
    let first = get(&lab, port, &[]);
    let kept = std::fs::read_to_string(notes(&lab)).unwrap();
    assert_eq!(kept.lines().count(), 1, "{kept}");
    assert_eq!(std::fs::metadata(notes(&lab)).unwrap().permissions().mode() & 0o777, 0o600);
    // Other work on the machine can make any run slow.
    let is_quicker = || get(&lab, port, &[]) + Duration::from_millis(200) < first;
    assert!((0..3).any(|_| is_quicker()), "{first:?} before, and never quicker");
    // A note that another server might have written: nothing comes of it, and it is replaced.
    let (rest, note) = kept.trim_end().rsplit_once(' ').unwrap();
    let strange = "A".repeat(note.len());
    std::fs::write(notes(&lab), format!("{rest} {strange}\n")).unwrap();
    get(&lab, port, &[]);
    let kept = std::fs::read_to_string(notes(&lab)).unwrap();
    assert!(kept.lines().count() == 1 && !kept.contains(&strange), "{kept}");
    assert!(lab.saved("large") == large);
}
