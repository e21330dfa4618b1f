//! The crowd through the real binary: what is counted, written, printed and left behind.
#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(clippy::disallowed_methods, reason = "tests look at files by path")]

mod common;

use std::collections::BTreeSet;
use std::process::Stdio;
use std::time::{Duration, Instant};

use common::{World, fake, json, stderr, stdout};

#[test]
fn every_copy_is_verified_and_the_time_written() {
    let world = World::new(&[("a", "some text")]);
    let output = world.crowd(4).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = stdout(&output);
    assert!(text.contains("4: 4 verified, 0 failed, 0 differing"), "{text}");
    let written = std::fs::read_to_string(world.path("cwd/total_download_time.txt")).unwrap();
    let lines: Vec<&str> = written.lines().collect();
    assert!(lines[0].parse::<f64>().unwrap() > 0.0);
    assert_eq!(lines.len(), 5);
    assert!(lines[4].starts_with("process 4: ") && lines[4].ends_with(" ok"), "{written}");
    assert_eq!(world.left_behind(), 0);
}

#[test]
fn json_has_its_shape_and_nothing_beside_it() {
    let world = World::new(&[("a", "some text")]);
    let output = world.crowd(3).args(["--json", "--seed", "9", "--out", "t", "-q"]).output().unwrap();
    let report = json(&output);
    assert_eq!(stderr(&output), "");
    assert_eq!((&report["file"], &report["size"]), (&"a".into(), &9.into()));
    assert_eq!((&report["processes"], &report["failed"], &report["differing"]), (&3.into(), &0.into(), &0.into()));
    assert_eq!((&report["verified"], &report["seed"], &report["bytes"]), (&true.into(), &9.into(), &27.into()));
    for key in ["min", "q1", "median", "q3", "p95", "max"] {
        assert!(report["elapsed"][key].as_f64().unwrap() > 0.0, "{key}");
    }
    for key in ["seconds", "bytes_per_second", "cpu_seconds", "peak_memory_bytes"] {
        assert!(report[key].as_f64().unwrap() >= 0.0, "{key}");
    }
    assert_eq!(report["sha256"].as_str().unwrap().len(), 64);
    assert_eq!(report["clients"].as_array().unwrap().len(), 3);
    assert_eq!(report["clients"][2]["process"], 3);
    assert_eq!(report["clients"][2]["status"], "ok");
    assert!(world.path("cwd/t").exists());
}

#[test]
fn what_is_wrong_with_the_command_line_is_one_line_and_a_hint() {
    let world = World::new(&[("a", "text")]);
    for (args, hint) in [
        (&["-n", "0"][..], "qfs-bench --help shows"),
        (&["--sede", "1"], "did you mean --seed?"),
        (&["run", "--nonsense"], "qfs-bench run --help shows"),
        (&["draw"], "qfs-bench draw --help shows"),
    ] {
        let output = world.bench().args(args).output().unwrap();
        let said = stderr(&output);
        let lines: Vec<_> = said.lines().collect();
        assert_eq!((output.status.code(), lines.len()), (Some(2), 2), "{args:?}: {said}");
        assert!(lines[0].starts_with("error: ") && lines[1].starts_with("hint: "), "{args:?}: {said}");
        assert!(lines[1].contains(hint), "{args:?}: {said}");
    }
}

// Fails when: the bench takes every ticket from its own command line.
#[test]
fn a_token_on_the_command_line_is_refused_and_not_repeated() {
    let world = World::new(&[("a", "text")]);
    let token = format!("qfs_{}", "5".repeat(64));
    let ticket = format!("qfs://127.0.0.1:9#sha256:{}&token={token}", "a".repeat(64));
    let output = world.crowd(1).args(["--server", &ticket]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(stderr(&output).contains("command line") && stderr(&output).contains("\nhint: "), "{}", stderr(&output));
    assert!(!stderr(&output).contains(&token));
    let output = world.crowd(1).env("QFS_SERVER", &ticket).output().unwrap();
    assert!(!stderr(&output).contains("command line"), "{}", stderr(&output));
}

#[test]
fn a_client_that_fails_is_counted_and_quoted() {
    let world = World::new(&[("a", "text")]);
    let output = world.crowd(3).env("FAKE_FAIL", "2").arg("--json").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let report = json(&output);
    assert_eq!((&report["failed"], &report["verified"]), (&1.into(), &false.into()));
    assert_eq!(report["clients"][1]["status"], "failed");
    assert_eq!(report["clients"][1]["error"], "exit code 5: as told");
    let written = std::fs::read_to_string(world.path("cwd/total_download_time.txt")).unwrap();
    assert!(written.lines().nth(2).unwrap().ends_with(" failed"));
}

#[test]
fn a_copy_that_differs_is_found_whatever_the_client_says() {
    let world = World::new(&[("a", "text")]);
    for variable in ["FAKE_CORRUPT", "FAKE_LIE"] {
        let output = world.crowd(3).env(variable, "3").arg("--json").output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{variable}");
        let report = json(&output);
        assert_eq!((&report["failed"], &report["differing"]), (&0.into(), &1.into()), "{variable}");
        assert_eq!(report["clients"][2]["status"], "differs");
    }
}

#[test]
fn a_seed_repeats_the_pick_and_seeds_differ() {
    let names: Vec<String> = (0..40).map(|n| format!("f{n}")).collect();
    let files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "x")).collect();
    let world = World::new(&files);
    let pick = |seed: &str| {
        let output = world.crowd(1).args(["--json", "--seed", seed]).output().unwrap();
        json(&output)["file"].as_str().unwrap().to_owned()
    };
    assert_eq!(pick("1"), pick("1"));
    let picks: BTreeSet<String> = (0..6).map(|seed| pick(&seed.to_string())).collect();
    assert!(picks.len() > 1);
}

#[test]
fn files_restrict_the_pick() {
    let world = World::new(&[("a", "x"), ("b c", "y"), ("d,e", "z")]);
    let output = world.crowd(1).args(["--json", "--files", "b c"]).output().unwrap();
    assert_eq!(json(&output)["file"], "b c");
    let output = world.crowd(1).args(["--json", "--files", "d,e"]).output().unwrap();
    assert_eq!(json(&output)["file"], "d,e");
    let output = world.crowd(1).arg("--json").env("QFS_FILES", "a,a").output().unwrap();
    assert_eq!(json(&output)["file"], "a");
}

#[test]
fn with_nobody_there_a_server_is_started_and_said_so() {
    let world = World::new(&[("a", "x")]);
    let port = world.port();
    let root = world.path("root");
    let run = |root: &std::path::Path| {
        let mut bench = world.bench();
        // Nobody else binds on this address.
        bench.args(["-n", "2", "--json", "--ip", "127.77.1.2", "--port", &port, "--root"]).arg(root);
        bench.output().unwrap()
    };
    let output = run(&root);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stderr(&output).contains("starting one for this run"), "{}", stderr(&output));
    assert!(json(&output)["server"]["peak_memory_bytes"].as_u64().unwrap() > 0);
    assert_eq!(world.alive(), 0);

    let output = run(&world.path("missing"));
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("error: cannot start a server for the run: "), "{}", stderr(&output));
    assert!(stderr(&output).contains("no such directory"), "{}", stderr(&output));
    assert!(stderr(&output).contains("hint: "), "{}", stderr(&output));
}

#[test]
fn errors_have_their_codes_and_words() {
    let world = World::new(&[("a", "x")]);
    let output = world.crowd(1).env("FAKE_LIST_FAIL", "1").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    assert!(text.contains("error: cannot list the server's files: exit code 3: cannot connect"), "{text}");
    assert!(text.contains("hint: "), "{text}");
    assert_eq!(stdout(&output), "");

    assert_eq!(world.bench().arg("--no-such-flag").output().unwrap().status.code(), Some(2));
    assert_eq!(world.crowd(0).output().unwrap().status.code(), Some(2));
    let help = world.bench().arg("--help").output().unwrap();
    assert!(help.status.success() && stdout(&help).contains("Examples:"));
}

#[test]
fn what_overruns_the_time_out_is_ended_and_counted() {
    let world = World::new(&[("a", "x")]);
    let begun = Instant::now();
    let output = world.crowd(3).args(["--json", "--timeout", "1"]).env("FAKE_SLEEP", "600").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(json(&output)["clients"][0]["error"], "time-out");
    assert!(begun.elapsed() < Duration::from_secs(120));
    assert_eq!((world.alive(), world.left_behind()), (0, 0));
}

#[test]
fn a_signal_leaves_nothing_behind() {
    for signal in ["INT", "TERM"] {
        let world = World::new(&[("a", "x")]);
        let mut bench = world.bench();
        bench.args(["-n", "5", "--ip", "127.77.1.3", "--port", &world.port(), "--root"]).arg(world.path("root"));
        bench.env("FAKE_SLEEP", "600").stdout(Stdio::null()).stderr(Stdio::piped());
        let child = bench.spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        while world.alive() < 6 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(world.alive(), 6, "five clients and a server");
        let killed = std::process::Command::new("sh").args(["-c", &format!("kill -{signal} {}", child.id())]).status();
        assert!(killed.unwrap().success());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
        assert!(stderr(&output).contains("error: interrupted"), "{}", stderr(&output));
        assert_eq!((world.alive(), world.left_behind()), (0, 0));
        assert!(fake("qfs-client").exists());
    }
}
