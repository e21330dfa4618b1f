//! CLI.md, "Common to all three programs", and the options of `qfs-client`.

use std::process::Stdio;

use crate::menu::Dialogue;
use crate::support::{Lab, finish, free_port, has_ipv6, run, sums};

const HELLO: &[(&str, &[u8])] = &[("hello.txt", b"hello")];

#[test]
fn ip_and_port_default_to_loopback_and_8000() {
    let lab = Lab::without_server(&[]);
    // Help is wrapped to the width of the terminal.
    let help = run(lab.bare().env("COLUMNS", "200").arg("--help")).ends_with(0).out;
    assert!(help.contains("[default: 127.0.0.1]") && help.contains("[default: 8000]"), "{help}");
    assert!(help.contains("[default: client_env]"), "{help}");
}

#[test]
fn ip_takes_ipv4_and_host_names() {
    let lab = Lab::new(HELLO);
    let port = lab.server().address().port().to_string();
    for host in ["127.0.0.1", "localhost", "LOCALHOST"] {
        run(lab.bare().args(["--ip", host, "--port", &port, "list"])).ends_with(0);
    }
}

#[test]
fn ip_takes_ipv6() {
    if !has_ipv6() {
        return;
    }
    let lab = Lab::at("::1", HELLO);
    let port = lab.server().address().port().to_string();
    for host in ["::1", "[::1]", "0:0::1"] {
        run(lab.bare().args(["--ip", host, "--port", &port, "list"])).ends_with(0);
    }
    run(lab.bare().args(["--server", lab.server().ticket(), "list"])).ends_with(0);
}

#[test]
fn every_flag_has_a_variable_and_a_flag_beats_it() {
    let lab = Lab::new(HELLO);
    let port = lab.server().address().port().to_string();
    let nobody = free_port().to_string();
    run(lab.bare().env("QFS_PORT", &port).arg("list")).ends_with(0);
    run(lab.bare().env("QFS_PORT", &nobody).args(["list", "--port", &port])).ends_with(0);
    run(lab.bare().env("QFS_SERVER", lab.server().ticket()).arg("list")).ends_with(0);
    // A flag beats variables of the other way to name a server too.
    run(lab.bare().env("QFS_SERVER", format!("qfs://127.0.0.1:{nobody}")).args(["--port", &port, "list"])).ends_with(0);
    run(lab.bare().env("QFS_PORT", &nobody).args(["--server", lab.server().ticket(), "list"])).ends_with(0);
    let done = run(lab.client(["list"]).env("QFS_JSON", "1"));
    assert!(done.ends_with(0).json()["hello.txt"].is_object());
    let variables = [("QFS_ALL", "true"), ("QFS_SAVE_DIR", "there"), ("QFS_PARALLEL", "3"), ("QFS_QUIET", "1")];
    let done = run(lab.client(["get"]).envs(variables)).ends_with(0);
    assert_eq!((done.out, done.err), (sums(HELLO), String::new()));
    assert_eq!(std::fs::read(lab.home().join("there/hello.txt")).unwrap(), b"hello");
    // Set to nothing is not set.
    run(lab.client(["list"]).env("QFS_SERVER", "").env("QFS_PARALLEL", "").env("QFS_SAVE_DIR", "")).ends_with(0);
    run(lab.client(["list"]).env("QFS_MTU", "x")).ends_with(2).complains("--mtu", "");
}

#[test]
fn every_option_is_accepted() {
    let lab = Lab::new(HELLO);
    let all = [
        "--parallel=4",
        "--overwrite",
        "--checksum",
        "--fsync=full",
        "--no-sparse",
        "--hash",
        "blake3",
        "--no-path-notes",
        "--retry-timeout",
        "1m",
        "--connect-timeout",
        "5",
        "--congestion",
        "cubic",
        "--mtu",
        "1400",
        "--accept-new",
        "-q",
    ];
    lab.run(["get", "hello.txt"].into_iter().chain(all)).ends_with(0);
    lab.run(all.into_iter().chain(["get", "hello.txt"])).ends_with(0);
    assert_eq!(lab.saved("hello.txt"), b"hello");
}

#[test]
fn options_are_accepted_before_and_after_the_command() {
    let lab = Lab::new(HELLO);
    for args in [["--json", "list", "hello.txt"], ["list", "--json", "hello.txt"], ["list", "hello.txt", "--json"]] {
        assert!(lab.run(args).ends_with(0).json()["hello.txt"].is_object());
    }
}

#[test]
fn a_ticket_stands_for_ip_and_port() {
    let lab = Lab::new(HELLO);
    let ticket = lab.server().ticket();
    run(lab.bare().args(["list", "--server", ticket])).ends_with(0);
    let without_pin = ticket.split('#').next().unwrap();
    run(lab.bare().args(["list", "--server", without_pin])).ends_with(0);
    run(lab.bare().args(["list", "--server", ticket, "--port", "1"])).ends_with(2).complains("--server cannot", "");
    run(lab.bare().args(["list", "--server", "http://x"])).ends_with(2).complains("a ticket starts with qfs://", "");
}

#[test]
fn the_version_and_help_with_an_example_for_each_command() {
    let lab = Lab::without_server(&[]);
    let version = run(lab.bare().arg("--version")).ends_with(0);
    assert_eq!(version.out, format!("qfs-client {}\n", env!("CARGO_PKG_VERSION")));
    for command in [&[][..], &["list"], &["get"], &["trust"], &["trust", "replace"]] {
        let done = run(lab.bare().args(command).arg("--help")).ends_with(0);
        assert!(done.out.contains("Examples:\n  qfs-client") && done.out.ends_with('\n'), "{}", done.out);
        assert_eq!(done.err, "");
    }
}

#[test]
fn usage_errors_are_one_line_with_a_hint() {
    let lab = Lab::without_server(&[]);
    for (args, what) in [
        (&["--nonsense"][..], "--nonsense"),
        (&["frobnicate"], "frobnicate"),
        (&["get"], "<NAME>"),
        (&["get", "a", "--all"], "--all and names"),
        (&["list", "--port", "0"], "--port"),
        (&["list", "--parallel=513"], "from 1 to 512"),
        (&["list", "--fsync=maybe"], "--fsync"),
        (&["list", "--ip", "a b"], "--ip"),
        (&["list", "--retry-timeout", "soon"], "--retry-timeout"),
        (&["list", "--fingerprint", "sha256:00"], "--fingerprint"),
        (&["list", "a["], "malformed"),
        (&["trust"], "subcommand"),
        (&["--json"], "--json needs a command"),
        (&["list", "--congestion", "a\x1b[2Jb"], "--congestion"),
    ] {
        let done = run(lab.bare().args(args)).ends_with(2);
        assert_eq!(done.out, "", "{done:?}");
        let lines: Vec<_> = done.err.lines().collect();
        assert!(lines.len() == 2 && lines[0].starts_with("error: ") && lines[0].contains(what), "{done:?}");
        assert!(lines[1].starts_with("hint: ") && !done.err.contains('\x1b'), "{done:?}");
    }
}

#[test]
fn quiet_says_nothing_but_results_and_errors() {
    let lab = Lab::new(HELLO);
    assert_eq!(lab.run(["-q", "list"]).ends_with(0).err, "");
    let done = lab.run(["get", "hello.txt", "nope", "--quiet"]).ends_with(5);
    assert_eq!(done.out, sums(HELLO));
    assert!(done.err.starts_with("error: nope: "), "{done:?}");
    assert_eq!(done.err.lines().filter(|line| !line.starts_with("error") && !line.starts_with("hint")).count(), 0);
}

#[test]
fn verbose_and_rust_log_write_to_stderr() {
    let lab = Lab::new(HELLO);
    let plain = lab.run(["list"]).ends_with(0);
    for done in [lab.run(["list", "-v"]), run(lab.client(["list"]).env("RUST_LOG", "qfs_client=info"))] {
        let done = done.ends_with(0);
        assert!(done.err.contains("connected"), "{done:?}");
        assert_eq!(done.out, plain.out);
    }
    assert!(lab.run(["list", "-vvv"]).ends_with(0).err.len() > lab.run(["list", "-v"]).err.len());
}

/// Fails when: a structure is shown as the program has it; a figure has no unit.
#[test]
fn verbose_says_sentences() {
    let mut lab = Lab::new(HELLO);
    lab.put("changed", b"x");
    lab.publish("changed", b"other");
    lab.publish("sub/x", b"y");
    let port = lab.server().address().port();
    let mut said = String::new();
    for args in [&["list"][..], &["get", "--all", "--parallel", "--connections=2"], &["get", "sub", "nope"]] {
        said += &lab.run(args.iter().chain(&["-v"])).err;
    }
    assert!(said.contains("connected to 127.0.0.1:") && said.contains("; its key is sha256:"), "{said}");
    assert!(said.contains("a round trip took ") && said.contains(" ms, a packet carried up to "), "{said}");
    let mut dialogue = Dialogue::start(lab.client(["-v"]));
    // What is heard first is the menu itself.
    dialogue.say("1");
    dialogue.say("1");
    lab.stop_server();
    lab.start_server("127.0.0.1", port);
    dialogue.say("1");
    said += &dialogue.leave();
    assert!(said.contains("connecting again"), "{said}");
    lab.stop_server();
    said += &run(lab.bare().args(["list", "-v", "--port", &port.to_string()])).ends_with(3).err;
    for line in said.lines() {
        let is_debug = ["{", "}", "Some(", "None", "Ok(", "Err(", "::", " wanted: ", "=Some", "\""]
            .iter()
            .any(|sign| line.contains(sign));
        assert!(!is_debug && !line.contains("INFO") && !line.starts_with("20"), "{line}");
    }
}

#[test]
fn results_go_to_stdout_and_everything_else_to_stderr() {
    let lab = Lab::new(HELLO);
    let done = lab.run(["get", "hello.txt", "nope"]).ends_with(5);
    assert_eq!(done.out, sums(HELLO));
    assert!(done.err.contains("error: nope") && done.err.contains("total download time: "), "{done:?}");
}

#[test]
fn no_colour_and_no_progress_without_a_terminal() {
    let lab = Lab::new(HELLO);
    for args in [&["list", "-v"][..], &["get", "--all"], &["get", "nope"]] {
        let done = lab.run(args);
        assert!(!done.out.contains('\x1b') && !done.err.contains('\x1b') && !done.err.contains('\r'), "{done:?}");
    }
}

#[test]
fn a_broken_pipe_ends_quietly() {
    let names: Vec<_> = (0..3000).map(|n| format!("{n:04}-{}", "x".repeat(100))).collect();
    let files: Vec<_> = names.iter().map(|name| (name.as_str(), &b""[..])).collect();
    let lab = Lab::new(&files);
    for args in [&["list"][..], &["list", "--json"]] {
        let mut child = lab.client(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let done = finish(child).ends_with(0);
        assert!(!done.err.contains("error") && !done.err.contains("panic"), "{done:?}");
    }
    // The files were asked for, their lines are a courtesy.
    let mut child =
        lab.client(["get", "--all", "--parallel", "-q"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(finish(child).ends_with(0).err, "");
    assert_eq!(std::fs::read_dir(lab.home().join("client_env")).unwrap().count(), 3000);
}

#[test]
fn output_that_cannot_be_written_is_an_error() {
    let lab = Lab::new(HELLO);
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let child = lab.client(["-q", "list"]).stdout(full).stderr(Stdio::piped()).spawn().unwrap();
    finish(child).ends_with(7).complains("cannot write the output", "");
}

#[test]
fn names_from_the_server_are_printed_escaped() {
    let name = "evil\x1b[2J\u{202e}name";
    let lab = Lab::new(&[(name, b"x")]);
    let listed = lab.run(["list"]).ends_with(0);
    assert!(listed.out.contains("evil\\u{1b}[2J\\u{202e}name\n"), "{listed:?}");
    let json = lab.run(["list", "--json"]).ends_with(0);
    assert!(json.out.contains("evil\\u001b[2J\\u202ename") && json.json()[name].is_object(), "{json:?}");
    lab.put(name, b"other");
    let failed = lab.run(["get", "--all"]).ends_with(7);
    assert!(failed.err.contains("error: evil\\u{1b}[2J\\u{202e}name: ") && !failed.err.contains('\x1b'), "{failed:?}");
}
