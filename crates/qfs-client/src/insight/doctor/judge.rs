//! Measurements in, findings out. Pure.

use std::time::Duration;

use super::{Access, Disk, DiskTrouble, Examination, Finding, Level, Path, Rate, Reach};

/// From this round trip on, steps that wait for one another are felt.
const LONG_ROUND_TRIP: Duration = Duration::from_millis(100);

/// Share of lost packets from which on a path is called lossy.
const LOSSY: f64 = 0.005;

/// UDP payload in bytes below which a tunnel or the like is on the path: Ethernet carries 1,472.
const SMALL_PAYLOAD: u16 = 1400;

/// Bytes of the smallest IPv4 packet that QUIC's 1,200 bytes of payload need (RFC 9000 §14): on a path with a smaller MTU nothing answers.
const LEAST_PACKET: u16 = 1228;

/// Free bytes below which a disk is called nearly full.
const LITTLE_ROOM: u64 = 1 << 30;

/// Bytes a second below which a disk is called slow, however slow the network is.
const SLOW_DISK: f64 = 10e6;

/// How the examination ends the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The server was reached.
    Reached,
    /// It was not.
    Unreachable,
    /// It was, and is not trusted.
    Untrusted,
    /// It was, and wants a certificate of this client.
    Refused,
}

/// What the examination comes to.
#[must_use]
pub fn ending(examination: &Examination) -> Ending {
    let ways = || [&examination.udp, &examination.tcp].into_iter().flatten();
    let is_distrust =
        |reach: &&Reach| matches!(reach, Reach::WrongKey { .. } | Reach::Unknown { .. } | Reach::Distrusted(_));
    if ways().any(|reach| matches!(reach, Reach::Reached { .. })) {
        Ending::Reached
    } else if ways().any(|reach| is_distrust(&reach)) {
        Ending::Untrusted
    } else if ways().any(|reach| matches!(reach, Reach::CertificateRefused(_))) {
        Ending::Refused
    } else {
        Ending::Unreachable
    }
}

/// What was found, in the order in which things are looked at.
#[must_use]
pub fn findings(examination: &Examination) -> Vec<Finding> {
    let mut found = vec![name(examination)];
    if let (Some(udp), Some(tcp)) = (&examination.udp, &examination.tcp) {
        found.extend(ways(examination, udp, tcp));
    }
    found.extend(examination.access.as_ref().map(access));
    if let Some(path) = &examination.path {
        found.extend([round_trip(path), loss(path), mtu(path)]);
        found.extend(path.buffers.map(buffers));
    }
    found.extend(examination.segments.map(segments));
    found.extend(rates(examination));
    found.push(disk(&examination.disk, examination.down.as_ref().ok()));
    found
}

fn finding(check: &'static str, level: Level, what: impl Into<String>) -> Finding {
    Finding { check, level, what: what.into(), advice: None }
}

fn ok(check: &'static str, what: impl Into<String>) -> Finding {
    finding(check, Level::Ok, what)
}

impl Finding {
    fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }
}

fn name(examination: &Examination) -> Finding {
    let host = &examination.server.host;
    match &examination.addresses {
        Ok(addresses) => {
            let list: Vec<_> = addresses.iter().map(ToString::to_string).collect();
            ok(
                "name",
                if list == [host.clone()] {
                    format!("{host} is an address")
                } else {
                    format!("{host} is {}", list.join(", "))
                },
            )
        }
        Err(why) => finding("name", Level::Error, format!("the name {host} does not resolve: {why}"))
            .advise("check how the name is spelled, and this machine's DNS (/etc/resolv.conf)"),
    }
}

/// Both ways, judged together: what one says explains the other.
fn ways(examination: &Examination, udp: &Reach, tcp: &Reach) -> Vec<Finding> {
    let port = examination.server.port;
    match (udp, tcp) {
        (Reach::Silent, Reach::Reached { took }) => vec![
            finding("udp", Level::Warning, format!("UDP does not get through to port {port}: no answer, though the server is there over TCP"))
                .advise(format!(
                    "have firewalls let UDP port {port} through in both directions, and see whether a tunnel or VPN on the path carries \
                     packets of {LEAST_PACKET} bytes, which QUIC needs; until then qfs goes over TCP, which is slower on long and lossy paths"
                )),
            reached("tcp", *took),
        ],
        (Reach::Refused, Reach::Reached { took }) => vec![
            finding("udp", Level::Warning, format!("nothing listens on UDP port {port}, though the server is there over TCP"))
                .advise("is the port forwarded for TCP only? until then qfs goes over TCP"),
            reached("tcp", *took),
        ],
        (Reach::Silent, Reach::Silent) => vec![
            finding("reach", Level::Error, format!("no answer from {}, over UDP or TCP", examination.server)).advise(format!(
                "is the machine on, and does a firewall let UDP and TCP port {port} through?"
            )),
        ],
        (Reach::Refused | Reach::Silent, Reach::Refused) | (Reach::Refused, Reach::Silent) => vec![
            finding("reach", Level::Error, format!("the machine is there, and nothing listens on port {port}"))
                .advise("is qfs-server running there, and is this its port (--port)?"),
        ],
        (Reach::Reached { took }, Reach::Silent | Reach::Refused) => vec![
            reached("udp", *took),
            ok("tcp", "TCP is closed; it is needed only where UDP does not get through"),
        ],
        (udp, tcp) => {
            let (first, second) = (way(examination, "udp", udp), way(examination, "tcp", tcp));
            // What both say is said once.
            if (first.level, &first.advice) == (second.level, &second.advice) && first.level == Level::Error {
                vec![first]
            } else {
                vec![first, second]
            }
        }
    }
}

fn reached(check: &'static str, took: Duration) -> Finding {
    ok(check, format!("reached over {}, the handshake took {}", check.to_uppercase(), milliseconds(took)))
}

/// One way by itself.
fn way(examination: &Examination, check: &'static str, reach: &Reach) -> Finding {
    let server = &examination.server;
    match reach {
        Reach::Reached { took } => reached(check, *took),
        Reach::Silent => finding(check, Level::Warning, "no answer").advise("does a firewall let it through?"),
        Reach::Refused => finding(check, Level::Warning, "nothing listens there").advise("is the port right?"),
        Reach::WrongKey { expected, presented, from_store } => {
            let advice = if *from_store {
                format!(
                    "somebody may be in between; if whoever runs the server confirms the new key: qfs-client trust replace {server} \
                     {presented}"
                )
            } else {
                "ask whoever runs the server for its ticket or fingerprint; somebody may be in between".to_owned()
            };
            finding("trust", Level::Error, format!("the server's key is {presented}, and it must be {expected}")).advise(advice)
        }
        Reach::Unknown { presented } => {
            finding("trust", Level::Error, format!("the server is not known yet; its key is {presented}")).advise(format!(
                "compare with the fingerprint that the server prints; if it is the same: qfs-client trust add {server} {presented}"
            ))
        }
        Reach::Distrusted(why) => finding("trust", Level::Error, why.as_str())
            .advise("check the address; somebody may be in between, or a certificate is not valid"),
        Reach::CertificateRefused(why) => finding("certificate", Level::Error, why.as_str())
            .advise("name a certificate that the server's authority has signed with --client-cert FILE --client-key FILE"),
        Reach::OtherProtocol => finding(check, Level::Error, format!("port {} answers, and does not speak qfs", server.port))
            .advise("is this the right port, and a qfs-server of this version?"),
        Reach::Failed(why) => finding(check, Level::Error, why.as_str()).advise("try again; -v shows more"),
    }
}

fn access(access: &Access) -> Finding {
    match access {
        Access::Listed { files } => ok("access", format!("the server lists {files} files")),
        Access::Denied(why) => finding("access", Level::Error, format!("the server lets nobody in without a token: {why}")).advise(
            "show a valid token with --token-file FILE or QFS_TOKEN; whoever runs the server makes one: qfs-server token create",
        ),
        Access::Failed(why) => finding("access", Level::Error, format!("the server does not list its files: {why}"))
            .advise("try again later; if it stays, ask whoever runs the server"),
    }
}

fn round_trip(path: &Path) -> Finding {
    let text = format!("a round trip takes {}", milliseconds(path.round_trip));
    if path.round_trip < LONG_ROUND_TRIP {
        return ok("round-trip", text);
    }
    finding("round-trip", Level::Warning, format!("{text}: the server is far away, or a queue on the way is full"))
        .advise("many small files go faster with --parallel; large ones start slowly and then do not mind")
}

fn loss(path: &Path) -> Finding {
    let share = path.lost as f64 / path.probes.max(1) as f64;
    let text = format!("{} of {} packets to the server were lost", path.lost, path.probes);
    if share < LOSSY {
        return ok("loss", text);
    }
    finding("loss", Level::Warning, format!("{text}, {:.1} %", share * 100.0)).advise(
        "look for a weak wireless link, a bad cable or an overloaded line; qfs carries on, and UDP does so better than TCP",
    )
}

fn mtu(path: &Path) -> Finding {
    let text = format!("a packet carries {} bytes", path.payload);
    if path.payload >= SMALL_PAYLOAD {
        return ok("mtu", text);
    }
    finding("mtu", Level::Warning, format!("{text}: something on the path, a tunnel or VPN, has a small MTU"))
        .advise("raise its MTU if it is yours; more packets cost more processor time, nothing else is wrong")
}

fn buffers(buffers: qfs_transport::SocketBuffers) -> Finding {
    let qfs_transport::SocketBuffers { wanted, send, receive } = buffers;
    let text = format!("the kernel grants {} KiB for sending and {} KiB for receiving", send >> 10, receive >> 10);
    if !buffers.are_short() {
        return ok("socket-buffers", text);
    }
    finding("socket-buffers", Level::Warning, format!("{text}; {} KiB are better on fast networks", wanted >> 10))
        .advise(format!("as root: sysctl -w net.core.rmem_max={wanted} net.core.wmem_max={wanted}"))
}

fn segments(segments: usize) -> Finding {
    if segments > 1 {
        return ok("gso", format!("the kernel takes {segments} packets in one call"));
    }
    finding("gso", Level::Warning, "the kernel takes packets one by one (no UDP_SEGMENT)").advise(
        "Linux 4.18 and later can do better; in a virtual machine or container, see how its network is attached",
    )
}

fn rates(examination: &Examination) -> Vec<Finding> {
    if examination.access.is_none() {
        return Vec::new();
    }
    let line = |check, measured: &Result<Rate, String>| match measured {
        Ok(rate) => ok(check, format!("{}, over {}", per_second(*rate), milliseconds(rate.elapsed))),
        Err(why) => ok(check, format!("not measured: {why}")),
    };
    vec![line("rate-down", &examination.down), line("rate-up", &examination.up)]
}

fn disk(disk: &Result<Disk, DiskTrouble>, down: Option<&Rate>) -> Finding {
    let Disk { rate, free } = match disk {
        Ok(disk) => *disk,
        Err(DiskTrouble::Full) => {
            return finding("disk", Level::Error, "there is no room where files are saved")
                .advise("make room, or choose another place with --save-dir");
        }
        Err(DiskTrouble::Unwritable(why)) => {
            return finding("disk", Level::Error, format!("nothing can be written where files are saved: {why}"))
                .advise("choose another place with --save-dir");
        }
        Err(DiskTrouble::Untold(why)) => return ok("disk", format!("not measured: {why}")),
    };
    let text = format!("{} where files are saved, {:.1} GiB free", per_second(rate), free as f64 / f64::from(1 << 30));
    if free < LITTLE_ROOM {
        return finding("disk", Level::Warning, format!("{text}: there is little room"))
            .advise("make room, or choose another place with --save-dir");
    }
    let is_slower = down.is_some_and(|down| down.per_second() > rate.per_second());
    if is_slower || rate.per_second() < SLOW_DISK {
        let than = if is_slower { "slower than the network" } else { "slow" };
        return finding("disk", Level::Warning, format!("{text}: it is {than}"))
            .advise("choose another place with --save-dir");
    }
    ok("disk", text)
}

fn milliseconds(time: Duration) -> String {
    const SHORTEST_SHOWN: Duration = Duration::from_micros(100);
    if time < SHORTEST_SHOWN {
        return "less than 0.1 ms".to_owned();
    }
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

fn per_second(rate: Rate) -> String {
    format!("{:.1} MiB/s", rate.per_second() / f64::from(1 << 20))
}

#[cfg(test)]
mod tests;
