//! CLI.md, "qfs-client doctor". What needs a network of its own, `scripts/doctor-check.sh` plants.

use qfs_core::wire::{RemoteError, Request, StatusCode, encode, frame};
use qfs_testkit::certificates::{Authority, Subject};
use qfs_testkit::hostile_server::{HostileServer, Step};

use crate::certificates::{put, put_authority};
use crate::support::{Done, Lab, noise, run};

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

fn line<'a>(done: &'a Done, check: &str) -> &'a str {
    done.out.lines().find(|line| line.split_whitespace().nth(1) == Some(check)).unwrap_or_else(|| panic!("{done:?}"))
}

// Fails when a rate is that of something else than what arrives, needs the right to write, or leaves something on the server.
#[test]
fn rates_are_measured_both_ways_of_a_server_that_is_only_read() {
    let mut lab = Lab::without_server(&[("large", &noise(3 << 20))]);
    lab.start_server_with("127.0.0.1", 0, &["--limit", "off,1M"]);
    let ticket = lab.server().ticket().to_owned();
    for way in ["udp", "tcp"] {
        let done = lab.run(["doctor", &ticket, "--json", "--transport", way]).ends_with(0);
        let rate = |name: &str| done.json()["measured"][name].as_f64().unwrap_or_else(|| panic!("{done:?}"));
        // What a limit lets through at once is on top; nothing slower than it is expected of a busy machine.
        assert!((1.0..3.0 * 1024.0 * 1024.0).contains(&rate("up_bytes_per_second")), "{done:?}");
        assert!(rate("down_bytes_per_second") > 1.0, "{done:?}");
    }
    assert!(line(&lab.run(["doctor", &ticket]).ends_with(0), "rate-up").contains("MiB/s"));
    let list = lab.run(["list", "--server", &ticket, "--json"]).ends_with(0);
    assert_eq!(list.json().as_object().unwrap().len(), 1, "{list:?}");
}

// Fails when a server of before the command, or one that lies about it, is more than a line that says so.
#[test]
fn a_server_that_cannot_tell_the_rate_up_is_no_fault() {
    let told = |json: &str| vec![Step::Send(frame(json.as_bytes()).unwrap()), Step::Finish];
    let old = vec![
        Step::Send(encode(&RemoteError::new(StatusCode::UNKNOWN_COMMAND, "unknown command")).unwrap()),
        Step::Finish,
    ];
    let lie = told(r#"{"code":0,"bytes":18446744073709551615,"micros":1}"#);
    let nothing = told(r#"{"code":0,"bytes":0,"micros":0}"#);
    for (answer, said) in
        [(old, "an older version"), (lie, "more than was sent"), (nothing, "too little"), (Vec::new(), "not measured")]
    {
        let lab = Lab::without_server(&[]);
        let empty = [told(r#"{"code":0}"#)[..1].to_vec(), told(r#"{"files":[],"end":{"count":0}}"#)].concat();
        let server = HostileServer::start(move |request| match request {
            Request::Measure(_) => answer.clone(),
            _ => empty.clone(),
        });
        let server = server.unwrap();
        let ticket = format!("qfs://{}#{}", server.address(), server.fingerprint());
        let done = run(lab.bare().args(["doctor", &ticket, "--json"])).ends_with(0);
        assert!(done.json()["measured"]["up_bytes_per_second"].is_null(), "{done:?}");
        let findings = done.json()["findings"].as_array().unwrap().clone();
        let up = findings.iter().find(|finding| finding["check"] == "rate-up").unwrap();
        assert_eq!(up["level"], "ok", "{said}: {done:?}");
        assert!(up["message"].as_str().unwrap().contains(said), "{said}: {done:?}");
    }
}
