//! Several servers that mean well and are gone, busy or slow: what has come is kept, and what one of them has is had.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use qfs_core::wire::Request;
use qfs_testkit::hostile_server::{HostileServer, Step};
use qfs_testkit::udp_proxy::UdpProxy;

use super::{DYING, HONEST_WAIT, LARGE, LINK, SMALL, World, another_file, asked, client, honest, leisurely};
use crate::lab::{Done, Lab, finish, noise, run, slow_link, wait_for_bytes};
use crate::lies::{message, raw};
use crate::tally::seed;

/// An honest server of `f`, but for what is answered by `instead`.
fn server(
    world: &Arc<World>,
    instead: impl Fn(&World, &Request) -> Option<Vec<Step>> + Send + Sync + 'static,
) -> HostileServer {
    let world = Arc::clone(world);
    HostileServer::start(move |request| instead(&world, request).unwrap_or_else(|| honest(&world, request))).unwrap()
}

fn busy() -> Vec<Step> {
    vec![message(r#"{"code":4}"#), Step::Finish]
}

/// Gets `f` from `servers`, which comes.
fn get(world: &World, servers: &[SocketAddr]) -> Done {
    let lab = Lab::new();
    let done = run(&mut client(&lab, servers, &["get", "f", "--json", "--retry-timeout", "1s"])).ends_with(0);
    assert!(lab.saved_file("f").as_deref() == Some(&world.content[..]), "wrong: {done:?}");
    assert!(lab.partials().is_empty(), "{:?}", lab.partials());
    done
}

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

/// Fails when each time that a server was busy counts to the end of the file, though it has sent much of it since.
#[test]
fn a_server_may_be_busy_more_often_the_longer_a_file_is() {
    let world = Arc::new(World::new(noise(seed() ^ 0xe7, LARGE)));
    let servers = [(); 2].map(|()| {
        let questions = AtomicUsize::new(0);
        server(&world, move |world, request| {
            asked(world, request)?;
            questions.fetch_add(1, Ordering::Relaxed).is_multiple_of(2).then(busy)
        })
    });
    let done = get(&world, &servers.each_ref().map(HostileServer::address));
    assert!(!done.err.contains("lied"), "{done:?}");
}

/// Fails when: whichever server answers first says whether a file is a small one or a large one; or one that has a large file in
/// place of the first one's small one is not told of; or one is that has the same.
#[test]
fn the_first_says_whether_a_file_is_small_or_large() {
    let small = Arc::new(World::new(noise(seed() ^ 0xe8, SMALL)));
    let large = Arc::new(World::new(noise(seed() ^ 0xe9, LARGE)));
    // Whatever their names are. Several at once, so that both are asked.
    const NAMES: [&str; 4] = ["a", "b", "c", "d"];
    for (first, second) in [(&large, &large), (&small, &large), (&large, &small)] {
        let (first_one, second_one) = (leisurely(first), server(second, |_, _| None));
        let (lab, servers) = (Lab::new(), [first_one.address(), second_one.address()]);
        let args = [&["get", "--parallel", "--json"], &NAMES[..]].concat();
        let done = run(&mut client(&lab, &servers, &args)).ends_with(0);
        assert!(NAMES.iter().all(|name| lab.saved_file(name).as_deref() == Some(&first.content[..])), "{done:?}");
        let notice = format!("{} has another version of ", second_one.address());
        assert_eq!(done.err.contains(&notice), !Arc::ptr_eq(first, second), "{done:?}");
        assert!(!done.err.contains("lied"), "{done:?}");
    }
}

/// Fails when: a busy server is asked again without a wait, so that it counts as one that has nothing; or one that has nothing ends it.
#[test]
fn a_server_that_is_busy_for_a_moment_is_waited_for() {
    // Named, so that it begins as a small one; listed, so that it begins as a large one.
    for (size, names) in [(SMALL, "f"), (LARGE, "f"), (LARGE, "--all")] {
        let world = Arc::new(World::new(noise(seed() ^ 0xea ^ size as u64, size)));
        let begun = OnceLock::new();
        let busy_one = server(&world, move |_, request| {
            let is_content = matches!(request, Request::Download(_) | Request::ChunkMap(_));
            let is_busy = || begun.get_or_init(Instant::now).elapsed() < Duration::from_secs(1);
            (is_content && is_busy()).then(busy)
        });
        let without = server(&world, |_, request| {
            matches!(request, Request::Download(_)).then(|| vec![message(r#"{"code":3}"#), Step::Finish])
        });
        let (lab, servers) = (Lab::new(), [busy_one.address(), without.address()]);
        let done = run(&mut client(&lab, &servers, &["get", names, "--json", "--retry-timeout", "1s"])).ends_with(0);
        assert!(lab.saved_file("f").as_deref() == Some(&world.content[..]), "{size} {names}: wrong: {done:?}");
    }
}

/// Fails when a server that sends a byte now and then holds what it was asked for in one answer, for as long as it likes.
#[test]
fn a_batch_that_trickles_is_had_from_another() {
    let world = Arc::new(World::new(noise(seed() ^ 0xeb, SMALL)));
    let listed = |world: &World, request: &Request| {
        let Request::GetFilesList(_) = request else { return None };
        let (size, digest) = (world.size(), world.map.whole());
        let file = format!(r#"{{"size":{size},"modified":"2026-11-23T08:09:24Z","sha256":"{digest}"}}"#);
        let page = format!(r#"{{"files":{{"a":{file},"b":{file}}},"end":{{"count":2}}}}"#);
        Some(vec![message(r#"{"code":0}"#), message(&page), Step::Finish])
    };
    let trickling = server(&world, move |world, request| match request {
        Request::DownloadMany(_) => {
            // A record of minutes.
            let Step::Send(bytes) = message(&format!(r#"{{"code":3,"message":"{}"}}"#, "x".repeat(600))) else {
                return None;
            };
            let drops = bytes.chunks(1).flat_map(|byte| [raw(byte), Step::Wait(Duration::from_millis(500))]);
            Some([message(r#"{"code":0}"#)].into_iter().chain(drops).collect())
        }
        request => listed(world, request),
    });
    let other = server(&world, listed);
    let (lab, servers) = (Lab::new(), [trickling.address(), other.address()]);
    let done = run(&mut client(&lab, &servers, &["get", "--all", "--parallel", "--json"])).ends_with(0);
    for name in ["a", "b"] {
        assert!(lab.saved_file(name).as_deref() == Some(&world.content[..]), "{name} is wrong: {done:?}");
    }
    assert!(!done.err.contains("lied"), "{done:?}");
}

/// Fails when an honest server that gives no map of its own is named for what the map of a liar says, or lost with the liar.
#[test]
fn one_without_a_map_is_not_judged_by_that_of_a_liar() {
    let world = Arc::new(World::new(noise(seed() ^ 0xec, LARGE)));
    // The liar is done before the other one is asked for much, or leaves it the time.
    for wait in [Duration::ZERO, HONEST_WAIT] {
        let liar = server(&world, move |world, request| {
            let mut steps = another_file(world, request)?;
            if asked(world, request).is_some() {
                steps.insert(0, Step::Wait(wait));
            }
            Some(steps)
        });
        let honest_one = server(&world, |_, request| matches!(request, Request::ChunkMap(_)).then(busy));
        let done = get(&world, &[liar.address(), honest_one.address()]);
        assert!(done.err.contains(&format!("mirror {} lied", liar.address())), "{wait:?}: {done:?}");
        assert!(!done.err.contains(&format!("mirror {} lied", honest_one.address())), "{wait:?}: {done:?}");
    }
}
