//! CLI.md, "Trust".

use std::os::unix::fs::PermissionsExt as _;

use crate::pty::Terminal;
use crate::support::{Lab, outward_address, run};

const FILES: &[(&str, &[u8])] = &[("a", b"first")];

fn other_key() -> String {
    format!("sha256:{}", "0".repeat(64))
}

/// A server that is not at a loopback address; None on a machine that has no other.
#[allow(clippy::print_stderr, reason = "said, so that nobody takes the test for done")]
fn outward() -> Option<Lab> {
    let address = outward_address();
    if address.is_none() {
        eprintln!("no address but loopback here: not tested");
    }
    Some(Lab::at(&address?.to_string(), FILES))
}

fn host_port(lab: &Lab) -> String {
    lab.server().address().to_string()
}

#[test]
fn a_ticket_or_fingerprint_must_match_and_nothing_else_counts() {
    let lab = Lab::new(FILES);
    let key = lab.server().fingerprint().to_owned();
    lab.run(["list", "--fingerprint", &key]).ends_with(0);
    run(lab.bare().args(["list", "--server", lab.server().ticket()])).ends_with(0);
    let wrong = format!("qfs://{}#{}", host_port(&lab), other_key());
    run(lab.bare().args(["list", "--server", &wrong])).ends_with(4).complains(&other_key(), "ticket");
    run(lab.bare().args(["list", "--server", &wrong, "--fingerprint", &key])).ends_with(2);
    // Neither a record nor --accept-new overrides a pin, and a pin overrides a record.
    lab.run(["trust", "add", &host_port(&lab), &key]).ends_with(0);
    run(lab.bare().args(["list", "--accept-new", "--server", &wrong])).ends_with(4);
    lab.run(["trust", "replace", &host_port(&lab), &other_key()]).ends_with(0);
    lab.run(["list", "--fingerprint", &key]).ends_with(0);
}

#[test]
fn loopback_is_trusted_without_a_record_and_leaves_none() {
    let lab = Lab::new(FILES);
    lab.run(["list"]).ends_with(0);
    lab.run(["list", "--accept-new"]).ends_with(0);
    assert!(!lab.known_servers().exists());
}

#[test]
fn a_changed_key_exits_4_shows_both_and_only_replace_helps() {
    let mut lab = Lab::new(FILES);
    let (address, old) = (lab.server().address(), lab.server().fingerprint().to_owned());
    let known = host_port(&lab);
    lab.run(["trust", "add", &known, &old]).ends_with(0);
    lab.run(["list"]).ends_with(0);
    lab.forget_identity();
    lab.start_server("127.0.0.1", address.port());
    let new = lab.server().fingerprint().to_owned();
    for flags in [&[][..], &["--accept-new"], &["--overwrite", "-q"]] {
        let done = lab.run(["list"].iter().chain(flags)).ends_with(4);
        let hint = format!("qfs-client trust replace {known} {new}");
        let done = done.complains(&format!("known {old}, presented {new}"), &hint);
        assert_eq!(done.out, "");
    }
    lab.run(["trust", "add", &known, &new]).ends_with(4).complains("another key", "trust replace");
    lab.run(["trust", "--replace", &known, &new]).ends_with(0);
    lab.run(["list"]).ends_with(0);
}

#[test]
fn an_unknown_server_exits_4_where_nobody_can_be_asked() {
    let Some(lab) = outward() else { return };
    let key = lab.server().fingerprint();
    let done = lab.run(["get", "a"]).ends_with(4);
    let hint = format!("qfs-client trust add {} {key}, or run again with --accept-new", host_port(&lab));
    done.complains("is not known", &hint);
    assert!(!lab.home().join("client_env").exists() && !lab.known_servers().exists());
}

#[test]
fn accept_new_records_and_from_then_on_it_is_known() {
    let Some(mut lab) = outward() else { return };
    lab.run(["list", "--accept-new"]).ends_with(0);
    let line = format!("{} {}\n", host_port(&lab), lab.server().fingerprint());
    assert_eq!(std::fs::read_to_string(lab.known_servers()).unwrap(), line);
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&lab.known_servers()), mode(lab.known_servers().parent().unwrap())), (0o600, 0o700));
    lab.run(["list"]).ends_with(0);
    let address = lab.server().address();
    lab.forget_identity();
    lab.start_server(&address.ip().to_string(), address.port());
    lab.run(["list", "--accept-new"]).ends_with(4).complains("has changed", "trust replace");
}

#[test]
fn trust_add_makes_a_server_known_by_address_or_ticket() {
    let Some(lab) = outward() else { return };
    lab.run(["trust", "add", lab.server().ticket()]).ends_with(0);
    lab.run(["list"]).ends_with(0);
    lab.run(["trust", "remove", lab.server().ticket()]).ends_with(0);
    lab.run(["list"]).ends_with(4);
    lab.run(["trust", "--add", &host_port(&lab), lab.server().fingerprint()]).ends_with(0);
    lab.run(["list"]).ends_with(0);
}

#[test]
fn on_a_terminal_the_user_is_asked() {
    let Some(lab) = outward() else { return };
    for (answer, code) in [("no", 4), ("y", 4), ("yes", 0)] {
        let mut terminal = Terminal::start(&mut lab.client(["list"]));
        terminal.expect(lab.server().fingerprint());
        terminal.expect("Type yes");
        terminal.type_line(answer);
        let (ended, text) = terminal.finish();
        assert_eq!(ended, Some(code), "{text}");
        assert_eq!(lab.known_servers().exists(), code == 0);
    }
    // Known now: not asked again.
    let (ended, text) = Terminal::start(&mut lab.client(["list"])).finish();
    assert!(ended == Some(0) && !text.contains("Type yes"), "{text}");
}

#[test]
fn an_interrupt_answers_the_question_too() {
    let Some(lab) = outward() else { return };
    let terminal = Terminal::start(&mut lab.client(["list"]));
    terminal.expect("Type yes");
    terminal.signal(rustix::process::Signal::INT);
    assert_eq!(terminal.finish().0, Some(130));
}

#[test]
fn list_add_replace_remove() {
    let lab = Lab::without_server(&[]);
    let trust = |args: &[&str]| run(lab.bare().arg("trust").args(args));
    assert_eq!(trust(&["list"]).ends_with(0).out, "");
    let (a, b) = (format!("sha256:{}", "a".repeat(64)), format!("sha256:{}", "b".repeat(64)));
    let done = trust(&["add", "Data.Example.org:9", &a]).ends_with(0);
    assert_eq!(done.out, "");
    assert!(done.err.contains("data.example.org:9 is known now"), "{done:?}");
    trust(&["add", "data.example.org:9", &a]).ends_with(0);
    trust(&["add", "data.example.org:9", &b]).ends_with(4).complains("another key", "trust replace");
    trust(&["add", &format!("qfs://[2001:db8::1]#{b}")]).ends_with(0);
    assert_eq!(trust(&["list"]).ends_with(0).out, format!("data.example.org:9 {a}\n[2001:db8::1]:8000 {b}\n"));
    trust(&["replace", "DATA.example.org:9", &b]).ends_with(0);
    let json = trust(&["list", "--json"]).ends_with(0).json();
    assert_eq!(json["data.example.org:9"], b);
    trust(&["replace", "unknown:1", &b]).ends_with(4).complains("unknown:1 is not known", "trust add");
    trust(&["--remove", "[2001:db8::1]:8000"]).ends_with(0);
    trust(&["remove", "[2001:db8::1]:8000"]).ends_with(4);
    assert_eq!(trust(&["--list"]).ends_with(0).out, format!("data.example.org:9 {b}\n"));
    let done = trust(&["add", &format!("qfs://h:1#{a}"), &b]).ends_with(2);
    done.complains("two different keys", "");
}

#[test]
fn without_a_fingerprint_the_server_is_asked_and_then_the_user() {
    let mut lab = Lab::new(FILES);
    let known = host_port(&lab);
    let key = lab.server().fingerprint().to_owned();
    let hint = format!("qfs-client trust add {known} {key}");
    lab.run(["trust", "add", &known]).ends_with(2).complains(&key, &hint);
    let mut terminal = Terminal::start(&mut lab.client(["trust", "add", &known]));
    terminal.expect("Type yes");
    terminal.type_line("yes");
    let (code, text) = terminal.finish();
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(std::fs::read_to_string(lab.known_servers()).unwrap(), format!("{known} {key}\n"));

    let port = lab.server().address().port();
    lab.forget_identity();
    lab.start_server("127.0.0.1", port);
    let new = lab.server().fingerprint().to_owned();
    // No flag replaces a key that nobody has named or confirmed.
    lab.run(["trust", "replace", &known, "--accept-new"]).ends_with(2).complains(&new, "trust replace");
    for (answer, code, kept) in [("no", 4, &key), ("yes", 0, &new)] {
        let mut terminal = Terminal::start(&mut lab.client(["trust", "replace", &known]));
        terminal.expect("Type yes");
        terminal.type_line(answer);
        assert_eq!(terminal.finish().0, Some(code));
        assert_eq!(std::fs::read_to_string(lab.known_servers()).unwrap(), format!("{known} {kept}\n"));
    }
}

#[test]
fn a_malformed_store_is_not_used_and_the_line_is_named() {
    let lab = Lab::new(FILES);
    std::fs::create_dir(lab.path().join("config")).unwrap();
    std::fs::write(lab.known_servers(), "# mine\nnonsense\n").unwrap();
    for args in [&["list"][..], &["get", "a"], &["trust", "list"], &["list", "--accept-new"]] {
        lab.run(args).ends_with(4).complains("line 2", "");
    }
    // A pin does not need the store.
    lab.run(["list", "--fingerprint", lab.server().fingerprint()]).ends_with(0);
    assert_eq!(std::fs::read_to_string(lab.known_servers()).unwrap(), "# mine\nnonsense\n");
}

#[test]
fn comments_in_the_store_survive() {
    let lab = Lab::without_server(&[]);
    std::fs::create_dir(lab.path().join("config")).unwrap();
    std::fs::write(lab.known_servers(), "# mine\n").unwrap();
    run(lab.bare().args(["trust", "add", "h:1", &other_key()])).ends_with(0);
    assert_eq!(std::fs::read_to_string(lab.known_servers()).unwrap(), format!("# mine\nh:1 {}\n", other_key()));
}

#[test]
fn the_store_is_in_the_configuration_directory() {
    let lab = Lab::without_server(&[]);
    let add = |variables: &[(&str, std::path::PathBuf)]| {
        let mut command = lab.bare();
        command.env_remove("QFS_CONFIG_DIR").env_remove("HOME").envs(variables.iter().cloned());
        run(command.args(["trust", "add", "h:1", &other_key()]))
    };
    let place = |name: &str| lab.path().join(name);
    add(&[("HOME", place("h"))]).ends_with(0);
    assert!(place("h/.config/qfs/known_servers").exists());
    add(&[("HOME", place("h")), ("XDG_CONFIG_HOME", place("x"))]).ends_with(0);
    assert!(place("x/qfs/known_servers").exists());
    add(&[("HOME", place("h")), ("QFS_CONFIG_DIR", place("q"))]).ends_with(0);
    assert!(place("q/known_servers").exists());
    add(&[]).ends_with(7).complains("no configuration directory", "QFS_CONFIG_DIR");
}

#[test]
fn many_writers_lose_no_record() {
    let lab = Lab::without_server(&[]);
    std::thread::scope(|scope| {
        for n in 1..=8 {
            let lab = &lab;
            scope.spawn(move || run(lab.bare().args(["trust", "add", &format!("h:{n}"), &other_key()])).ends_with(0));
        }
    });
    assert_eq!(run(lab.bare().args(["trust", "list"])).out.lines().count(), 8);
}
