//! Runs that are cut off, and listings that are.

use qfs_testkit::udp_proxy::UdpProxy;

use super::{age, census, noise, writable, write};
use crate::support::{Lab, finish, run, slow_link, wait_until};

/// The client through a link that the test watches.
fn through(lab: &Lab, link: &UdpProxy, args: &[&str]) -> std::process::Command {
    let mut command = lab.through(link.addr().port(), args);
    command.env("QFS_TRANSPORT", "udp");
    command
}

/// Fails when: what a killed run left is taken for whole, is in the way, or is removed as if it were the target's.
#[test]
fn a_run_that_was_killed_is_finished_by_the_same_command() {
    for verb in ["pull", "push"] {
        let lab = writable(&[]);
        let (source, target) = match verb {
            "pull" => (lab.root(), lab.here("d")),
            _ => (lab.here("d"), lab.root()),
        };
        for n in 0..200 {
            write(source.join(format!("small/{n}")), &noise(3_000 + n));
        }
        write(source.join("big"), &noise(14 << 20));
        age(source.join("small"), 900);
        for n in 0..3 {
            write(target.join(format!("extra{n}")), b"x");
        }
        let link = slow_link(lab.server().address());
        for moment in [300_000, 5_000_000, 9_000_000] {
            let moved = || link.stats().to_client.forwarded_bytes + link.stats().to_server.forwarded_bytes;
            let before = moved();
            let mut child = through(&lab, &link, &[verb, "d", "--delete", "--max-delete=100%"]).spawn().unwrap();
            wait_until("it moves", || moved() > before + moment || child.try_wait().unwrap().is_some());
            child.kill().unwrap();
            finish(child);
            // Under a final name there is what was there, or all of what shall be there.
            let (is, shall) = (census(&target), census(&source));
            for (name, what) in &is {
                let is_whole = shall.get(name).is_none_or(|shall| shall == what || what.starts_with("directory"));
                assert!(is_whole, "{name}: {what}");
            }
        }
        let done = lab.run([verb, "d", "--delete", "--max-delete=100%"]).ends_with(0);
        let mut is = census(&target);
        if verb == "push" {
            // To the server a client that was killed is one that says nothing: until it gives it up, it holds what came of it.
            is.retain(|name, _| !name.ends_with(".qfs-part"));
        }
        assert_eq!(is, census(&source), "{done:?}");
        lab.run([verb, "d", "--delete", "--max-delete=100%"]).ends_with(0).moves_nothing();
    }
}

/// Fails when: a file that went between the listing and its turn is an error of another kind, or something is removed all the same.
#[test]
fn a_file_that_vanishes_on_the_server_is_told_by_a_code_of_its_own() {
    let lab = writable(&[("a-first", &noise(6 << 20)), ("b-gone", &noise(200_000)), ("c-last", b"c")]);
    write(lab.here("d/extra"), b"x");
    let link = slow_link(lab.server().address());
    let args = &["pull", "d", "--parallel=1", "--delete", "--max-delete=100%"];
    let child = through(&lab, &link, args).spawn().unwrap();
    wait_until("the first is under way", || census(&lab.here("d")).keys().any(|name| name.ends_with(".qfs-part")));
    std::fs::remove_file(lab.root().join("b-gone")).unwrap();
    let done = finish(child).ends_with(9);
    assert!(done.err.contains("b-gone: the file vanished") && !done.out.contains("remove"), "{done:?}");
    assert_eq!(census(&lab.here("d")).keys().collect::<Vec<_>>(), ["a-first", "c-last", "extra"]);
    lab.run(["pull", "d", "--delete", "--max-delete=100%"]).ends_with(0);
    assert_eq!(census(&lab.here("d")), census(&lab.root()));
}

/// Fails when: what somebody else put there meanwhile is replaced.
#[test]
fn what_changes_on_the_target_meanwhile_stays() {
    for verb in ["pull", "push"] {
        let lab = writable(&[]);
        let (source, target) = match verb {
            "pull" => (lab.root(), lab.here("d")),
            _ => (lab.here("d"), lab.root()),
        };
        write(source.join("big"), &noise(8 << 20));
        write(target.join("big"), b"as it was listed");
        write(target.join("extra"), b"x");
        let link = slow_link(lab.server().address());
        let child = through(&lab, &link, &[verb, "d", "--delete", "--max-delete=100%"]).spawn().unwrap();
        let is_partial = |name: &String| name.ends_with(".qfs-part");
        wait_until("it is under way", || census(&target).keys().any(is_partial));
        write(target.join("big"), b"somebody was quicker");
        let done = finish(child).ends_with(6);
        assert!(done.err.contains("big: it is no longer what was listed"), "{done:?}");
        assert_eq!(std::fs::read(target.join("big")).unwrap(), b"somebody was quicker");
        assert!(target.join("extra").exists() && !done.out.contains("remove"), "{done:?}");
        lab.run([verb, "d", "--delete", "--max-delete=100%"]).ends_with(0);
        assert_eq!(std::fs::read(target.join("big")).unwrap().len(), 8 << 20);
    }
}

/// A server with so many names that its listing takes a while, and as many files here, none of which it knows.
fn long_listing() -> Lab {
    let lab = writable(&[]);
    for n in 0..4_000 {
        write(lab.root().join(format!("{n:04}-{}", "n".repeat(200))), b"");
        write(lab.here(&format!("d/{n:04}-{}", "n".repeat(200))), b"");
    }
    write(lab.here("d/zzz"), b"kept");
    lab
}

/// Fails when: a listing that ends too early counts as whole, or one that two servers told counts as that of one.
#[test]
fn a_listing_that_was_cut_off_removes_nothing() {
    let mut lab = long_listing();
    let before = census(&lab.here("d"));
    let args = &["pull", "d", "--delete", "--max-delete=100%", "--retry-timeout", "300ms"];
    let link = slow_link(lab.server().address());
    let port = lab.server().address().port();
    let child = through(&lab, &link, args).spawn().unwrap();
    wait_until("half of the listing", || link.stats().to_client.forwarded_bytes > 300_000);
    lab.stop_server();
    let done = finish(child).ends_with(3);
    assert_eq!((done.out.as_str(), census(&lab.here("d"))), ("", before.clone()));
    // Now another server takes its place, and has nothing of what would come next.
    lab.start_server_with("127.0.0.1", port, &["--allow", "read,write,delete"]);
    let args = &["pull", "d", "--delete", "--max-delete=100%", "--retry-timeout", "60s"];
    let link = slow_link(lab.server().address());
    let child = through(&lab, &link, args).spawn().unwrap();
    wait_until("half of the listing", || link.stats().to_client.forwarded_bytes > 300_000);
    lab.stop_server();
    for n in 100..4_000 {
        std::fs::remove_file(lab.root().join(format!("{n:04}-{}", "n".repeat(200)))).unwrap();
    }
    lab.start_server_with("127.0.0.1", port, &["--allow", "read,write,delete"]);
    let done = finish(child).ends_with(5);
    assert!(done.err.contains("nothing is removed: the listing of the source is not complete"), "{done:?}");
    let after = census(&lab.here("d"));
    assert_eq!(after.keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());
    // One go, one server: now it is believed.
    run(&mut lab.client(["pull", "d", "--delete", "--max-delete=100%"])).ends_with(0);
    assert_eq!(census(&lab.here("d")).len(), 100);
}
