//! `completions`, `man`, and names of the server that a shell completes, in the real shells.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use qfs_testkit::binaries::without_settings;

use crate::support::{Done, Lab, PATIENCE, free_port, run};

/// What is on the server: the names of strangers are among them.
const FILES: &[(&str, &[u8])] = &[
    ("a b.csv", b"spaces"),
    ("q(1)&[2];c.txt", b"for the shell"),
    ("photos/one.jpg", b"1"),
    ("photos/two.jpg", b"2"),
    ("x$(touch pwned).txt", b"hostile"),
    ("x`touch pwned`.txt", b"hostile"),
    ("x';touch pwned;'.txt", b"hostile"),
];

/// A program that finds the client on its way, and the lab's server in the environment.
fn shell(lab: &Lab, program: &str) -> Command {
    let mut command = Command::new(program);
    let client = std::path::Path::new(env!("CARGO_BIN_EXE_qfs-client"));
    let path = format!("{}:{}", client.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let address = lab.server().address();
    without_settings(&mut command)
        .current_dir(lab.home())
        .env("PATH", path)
        .env("HOME", lab.home())
        .env("QFS_CONFIG_DIR", lab.path().join("config"))
        .env("QFS_IP", address.ip().to_string())
        .env("QFS_PORT", address.port().to_string());
    command
}

/// What bash would offer at the end of `line`.
fn offered(lab: &Lab, line: &str) -> Done {
    const SCRIPT: &str = r#"
        source <(qfs-client completions bash)
        COMP_LINE=$1 COMP_POINT=${#1} COMP_WORDS=($1) COMP_CWORD=$2
        _qfs__client qfs-client "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
        printf '%s\n' "${COMPREPLY[@]}""#;
    let at = line.split(' ').count() - 1;
    run(shell(lab, "bash").args(["-c", SCRIPT, "bash", line, &at.to_string()]).stdin(Stdio::null()))
}

#[test]
fn bash_offers_the_names_of_the_server_and_no_hostile_one() {
    let lab = Lab::new(FILES);
    for command in ["get", "list", "cat", "rm", "get --parallel", "--hash blake3 get"] {
        let done = offered(&lab, &format!("qfs-client {command} "));
        assert_eq!((done.out.as_str(), done.err.as_str()), ("a b.csv\nphotos/\nq(1)&[2];c.txt\n", ""), "{command}");
    }
    assert_eq!(offered(&lab, "qfs-client get photos/").out, "photos/one.jpg\nphotos/two.jpg\n");
    assert_eq!(offered(&lab, "qfs-client put x --to p").out, "photos/\n");
    // Elsewhere everything is as clap has it.
    assert!(offered(&lab, "qfs-client get --overw").out.contains("--overwrite"));
    assert!(offered(&lab, "qfs-client ve").out.contains("verify"));
    assert!(!lab.home().join("pwned").exists());
}

// Fails when a name is offered that the listing does not have, and that cannot be fetched.
#[test]
fn no_link_is_offered_that_is_not_published() {
    let mut lab = Lab::without_server(&[("file", b"1")]);
    for (target, link) in [("file", "link"), ("/etc", "out")] {
        std::os::unix::fs::symlink(target, lab.path().join("root").join(link)).unwrap();
    }
    lab.start_server("127.0.0.1", 0);
    assert_eq!(offered(&lab, "qfs-client get ").out, "file\n");
    lab.start_server_with("127.0.0.1", 0, &["--follow-links", "inside"]);
    assert_eq!(offered(&lab, "qfs-client get ").out, "file\nlink\n");
}

// Fails when files of this machine are offered for a server, or its name is not.
#[test]
fn servers_of_the_configuration_are_offered() {
    let lab = Lab::new(FILES);
    std::fs::create_dir_all(lab.path().join("config")).unwrap();
    let text = "[servers.lab]\nport = 1\n[servers.archive]\nport = 3\n";
    std::fs::write(lab.path().join("config/client.toml"), text).unwrap();
    std::fs::write(lab.home().join("labels"), "a file of this machine").unwrap();
    for line in ["--server ", "get --server ", "--server="] {
        assert_eq!(offered(&lab, &format!("qfs-client {line}")).out, "archive\nlab\n", "{line}");
    }
    assert_eq!(offered(&lab, "qfs-client get x --server la").out, "lab\n");
    assert_eq!(offered(&lab, "qfs-client --server qfs://h").out, "\n");
    let other = lab.home().join("other.toml");
    std::fs::write(&other, "[servers.other]\nport = 1\n").unwrap();
    assert_eq!(offered(&lab, &format!("qfs-client --config {} --server ", other.display())).out, "other\n");
}

#[test]
fn no_name_is_offered_that_would_need_trust_or_time() {
    let mut lab = Lab::new(FILES);
    // A pin that the server does not meet.
    let pin = format!("sha256:{}", "0".repeat(64));
    let done = offered(&lab, &format!("qfs-client --fingerprint {pin} get "));
    assert_eq!((done.out.as_str(), done.err.as_str()), ("\n", ""));
    // Nobody there at all, and a host that says nothing.
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let silent_too = std::net::TcpListener::bind(silent.local_addr().unwrap()).unwrap();
    let port = silent_too.local_addr().unwrap().port();
    for port in [free_port(), port] {
        let begun = Instant::now();
        let done = offered(&lab, &format!("qfs-client --port {port} get "));
        assert_eq!((done.out.as_str(), done.err.as_str()), ("\n", ""));
        // The patience of the program, and time for two shells and two programs on a busy machine.
        assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    }
    lab.start_server("127.0.0.1", 0);
    assert!(!lab.known_servers().exists(), "nothing was trusted for it");
}

#[test]
fn what_is_asked_for_by_the_shell_is_answered_within_its_patience() {
    let lab = Lab::new(FILES);
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let line = format!("qfs-client\0--transport\0udp\0--port\0{port}\0get\0\0");
    let mut client = lab.client(["complete-names", "words"]);
    let begun = Instant::now();
    let mut child = client.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), line.as_bytes()).unwrap();
    let done = crate::support::finish(child);
    assert_eq!((done.code, done.out.as_str(), done.err.as_str()), (Some(0), "", ""));
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(250) && took < Duration::from_secs(2), "{took:?}");
}

/// A program that does not outlive the test: script(1) ends, and its shell with the terminal.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Types a line with a tab in it into a shell on a terminal of its own, and runs what it became.
fn type_and_run(lab: &Lab, program: &str, prepare: &[&str]) {
    // script(1) gives it the terminal; what is shown is not looked at but when something goes wrong.
    let mut command = shell(lab, "script");
    command.args(["-qefc", program, "shown"]).env("TERM", "xterm").stdin(Stdio::piped()).stdout(Stdio::null());
    let mut child = Ended(command.spawn().unwrap());
    let mut keys = child.0.stdin.take().unwrap();
    let mut type_line = |line: &str| std::io::Write::write_all(&mut keys, format!("{line}\n").as_bytes()).unwrap();
    let made = |name: &str| {
        let path = lab.home().join(name);
        let shown =
            || String::from_utf8_lossy(&std::fs::read(lab.home().join("shown")).unwrap_or_default()).into_owned();
        let begun = Instant::now();
        while !path.exists() {
            assert!(begun.elapsed() < PATIENCE, "never: {name}; shown: {}", shown());
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    prepare.iter().for_each(|line| type_line(line));
    type_line("touch ready");
    made("ready");
    for (name, typed) in [("a b.csv", "qfs-client get a\t"), ("q(1)&[2];c.txt", "qfs-client get q\t")] {
        type_line(typed);
        made(&format!("client_env/{name}"));
    }
    // Two files in a directory: the word becomes as long as both are alike.
    type_line("qfs-client get ph\tone.jpg");
    made("client_env/photos/one.jpg");
    type_line("qfs-client list x\t\t");
    type_line("touch done");
    made("done");
    type_line("exit");
    drop(keys);
    crate::support::wait(&mut child.0);
    assert!(!lab.home().join("pwned").exists());
}

#[test]
fn a_tab_in_bash() {
    let lab = Lab::new(FILES);
    type_and_run(&lab, "bash --norc --noprofile -i", &["source <(qfs-client completions bash)"]);
}

#[expect(clippy::print_stderr, reason = "who runs the tests should know what was left out")]
fn is_installed(program: &str) -> bool {
    let found = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !found {
        eprintln!("{program} is not installed: not tried (CI has it)");
    }
    found
}

#[test]
fn a_tab_in_zsh() {
    if is_installed("zsh") {
        let lab = Lab::new(FILES);
        let lines = ["autoload -Uz compinit; compinit -D -u", "eval \"$(qfs-client completions zsh)\""];
        type_and_run(&lab, "zsh -f -i", &lines);
    }
}

#[test]
fn a_tab_in_fish() {
    if is_installed("fish") {
        let lab = Lab::new(FILES);
        type_and_run(&lab, "fish --no-config -i", &["qfs-client completions fish | source"]);
    }
}

#[test]
fn man_pages_and_scripts_of_all_commands() {
    let lab = Lab::without_server(&[]);
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let done = run(lab.bare().args(["completions", shell])).ends_with(0);
        assert!(done.out.contains("verify") && done.err.is_empty(), "{shell}");
    }
    run(lab.bare().args(["completions", "tcsh"])).ends_with(2);
    let page = run(lab.bare().arg("man")).ends_with(0).out;
    assert!(page.contains(".TH qfs-client 1") && page.contains("Exit codes"), "{page}");
    run(lab.bare().args(["man", "--out", "pages"])).ends_with(0);
    for name in ["qfs-client", "qfs-client-get", "qfs-client-trust-add", "qfs-client-man"] {
        assert!(lab.home().join(format!("pages/{name}.1")).exists(), "{name}");
    }
    assert!(!lab.home().join("pages/qfs-client-complete-names.1").exists());
    run(lab.bare().args(["man", "--out", "pages/qfs-client.1"])).ends_with(7).complains("man pages", "--out");
}
