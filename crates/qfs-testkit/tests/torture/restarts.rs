//! The server is killed in the middle of a transfer and started again.

use crate::lab::{Lab, finish, noise, slow_link, wait_for_bytes};
use crate::tally::{Tally, count, seed};

const SIZE: usize = 16 << 20;

/// Promise: a server crash costs a retry, made by the client itself, and at most a tenth of the bytes come again.
///
/// Fails when: `Session::renew` gives up at once (exit 3); `Download::attempt` drops the partial state on a lost connection
/// (all bytes before the crash come again); the stateless reset key is random per start and the idle time-out longer than
/// the watchdog.
#[test]
fn a_crashed_server_costs_a_retry() {
    let total = count("restarts", 2);
    let mut random = fastrand::Rng::with_seed(seed() ^ 0xb);
    let content = noise(seed() ^ 2, SIZE);
    let mut lab = Lab::serving(&[("large", &content)]);
    let proxy = slow_link(lab.address(), 200_000_000);
    let mut tally = Tally::new("restarts", total);
    let mut worst = 0.0_f64;
    for _ in 0..total {
        lab.clear();
        let before = proxy.stats().to_client.forwarded_bytes;
        let mut child = lab.client(proxy.addr(), &["get", "large", "--json"]).spawn().unwrap();
        let moment = random.u64(SIZE as u64 / 20..SIZE as u64 * 9 / 10);
        wait_for_bytes(&proxy, before, moment, &mut child);
        let was_running = child.try_wait().unwrap().is_none();
        lab.crash_and_restart();
        let done = finish(child).ends_with(0);
        assert!(lab.saved_file("large").as_deref() == Some(&content[..]), "{done:?}");
        let (status, received) = done.one_file();
        assert_eq!(status, "downloaded", "{done:?}");
        let resent = (received - SIZE as u64) as f64 / SIZE as f64;
        assert!(resent <= 0.10, "{resent:.3} of the bytes came again: {done:?}");
        worst = worst.max(resent);
        tally.note(if was_running { "reconnected" } else { "finished too early" });
    }
    assert!(tally.of("reconnected") > 0, "no crash came in time");
    tally.end(&format!("at most {:.1} % resent", worst * 100.0));
}

/// Promise: the same for many small files, which share streams: what was committed does not come again.
///
/// Fails when: a batch that lost its connection asks again for what it has; a file is told twice or not at all
/// (`batch::Fetch::settle`, `Scheduler::tell`).
#[test]
fn a_crash_among_small_files_costs_a_retry() {
    const FILES: u64 = 2000;
    const BYTES: usize = 8 << 10;
    let total = count("restarts_small", 2);
    let mut random = fastrand::Rng::with_seed(seed() ^ 0xc);
    let mut lab = Lab::new();
    for n in 0..FILES {
        lab.publish(&format!("d{}/{n}", n % 20), &noise(seed() ^ n, BYTES));
    }
    lab.start();
    let proxy = slow_link(lab.address(), 200_000_000);
    let mut tally = Tally::new("restarts_small", total);
    let mut worst = 0.0_f64;
    for round in 0..total {
        lab.clear();
        let mode = if round % 2 == 0 { &["--parallel"][..] } else { &[] };
        let args = [&["get", "--all", "--json"], mode].concat();
        let before = proxy.stats().to_client.forwarded_bytes;
        let mut child = lab.client(proxy.addr(), &args).spawn().unwrap();
        let size = FILES * BYTES as u64;
        wait_for_bytes(&proxy, before, random.u64(size / 20..size * 9 / 10), &mut child);
        let was_running = child.try_wait().unwrap().is_none();
        lab.crash_and_restart();
        let done = finish(child).ends_with(0);
        let report = done.json();
        let files = report["files"].as_array().unwrap();
        assert_eq!(files.len() as u64, FILES);
        assert!(files.iter().all(|file| file["status"] == "downloaded"), "{done:?}");
        for n in 0..FILES {
            let saved = lab.saved_file(&format!("d{}/{n}", n % 20));
            assert!(saved == Some(noise(seed() ^ n, BYTES)), "{n}");
        }
        let carried = (proxy.stats().to_client.forwarded_bytes - before) as f64 / size as f64;
        worst = worst.max(carried);
        tally.note(if was_running { "reconnected" } else { "finished too early" });
    }
    assert!(tally.of("reconnected") > 0, "no crash came in time");
    // Records, the listing and packet headers are some 8 %, what was under way at the crash some MiB.
    assert!(worst < 1.6, "the link carried {worst:.2} times the files");
    tally.end(&format!("the link carried at most {worst:.2} times the files"));
}
