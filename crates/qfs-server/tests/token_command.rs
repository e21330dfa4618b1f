//! `qfs-server token`, the real program: what it prints, what it keeps, what it refuses.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may panic, and reads the file it is about")]

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use qfs_core::model::Digest;

struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("certs/tokens")
    }

    fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_qfs-server"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("QFS_") || name == "RUST_LOG" {
                command.env_remove(name);
            }
        }
        command.current_dir(self.directory.path()).stdin(Stdio::null()).args(args).output().unwrap()
    }

    /// Its output, where it should do what it is told.
    fn done(&self, args: &[&str]) -> (String, String) {
        let Output { status, stdout, stderr } = self.run(args);
        let stderr = String::from_utf8(stderr).unwrap();
        assert!(status.success(), "{stderr}");
        (String::from_utf8(stdout).unwrap(), stderr)
    }

    /// What it says, where it should refuse: a line and a hint, exit code 2, nothing on stdout.
    fn refused(&self, args: &[&str]) -> String {
        let Output { status, stdout, stderr } = self.run(args);
        let stderr = String::from_utf8(stderr).unwrap();
        assert_eq!((status.code(), &stdout[..]), (Some(2), &b""[..]), "{stderr}");
        assert!(
            stderr.starts_with("error: ") && stderr.contains("\nhint: ") && stderr.lines().count() == 2,
            "{stderr}"
        );
        stderr
    }

    fn ids(&self) -> Vec<String> {
        self.done(&["token", "list"]).0.lines().skip(1).map(|line| line[..8].to_owned()).collect()
    }
}

// Fails when the secret itself is kept, when others can read the file, or when list shows the hash.
#[test]
fn a_token_is_shown_once_and_kept_as_a_hash() {
    let place = Place::new();
    let (out, said) = place.done(&["token", "create", "--name", "Ann", "--expires", "30d", "--scope", "photos"]);
    let token = out.strip_suffix('\n').unwrap();
    let digits = token.strip_prefix("qfs_").unwrap();
    assert!(digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit()), "{out}");
    assert!(said.contains("expires 2") && said.contains("reaches photos"), "{said}");

    let kept = std::fs::read_to_string(place.file()).unwrap();
    assert!(!kept.contains(digits) && kept.contains(&Digest::of(token.as_bytes()).to_string()));
    assert_eq!(std::fs::metadata(place.file()).unwrap().mode() & 0o7777, 0o600);

    let (listed, _) = place.done(&["token", "list"]);
    assert!(listed.contains("Ann") && listed.contains("photos") && listed.contains(&place.ids()[0]), "{listed}");
    let (json, _) = place.done(&["--certs", "certs", "token", "list", "--json"]);
    assert!(json.starts_with("{\"") && json.contains("\"scope\":[\"photos\"]"), "{json}");
    for text in [&listed, &json, &said] {
        assert!(!text.contains(digits) && !text.contains(&Digest::of(token.as_bytes()).to_string()[..16]));
    }
}

#[test]
fn flags_stand_before_and_behind_the_subcommand() {
    let place = Place::new();
    place.done(&["token", "create", "--certs", "elsewhere"]);
    place.done(&["--certs", "elsewhere", "token", "create", "-q"]);
    assert_eq!(place.done(&["token", "list", "--certs", "elsewhere"]).0.lines().count(), 3);
    assert_eq!(place.done(&["token", "list"]).0, "", "the other place is empty");
}

#[test]
fn revoking_names_what_is_not_there_and_takes_what_is() {
    let place = Place::new();
    for name in ["a", "b", "c"] {
        place.done(&["token", "create", "--name", name]);
    }
    let ids = place.ids();
    place.done(&["token", "revoke", &ids[0]]);
    assert_eq!(place.ids(), ids[1..]);
    assert!(place.refused(&["token", "revoke", &ids[0]]).contains("no token has this id\n"));
    assert!(place.refused(&["token", "revoke", "00000000", &ids[1]]).contains("the others are revoked"));
    assert_eq!(place.ids(), ids[2..]);
}

#[test]
fn a_ticket_has_address_key_and_token() {
    let place = Place::new();
    let (out, _) = place.done(&["--ip", "192.0.2.7", "token", "create", "--ticket", "--port", "9"]);
    let (ticket, token) = out.trim_end().split_once("&token=").unwrap();
    assert!(ticket.starts_with("qfs://192.0.2.7:9#sha256:") && token.starts_with("qfs_"), "{out}");
    assert!(place.directory.path().join("certs/server.key").exists(), "the ticket's key is the server's");
}

#[test]
fn what_cannot_be_meant_is_refused_and_changes_nothing() {
    let place = Place::new();
    for (args, part) in [
        (&["--expires", "2020-01-01"][..], "expired already"),
        (&["--expires", "0s"], "expired already"),
        (&["--scope", "/etc"], "no name below"),
        (&["--scope", "ok", "--scope", "a["], "malformed"),
        (&["--name", ""], "name"),
    ] {
        let args = [&["token", "create"], args].concat();
        assert!(place.refused(&args).contains(part), "{args:?}");
    }
    assert!(!place.file().exists());
    place.done(&["token", "create"]);
    let kept = std::fs::read(place.file()).unwrap();
    std::fs::set_permissions(place.file(), std::fs::Permissions::from_mode(0o644)).unwrap();
    for args in [&["token", "create"][..], &["token", "list"], &["token", "revoke", "00000000"]] {
        assert!(place.refused(args).contains("chmod 600"));
    }
    std::fs::set_permissions(place.file(), std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(place.file(), [&kept[..], b"{}\n"].concat()).unwrap();
    for args in [&["token", "create"][..], &["token", "list"], &["token", "revoke", "00000000"]] {
        assert!(place.refused(args).contains("line 2"));
    }
}

// Fails when an access rule that cannot be read is taken for none (rsync, CVE-2026-70452).
#[test]
fn a_server_with_damaged_tokens_does_not_start() {
    let place = Place::new();
    std::fs::create_dir(place.directory.path().join("root")).unwrap();
    place.done(&["token", "create"]);
    let start = ["--auth", "tokens", "--root", "root", "--port", "0", "--cache-dir", "cache"];
    let kept = std::fs::read(place.file()).unwrap();
    for (content, mode, part) in [
        (&kept[..kept.len() / 2], 0o600, "cannot use the tokens: certs/tokens is malformed: line 1: "),
        (&[&kept[..], b"# a comment\n"].concat(), 0o600, "line 2: expected a JSON object"),
        (&kept[..], 0o640, "can be used by others (mode 0640)"),
    ] {
        std::fs::write(place.file(), content).unwrap();
        std::fs::set_permissions(place.file(), std::fs::Permissions::from_mode(mode)).unwrap();
        let said = place.refused(&start);
        assert!(said.contains(part), "{said}");
    }
    let unknown = place.run(&["--auth", "none", "--root", "root"]);
    assert_eq!((unknown.status.code(), unknown.stdout.len()), (Some(2), 0));
}
