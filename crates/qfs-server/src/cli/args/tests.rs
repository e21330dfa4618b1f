//! The definitions are sound, and what they read.

use super::*;

fn parse(line: &str) -> Result<Args, clap::Error> {
    Args::try_parse_from(line.split_whitespace())
}

#[test]
fn the_definition_is_sound() {
    use clap::CommandFactory;
    Args::command().debug_assert();
}

#[test]
fn times_as_people_write_them() {
    let drain = |text: &str| parse(&format!("qfs-server --drain-timeout {text}")).map(|args| args.drain_timeout);
    for (text, millis) in [("30", 30_000), ("30s", 30_000), ("500ms", 500), ("1.5s", 1500), ("2m", 120_000), ("0", 0)] {
        assert_eq!(drain(text).ok(), Some(Duration::from_millis(millis)), "{text}");
    }
    for text in ["", "s", "30h", "1e3", "-1", "∞", "25000m", "1..2"] {
        assert!(drain(text).is_err(), "{text}");
    }
}

#[test]
fn sizes_as_people_write_them() {
    let memory = |text: &str| parse(&format!("qfs-server --buffer-memory {text}")).map(|args| args.buffer_memory);
    for (text, bytes) in [("64M", 64 << 20), ("1g", 1 << 30), ("2048k", 2 << 20), ("1048576", 1 << 20)] {
        assert_eq!(memory(text).ok(), Some(bytes), "{text}");
    }
    for text in ["0", "M", "1K", "1.5G", "-1", "99999999999999G", "64MB"] {
        assert!(memory(text).is_err(), "{text}");
    }
}

#[test]
fn end_points_follow_the_machine_unless_told() {
    let usual = [1, 2, 3, 4, 7, 8, 16, 128].map(usual_endpoints);
    assert_eq!(usual, [1, 1, 1, 2, 3, 4, 8, 8]);
    assert_eq!(parse("qfs-server --endpoints 3").map(|args| args.endpoints()).ok(), Some(3));
}

#[test]
fn nonsense_is_refused() {
    for bad in [
        "--ip host",
        "--port 65536",
        "--congestion reno",
        "--sandbox on",
        "--tcp yes",
        "--log-format xml",
        "--mtu 1199",
        "--max-connections 0",
        "--endpoints 0",
        "--endpoints 65",
        "-q -v",
        "x",
    ] {
        assert!(parse(&format!("qfs-server {bad}")).is_err(), "{bad}");
    }
    assert_eq!(parse("qfs-server --congestion bbr").map(|args| args.congestion()).ok(), Some(Congestion::Bbr));
}
