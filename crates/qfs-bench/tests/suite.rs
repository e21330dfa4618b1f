//! The suite through the real binary, with a fake qfs and cp beside it.
#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(clippy::disallowed_methods, reason = "tests look at files by path")]

mod common;

use std::process::Stdio;
use std::time::{Duration, Instant};

use common::{World, json, stderr, stdout};

#[test]
fn every_scenario_is_measured_beside_a_peer() {
    let world = World::new(&[]);
    let mut bench = world.bench();
    bench.args([
        "run", "small", "again", "list", "latency", "--peers", "cp", "--runs", "2", "--scale", "quick", "--json",
    ]);
    let output = bench
        .args(["--html", "r.html", "--svg=r.svg", "--markdown", "r.md", "--goals=g.md", "--commit", "abc"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let report = json(&output);
    assert_eq!((&report["scale"], &report["runs"]), (&"quick".into(), &2.into()));
    assert!(report["host"]["cores"].as_u64().unwrap() > 0);
    let scenarios = report["scenarios"].as_array().unwrap();
    let names: Vec<&str> = scenarios.iter().map(|scenario| scenario["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["small", "again", "list", "latency"]);
    let small = &scenarios[0]["contenders"];
    assert_eq!((&small[0]["name"], &small[1]["name"]), (&"qfs".into(), &"cp".into()));
    assert_eq!(small[0]["summary"]["ratio"]["median"], 1.0);
    assert!(small[1]["summary"]["ratio"]["median"].as_f64().unwrap() > 0.0);
    assert_eq!(small[1]["samples"].as_array().unwrap().len(), 2);
    assert!(!small[1]["command"].as_str().unwrap().contains(world.path("work").to_str().unwrap()));

    let page = std::fs::read_to_string(world.path("cwd/r.html")).unwrap();
    for outside in ["<script", "<link", "src=", "@import", "url(", "href="] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert_eq!(page.matches("<svg").count(), 8);
    let picture = std::fs::read_to_string(world.path("cwd/r.svg")).unwrap();
    assert_eq!(picture.matches(">cp -r, no network</text>").count(), 3, "cp lists nothing: {picture}");
    assert!(picture.contains(", commit abc, "), "{picture}");
    assert_eq!(report["commit"], "abc");

    // Fails when the files of the documentation lose their origin, or show where this machine keeps things.
    let tables = std::fs::read_to_string(world.path("cwd/r.md")).unwrap();
    for part in [
        "**small**: ",
        "| **qfs** | ",
        "| cp | ",
        "`qfs-bench run small again list latency --peers cp --runs 2 --scale quick`, commit abc, 20",
    ] {
        assert!(tables.contains(part), "{part} is not in\n{tables}");
    }
    let goals = std::fs::read_to_string(world.path("cwd/g.md")).unwrap();
    assert!(goals.contains("| small | qfs beside cp | 0.7 × as fast | "), "{goals}");
    assert!(goals.lines().skip(2).all(|line| line.ends_with("| reached |") || line.ends_with("%** |")), "{goals}");
    assert_eq!((world.left_behind(), world.alive()), (0, 0));
}

/// Fails when: an older version is not put there before each run, or one that is left as it was passes for the new one.
#[test]
fn older_versions_are_replaced() {
    let world = World::new(&[]);
    let mut bench = world.bench();
    bench.args(["run", "update", "insert", "--peers", "cp", "--runs", "2", "--scale", "quick", "--json"]);
    let output = bench.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let report = json(&output);
    for (at, name) in ["update", "insert"].into_iter().enumerate() {
        let scenario = &report["scenarios"][at];
        let contenders = scenario["contenders"].as_array().unwrap();
        assert_eq!((&scenario["name"], contenders.len(), &contenders[0]["name"]), (&name.into(), 1, &"qfs".into()));
        assert!(contenders[0]["command"].as_str().unwrap().contains("get --overwrite"), "{contenders:?}");
        assert!(contenders[0]["samples"].as_array().unwrap().iter().all(|sample| sample["error"].is_null()));
    }
    // A client that leaves what is there.
    let mut bench = world.bench();
    bench.args(["run", "update", "--peers", "none", "--runs", "1", "--scale", "quick"]);
    let output = bench.env("FAKE_KEEP", "1").output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert_eq!((world.left_behind(), world.alive()), (0, 0));
}

/// Fails when: a copy is looked for where the server does not put it, or is not there for a run that needs it.
#[test]
fn both_directions_are_measured_from_every_state() {
    let world = World::new(&[]);
    let mut bench = world.bench();
    let output =
        bench.args(["run", "sync", "--peers", "none", "--runs", "2", "--scale", "quick", "--json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let report = json(&output);
    let scenarios = report["scenarios"].as_array().unwrap();
    assert_eq!(scenarios.len(), 8);
    for scenario in scenarios {
        let ours = &scenario["contenders"][0];
        assert_eq!((&ours["name"], ours["samples"].as_array().unwrap().len()), (&"qfs".into(), 2), "{scenario}");
    }
    let command = scenarios[1]["contenders"][0]["command"].as_str().unwrap();
    assert!(command.contains(" push WORK/data-1000x4096 ") && command.ends_with("WORK"), "{command}");
    assert_eq!((world.left_behind(), world.alive()), (0, 0));
}

#[test]
fn the_table_is_for_people_and_what_is_missing_is_said() {
    let world = World::new(&[]);
    let mut bench = world.bench();
    bench.args(["run", "latency", "--peers", "curl,cp", "--runs", "1", "--scale", "quick", "--variant", "qfs-x="]);
    // Neither curl nor nginx is here; the fakes need only sh and cp.
    std::fs::create_dir(world.path("bin")).unwrap();
    let path = std::env::var_os("PATH").unwrap();
    for name in ["sh", "cp", "sha256sum", "cut", "mkdir", "sleep"] {
        let found = std::env::split_paths(&path).map(|dir| dir.join(name));
        std::os::unix::fs::symlink(found.into_iter().find(|path| path.exists()).unwrap(), world.path("bin").join(name))
            .unwrap();
    }
    let output = bench.env("PATH", world.path("bin")).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = stdout(&output);
    for part in ["latency: One file of 1 KiB", "  qfs-x ", "  cp ", "without curl: curl is not installed"] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
}

#[test]
fn a_qfs_that_fails_is_no_success() {
    let world = World::new(&[]);
    let mut bench = world.bench();
    bench.args(["run", "latency", "--peers", "cp", "--runs", "1", "--scale", "quick", "--json"]);
    let output = bench.env("FAKE_CORRUPT", "1").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let report = json(&output);
    let absent = &report["scenarios"][0]["absent"][0];
    assert_eq!(absent["name"], "qfs");
    assert!(absent["reason"].as_str().unwrap().contains("differs"));

    let output = world.bench().args(["run", "no-such"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("error: unknown scenario 'no-such': the known ones are bulk, small"));
    assert_eq!(world.bench().args(["run", "--peers", "no-such"]).output().unwrap().status.code(), Some(2));
}

#[test]
fn a_signal_in_mid_run_leaves_nothing_behind() {
    let world = World::new(&[]);
    let mut bench = world.bench();
    bench.args(["run", "latency", "--peers", "auto", "--scale", "quick"]).env("FAKE_SLEEP", "600");
    let child = bench.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while world.alive() < 2 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(world.alive(), 2, "a client and a server");
    let killed = std::process::Command::new("sh").args(["-c", &format!("kill -INT {}", child.id())]).status();
    assert!(killed.unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    assert_eq!((world.left_behind(), world.alive()), (0, 0));
}
