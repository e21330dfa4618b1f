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
