//! SIGTERM while files are being fetched.

use crate::lab::{Lab, finish, noise, slow_link, wait_for_bytes};
use crate::tally::{Tally, count, seed};

/// Promise: what is under way finishes, the server ends with 0, and new clients are turned away at once.
///
/// Fails when: `Server::serve` closes the end point at the first signal; the drain waits for idle connections too.
#[test]
fn a_server_that_is_told_to_stop_finishes_what_it_does() {
    let total = count("drains", 2);
    let mut random = fastrand::Rng::with_seed(seed() ^ 0x11);
    let content = noise(seed() ^ 11, 8 << 20);
    let mut lab = Lab::serving(&[("large", &content)]);
    let mut tally = Tally::new("drains", total);
    for _ in 0..total {
        lab.clear();
        let proxy = slow_link(lab.address(), 100_000_000);
        let mut child = lab.client(proxy.addr(), &["get", "large", "--json"]).spawn().unwrap();
        wait_for_bytes(&proxy, 0, random.u64(100_000..content.len() as u64 / 2), &mut child);
        assert!(lab.server_mut().terminate().unwrap().success());
        let done = finish(child).ends_with(0);
        assert_eq!(done.one_file(), ("downloaded".to_owned(), content.len() as u64), "{done:?}");
        assert!(lab.saved_file("large").as_deref() == Some(&content[..]));
        assert_eq!(lab.run(&["list"]).code, Some(3));
        lab.start();
        tally.note("finished");
    }
    tally.end("server exit 0, nothing cut");
}
