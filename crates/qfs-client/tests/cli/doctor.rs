//! CLI.md, "qfs-client doctor". What needs a network of its own, `scripts/doctor-check.sh` plants.

use qfs_testkit::certificates::{Authority, Subject};

use crate::certificates::{put, put_authority};
use crate::support::{Done, Lab};

const OF_THIS_MACHINE: [&str; 4] = ["loss", "socket-buffers", "gso", "disk"];

/// Check and level of what is not as it should be, but for what this machine and its load make of it.
fn wrong(done: &Done) -> Vec<(String, String)> {
    let said = done.json();
    let findings = said["findings"].as_array().unwrap().iter();
    let pairs = findings.map(|f| (f["check"].as_str().unwrap().to_owned(), f["level"].as_str().unwrap().to_owned()));
    pairs.filter(|(check, level)| level != "ok" && !OF_THIS_MACHINE.contains(&check.as_str())).collect()
}

// Fails when the refusal, which comes behind the handshake, is taken for a server that lists nothing, or when the path of a connection
// that has ended is judged.
#[test]
fn a_server_that_wants_a_certificate_is_told_apart() {
    let (authority, other) = (Authority::new("clients").unwrap(), Authority::new("others").unwrap());
    let mut lab = Lab::without_server(&[("a", b"first")]);
    let roots = put_authority(&lab, "clients", &authority);
    lab.start_server_with("127.0.0.1", 0, &["--client-ca", &roots]);
    let ticket = lab.server().ticket().to_owned();
    let refused = [("certificate".to_owned(), "error".to_owned())];

    let done = lab.run(["doctor", &ticket, "--json"]).ends_with(5);
    assert_eq!(wrong(&done), refused, "{done:?}");
    assert!(done.json()["measured"]["payload_bytes"].is_null(), "{done:?}");
    let done = lab.run(["doctor", &ticket]).ends_with(5);
    let line = done.out.lines().find(|line| line.starts_with("error    certificate")).unwrap();
    assert!(line.contains("none was shown") && line.contains("--client-cert"), "{line}");

    let (certificate, key) = put(&lab, "foreign", &other.sign(Subject::new("x", &[])).unwrap());
    let done = lab.run(["doctor", &ticket, "--json", "--client-cert", &certificate, "--client-key", &key]).ends_with(5);
    assert_eq!(wrong(&done), refused, "{done:?}");
    let (certificate, key) = put(&lab, "known", &authority.sign(Subject::new("x", &[])).unwrap());
    let done = lab.run(["doctor", &ticket, "--json", "--client-cert", &certificate, "--client-key", &key]).ends_with(0);
    assert_eq!(wrong(&done), [], "{done:?}");
}
