//! Reads the sources and keeps the arrows that `ARCHITECTURE.md` says are never drawn.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test that panics has failed, and this one reads sources, not published files"
)]

mod circles;
mod crate_map;
mod reading;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

fn crates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn sources(below: &str) -> Vec<(PathBuf, String)> {
    let root = crates().join(below);
    let mut stack = vec![root.clone()];
    let mut found = Vec::new();
    while let Some(path) = stack.pop() {
        if path.is_dir() {
            stack.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push((path.strip_prefix(crates()).unwrap().to_path_buf(), fs::read_to_string(&path).unwrap()));
        }
    }
    assert!(!found.is_empty(), "no sources below {}", root.display());
    found
}

/// Code lines: no comments, nothing behind the unit tests' attribute.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .take_while(|(_, line)| line.trim() != "#[cfg(test)]")
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
}

fn forbid(below: &str, words: &[&str], except: &[&str]) {
    let mut found = Vec::new();
    for (path, text) in sources(below) {
        let shown = path.display().to_string();
        let is_test = shown.contains("/tests/") || shown.ends_with("/tests.rs");
        if is_test || except.iter().any(|part| shown.contains(part)) {
            continue;
        }
        for (number, line) in code(&text) {
            if let Some(word) = words.iter().find(|word| line.contains(**word)) {
                found.push(format!("{shown}:{}: {word}", number + 1));
            }
        }
    }
    assert!(found.is_empty(), "forbidden in {below}:\n{}", found.join("\n"));
}

/// The crates below client and server.
const LIBRARIES: [&str; 4] = ["qfs-congestion", "qfs-core", "qfs-store", "qfs-transport"];

#[test]
fn model_imports_no_other_module() {
    let others = ["body", "framing", "observe", "store", "stream", "transport", "wire"];
    let words: Vec<_> = others.iter().map(|module| format!("crate::{module}")).collect();
    forbid("qfs-core/src/model", &words.iter().map(String::as_str).collect::<Vec<_>>(), &[]);
    forbid("qfs-core/src/model", &["tokio", "quinn", "std::fs"], &[]);
}

#[test]
fn wire_does_no_io() {
    forbid("qfs-core/src/wire", &["tokio", "quinn", "std::fs", "std::net", "crate::store", "crate::body"], &[]);
}

#[test]
fn store_knows_no_wire() {
    let wire = ["wire::", "framing", "stream::", "body::"];
    forbid("qfs-core/src/store", &wire.map(|module| ["crate::", module].concat()).each_ref().map(String::as_str), &[]);
    forbid("qfs-store/src", &wire.map(|module| ["qfs_core::", module].concat()).each_ref().map(String::as_str), &[]);
}

#[test]
fn transport_knows_no_store_and_no_messages() {
    forbid(
        "qfs-transport/src",
        &["qfs_core::store", "qfs_core::body", "qfs_core::framing", "DownloadHead", "ListPage"],
        &[],
    );
}

#[test]
fn handlers_see_no_quic() {
    forbid("qfs-server/src/door/qfs/handler", &["qfs_transport", "Quic"], &[]);
}

// The types see to it that a door has no store; this sees to it that none is handed one.
#[test]
fn doors_reach_files_through_a_view_only() {
    forbid("qfs-server/src/door", &["Versions", ".store()", "LocalStore", "MemStore", "std::fs"], &[]);
    forbid("qfs-server/src/gate", &["crate::door", "crate::service", "qfs_transport"], &[]);
    forbid("qfs-server/src/service.rs", &["crate::door", "crate::server", "qfs_transport"], &[]);
}

#[test]
fn client_and_server_do_not_know_each_other() {
    forbid("qfs-client/src", &["qfs_server"], &[]);
    forbid("qfs-server/src", &["qfs_client"], &[]);
    for crate_name in LIBRARIES.iter().chain(&["qfs-client", "qfs-server", "qfs-bench"]) {
        forbid(&format!("{crate_name}/src"), &["qfs_testkit"], &[]);
    }
}

#[test]
fn only_the_command_line_prints_parses_and_exits() {
    let words = ["clap::", "println!", "eprintln!", "process::exit", "stdout()", "stderr()"];
    for crate_name in LIBRARIES {
        forbid(&format!("{crate_name}/src"), &words, &[]);
    }
    for crate_name in ["qfs-client", "qfs-server"] {
        forbid(&format!("{crate_name}/src"), &words, &["/cli/", "main.rs"]);
    }
    // What it reads are definitions of clap's; what they mean is for the programs.
    let of_others = ["qfs_core", "qfs_transport", "qfs_client", "qfs_server"];
    forbid("qfs-config/src", &[&words[1..], &of_others].concat(), &[]);
}

/// Whoever uses quinn has these already, so that the controller costs them nothing.
#[test]
fn the_controller_needs_quinn_proto_alone() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let tree = std::process::Command::new(cargo)
        .args(["tree", "--package", "qfs-congestion", "--edges", "no-dev", "--depth", "1", "--prefix", "none"])
        .args(["--format", "{lib}", "--locked", "--offline"])
        .current_dir(crates())
        .output()
        .unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let names: Vec<_> = str::from_utf8(&tree.stdout).unwrap().split_whitespace().collect();
    assert_eq!(names, ["qfs_congestion", "quinn_proto"]);
}

#[test]
fn unsafe_is_nowhere() {
    for (path, text) in sources("") {
        for (number, line) in code(&text) {
            let calls = line.contains("unsafe {") || line.contains("unsafe fn") || line.contains("unsafe impl");
            assert!(!calls || path.ends_with("tidy/main.rs"), "{}:{}", path.display(), number + 1);
        }
    }
}

#[test]
fn every_module_says_what_it_owns() {
    for (path, text) in sources("") {
        let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
        assert!(first.starts_with("//!"), "{} does not start with its documentation", path.display());
    }
}

#[test]
fn rooms_stay_small() {
    const LONGEST: usize = 450;
    let long: Vec<_> = sources("")
        .into_iter()
        .filter(|(path, _)| path.components().any(|c| c.as_os_str() == "src"))
        .map(|(path, text)| (path, code(&text).count()))
        .filter(|(_, lines)| *lines > LONGEST)
        .collect();
    assert!(long.is_empty(), "split these: {long:?}");
}

/// The files of one crate that its programs and its library are made of, by their paths below its `src`.
fn files_of(crate_name: &str) -> BTreeMap<String, String> {
    let below = Path::new(crate_name).join("src");
    let relative = |path: &Path| path.strip_prefix(&below).unwrap().to_str().unwrap().to_owned();
    sources(&format!("{crate_name}/src")).into_iter().map(|(path, text)| (relative(&path), text)).collect()
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let mut found = Vec::new();
    let mut read = 0;
    for entry in fs::read_dir(crates()).unwrap() {
        let crate_name = entry.unwrap().file_name().into_string().unwrap();
        let files = files_of(&crate_name);
        for root in ["lib.rs", "main.rs"].into_iter().filter(|root| files.contains_key(*root)) {
            let circles = circles::circles(&files, root).unwrap_or_else(|why| panic!("{crate_name}: {why}"));
            read += 1;
            found.extend(circles.into_iter().map(|circle| format!("{crate_name}: {circle}")));
        }
    }
    assert!(read >= 8, "only {read} crates were read");
    assert!(found.is_empty(), "these files import each other:\n{}", found.join("\n"));
}
