//! Several servers that mean well and are gone, busy or slow: what has come is kept, and what one of them has is had.

use qfs_testkit::udp_proxy::UdpProxy;

use super::{DYING, LINK, client};
use crate::lab::{Lab, finish, noise, run, slow_link, wait_for_bytes};
use crate::tally::seed;

/// Fails when what has been fetched is deleted because no server is left, so that the next run begins anew.
#[test]
fn what_is_here_is_kept_when_all_are_gone() {
    let content = noise(seed() ^ 0xe6, DYING);
    let mut labs = [(); 2].map(|()| Lab::serving(&[("large", &content)]));
    let proxies: Vec<UdpProxy> = labs.iter().map(|lab| slow_link(lab.address(), LINK)).collect();
    let servers: Vec<_> = proxies.iter().map(UdpProxy::addr).collect();
    let args = ["get", "large", "--json", "--retry-timeout", "1s"];
    let mut child = client(&labs[0], &servers, &args).spawn().unwrap();
    wait_for_bytes(&proxies[0], 0, DYING as u64 / 4, &mut child);
    labs.iter_mut().for_each(|lab| lab.server_mut().kill().unwrap());
    let done = finish(child).ends_with(3);
    assert_eq!(labs[0].partials().len(), 1, "{done:?}");

    labs.iter_mut().for_each(Lab::crash_and_restart);
    let done = run(&mut client(&labs[0], &servers, &args)).ends_with(0);
    let (status, bytes) = done.one_file();
    assert!(status == "resumed" && bytes < DYING as u64 * 15 / 16, "{done:?}");
    assert!(labs[0].saved_file("large").as_deref() == Some(&content[..]), "{done:?}");
    assert!(labs[0].partials().is_empty(), "{:?}", labs[0].partials());
}
