//! Objects beyond one part, and what several programs do with one name at the same time.

use std::fs;
use std::io::Read;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, SystemTime};

use qfs_testkit::binaries::{client_bin, without_settings};
use tempfile::TempDir;

use super::{LARGE, Lab, lab, noise, start};

/// A client of `lab` that puts `file` as `name` through the server with this ticket.
pub(super) fn putting(lab: &Lab, ticket: &str, home: &TempDir, file: &str, name: &str, how: &[&str]) -> Child {
    let mut command = Command::new(client_bin());
    without_settings(&mut command)
        .env("QFS_CONFIG_DIR", home.path().join("config"))
        .env("QFS_CACHE_DIR", home.path().join("cache"))
        .args(["--server", ticket, "put", file, "--as", name])
        .args(how)
        .current_dir(lab.here())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// Has two clients put different files under one name, each through a server of its own, so that the bucket alone decides.
fn race(lab: &Lab, sizes: [usize; 2], how: &[&str]) -> ([Output; 2], [Vec<u8>; 2]) {
    let contents = [noise(sizes[0], 11), noise(sizes[1], 12)];
    lab.write("one", &contents[0]);
    lab.write("two", &contents[1]);
    let places = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let other = start(&lab.root, &lab.options, &places[0]);
    let first = putting(lab, lab.server.ticket(), &places[0], "one", "shared", how);
    let second = putting(lab, other.ticket(), &places[1], "two", "shared", how);
    ([first, second].map(|client| client.wait_with_output().unwrap()), contents)
}

#[test]
fn of_two_servers_that_make_one_name_one_wins() {
    for (name, size) in [("race-small", 100), ("race-large", LARGE)] {
        let lab = lab(name);
        let (ends, contents) = race(&lab, [size, size + 1], &[]);
        let mut codes = [ends[0].status.code(), ends[1].status.code()];
        lab.works(&["get", "shared"]);
        let got = fs::read(lab.here().join("client_env/shared")).unwrap();
        let winner = usize::from(got == contents[1]);
        assert!(got == contents[winner] && codes[winner] == Some(0), "{name}: {ends:?}");
        codes.sort_unstable();
        if lab.checks_all() {
            assert_eq!(codes, [Some(0), Some(7)], "{name}: {ends:?}");
        }
    }
}

#[test]
fn what_two_servers_replace_is_one_of_both() {
    let lab = lab("replace");
    lab.write("old", b"old");
    lab.works(&["put", "old", "--as", "shared"]);
    let (ends, contents) = race(&lab, [LARGE, LARGE + 1], &["--overwrite"]);
    for end in &ends {
        // Whoever came second may be told so.
        assert!(matches!(end.status.code(), Some(0 | 7)), "{ends:?}");
    }
    assert!(ends.iter().any(|end| end.status.success()), "{ends:?}");
    lab.works(&["get", "shared"]);
    assert!(contents.contains(&fs::read(lab.here().join("client_env/shared")).unwrap()));
}

#[test]
fn ranges_cross_the_parts_they_were_written_in() {
    let lab = lab("ranges");
    let content = noise(LARGE, 5);
    lab.write("large", &content);
    lab.works(&["put", "large"]);
    for (first, last) in
        [(0, 0), ((8 << 20) - 3, (8 << 20) + 3), ((4 << 20) - 9, (16 << 20) + 1), (LARGE - 1, LARGE - 1)]
    {
        let range = format!("{first}-{last}");
        let output = lab.run(&["cat", "--range", &range, "large"]);
        assert!(output.stdout == content[first..=last], "{range}: {}", String::from_utf8_lossy(&output.stderr));
    }
    lab.works(&["rm", "large"]);
    lab.ends(&["cat", "large"], 5);
}

#[test]
fn a_new_time_and_bit_move_no_content() {
    let lab = lab("describe");
    if lab.root.starts_with("gs:") {
        // A bucket of Google cannot do that by what `object_store` has.
        return;
    }
    lab.write("t/large", &noise(LARGE, 6));
    lab.works(&["push", "t", "tree"]);
    let large = lab.here().join("t/large");
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_500_000_000);
    fs::File::options().write(true).open(&large).unwrap().set_modified(at).unwrap();
    fs::set_permissions(&large, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let told = lab.works(&["push", "t", "tree", "--json"]);
    lab.has_nothing_to_do(&["push", "t", "tree"]);
    let sent: u64 = told
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter_map(|line| line["bytes"].as_u64())
        .sum();
    assert!(sent < 1 << 20, "{told}");
}

#[test]
fn an_object_that_is_replaced_while_it_is_read_is_never_two() {
    let lab = lab("replaced");
    // More than the server reads ahead and what lies in sockets and pipes.
    let (before, after) = (noise(64 << 20, 7), noise(100, 8));
    lab.write("before", &before);
    lab.write("after", &after);
    lab.works(&["put", "before", "--as", "shared"]);
    let url = format!("https://{}/shared", lab.server.address());
    let mut curl = Command::new("curl").args(["-sSk", &url]).stdout(Stdio::piped()).spawn().unwrap();
    let mut body = curl.stdout.take().unwrap();
    let mut read = vec![0; 1 << 20];
    body.read_exact(&mut read).unwrap();
    // Through another server: this one does not know.
    let place = tempfile::tempdir().unwrap();
    let other = start(&lab.root, &lab.options, &place);
    let put = putting(&lab, other.ticket(), &place, "after", "shared", &["--overwrite"]).wait_with_output().unwrap();
    assert!(put.status.success(), "{put:?}");
    body.read_to_end(&mut read).unwrap();
    assert!(!curl.wait().unwrap().success() && read.len() < before.len(), "{} bytes came", read.len());
    assert!(read == before[..read.len()]);
    lab.works(&["get", "shared"]);
    assert!(fs::read(lab.here().join("client_env/shared")).unwrap() == after);
}
