//! Several servers, and another version of the file is here: whoever fails over it is left for the next one, and named if it lied.

use std::sync::Arc;

use qfs_core::wire::Request;
use qfs_testkit::hostile_server::{HostileServer, Step};

use super::{LARGE, LIES, LINK, Lie, World, client, honest, mirrors, slow_link, with_body};
use crate::lab::{Lab, noise, run};
use crate::lies::message;
use crate::tally::seed;

fn unknown() -> Option<Vec<Step>> {
    Some(vec![message(r#"{"code":2}"#), Step::Finish])
}

/// No map, and other bytes than it says.
fn flipped(world: &World, request: &Request) -> Option<Vec<Step>> {
    match request {
        Request::ChunkMap(_) => unknown(),
        request => with_body(world, request, |body| body.iter_mut().for_each(|byte| *byte ^= 4)),
    }
}

/// Fails when one server that lies, or that gives a map and no ranges, ends a run in which another one has the file; or when it is not
/// named, or what came from the others is not counted.
#[test]
fn the_next_one_is_asked_where_the_first_fails() {
    let world = Arc::new(World::new(noise(seed() ^ 0xf1, LARGE)));
    let truth = Lab::serving(&[("f", &world.content)]);
    // Behind a link, so that it has not sent all before the first has told its lie.
    let far = slow_link(truth.address(), LINK);
    let mut old = world.content[..LARGE / 2].to_vec();
    old.extend(noise(seed() ^ 0xf2, LARGE / 4));
    let wrong_end = LIES.iter().find(|(name, ..)| *name == "the digest of another file behind").unwrap().2;
    let cases: [(&str, bool, &[&str], Lie); 5] = [
        ("no ranges", false, &[], |_, _| None),
        ("other bytes", true, &[], flipped),
        ("other bytes, whole", true, &["--whole"], flipped),
        ("another digest, whole", true, &["--whole"], wrong_end),
        ("not found", false, &[], |_, request| match request {
            Request::Download(_) | Request::ChunkMap(_) => Some(vec![message(r#"{"code":3}"#), Step::Finish]),
            _ => None,
        }),
    ];
    for (what, is_named, more, lie) in cases {
        let (lab, told) = (Lab::new(), Arc::clone(&world));
        let first = HostileServer::start(move |request| lie(&told, request).unwrap_or_else(|| honest(&told, request)));
        let first = first.unwrap();
        std::fs::create_dir_all(lab.saved()).unwrap();
        std::fs::write(lab.saved().join("f"), &old).unwrap();
        let servers = [first.address(), far.addr()];
        let args = [&["get", "f", "--overwrite", "--json", "--retry-timeout", "1s"], more].concat();
        let done = run(&mut client(&lab, &servers, &args));
        assert_eq!(done.code, Some(0), "{what}: {done:?}");
        assert!(lab.saved_file("f").as_deref() == Some(&world.content[..]), "{what}: wrong: {done:?}");
        assert!(lab.partials().is_empty(), "{what}: {:?}", lab.partials());
        let line = format!("error: mirror {} lied", first.address());
        assert_eq!(done.err.contains(&line), is_named, "{what}: {done:?}");
        let state = if is_named { "dropped" } else { "ok" };
        assert!(mirrors(&done).contains(&(first.address().to_string(), state.to_owned())), "{what}: {done:?}");
        let json = done.json();
        let bytes = json["mirrors"][1]["bytes"].as_u64().unwrap();
        assert!(bytes > LARGE as u64 / 4, "{what}: {done:?}");
    }
}
