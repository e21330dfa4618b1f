//! `qfs-server --announce` and `qfs-client discover`, over this machine's loopback interface.

use crate::support::Lab;

#[test]
fn a_server_that_announces_itself_is_found_and_its_ticket_works() {
    let mut lab = Lab::without_server(&[("hello.txt", b"hello")]);
    lab.start_server_with("127.0.0.1", 0, &["--announce=lab \u{1b}[2Jname"]);
    let ticket = lab.server().ticket().to_owned();
    let address = lab.server().address().to_string();
    let done = lab.run(["discover", "--for", "3s"]).ends_with(0);
    let line = done.out.lines().find(|line| line.ends_with(&ticket)).unwrap_or_else(|| panic!("{done:?}"));
    assert_eq!(line, format!("lab \\u{{1b}}[2Jname  {address}  {ticket}"));
    assert!(done.err.contains("compare the fingerprint"), "{}", done.err);
    let json = lab.run(["discover", "--for=3s", "--json", "-q"]).ends_with(0).json();
    let servers = json["servers"].as_array().unwrap();
    let own = servers.iter().find(|server| server["ticket"] == *ticket).unwrap();
    assert_eq!((&own["name"], &own["address"]), (&"lab \u{1b}[2Jname".into(), &address.into()));
    crate::support::run(lab.bare().args(["--server", own["ticket"].as_str().unwrap(), "get", "hello.txt"]))
        .ends_with(0);
    assert_eq!(lab.saved("hello.txt"), b"hello");
}

#[test]
fn who_does_not_announce_is_not_found() {
    let lab = Lab::new(&[]);
    let ticket = lab.server().ticket().to_owned();
    let done = lab.run(["discover", "--for", "1s"]).ends_with(0);
    assert!(!done.out.contains(&ticket), "{done:?}");
    lab.run(["discover", "--for", "0"]).ends_with(2);
}
