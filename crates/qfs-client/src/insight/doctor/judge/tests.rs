//! Each planted fault, and the one finding that names it.

use qfs_core::model::Fingerprint;
use qfs_transport::SocketBuffers;

use super::*;
use crate::config::ServerAddress;

/// Everything as it should be.
fn healthy() -> Examination {
    let took = Duration::from_millis(3);
    Examination {
        server: ServerAddress { host: "192.0.2.7".to_owned(), port: 8000 },
        addresses: Ok(vec!["192.0.2.7".parse().unwrap()]),
        udp: Some(Reach::Reached { took }),
        tcp: Some(Reach::Reached { took }),
        access: Some(Access::Listed { files: 3 }),
        path: Some(Path {
            round_trip: Duration::from_millis(2),
            probes: 400,
            lost: 0,
            payload: 1452,
            buffers: Some(SocketBuffers { wanted: 4 << 20, send: 4 << 20, receive: 4 << 20 }),
        }),
        down: Ok(Rate { bytes: 100 << 20, elapsed: Duration::from_secs(1) }),
        up: Ok(Rate { bytes: 20 << 20, elapsed: Duration::from_secs(2) }),
        disk: Ok(Disk { rate: Rate { bytes: 500 << 20, elapsed: Duration::from_secs(1) }, free: 100 << 30 }),
        segments: Some(64),
    }
}

/// What is not as it should be.
fn wrong(examination: &Examination) -> Vec<(&'static str, Level)> {
    let found = findings(examination);
    assert!(found.iter().all(|f| (f.level > Level::Ok) == f.advice.is_some()), "{found:?}");
    found.iter().filter(|f| f.level > Level::Ok).map(|f| (f.check, f.level)).collect()
}

/// What a fault makes of the measurements, and what is to be said about it.
type Fault = (&'static str, Box<dyn Fn(&mut Examination)>, &'static str, Level, Ending);

fn unreached(udp: Reach, tcp: Reach) -> Box<dyn Fn(&mut Examination)> {
    Box::new(move |e| {
        (e.udp, e.tcp, e.access, e.path) = (Some(udp.clone()), Some(tcp.clone()), None, None);
        e.down = Err("the server was not reached".to_owned());
    })
}

fn faults() -> Vec<Fault> {
    let key = |seed: &str| Fingerprint::of_public_key(seed.as_bytes());
    let wrong_key = |from_store| Reach::WrongKey { expected: key("a"), presented: key("b"), from_store };
    let path = |change: fn(&mut Path)| -> Box<dyn Fn(&mut Examination)> {
        Box::new(move |e| change(e.path.as_mut().unwrap()))
    };
    let (warning, error, reached) = (Level::Warning, Level::Error, Ending::Reached);
    let none = Ending::Unreachable;
    let took = Duration::from_millis(3);
    vec![
        (
            "name",
            Box::new(|e| {
                e.addresses = Err("no such host".to_owned());
                (e.udp, e.tcp, e.access, e.path) = (None, None, None, None);
            }),
            "name",
            error,
            none,
        ),
        ("udp blocked", Box::new(|e| (e.udp, e.path) = (Some(Reach::Silent), None)), "udp", warning, reached),
        ("udp not forwarded", Box::new(|e| (e.udp, e.path) = (Some(Reach::Refused), None)), "udp", warning, reached),
        ("silent", unreached(Reach::Silent, Reach::Silent), "reach", error, none),
        ("wrong port", unreached(Reach::Refused, Reach::Refused), "reach", error, none),
        ("wrong port, firewall", unreached(Reach::Silent, Reach::Refused), "reach", error, none),
        ("wrong key", unreached(wrong_key(false), wrong_key(false)), "trust", error, Ending::Untrusted),
        ("changed key", unreached(wrong_key(true), wrong_key(true)), "trust", error, Ending::Untrusted),
        (
            "unknown",
            unreached(Reach::Unknown { presented: key("b") }, Reach::Unknown { presented: key("b") }),
            "trust",
            error,
            Ending::Untrusted,
        ),
        (
            "certificate",
            unreached(Reach::CertificateRefused("x".into()), Reach::CertificateRefused("x".into())),
            "certificate",
            error,
            Ending::Refused,
        ),
        ("token", Box::new(|e| e.access = Some(Access::Denied("x".into()))), "access", error, reached),
        ("far", path(|p| p.round_trip = Duration::from_millis(180)), "round-trip", warning, reached),
        ("lossy", path(|p| p.lost = 8), "loss", warning, reached),
        ("tunnel", path(|p| p.payload = 1252), "mtu", warning, reached),
        ("small buffers", path(|p| p.buffers.as_mut().unwrap().receive = 212_992), "socket-buffers", warning, reached),
        ("no gso", Box::new(|e| e.segments = Some(1)), "gso", warning, reached),
        ("full disk", Box::new(|e| e.disk = Err(DiskTrouble::Full)), "disk", error, reached),
        ("read-only", Box::new(|e| e.disk = Err(DiskTrouble::Unwritable("read-only".into()))), "disk", error, reached),
        (
            "slow disk",
            Box::new(move |e| {
                let elapsed = Duration::from_secs(1);
                e.disk = Ok(Disk { rate: Rate { bytes: 50 << 20, elapsed }, free: 100 << 30 });
            }),
            "disk",
            warning,
            reached,
        ),
        (
            "no tcp beside another server",
            Box::new(move |e| (e.udp, e.tcp) = (Some(Reach::Reached { took }), Some(Reach::OtherProtocol))),
            "tcp",
            error,
            reached,
        ),
    ]
}

#[test]
fn nothing_is_found_where_nothing_is_wrong() {
    assert_eq!(wrong(&healthy()), []);
    assert_eq!(ending(&healthy()), Ending::Reached);
    let mut closed = healthy();
    closed.tcp = Some(Reach::Refused);
    assert_eq!(wrong(&closed), []);
}

#[test]
fn each_fault_is_named_and_nothing_else_is() {
    for (fault, plant, check, level, end) in faults() {
        let mut examination = healthy();
        plant(&mut examination);
        assert_eq!(wrong(&examination), [(check, level)], "{fault}");
        assert_eq!(ending(&examination), end, "{fault}");
    }
}

#[test]
fn faults_that_come_together_are_all_named() {
    let mut examination = healthy();
    let path = examination.path.as_mut().unwrap();
    (path.lost, path.payload) = (40, 1200);
    examination.disk = Err(DiskTrouble::Full);
    assert_eq!(wrong(&examination), [("loss", Level::Warning), ("mtu", Level::Warning), ("disk", Level::Error)]);
}

#[test]
fn no_time_is_none_at_all() {
    let mut examination = healthy();
    examination.path.as_mut().unwrap().round_trip = Duration::from_micros(40);
    let found = findings(&examination);
    let round_trip = found.iter().find(|f| f.check == "round-trip").unwrap();
    assert_eq!(round_trip.what, "a round trip takes less than 0.1 ms");
    examination.udp = Some(Reach::Silent);
    let found = findings(&examination);
    let udp = found.iter().find(|f| f.check == "udp").unwrap();
    assert!(udp.advice.as_ref().unwrap().contains("packets of 1228 bytes"), "{udp:?}");
}

#[test]
fn what_is_not_known_is_not_said() {
    let mut examination = healthy();
    examination.down = Err("no file is large enough".to_owned());
    let found = findings(&examination);
    let rate = found.iter().find(|f| f.check == "rate-down").unwrap();
    assert_eq!((rate.level, rate.what.as_str()), (Level::Ok, "not measured: no file is large enough"));
}
