//! The client's configuration file and the servers that it names, both real programs.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use qfs_testkit::binaries::{server_bin, without_settings};

use crate::support::{Done, Lab, run, wait_until};

const FILES: &[(&str, &[u8])] = &[("a.txt", b"a"), ("b.txt", b"b")];

/// Writes the client's configuration, for its owner only.
fn configure(lab: &Lab, text: &str) -> PathBuf {
    write(&lab.path().join("config/client.toml"), text)
}

fn write(path: &Path, text: &str) -> PathBuf {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path.to_owned()
}

fn client(lab: &Lab, args: &[&str]) -> Command {
    let mut command = lab.bare();
    command.args(args);
    command
}

fn done(lab: &Lab, args: &[&str]) -> Done {
    run(&mut client(lab, args))
}

#[test]
fn the_file_gives_what_flags_and_variables_do_not() {
    let lab = Lab::new(FILES);
    let port = lab.server().address().port();
    configure(&lab, &format!("port = {port}\nsave-dir = \"kept\"\n[get]\nall = true\n"));
    done(&lab, &["get", "--all"]).ends_with(0);
    assert_eq!(std::fs::read(lab.home().join("kept/a.txt")).unwrap(), b"a");
    run(client(&lab, &["get", "a.txt"]).env("QFS_SAVE_DIR", "variable")).ends_with(0);
    assert!(lab.home().join("variable/a.txt").exists() && !lab.home().join("variable/b.txt").exists());
    run(client(&lab, &["get", "a.txt", "--save-dir", "flag"]).env("QFS_SAVE_DIR", "other")).ends_with(0);
    assert!(lab.home().join("flag/a.txt").exists() && !lab.home().join("other").exists());

    let named = write(&lab.home().join("named.toml"), "port = 1\nconnect-timeout = \"100ms\"\n");
    run(client(&lab, &["list"]).env("QFS_CONFIG", &named)).ends_with(3);
    run(&mut client(&lab, &["list", "--config", "/dev/null", "--port", &port.to_string()])).ends_with(0);
}

#[test]
fn what_counts_is_shown_without_secrets() {
    let lab = Lab::new(FILES);
    let token = format!("qfs_{}", "0".repeat(64));
    let ticket = lab.server().ticket();
    configure(&lab, &format!("checksum = true\n[servers.lab]\nserver = \"{ticket}&token={token}\"\nsave-dir = 's'\n"));
    let shown =
        run(client(&lab, &["lab:", "pull", "--print-config", "x"]).env("QFS_TOKEN", &token).env("QFS_HASH", "blake3"));
    let shown = shown.ends_with(0).out;
    for (key, value, from) in [
        ("checksum", "true", "client.toml:1"),
        ("save-dir", "\"s\"", "client.toml:4"),
        ("hash", "\"blake3\"", "variable QFS_HASH"),
        ("server", "\"lab\"", "flag --server"),
        ("parallel", "", ""),
        ("max-delete", "\"50%\"", "default"),
    ] {
        let line = shown
            .lines()
            .find(|line| line.starts_with(&format!("{key} ")) || line.starts_with(&format!("# {key} is not")));
        assert!(line.is_some_and(|line| line.contains(value) && line.ends_with(from)), "{key}: {shown}");
    }
    assert!(shown.contains(&format!("# lab is {ticket}\n")) && shown.contains("\n[pull]\n"), "{shown}");
    assert!(!shown.contains(&token), "{shown}");
}

// Fails when what is printed of a run with a named server is no file that says the same.
#[test]
fn what_counts_for_a_named_server_can_be_read_back() {
    let two = Two::new();
    for server in ["one:", "other:"] {
        let printed = done(&two.one, &[server, "cat", "which", "--print-config"]).ends_with(0).out;
        let file = write(&two.one.home().join("printed.toml"), &printed);
        let read = two.which(&["--config", &file.display().to_string(), "cat", "which"], &[]);
        assert_eq!(format!("{read}:"), server, "{printed}");
    }
    drop(two.other);
}

// Fails when doctor takes the name of a server for that of a host, or shows another server what belongs to this one.
#[test]
fn doctor_knows_the_servers_by_their_names() {
    let two = Two::new();
    let address = |lab: &Lab| lab.server().address().to_string();
    let (one, other) = (address(&two.one), address(&two.other));
    for (args, variables, server) in [
        (&["doctor", "one"][..], &[("QFS_SERVER", "qfs://192.0.2.1:1")][..], &one),
        (&["doctor", "other:"], &[], &other),
        (&["one:", "doctor"], &[], &one),
        (&["one:", "doctor", "other"], &[("QFS_PORT", "1")], &other),
        (&["doctor", &other], &[("QFS_SERVER", "one")], &other),
    ] {
        let mut command = client(&two.one, &[args, &["--json"]].concat());
        let done = run(command.envs(variables.iter().copied())).ends_with(0);
        assert_eq!(done.json()["server"], **server, "{args:?}");
    }
    done(&two.one, &["doctor", "nobody:"]).ends_with(2).complains("no server is called nobody", "it has one, other");
    // A host without a name in the file is one as ever.
    done(&two.one, &["doctor", "localhost", "--json", "--connect-timeout", "200ms"]).ends_with(3);
    // A ticket with a token may be in the file, if not on the line.
    let token = format!("qfs_{}", "0".repeat(64));
    let ticket = two.one.server().ticket();
    configure(&two.one, &format!("[servers.lab]\nserver = '{ticket}&token={token}'\n"));
    done(&two.one, &["doctor", "lab", "--json"]).ends_with(0);
}

#[test]
fn mistakes_are_named_with_their_place() {
    let lab = Lab::new(FILES);
    for (text, what, hint) in [
        ("\nsave_dir = 'x'", "client.toml:2: unknown key save_dir", "did you mean save-dir?"),
        ("overwrite = 1", "client.toml:1: overwrite is a switch, and this is a whole number", "overwrite = true"),
        ("[servers.x]\nport = 1\nsavedir = 'x'", "client.toml:3: unknown key savedir", "did you mean save-dir?"),
        ("[servers.x]\nserver = 'nonsense'", "client.toml:2: the ticket of x cannot be used", "qfs://HOST:PORT"),
        ("\n[servers.x]\nsave-dir = 'x'", "client.toml:2: [servers.x] says in no ways where", "one of server"),
        ("[servers.'a b']\nport = 1", "client.toml:1: no server can be called \"a b\"", "letters, digits"),
        ("save-dir = 5", "client.toml:1: save-dir is a text, and this is a whole number", "write it as"),
        ("parallel = 'many'", "client.toml:1: invalid value 'many' for 'parallel'", "--parallel"),
        ("token-file = 'x'\ntoken-command = 'y'", "client.toml:2: token-command contradicts token-file", "one of them"),
        ("hash = ", "client.toml:1: ", "TOML"),
    ] {
        configure(&lab, text);
        done(&lab, &["list"]).ends_with(2).complains(what, hint);
    }
    done(&lab, &["list", "--config", "missing"])
        .ends_with(2)
        .complains("missing: cannot read the configuration", "--config");
}

/// Two servers, each with a file that tells which it is, and a configuration with both.
struct Two {
    one: Lab,
    other: Lab,
}

impl Two {
    fn new() -> Self {
        let (one, other) = (Lab::new(&[("which", b"one")]), Lab::new(&[("which", b"other")]));
        let (ticket, port) = (one.server().ticket().to_owned(), other.server().address().port());
        configure(
            &one,
            &format!(
                "[servers.one]\nserver = '{ticket}'\nsave-dir = 'of-one'\n[servers.other]\nip = '127.0.0.1'\nport = {port}\n"
            ),
        );
        Self { one, other }
    }

    fn which(&self, args: &[&str], variables: &[(&str, &str)]) -> String {
        let mut command = client(&self.one, args);
        run(command.envs(variables.iter().copied())).ends_with(0).out
    }
}

#[test]
fn a_named_server_brings_all_that_belongs_to_it() {
    let two = Two::new();
    assert_eq!(two.which(&["one:", "cat", "which"], &[]), "one");
    assert_eq!(two.which(&["other:", "cat", "which"], &[]), "other");
    assert_eq!(two.which(&["--server", "other", "cat", "which"], &[]), "other");
    assert_eq!(two.which(&["cat", "which"], &[("QFS_SERVER", "other")]), "other");
    // Variables about another server do not mix with one that is named.
    let wrong = format!("sha256:{}", "0".repeat(64));
    let variables = [
        ("QFS_IP", "192.0.2.1"),
        ("QFS_PORT", "1"),
        ("QFS_FINGERPRINT", wrong.as_str()),
        ("QFS_TOKEN_FILE", "/nowhere"),
    ];
    assert_eq!(two.which(&["one:", "cat", "which"], &variables), "one");
    two.which(&["one:", "get", "which"], &[]);
    assert!(two.one.home().join("of-one/which").exists());
    two.which(&["one:", "get", "which", "--save-dir", "flag"], &[]);
    assert!(two.one.home().join("flag/which").exists());
    // The menu, too.
    assert_eq!(run(&mut client(&two.one, &["one:"])).code, Some(0));
    drop(two.other);
}

#[test]
fn a_default_server_is_beaten_by_whatever_says_where_else() {
    let two = Two::new();
    let text = std::fs::read_to_string(two.one.path().join("config/client.toml")).unwrap();
    configure(&two.one, &format!("server = 'one'\n{text}"));
    assert_eq!(two.which(&["cat", "which"], &[]), "one");
    let port = two.other.server().address().port().to_string();
    assert_eq!(two.which(&["cat", "which"], &[("QFS_PORT", &port)]), "other");
    assert_eq!(two.which(&["--port", &port, "cat", "which"], &[]), "other");
    assert_eq!(two.which(&["other:", "cat", "which"], &[]), "other");
    assert_eq!(two.which(&["cat", "which", "--server", two.other.server().ticket()], &[]), "other");
}

#[test]
fn a_name_that_nothing_has_is_a_mistake_with_a_way_out() {
    let two = Two::new();
    let lab = &two.one;
    done(lab, &["lab:", "list"]).ends_with(2).complains("no server is called lab", "it has one, other");
    done(lab, &["list", "lab:"]).ends_with(3);
    done(lab, &["--port", "9", "--server", "one", "list"])
        .ends_with(2)
        .complains("--server cannot be used with --ip or --port", "");
    done(lab, &["one:", "--server", "other", "list"])
        .ends_with(2)
        .complains("cannot be used with another one", "tickets");
    done(lab, &["--server", "qfs://h:1", "--server", "other", "list"]).ends_with(2).complains("other is a server", "");
    std::fs::remove_file(lab.path().join("config/client.toml")).unwrap();
    done(lab, &["lab:", "list"]).ends_with(2).complains("no server is called lab", "client.toml");
}

#[test]
fn secrets_come_from_files_and_commands() {
    let mut lab = Lab::without_server(FILES);
    lab.start_server_with("127.0.0.1", 0, &["--auth", "tokens"]);
    let mut create = Command::new(server_bin());
    without_settings(&mut create).env("QFS_CONFIG_DIR", lab.path()).arg("--certs").arg(lab.path().join("certs"));
    let token = run(create.args(["token", "create"])).ends_with(0).out.trim_end().to_owned();
    wait_until("the new token is good", || run(lab.client(["list"]).env("QFS_TOKEN", &token)).code == Some(0));
    let file = write(&lab.home().join("secret"), &token);
    let command = format!("cat {}", file.display());
    run(lab.client(["--token-command", &command, "list"]).env_remove("QFS_TOKEN")).ends_with(0);
    run(lab.client(["list"]).env("QFS_TOKEN_COMMAND", &command)).ends_with(0);
    let ticket = lab.server().ticket();
    let wrong = format!("qfs_{}", "0".repeat(64));
    for source in [format!("token-command = '{command}'"), format!("token-file = '{}'", file.display())] {
        configure(&lab, &format!("[servers.lab]\nserver = '{ticket}'\n{source}\n"));
        run(client(&lab, &["lab:", "list"]).env("QFS_TOKEN", &wrong)).ends_with(0);
    }
    run(&mut lab.client(["--token-command", &command, "--token-file", "x", "list"]))
        .ends_with(2)
        .complains("cannot be used with", "");
    for (command, why) in
        [("exit 3", "exit status: 3"), ("echo two words", "not a token"), ("cat /dev/zero", "the token command failed")]
    {
        let failed = run(lab.client(["--token-command", command, "list"]).env_remove("QFS_TOKEN")).ends_with(7);
        assert!(!failed.err.contains("two words"), "{failed:?}");
        failed.complains(why, "standard output");
    }

    // A secret that others can read is none, in the configuration neither.
    let config = configure(&lab, &format!("[servers.lab]\nserver = '{ticket}&token={token}'\n"));
    done(&lab, &["lab:", "list"]).ends_with(0);
    std::fs::set_permissions(&config, std::fs::Permissions::from_mode(0o644)).unwrap();
    done(&lab, &["lab:", "list"]).ends_with(7).complains("others can read it", "chmod 600");
    configure(&lab, &format!("[servers.lab]\nserver = '{ticket}'\ntoken-file = '{}'\n", file.display()));
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
    done(&lab, &["lab:", "list"]).ends_with(7).complains("others can read it", "chmod 600");
}
