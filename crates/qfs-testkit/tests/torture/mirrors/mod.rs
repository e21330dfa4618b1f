//! Several servers of the same files, of which one lies or dies: the file is right, the liar is named, and the others carry on.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use qfs_core::chunks::{Chunk, ChunkHash, ChunkMap, Chunker, Grain};
use qfs_core::model::Digest;
use qfs_core::wire::{DownloadRequest, Request};
use qfs_testkit::hostile_server::{HostileServer, Step};
use qfs_testkit::udp_proxy::UdpProxy;
use serde_json::Value;

use crate::lab::{Done, Lab, finish, noise, run, slow_link, wait_for_bytes};
use crate::lies::{message, raw, trailer};
use crate::tally::{Tally, count, seed};

mod trouble;
mod versions;

const ETAG: &str = "0123456789abcdef0123456789abcdef";

/// Some 25 stripes.
const LARGE: usize = 3 << 20;

const SMALL: usize = 900;

/// How long an honest server takes for a stripe, so that all are asked.
const HONEST_WAIT: Duration = Duration::from_millis(50);

/// What there is.
struct World {
    content: Vec<u8>,
    map: ChunkMap,
}

impl World {
    fn new(content: Vec<u8>) -> Self {
        let mut chunker = Chunker::new(Grain::for_size(content.len() as u64).unwrap());
        chunker.push(&content);
        let map = chunker.finish(Digest::of(&content)).unwrap();
        Self { content, map }
    }

    fn size(&self) -> u64 {
        self.content.len() as u64
    }
}

/// The head of `range` of a file of `size` bytes, with `more` in it.
fn head(size: u64, range: &Range<u64>, etag: &str, more: &str) -> Step {
    let Range { start, end } = range;
    message(&format!(
        r#"{{"code":0,"size":{size},"modified":"2026-11-23T08:09:24Z","etag":"{etag}","range":{{"start":{start},"end":{end}}}{more}}}"#
    ))
}

/// What is asked for of the content; None where nothing is.
fn asked(world: &World, request: &Request) -> Option<Range<u64>> {
    let Request::Download(DownloadRequest { range, .. }) = request else { return None };
    let range = range.map_or(Ok(0..world.size()), |range| range.within(world.size())).ok()?;
    Some(range).filter(|range| !range.is_empty())
}

fn part<'a>(world: &'a World, range: &Range<u64>) -> &'a [u8] {
    &world.content[range.start as usize..range.end as usize]
}

fn map_answer(world: &World, bytes: &[u8]) -> Vec<Step> {
    let head = format!(r#"{{"code":0,"size":{},"etag":"{ETAG}","length":{}}}"#, world.size(), bytes.len());
    vec![message(&head), raw(bytes), Step::Finish]
}

fn honest(world: &World, request: &Request) -> Vec<Step> {
    match request {
        Request::Download(_) => {
            let range = asked(world, request).unwrap_or(0..0);
            let end = trailer(&world.content);
            vec![head(world.size(), &range, ETAG, ""), raw(part(world, &range)), end, Step::Finish]
        }
        Request::ChunkMap(_) => map_answer(world, &world.map.encode()),
        Request::GetFilesList(_) => {
            let size = world.size();
            let page = format!(
                r#"{{"files":{{"f":{{"size":{size},"modified":"2026-11-23T08:09:24Z"}}}},"end":{{"count":1}}}}"#
            );
            vec![message(r#"{"code":0}"#), message(&page), Step::Finish]
        }
        _ => vec![message(r#"{"code":2}"#), Step::Finish],
    }
}

/// A honest server that takes its time for content.
fn leisurely(world: &Arc<World>) -> HostileServer {
    let world = Arc::clone(world);
    HostileServer::start(move |request| {
        let mut steps = honest(&world, request);
        if asked(&world, request).is_some() {
            steps.insert(0, Step::Wait(HONEST_WAIT));
        }
        steps
    })
    .unwrap()
}

/// What a malicious one says instead of the truth; None where it says the truth.
type Lie = fn(&World, &Request) -> Option<Vec<Step>>;

/// When whoever tells a lie is named: for a large file, for a small one.
#[derive(Clone, Copy)]
struct Named(bool, bool);

const BOTH: Named = Named(true, true);
const LARGE_ONLY: Named = Named(true, false);
const NEVER: Named = Named(false, false);

/// The true head, other content, the true digest.
fn with_body(world: &World, request: &Request, change: impl Fn(&mut Vec<u8>)) -> Option<Vec<Step>> {
    let range = asked(world, request)?;
    let mut body = part(world, &range).to_vec();
    change(&mut body);
    Some(vec![head(world.size(), &range, ETAG, ""), raw(&body), trailer(&world.content), Step::Finish])
}

/// The true head and content, and another end.
fn with_end(world: &World, request: &Request, end: Vec<Step>) -> Option<Vec<Step>> {
    let range = asked(world, request)?;
    Some([vec![head(world.size(), &range, ETAG, ""), raw(part(world, &range))], end].concat())
}

/// Another head before the true content.
fn with_head(world: &World, request: &Request, head: impl Fn(&Range<u64>) -> Step) -> Option<Vec<Step>> {
    let range = asked(world, request)?;
    Some(vec![head(&range), raw(part(world, &range)), trailer(&world.content), Step::Finish])
}

fn with_map(world: &World, request: &Request, change: impl Fn(&mut Vec<Chunk>, &mut Digest)) -> Option<Vec<Step>> {
    let Request::ChunkMap(_) = request else { return None };
    let (mut chunks, mut whole) = (world.map.chunks().to_vec(), world.map.whole());
    change(&mut chunks, &mut whole);
    let map = ChunkMap::new(world.map.grain(), whole, chunks).unwrap();
    Some(map_answer(world, &map.encode()))
}

/// Some other content of the same size, with a map of its own, under the digest of the true one.
fn another_file(world: &World, request: &Request) -> Option<Vec<Step>> {
    let other: Vec<u8> = world.content.iter().map(|byte| byte ^ 0x5a).collect();
    match request {
        Request::ChunkMap(_) => {
            let other = World::new(other);
            let map = ChunkMap::new(other.map.grain(), world.map.whole(), other.map.chunks().to_vec()).unwrap();
            Some(map_answer(world, &map.encode()))
        }
        _ => with_body(world, request, |body| body.iter_mut().for_each(|byte| *byte ^= 0x5a)),
    }
}

fn endless() -> Step {
    Step::Forever(Bytes::from(vec![b'x'; 60_000]))
}

fn code(request: &Request, world: &World, code: u32) -> Option<Vec<Step>> {
    asked(world, request).map(|_| vec![message(&format!(r#"{{"code":{code},"message":"\u001b[2J"}}"#)), Step::Finish])
}

const LIES: &[(&str, Named, Lie)] = &[
    ("flipped bits", BOTH, |w, r| with_body(w, r, |body| body.iter_mut().for_each(|byte| *byte ^= 4))),
    ("one flipped bit", BOTH, |w, r| with_body(w, r, |body| body[7] ^= 1)),
    ("bytes in another order", BOTH, |w, r| with_body(w, r, |body| body.reverse())),
    ("zeros", BOTH, |w, r| with_body(w, r, |body| body.fill(0))),
    ("half a body", BOTH, |w, r| with_body(w, r, |body| body.truncate(body.len() / 2))),
    ("a body too long", BOTH, |w, r| with_body(w, r, |body| body.extend([7; 100_000]))),
    ("an endless body", BOTH, |w, r| with_end(w, r, vec![endless()])),
    ("no trailer", BOTH, |w, r| with_end(w, r, vec![Step::Finish])),
    ("a trailer that is no JSON", BOTH, |w, r| with_end(w, r, vec![raw(b"\0\0\0\x04\xff\xfe\0{"), Step::Finish])),
    ("the digest of another file behind", BOTH, |w, r| with_end(w, r, vec![trailer(b"other"), Step::Finish])),
    ("another size in the head", BOTH, |w, r| with_head(w, r, |range| head(w.size() + 1, range, ETAG, ""))),
    ("another range", BOTH, |w, r| with_head(w, r, |range| head(w.size(), &(range.start + 1..range.end), ETAG, ""))),
    ("another version", LARGE_ONLY, |w, r| with_head(w, r, |range| head(w.size(), range, "other", ""))),
    ("a hole where there is none", BOTH, |w, r| {
        let range = asked(w, r)?;
        let hole = format!(r#","holes":[[{},{}]]"#, range.start, range.end);
        Some(vec![head(w.size(), &range, ETAG, &hole), trailer(&w.content), Step::Finish])
    }),
    ("another digest in the head", BOTH, |w, r| {
        let Request::Download(_) = r else { return None };
        let range = asked(w, r).unwrap_or(0..0);
        let digest = format!(r#","sha256":"{}""#, Digest::of(b"other"));
        Some(vec![head(w.size(), &range, ETAG, &digest), raw(part(w, &range)), trailer(&w.content), Step::Finish])
    }),
    ("a map of other chunks", LARGE_ONLY, |w, r| {
        with_map(w, r, |chunks, _| chunks.iter_mut().for_each(|chunk| chunk.hash = ChunkHash::of(b"x")))
    }),
    ("a map with two chunks exchanged", LARGE_ONLY, |w, r| with_map(w, r, |chunks, _| chunks.swap(3, 9))),
    ("a map that names another digest", LARGE_ONLY, |w, r| with_map(w, r, |_, whole| *whole = Digest::of(b"other"))),
    ("half a map", LARGE_ONLY, |w, r| {
        let Request::ChunkMap(_) = r else { return None };
        let map = w.map.encode();
        Some(map_answer(w, &map[..map.len() / 2]))
    }),
    ("a map of a larger file", LARGE_ONLY, |w, r| with_map(w, r, |chunks, _| chunks.insert(0, chunks[0]))),
    ("an endless map", LARGE_ONLY, |w, r| {
        let Request::ChunkMap(_) = r else { return None };
        let mut steps = map_answer(w, &w.map.encode());
        steps[2] = endless();
        Some(steps)
    }),
    ("another file under the same digest", BOTH, another_file),
    ("noise", BOTH, |_, r| {
        let is_asked = matches!(r, Request::Download(_) | Request::ChunkMap(_) | Request::GetFilesList(_));
        is_asked.then(|| vec![raw(b"\0\0\0\x50{\"code\":0,"), Step::Finish])
    }),
    ("no content", NEVER, |w, r| asked(w, r).map(|_| vec![Step::Hang])),
    ("half a stripe and no more", NEVER, |w, r| {
        let range = asked(w, r)?;
        let body = part(w, &range);
        Some(vec![head(w.size(), &range, ETAG, ""), raw(&body[..body.len() / 2]), Step::Hang])
    }),
    ("a byte each half second", NEVER, |w, r| {
        let range = asked(w, r)?;
        let drops = part(w, &range).chunks(1).flat_map(|byte| [raw(byte), Step::Wait(Duration::from_millis(500))]);
        Some([head(w.size(), &range, ETAG, "")].into_iter().chain(drops).collect())
    }),
    ("a size of 2^60 and no map", NEVER, |w, r| match r {
        Request::Download(_) => {
            let range = asked(w, r).map_or(0..0, |_| 0..1 << 60);
            Some(vec![head(1 << 60, &range, ETAG, ""), Step::Hang])
        }
        Request::ChunkMap(_) => Some(vec![Step::Hang]),
        _ => None,
    }),
    ("no word", NEVER, |_, r| (!matches!(r, Request::GetIdentity(_))).then(|| vec![Step::Hang])),
    ("resets", NEVER, |w, r| asked(w, r).map(|_| vec![Step::Reset(4711)])),
    ("a closed connection each time", NEVER, |w, r| asked(w, r).map(|_| vec![Step::Close(0)])),
    ("not found", NEVER, |w, r| code(r, w, 3)),
    ("denied", NEVER, |w, r| code(r, w, 8)),
    ("changed each time", NEVER, |w, r| code(r, w, 5)),
    ("busy each time", NEVER, |w, r| code(r, w, 4)),
];

/// Where the liar stands among the servers.
#[derive(Debug, Clone, Copy)]
enum Place {
    First,
    Last,
    /// Before a single honest one, whose word stands against its own.
    FirstOfTwo,
}

fn mirrors(done: &Done) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let json = done.json();
    let mirrors = json["mirrors"].as_array().cloned().unwrap_or_default();
    mirrors.iter().map(|mirror| (text(&mirror["server"]), text(&mirror["state"]))).collect()
}

fn client(lab: &Lab, servers: &[SocketAddr], args: &[&str]) -> std::process::Command {
    let mut command = lab.client(servers[0], args);
    command.env_remove("QFS_PORT");
    for server in servers {
        command.args(["--server", &format!("qfs://{server}")]);
    }
    command
}

/// Tells one lie to a client that wants `f`, beside servers that tell the truth.
fn tell(world: &Arc<World>, (name, named, lie): (&str, Named, Lie), place: Place, honest_ones: &[SocketAddr]) {
    let lab = Lab::new();
    let told = Arc::clone(world);
    let liar = HostileServer::start(move |request| lie(&told, request).unwrap_or_else(|| honest(&told, request)));
    let liar = liar.unwrap();
    let servers = match place {
        Place::First => vec![liar.address(), honest_ones[0], honest_ones[1]],
        Place::Last => vec![honest_ones[0], honest_ones[1], liar.address()],
        Place::FirstOfTwo => vec![liar.address(), honest_ones[0]],
    };
    let is_large = world.content.len() > SMALL;
    let what = format!("{name}, {place:?}, of {} bytes", world.content.len());
    let done = run(&mut client(&lab, &servers, &["get", "f", "--json", "--retry-timeout", "1s"]));
    assert_eq!(done.code, Some(0), "{what}: {done:?}");
    assert!(lab.saved_file("f").as_deref() == Some(&world.content[..]), "{what}: wrong: {done:?}");
    assert!(lab.partials().is_empty(), "{what}: {:?}", lab.partials());
    assert!(!done.err.contains('\x1b') && !done.out.contains('\x1b'), "{what}: {done:?}");
    let is_named = if is_large { named.0 } else { named.1 };
    let line = format!("error: mirror {} lied", liar.address());
    assert_eq!(done.err.contains(&line), is_named, "{what}: {done:?}");
    let states = mirrors(&done);
    for server in &servers {
        let state = states.iter().find(|(name, _)| *name == server.to_string()).map(|(_, state)| state.as_str());
        let is_liar = *server == liar.address();
        assert!(is_liar || state == Some("ok"), "{what}: {done:?}");
        assert!(is_liar || !done.err.contains(&format!("mirror {server} lied")), "{what}: {done:?}");
        assert!(!is_liar || !is_named || state == Some("dropped"), "{what}: {done:?}");
    }
}

/// Promise: 20 kinds of lie, and the file is right, the liar named, and the others carry on.
///
/// Fails when: a stripe is written before it is proved (`take_piece`); a map of one is believed against those of two
/// (`Claims::wanted`); a liar is asked again; an honest one is named; a silent one holds its stripes.
#[test]
fn a_liar_among_them_is_named() {
    let worlds = [LARGE, SMALL].map(|size| Arc::new(World::new(noise(seed() ^ 0xe1 ^ size as u64, size))));
    let mut cases: Vec<_> = LIES
        .iter()
        .flat_map(|lie| {
            let places = [Place::First, Place::Last, Place::FirstOfTwo];
            let large = places.map(|place| (*lie, 0, place));
            // A small one is asked of the first that is idle.
            large.into_iter().chain([(*lie, 1, Place::First)])
        })
        .collect();
    fastrand::Rng::with_seed(seed() ^ 0xe2).shuffle(&mut cases);
    cases.truncate(usize::try_from(count("mirror_lies", 32)).unwrap());
    let tally = Mutex::new(Tally::new("mirror_lies", cases.len() as u64));
    let cases = Mutex::new(cases);
    // They mostly wait.
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let honest_ones = worlds.each_ref().map(|world| [leisurely(world), leisurely(world)]);
                let addresses = honest_ones.each_ref().map(|pair| pair.each_ref().map(HostileServer::address));
                loop {
                    let Some((lie, size, place)) = cases.lock().unwrap().pop() else { return };
                    tell(&worlds[size], lie, place, &addresses[size]);
                    let named = if size == 0 { lie.1.0 } else { lie.1.1 };
                    tally.lock().unwrap().note(if named { "named" } else { "left out" });
                }
            });
        }
    });
    tally.into_inner().unwrap().end("never wrong, no honest one named");
}

/// Fails when: a listing that is none, or that never comes, is that of all servers.
#[test]
fn a_listing_is_had_from_the_next_one() {
    let world = Arc::new(World::new(noise(seed() ^ 0xe3, SMALL)));
    let honest_one = leisurely(&world);
    let listings: [(&str, bool, Vec<Step>); 3] = [
        ("no end", true, vec![message(r#"{"code":0}"#), Step::Finish]),
        ("no page", false, vec![message(r#"{"code":0}"#), Step::Hang]),
        ("another digest and size", false, {
            let digest = Digest::of(b"other");
            let page = format!(
                r#"{{"files":{{"f":{{"size":7,"modified":"2026-11-23T08:09:24Z","sha256":"{digest}"}}}},"end":{{"count":1}}}}"#
            );
            vec![message(r#"{"code":0}"#), message(&page), Step::Finish]
        }),
    ];
    for (what, is_named, steps) in listings {
        let (lab, told) = (Lab::new(), Arc::clone(&world));
        let liar = HostileServer::start(move |request| match request {
            Request::GetFilesList(_) => steps.clone(),
            request => honest(&told, request),
        });
        let liar = liar.unwrap();
        let done = run(&mut client(&lab, &[liar.address(), honest_one.address()], &["get", "--all", "--json"]));
        assert_eq!(done.code, Some(0), "{what}: {done:?}");
        assert!(lab.saved_file("f").as_deref() == Some(&world.content[..]), "{what}: wrong: {done:?}");
        assert_eq!(done.err.contains(&format!("mirror {} lied", liar.address())), is_named, "{what}: {done:?}");
    }
}

const DYING: usize = 12 << 20;

/// How fast each of them is, in bits a second.
const LINK: u64 = 100_000_000;

/// Promise: 100 deaths, and the file is right and the others carry on; what the dead one held moves within a second.
///
/// Fails when: what a dead server holds waits until its connection times out (`Mirror::is_silent`, `Board::look`).
#[test]
fn one_of_them_dies() {
    const FILES: usize = 300;
    let total = count("mirror_deaths", 6);
    let mut random = fastrand::Rng::with_seed(seed() ^ 0xe4);
    let content = noise(seed() ^ 0xe5, DYING);
    let small = |n: usize| noise(seed() ^ n as u64, 20_000);
    let mut labs: Vec<_> = (0..3)
        .map(|_| {
            let mut lab = Lab::new();
            lab.publish("large", &content);
            (0..FILES).for_each(|n| lab.publish(&format!("small/{n}"), &small(n)));
            lab.start();
            lab
        })
        .collect();
    let proxies: Vec<UdpProxy> = labs.iter().map(|lab| slow_link(lab.address(), LINK)).collect();
    let servers: Vec<_> = proxies.iter().map(UdpProxy::addr).collect();
    let mut tally = Tally::new("mirror_deaths", total);
    let mut worst = Duration::ZERO;
    for round in 0..total {
        let is_large = round % 2 == 0;
        let args: &[&str] =
            if is_large { &["get", "large", "--json"] } else { &["get", "small", "--parallel", "--json"] };
        labs[0].clear();
        let victim = random.usize(..labs.len());
        let before = proxies[victim].stats().to_client.forwarded_bytes;
        let mut child = client(&labs[0], &servers, args).spawn().unwrap();
        let moment = random.u64(20_000..if is_large { DYING as u64 / 4 } else { (FILES * 20_000) as u64 / 4 });
        wait_for_bytes(&proxies[victim], before, moment, &mut child);
        let was_running = child.try_wait().unwrap().is_none();
        labs[victim].server_mut().kill().unwrap();
        let died = Instant::now();
        let done = finish(child);
        let took = died.elapsed();
        assert_eq!(done.code, Some(0), "{done:?}");
        if is_large {
            assert!(labs[0].saved_file("large").as_deref() == Some(&content[..]), "{done:?}");
        } else {
            (0..FILES).for_each(|n| assert!(labs[0].saved_file(&format!("small/{n}")) == Some(small(n)), "{done:?}"));
        }
        assert!(!done.err.contains("lied"), "{done:?}");
        // All of it from the other two, a second, and what a machine takes that is busy with other things.
        let least = Duration::from_secs_f64(DYING as f64 * 8.0 / (2 * LINK) as f64);
        let late = took.saturating_sub(least);
        assert!(late < Duration::from_secs(4), "{took:?} after the death: {done:?}");
        worst = worst.max(late);
        tally.note(if was_running { "died midway" } else { "finished before" });
        labs[victim].crash_and_restart();
    }
    assert!(tally.of("died midway") > 0, "nobody died in time");
    tally.end(&format!("right each time, at most {:.2} s longer than from the others alone", worst.as_secs_f64()));
}
