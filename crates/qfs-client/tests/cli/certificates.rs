//! CLI.md, "Certificates": `qfs-server --cert --key`, `--tls=system`, and clients that must show a certificate.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use qfs_testkit::binaries::{server_bin, without_settings};
use qfs_testkit::certificates::{Authority, Pem, Subject, self_signed};
use qfs_testkit::impostor::Impostor;
use qfs_transport::Identity;

use crate::support::{Done, Lab, run};

const FILES: &[(&str, &[u8])] = &[("a", b"first")];
const NAMES: &[&str] = &["localhost", "127.0.0.1"];

/// Writes a chain and its key, 0600, below the lab; their paths.
pub(crate) fn put(lab: &Lab, name: &str, pem: &Pem) -> (String, String) {
    let path = |end: &str| lab.path().join(format!("{name}.{end}"));
    std::fs::write(path("crt"), &pem.certificate).unwrap();
    std::fs::write(path("key"), &pem.key).unwrap();
    std::fs::set_permissions(path("key"), std::fs::Permissions::from_mode(0o600)).unwrap();
    (path("crt").display().to_string(), path("key").display().to_string())
}

pub(crate) fn put_authority(lab: &Lab, name: &str, authority: &Authority) -> String {
    let path = lab.path().join(format!("{name}.pem"));
    std::fs::write(&path, authority.certificate()).unwrap();
    path.display().to_string()
}

/// A server with this certificate, on loopback.
fn serving(pem: &Pem) -> Lab {
    let mut lab = Lab::without_server(FILES);
    let (certificate, key) = put(&lab, "own", pem);
    lab.start_server_with("127.0.0.1", 0, &["--cert", &certificate, "--key", &key]);
    lab
}

/// `list` under another name, by the authorities of a file.
fn list_by_system(lab: &Lab, host: &str, roots: &Path, more: &[&str]) -> Done {
    run(lab
        .client(["list", "--tls=system", "--ip", host])
        .args(more)
        .env("SSL_CERT_FILE", roots)
        .env_remove("SSL_CERT_DIR"))
}

// Fails when the fingerprint is of anything but the leaf's key, or the identity in --certs is made all the same.
#[test]
fn an_own_certificate_is_served_and_known_by_its_key() {
    let authority = Authority::new("authority").unwrap();
    let mut pem = authority.sign(Subject::new("server", NAMES)).unwrap();
    pem.certificate.push_str(authority.certificate());
    let lab = serving(&pem);
    let leaf = Identity::from_pem(pem.key.as_bytes(), pem.certificate.as_bytes()).unwrap().fingerprint();
    assert_eq!(lab.server().fingerprint(), leaf.to_string());
    assert!(!lab.path().join("certs").exists());
    run(lab.bare().args(["list", "--server", lab.server().ticket()])).ends_with(0);
}

// Fails when the server starts with half of an identity, a key that others can read, or a key of another certificate.
#[test]
fn a_server_refuses_half_or_exposed_or_foreign_keys() {
    let lab = Lab::without_server(FILES);
    let (certificate, key) = put(&lab, "own", &self_signed(Subject::new("a", &[])).unwrap());
    let (other, _) = put(&lab, "other", &self_signed(Subject::new("b", &[])).unwrap());
    let exposed = lab.path().join("exposed.key").display().to_string();
    std::fs::copy(&key, &exposed).unwrap();
    std::fs::set_permissions(&exposed, std::fs::Permissions::from_mode(0o644)).unwrap();
    let rubbish = lab.path().join("rubbish.pem").display().to_string();
    std::fs::write(&rubbish, "rubbish").unwrap();
    let published = lab.path().join("root/own.key").display().to_string();
    std::fs::copy(&key, &published).unwrap();
    for (flags, what) in [
        (&["--cert", &certificate][..], "--cert needs --key"),
        (&["--key", &key], "--key needs --cert"),
        (&["--cert", &certificate, "--key", &exposed], "can be read by others (mode 0644)"),
        (&["--cert", &other, "--key", &key], "do not belong together: the certificate is for another key"),
        (&["--cert", &rubbish, "--key", &key], "not a PEM certificate"),
        (&["--cert", &certificate, "--key", "/nowhere/key"], "/nowhere/key"),
        (&["--cert", &certificate, "--key", &published], "private key is in it"),
        (&["--client-ca", &rubbish], "no certificate authority"),
        (&["--client-ca", "/nowhere/ca"], "/nowhere/ca"),
    ] {
        let mut command = Command::new(server_bin());
        let output = without_settings(&mut command)
            .current_dir(lab.path())
            .args(["--port", "0", "--root", "root"])
            .args(flags)
            .output();
        let output = output.unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{flags:?}: {said}");
        assert!(output.stdout.is_empty() && said.starts_with("error: ") && said.contains(what), "{flags:?}: {said}");
        assert!(said.contains("\nhint: "), "{flags:?}: {said}");
    }
}

// Fails when chain, name or date is not looked at, when anything is recorded, or when a pin beside it is not compared.
#[test]
fn by_the_system_the_name_date_and_issuer_count() {
    let (authority, other) = (Authority::new("authority").unwrap(), Authority::new("other").unwrap());
    let lab = serving(&authority.sign(Subject::new("server", NAMES)).unwrap());
    let roots = PathBuf::from(put_authority(&lab, "authority", &authority));
    let others = PathBuf::from(put_authority(&lab, "other", &other));
    let key = lab.server().fingerprint().to_owned();
    for host in NAMES {
        assert!(list_by_system(&lab, host, &roots, &[]).ends_with(0).out.ends_with("  a\n"));
    }
    list_by_system(&lab, "localhost", &roots, &["--fingerprint", &key]).ends_with(0);
    let wrong = format!("sha256:{}", "0".repeat(64));
    let done = list_by_system(&lab, "localhost", &roots, &["--fingerprint", &wrong]).ends_with(4);
    done.complains(&format!("expected {wrong}, presented {key}"), "");
    // No exemption for loopback, no --accept-new, and no record helps.
    lab.run(["trust", "add", &format!("localhost:{}", lab.server().address().port()), &key]).ends_with(0);
    let before = std::fs::read_to_string(lab.known_servers()).unwrap();
    for more in [&[][..], &["--accept-new"]] {
        let done = list_by_system(&lab, "localhost", &others, more).ends_with(4);
        done.complains("issued by nobody whom this machine trusts", "--tls=pin");
    }
    list_by_system(&lab, "localhost", Path::new("/nowhere"), &[])
        .ends_with(4)
        .complains("no certificate authority", "SSL_CERT_FILE");
    assert_eq!(std::fs::read_to_string(lab.known_servers()).unwrap(), before);

    let elsewhere = serving(&authority.sign(Subject::new("server", &["data.example.org"])).unwrap());
    let done = list_by_system(&elsewhere, "localhost", &roots, &[]).ends_with(4);
    done.complains("its certificate is for data.example.org, not for this host", "host name");
    // By its key it is the same server whatever its certificate says.
    elsewhere.run(["list"]).ends_with(0);
    let expired = Subject { expired: true, ..Subject::new("server", NAMES) };
    let done = list_by_system(&serving(&authority.sign(expired).unwrap()), "localhost", &roots, &[]).ends_with(4);
    done.complains("has expired", "clock");
    // An authority of the name that is trusted, and another key.
    let namesake = Authority::new("authority").unwrap().sign(Subject::new("server", NAMES)).unwrap();
    let done = list_by_system(&serving(&namesake), "localhost", &roots, &[]).ends_with(4);
    done.complains("issued by nobody whom this machine trusts", "--tls=pin");
    let done = list_by_system(&serving(&authority.pem()), "localhost", &roots, &[]).ends_with(4);
    done.complains("its certificate is one of an authority, as servers make for themselves", "--tls=pin");
    let own = Lab::new(FILES);
    list_by_system(&own, "localhost", &roots, &[]).ends_with(4);
    assert!(!own.known_servers().exists() && !elsewhere.known_servers().exists());
}

// Fails when the signature is not checked in this mode, or the name is not sent.
#[test]
fn by_the_system_a_copy_is_refused_and_the_name_is_sent() {
    let authority = Authority::new("authority").unwrap();
    let lab = Lab::without_server(&[]);
    let roots = PathBuf::from(put_authority(&lab, "authority", &authority));
    let copied = authority.sign(Subject::new("server", NAMES)).unwrap();
    let impostor = Impostor::start([127, 0, 0, 1].into(), &copied.certificate).unwrap();
    let port = impostor.address().port().to_string();
    let list = |host: &str| {
        let mut command = lab.bare();
        run(command.args(["list", "--tls=system", "--ip", host, "--port", &port]).env("SSL_CERT_FILE", &roots))
    };
    list("localhost").ends_with(4).complains("does not prove to hold that key", "in between");
    assert_eq!(impostor.asked_for().as_deref(), Some("localhost"));
    list("127.0.0.1").ends_with(4);
    assert_eq!(impostor.asked_for(), None, "an address is no name (RFC 6066 §3)");
}

// Fails when a client without a certificate that counts gets anything, when it is told anything but 5, when it keeps trying, or
// when the log does not say who came.
#[test]
fn clients_must_show_a_certificate_where_there_is_an_authority() {
    let (authority, other) = (Authority::new("clients").unwrap(), Authority::new("others").unwrap());
    let mut lab = Lab::without_server(FILES);
    let roots = put_authority(&lab, "clients", &authority);
    lab.start_server_with("127.0.0.1", 0, &["--client-ca", &roots, "-v"]);
    let known = authority.sign(Subject::new("laptop \u{1b}[2J", &[])).unwrap();
    let (certificate, key) = put(&lab, "known", &known);
    let show = |command: &str, certificate: &str, key: &str| {
        run(&mut lab.client([command, "a", "--client-cert", certificate, "--client-key", key]))
    };
    show("list", &certificate, &key).ends_with(0);
    show("get", &certificate, &key).ends_with(0);
    assert_eq!(lab.saved("a"), b"first");
    run(lab.client(["list"]).env("QFS_CLIENT_CERT", &certificate).env("QFS_CLIENT_KEY", &key)).ends_with(0);
    run(lab
        .client(["get", "a", "--connections", "3", "--overwrite", "--checksum"])
        .env("QFS_CLIENT_CERT", &certificate)
        .env("QFS_CLIENT_KEY", &key))
    .ends_with(0);

    for args in [&["list"][..], &["get", "a", "--save-dir", "other"], &["get", "--all", "--parallel"]] {
        lab.run(args).ends_with(5).complains("the server wants one, and none was shown", "--client-cert");
    }
    assert!(!lab.home().join("other/a").exists());
    let (foreign, foreign_key) = put(&lab, "foreign", &other.sign(Subject::new("x", &[])).unwrap());
    show("list", &foreign, &foreign_key).ends_with(5).complains("does not know who issued it", "--client-cert");
    let (own, own_key) = put(&lab, "own", &self_signed(Subject::new("x", &[])).unwrap());
    show("list", &own, &own_key).ends_with(5);
    let expired = Subject { expired: true, ..Subject::new("x", &[]) };
    let (late, late_key) = put(&lab, "late", &authority.sign(expired).unwrap());
    show("list", &late, &late_key).ends_with(5).complains("it has expired", "--client-cert");

    let said = lab.server().said();
    assert!(said.contains("only clients with a certificate"), "{said}");
    let fingerprint = Identity::from_pem(known.key.as_bytes(), known.certificate.as_bytes()).unwrap().fingerprint();
    // Escaped as everywhere, and then quoted as a field of the log is.
    assert!(said.contains(r"CN=laptop \\u{1b}[2J") && said.contains(&fingerprint.to_string()), "{said}");
}

// Fails when one file without the other, or a key that others can read, is taken.
#[test]
fn half_a_client_certificate_is_a_mistake() {
    let lab = Lab::new(FILES);
    let (certificate, key) = put(&lab, "c", &self_signed(Subject::new("x", &[])).unwrap());
    lab.run(["list", "--client-cert", &certificate]).ends_with(2).complains("--client-key", "");
    lab.run(["list", "--client-key", &key]).ends_with(2).complains("--client-cert", "");
    // A server that does not ask is not shown it.
    lab.run(["list", "--client-cert", &certificate, "--client-key", &key]).ends_with(0);
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o640)).unwrap();
    let done = lab.run(["list", "--client-cert", &certificate, "--client-key", &key]).ends_with(7);
    done.complains("can be read by others", "chmod 600");
}
