//! `draw` through the real binary, and the picture of the documentation.
#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(clippy::disallowed_methods, reason = "tests look at files by path")]

mod common;

use std::path::{Path, PathBuf};

use common::{World, stderr, stdout};

fn docs(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name)
}

/// Fails when somebody changes one of the two files, or how pictures are drawn, and not the other.
#[test]
fn the_picture_of_the_documentation_shows_the_figures_beside_it() {
    let world = World::new(&[]);
    let (data, svg) = (docs("performance.json"), docs("performance.svg"));
    let output = world.bench().arg("draw").arg(&data).args(["--data", "again.json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let how = "cargo run -p qfs-bench -- draw docs/performance.json --svg docs/performance.svg";
    assert!(stdout(&output) == std::fs::read_to_string(svg).unwrap(), "docs/performance.svg is old; run: {how}");
    let again = std::fs::read(world.path("cwd/again.json")).unwrap();
    assert!(again == std::fs::read(data).unwrap(), "what --data writes is what is read");
}

#[test]
fn what_is_no_result_is_refused() {
    let world = World::new(&[("odd.json", "{\"started\": 7}")]);
    for (file, reason) in [("root/odd.json", "started"), ("nowhere.json", "No such file")] {
        let output = world.bench().arg("draw").arg(world.path(file)).args(["--svg", "a.svg"]).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let said = stderr(&output);
        assert!(said.starts_with("error: cannot read ") && said.contains(file), "{said}");
        assert!(said.contains(reason) || said.contains("expected a string"), "{said}");
        assert!(!world.path("cwd/a.svg").exists());
    }
    assert_eq!(world.bench().arg("draw").output().unwrap().status.code(), Some(2));
}
