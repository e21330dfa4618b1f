//! CLI.md: the one bit of a file's mode that is carried, whether it may be executed.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Command;

use qfs_testkit::binaries::without_settings;

use crate::support::{Done, Lab, noise, run};

const SCRIPT: &[u8] = b"#!/bin/sh\necho it runs\n";

/// Small ones, for a batch, and one that is large, and one of each that may not be executed.
fn lab() -> Lab {
    let large = noise(300_000);
    let larger = noise(5 << 20);
    let lab = Lab::new(&[
        ("bin/run.sh", SCRIPT),
        ("bin/other.sh", SCRIPT),
        ("plain", b"plain"),
        ("large", &large),
        ("larger", &larger),
        ("large-plain", &large),
    ]);
    for (name, mode) in [("bin/run.sh", 0o755), ("bin/other.sh", 0o4700), ("large", 0o775), ("larger", 0o711)] {
        set_mode(&lab.path().join("root").join(name), mode);
    }
    lab
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().mode() & 0o7777
}

/// `qfs-client`, started with this umask.
fn under(umask: &str, lab: &Lab, args: &[&str]) -> Done {
    let client = lab.client(args);
    let mut command = Command::new("sh");
    without_settings(&mut command).args(["-c", "umask \"$0\" && exec \"$@\"", umask]);
    command.arg(client.get_program()).args(client.get_args()).current_dir(lab.home());
    for (name, value) in client.get_envs() {
        if let Some(value) = value {
            command.env(name, value);
        }
    }
    run(&mut command).ends_with(0)
}

const FILES: [&str; 6] = ["bin/other.sh", "bin/run.sh", "large", "large-plain", "larger", "plain"];

fn modes(lab: &Lab, place: &str) -> [u32; 6] {
    FILES.map(|name| mode(&lab.home().join(place).join(name)))
}

/// Fails when: the bit is lost on any of the ways a file takes, in a batch, alone, in stripes; another bit comes with it; the umask
/// is not heeded; the bit comes although it is not wanted.
#[test]
fn scripts_arrive_so_that_they_run() {
    let lab = lab();
    for (n, args) in [
        &["get", "--all"][..],
        &["get", "--all", "--parallel"],
        &["get", "--all", "--parallel", "--connections=3"],
        &["get", "bin", "large", "larger", "large-plain", "plain"],
        &["get", "bin/run.sh", "bin/other.sh", "large", "larger", "large-plain", "plain"],
        &["get", "--all", "--live"],
        &["get", "--all", "--fsync=full"],
    ]
    .into_iter()
    .enumerate()
    {
        for (umask, script, plain) in [("022", 0o755, 0o644), ("077", 0o700, 0o600), ("0137", 0o640, 0o640)] {
            let place = format!("{n}-{umask}");
            under(umask, &lab, &[args, &["--save-dir", &place]].concat());
            assert_eq!(modes(&lab, &place), [script, script, script, plain, script, plain], "{args:?} {umask}");
            let without = format!("{place}-without");
            under(umask, &lab, &[args, &["--no-perms", "--save-dir", &without]].concat());
            assert_eq!(modes(&lab, &without), [plain; 6], "{args:?} {umask} --no-perms");
        }
        let output = Command::new(lab.home().join(format!("{n}-022")).join("bin/run.sh")).output().unwrap();
        assert_eq!(output.stdout, b"it runs\n");
    }
}

/// Fails when: a file that is kept keeps its mode though the server's may be executed; it is told as anything else than unchanged,
/// or fetched again; a bit that is only here is taken away.
#[test]
fn a_file_that_is_kept_gets_the_bit() {
    let lab = lab();
    let saved = lab.home().join("client_env");
    lab.run(["get", "--all", "--no-perms"]).ends_with(0);
    set_mode(&saved.join("plain"), 0o750);
    for args in [&["--all"][..], &["bin/run.sh", "large", "plain", "larger"], &["--all", "--checksum"]] {
        for name in ["bin/run.sh", "large", "larger"] {
            set_mode(&saved.join(name), 0o640);
        }
        let unwanted = lab.run(["get", "--json", "--no-perms"].iter().chain(args)).ends_with(0).json();
        assert_eq!((mode(&saved.join("large")), unwanted["bytes"].as_u64()), (0o640, Some(0)));
        let json = lab.run(["get", "--json"].iter().chain(args)).ends_with(0).json();
        assert!(json["files"].as_array().unwrap().iter().all(|file| file["status"] == "unchanged"), "{json}");
        assert_eq!(json["bytes"].as_u64(), Some(0));
        for name in ["bin/run.sh", "large", "larger"] {
            assert_eq!(mode(&saved.join(name)), 0o750, "{args:?} {name}");
        }
        assert_eq!((mode(&saved.join("plain")), mode(&saved.join("large-plain"))), (0o750, 0o644));
    }
}

/// Fails when: whoever could not read a file can read what takes its place, on either side, small or large, or when it can be
/// executed by others than before.
#[test]
fn what_is_replaced_keeps_who_may_read_it() {
    let large = noise(5 << 20);
    let mut lab = Lab::without_server(&[("small", b"new"), ("many/small", b"new"), ("large", &large)]);
    lab.start_server_with("127.0.0.1", 0, &["--allow", "read,write"]);
    let (here, there) = (lab.home().join("here"), lab.path().join("root"));
    let names = ["small", "many/small", "large"];
    let prepare = |side: &Path, mode| {
        for name in names {
            std::fs::create_dir_all(side.join(name).parent().unwrap()).unwrap();
            std::fs::write(side.join(name), b"another").unwrap();
            set_mode(&side.join(name), mode);
        }
    };
    prepare(&here, 0o640);
    lab.run(["get", "--all", "--overwrite", "--save-dir", "here"]).ends_with(0);
    assert_eq!(names.map(|name| mode(&here.join(name))), [0o640; 3]);
    assert!(std::fs::read(here.join("large")).unwrap() == large);
    // What may be executed is what the server's may be, unless that is left out.
    for args in [&["get", "--all", "--overwrite", "--save-dir", "here"][..], &["pull", ".", "here"]] {
        prepare(&here, 0o750);
        lab.run(args).ends_with(0);
        assert_eq!(names.map(|name| mode(&here.join(name))), [0o640; 3], "{args:?}");
    }
    prepare(&here, 0o750);
    lab.run(["get", "--all", "--overwrite", "--no-perms", "--save-dir", "here"]).ends_with(0);
    assert_eq!(names.map(|name| mode(&here.join(name))), [0o750; 3]);

    prepare(&there, 0o750);
    for name in names {
        set_mode(&here.join(name), 0o755);
    }
    lab.run(["put", "here/small", "here/large", "here/many", "--overwrite"]).ends_with(0);
    assert_eq!(names.map(|name| mode(&there.join(name))), [0o750; 3]);
    assert!(std::fs::read(there.join("large")).unwrap() == large);
}

/// What scripts rely on stays: a row of `list --json` has its three fields.
#[test]
fn the_listing_for_programs_is_as_promised() {
    let listed = lab().run(["list", "--json", "bin"]).ends_with(0).json();
    let keys: Vec<_> = listed["bin/run.sh"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(keys, ["modified", "sha256", "size"]);
}
