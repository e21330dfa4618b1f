//! Measurements of transfers, and the one limit that each shows.

use super::*;

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// A run of two seconds over a path of 40 ms at 400 Mbit/s, in which nothing stands out.
fn calm() -> Measurements {
    Measurements {
        elapsed: ms(2000),
        bytes: 100_000_000,
        files: 1,
        at_once: 1,
        stages: StageTimes {
            receiving: ms(2000),
            network: ms(1700),
            store: ms(10),
            writing: ms(100),
            hashing: ms(60),
            committing: Duration::ZERO,
            bytes: 100_000_000,
            late_bytes: 0,
        },
        way: Way::Udp,
        min_rtt: ms(40),
        mean_rtt: ms(41),
        payload: 1452,
        blocked: 1,
        socket_drops: 0,
        short_buffers: false,
        network_cpu: ms(400),
        process_cpu: ms(600),
        processors: 4,
        idle: Some(0.7),
        unsteadiness: Some(0.1),
    }
}

fn near() -> Measurements {
    Measurements { min_rtt: Duration::from_micros(200), mean_rtt: Duration::from_micros(300), ..calm() }
}

fn stages(change: impl FnOnce(&mut StageTimes)) -> StageTimes {
    let mut stages = calm().stages;
    change(&mut stages);
    stages
}

/// A row for each thing that can be the limit, and for each that must not be taken for it. A threshold that is moved, a
/// judge that is asked in another turn or left out makes one of them fail.
#[test]
#[allow(clippy::too_many_lines, reason = "a table")]
fn every_limit_is_told_by_its_figures() {
    let half_lost = stages(|s| s.late_bytes = 1_000_000);
    let rows = [
        ("steady, nothing else", calm(), Limit::Path, "steady rate"),
        ("nothing came", Measurements { bytes: 0, ..calm() }, Limit::Unknown, "nothing came"),
        ("over at once", Measurements { elapsed: ms(20), ..near() }, Limit::Unknown, "over in 20 ms"),
        (
            "many small files, one after another",
            Measurements { files: 100, bytes: 100_000, elapsed: ms(4200), ..calm() },
            Limit::Latency,
            "round trips of 40 ms",
        ),
        (
            "as many at once: not the round trips",
            Measurements { files: 1000, at_once: 1000, bytes: 100_000_000, ..calm() },
            Limit::Path,
            "steady",
        ),
        (
            "a small file, far away",
            Measurements { bytes: 50_000, elapsed: ms(150), ..calm() },
            Limit::Latency,
            "of the time",
        ),
        ("drops here", Measurements { socket_drops: 500, ..calm() }, Limit::SocketDrops, "500 packets"),
        ("a drop or two are none", Measurements { socket_drops: 5, ..calm() }, Limit::Path, "steady"),
        (
            "drops come before the loss they look like",
            Measurements { socket_drops: 500, stages: half_lost, ..calm() },
            Limit::SocketDrops,
            "dropped",
        ),
        (
            "the disk",
            Measurements { stages: stages(|s| (s.store, s.writing) = (ms(1200), ms(2000))), ..near() },
            Limit::ReceiverDisk,
            "60 % of the time for writes",
        ),
        (
            "the disk holds the window shut: still the disk",
            Measurements { stages: stages(|s| (s.store, s.writing) = (ms(1200), ms(2000))), blocked: 10_000, ..near() },
            Limit::ReceiverDisk,
            "writes",
        ),
        (
            "writes that only the processor holds up",
            Measurements {
                stages: stages(|s| (s.store, s.writing) = (ms(1200), ms(1500))),
                idle: Some(0.01),
                process_cpu: ms(4000),
                ..near()
            },
            Limit::ReceiverCpu,
            "all processors",
        ),
        (
            "hashing",
            Measurements { stages: stages(|s| (s.store, s.hashing) = (ms(1200), ms(1500))), ..near() },
            Limit::ReceiverCpu,
            "SHA-256",
        ),
        (
            "committing small files",
            Measurements { files: 9000, at_once: 64, stages: stages(|s| s.committing = ms(7000)), ..near() },
            Limit::ReceiverDisk,
            "small files took 88 %",
        ),
        ("the network thread", Measurements { network_cpu: ms(1900), ..near() }, Limit::ReceiverCpu, "95 %"),
        (
            "a machine busy with others is not this program's limit",
            Measurements { idle: Some(0.0), process_cpu: ms(200), ..calm() },
            Limit::Path,
            "steady",
        ),
        ("our window", Measurements { blocked: 20, ..calm() }, Limit::FlowControl, "20 times"),
        ("loss that is borne", Measurements { stages: half_lost, ..calm() }, Limit::Path, "1.0 % of the bytes"),
        (
            "loss that cuts the window",
            Measurements {
                bytes: 1_000_000,
                stages: stages(|s| (s.bytes, s.late_bytes) = (1_000_000, 10_000)),
                ..calm()
            },
            Limit::CongestionWindow,
            "cut at each loss",
        ),
        ("a full queue", Measurements { mean_rtt: ms(90), ..calm() }, Limit::Path, "90 ms, 40 ms when"),
        (
            "a queue with its own losses",
            Measurements { mean_rtt: ms(90), bytes: 1_000_000, stages: half_lost, ..calm() },
            Limit::Path,
            "a queue stood",
        ),
        (
            "still growing",
            Measurements { elapsed: ms(700), bytes: 1_000_000, ..calm() },
            Limit::CongestionWindow,
            "still growing",
        ),
        ("a server that is near", near(), Limit::Sender, "the server is near"),
        ("unevenly, far", Measurements { unsteadiness: Some(0.9), ..calm() }, Limit::Sender, "unevenly"),
    ];
    for (what, measured, limit, part) in rows {
        let verdict = bottleneck(&measured);
        assert_eq!(verdict.limit, limit, "{what}: {verdict:?}");
        assert!(verdict.because.contains(part), "{what}: {verdict:?}");
    }
}

#[test]
fn the_way_is_told() {
    for m in [calm(), Measurements { bytes: 0, ..calm() }] {
        assert_eq!(bottleneck(&Measurements { way: Way::Tcp, ..m }).way, Way::Tcp);
        assert_eq!(bottleneck(&m).way, Way::Udp);
    }
}

#[test]
fn hints_name_what_would_help() {
    let hint = |m: Measurements| bottleneck(&m).hint.unwrap_or_default();
    let dropping = Measurements { socket_drops: 500, ..calm() };
    assert!(hint(Measurements { short_buffers: true, ..dropping }).contains("net.core.rmem_max"));
    assert!(!hint(dropping).contains("sysctl"));
    assert!(hint(Measurements { network_cpu: ms(1900), ..near() }).contains("MTU"));
    assert_eq!(hint(Measurements { network_cpu: ms(1900), payload: 6500, ..near() }), "");
    assert!(hint(Measurements { files: 1000, bytes: 9000, elapsed: ms(41_000), ..calm() }).contains("--parallel"));
}
