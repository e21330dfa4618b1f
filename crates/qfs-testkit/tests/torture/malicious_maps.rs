//! A malicious server that lies about what changed, and seeds that are not what they were: maps, ranges and old versions, mutated.
//!
//! Whatever is said and whatever is here: the file is right, or the run fails and what was there still is.

use std::path::Path;

use bytes::Bytes;
use qfs_core::chunks::{Chunk, ChunkHash, ChunkMap, Chunker, Grain};
use qfs_core::model::Digest;
use qfs_core::wire::{DownloadRangesRequest, DownloadRequest, Request};
use qfs_testkit::hostile_server::{HostileServer, Step};

use crate::lab::{Done, Lab, noise, run};
use crate::lies::{message, raw, trailer};
use crate::tally::{Tally, count, seed};

const ETAG: &str = "0123456789abcdef0123456789abcdef";

/// Smallest that is worth a map.
const SIZE: usize = (1 << 20) + 100_000;

fn old() -> Vec<u8> {
    noise(seed() ^ 0xd1, SIZE)
}

/// Parts of the old version, in another order, with something new between them, and one part twice.
fn new() -> Vec<u8> {
    let (old, fresh) = (old(), noise(seed() ^ 0xd2, 200_000));
    [&old[500_000..], &fresh[..100_000], &old[..400_000], &fresh[..100_000], &fresh[100_000..]].concat()
}

fn map_of(content: &[u8], grain: Grain) -> ChunkMap {
    let mut chunker = Chunker::new(grain);
    chunker.push(content);
    chunker.finish(Digest::of(content)).unwrap()
}

fn grain() -> Grain {
    Grain::for_size(SIZE as u64).unwrap()
}

fn head(content: &[u8], start: u64, end: u64) -> Step {
    message(&format!(
        r#"{{"code":0,"size":{},"modified":"2026-11-23T08:09:24Z","etag":"{ETAG}","range":{{"start":{start},"end":{end}}}}}"#,
        content.len()
    ))
}

/// The honest answer to `download`, for all of it or any part.
fn download(content: &[u8], request: &DownloadRequest) -> Vec<Step> {
    let range = request.range.map_or(Ok(0..content.len() as u64), |range| range.within(content.len() as u64));
    let Ok(range) = range else { return vec![message(r#"{"code":7}"#), Step::Finish] };
    let body = &content[range.start as usize..range.end as usize];
    vec![head(content, range.start, range.end), raw(body), trailer(content), Step::Finish]
}

/// The honest answer to `download_ranges`.
fn ranges(content: &[u8], request: &DownloadRangesRequest) -> Vec<Step> {
    let envelope = request.ranges.envelope();
    if envelope.end > content.len() as u64 {
        return vec![message(r#"{"code":7}"#), Step::Finish];
    }
    let parts = request.ranges.iter().map(|part| &content[part.start as usize..part.end as usize]);
    let body: Vec<u8> = parts.flatten().copied().collect();
    vec![head(content, envelope.start, envelope.end), raw(body), trailer(content), Step::Finish]
}

fn map_head(size: usize, length: usize) -> Step {
    message(&format!(r#"{{"code":0,"size":{size},"etag":"{ETAG}","length":{length}}}"#))
}

fn map(bytes: &[u8]) -> Vec<Step> {
    vec![map_head(new().len(), bytes.len()), raw(bytes), Step::Finish]
}

/// A server that answers all but maps and ranges honestly.
fn server(
    maps: impl Fn() -> Vec<Step> + Send + Sync + 'static,
    parts: impl Fn(&[u8], &DownloadRangesRequest) -> Vec<Step> + Send + Sync + 'static,
) -> HostileServer {
    let content = new();
    HostileServer::start(move |request| match request {
        Request::Download(request) => download(&content, request),
        Request::ChunkMap(_) => maps(),
        Request::DownloadRanges(request) => parts(&content, request),
        _ => Vec::new(),
    })
    .unwrap()
}

/// Puts the old version in place and fetches the new one.
fn replace(lab: &Lab, server: &HostileServer, args: &[&str]) -> Done {
    std::fs::create_dir_all(lab.saved()).unwrap();
    std::fs::write(lab.saved().join("f"), old()).unwrap();
    let args = [&["get", "f", "--overwrite", "--json", "--retry-timeout", "1s"], args].concat();
    run(&mut lab.client(server.address(), &args))
}

/// The one promise.
#[track_caller]
fn is_right_or_as_it_was(lab: &Lab, what: &str, done: &Done) -> &'static str {
    let there = lab.saved_file("f");
    if done.code == Some(0) {
        assert!(there == Some(new()), "{what}: wrong: {done:?}");
        return if done.json()["reused"].is_null() { "right, fetched whole" } else { "right, put together" };
    }
    assert!(matches!(done.code, Some(5 | 6)), "{what}: {done:?}");
    assert!(there == Some(old()), "{what}: failed, and something else is there: {done:?}");
    "failed, the old version is there"
}

/// A map of the new version in which something is not so.
fn mutated(random: &mut fastrand::Rng) -> (String, Vec<u8>) {
    let honest = map_of(&new(), grain());
    let (mut chunks, mut whole) = (honest.chunks().to_vec(), honest.whole());
    let (a, b) = (random.usize(..chunks.len()), random.usize(..chunks.len()));
    let there = map_of(&old(), grain()).chunks().to_vec();
    let other = there[random.usize(..there.len())];
    let what = match random.u8(..9) {
        0 => {
            // Bits anywhere, mostly no map at all.
            let mut bytes = honest.encode();
            let flips = random.usize(1..5);
            (0..flips).for_each(|_| bytes[random.usize(..honest.encode().len())] ^= 1 << random.u8(..8));
            return (format!("{flips} flipped bits"), bytes);
        }
        1 => {
            let mut bytes = honest.encode();
            bytes.truncate(random.usize(..bytes.len()));
            return (format!("cut to {} bytes", bytes.len()), bytes);
        }
        // Content of the old version where it is not.
        2 => {
            chunks[a].hash = other.hash;
            format!("a hash of the old version at {a}")
        }
        3 => {
            (0..chunks.len()).for_each(|n| chunks[n].hash = there[n % there.len()].hash);
            "all hashes of the old version".to_owned()
        }
        4 => {
            let hash = chunks[b].hash;
            chunks[a].hash = hash;
            format!("{a} like {b}")
        }
        5 => {
            let same = chunks[a].hash;
            chunks.iter_mut().for_each(|chunk| chunk.hash = same);
            format!("all like {a}")
        }
        6 => {
            let last = chunks.len() - 1;
            let (a, b) = (a.min(last - 1), b.min(last - 1));
            chunks.swap(a, b);
            format!("{a} and {b} exchanged")
        }
        7 => {
            // All of it is the old version, in chunks that are there.
            let size = new().len() as u64;
            chunks = there.clone();
            let mut length: u64 = chunks.iter().map(|chunk| u64::from(chunk.length)).sum();
            while length < size {
                let rest = u32::try_from(size - length).unwrap().min(grain().longest());
                let fits = there.iter().find(|chunk| chunk.length <= rest && chunk.length == rest);
                let hash = fits.map_or(ChunkHash::of(&[]), |chunk| chunk.hash);
                chunks.push(Chunk { length: rest, hash });
                length += u64::from(rest);
            }
            "the old version and a tail".to_owned()
        }
        _ => {
            whole = Digest::of(b"another");
            "another digest".to_owned()
        }
    };
    let made = ChunkMap::new(grain(), whole, chunks);
    (what, made.map_or_else(|_| vec![1, 12, 0], |map| map.encode()))
}

/// Promise: 1,000 mutations of a map, and never a wrong file.
///
/// Fails when: the digest of the whole is not compared, or that of the map is taken for it; what was put together wrongly is kept as a
/// part of the file; a map is read beyond its bounds.
#[test]
fn maps_that_lie() {
    let times = count("map_lies", 24);
    let mut tally = Tally::new("malicious_maps", times);
    let mut random = fastrand::Rng::with_seed(seed() ^ 0xd3);
    let lab = Lab::new();
    for _ in 0..times {
        let (what, bytes) = mutated(&mut random);
        let steps = map(&bytes);
        let server = server(move || steps.clone(), ranges);
        let done = replace(&lab, &server, &[]);
        // All else that it said was true: so a lie in a map costs time, and never the file.
        assert_eq!(done.code, Some(0), "{what}: {done:?}");
        tally.note(is_right_or_as_it_was(&lab, &what, &done));
        assert!(lab.partials().is_empty(), "{what}: {:?}", lab.partials());
    }
    tally.end("never wrong");
}

/// Promise: 1,000 mutations of what is here, and never a wrong file.
///
/// Fails when: what is copied is not hashed.
#[test]
fn seeds_that_are_not_what_they_were() {
    let times = count("seed_lies", 12);
    let mut tally = Tally::new("mutated_seeds", times);
    let mut random = fastrand::Rng::with_seed(seed() ^ 0xd4);
    let lab = Lab::new();
    let bytes = map_of(&new(), grain()).encode();
    let steps = map(&bytes);
    let server = server(move || steps.clone(), ranges);
    for _ in 0..times {
        let mut seed = [old(), new()][random.usize(..2)].clone();
        for _ in 0..random.usize(1..20) {
            let at = random.usize(..seed.len());
            match random.u8(..3) {
                0 => seed[at] ^= 1 << random.u8(..8),
                1 => drop(seed.drain(at..(at + 5000).min(seed.len()))),
                _ => seed.splice(at..at, noise(random.u64(..), 777)).for_each(drop),
            }
        }
        let path = lab.home().join("seed");
        std::fs::write(&path, &seed).unwrap();
        let done = change_while_read(&path, &mut random, || replace(&lab, &server, &["--seed", "seed"]));
        assert_eq!(done.code, Some(0), "{done:?}");
        tally.note(is_right_or_as_it_was(&lab, "a mutated seed", &done));
    }
    tally.end("never wrong");
}

/// Does `work`, and half of the time writes into the file at `path` meanwhile.
fn change_while_read(path: &Path, random: &mut fastrand::Rng, work: impl FnOnce() -> Done) -> Done {
    if random.bool() {
        return work();
    }
    let stop = std::sync::atomic::AtomicBool::new(false);
    let mut random = random.fork();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            use std::os::unix::fs::FileExt as _;
            let file = std::fs::File::options().write(true).open(path).unwrap();
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                file.write_all_at(&[random.u8(..); 9], random.u64(..SIZE as u64)).unwrap();
            }
        });
        let done = work();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        done
    })
}

/// A lie in the answer to `download_ranges`, and whether the file can be had nevertheless.
type RangesLie = (&'static str, fn(&[u8], &DownloadRangesRequest) -> Vec<Step>);

fn with_content(change: fn(&mut Vec<u8>), content: &[u8], request: &DownloadRangesRequest) -> Vec<Step> {
    let mut changed = content.to_vec();
    change(&mut changed);
    let mut steps = ranges(&changed, request);
    steps[2] = trailer(content);
    steps
}

const RANGES_LIES: &[RangesLie] = &[
    ("flipped bits", |content, request| {
        with_content(|changed| changed.iter_mut().for_each(|byte| *byte ^= 4), content, request)
    }),
    ("another digest", |content, request| {
        let mut steps = ranges(content, request);
        steps[2] = trailer(b"another");
        steps
    }),
    ("too few bytes", |content, request| {
        let mut steps = ranges(content, request);
        steps[1] = raw(b"x");
        steps
    }),
    ("too many bytes", |content, request| {
        let mut steps = ranges(content, request);
        steps.insert(2, raw([7; 100_000]));
        steps
    }),
    ("no end", |content, request| {
        let mut steps = ranges(content, request);
        steps.splice(2.., [Step::Forever(Bytes::from(vec![9; 60_000]))]);
        steps
    }),
    ("another range", |content, request| {
        let mut steps = ranges(content, request);
        steps[0] = head(content, 0, content.len() as u64);
        steps
    }),
    ("holes that were not asked for", |content, request| {
        let envelope = request.ranges.envelope();
        let hole = format!(
            r#"{{"code":0,"size":{},"modified":"2026-11-23T08:09:24Z","etag":"{ETAG}","range":{{"start":{},"end":{}}},"holes":[[{},{}]]}}"#,
            content.len(),
            envelope.start,
            envelope.end,
            envelope.start,
            envelope.end
        );
        let mut steps = ranges(content, request);
        steps[0] = message(&hole);
        steps
    }),
    ("another version", |content, request| {
        let mut steps = ranges(content, request);
        let envelope = request.ranges.envelope();
        steps[0] = message(&format!(
            r#"{{"code":0,"size":{},"modified":"2026-11-23T08:09:24Z","etag":"other","range":{{"start":{},"end":{}}}}}"#,
            content.len(),
            envelope.start,
            envelope.end
        ));
        steps
    }),
    ("always changed", |_, _| vec![message(r#"{"code":5}"#), Step::Finish]),
    ("a refusal", |_, _| vec![message(r#"{"code":8,"message":"\u001b[2J"}"#), Step::Finish]),
    ("a command that nobody knows", |_, _| vec![message(r#"{"code":2}"#), Step::Finish]),
    ("a reset", |_, _| vec![Step::Reset(6)]),
    ("nothing", |_, _| vec![Step::Finish]),
];

/// Fails when: a body of ranges is believed for its length, its head or its version; what follows it is taken for the file.
#[test]
fn ranges_that_lie() {
    let mut tally = Tally::new("malicious_ranges", RANGES_LIES.len() as u64);
    for (what, lie) in RANGES_LIES {
        let lab = Lab::new();
        let steps = map(&map_of(&new(), grain()).encode());
        let server = server(move || steps.clone(), *lie);
        let done = replace(&lab, &server, &[]);
        tally.note(is_right_or_as_it_was(&lab, what, &done));
        // The same again, over whatever was left; and then a server that tells the truth.
        let again = replace(&lab, &server, &["--parallel"]);
        is_right_or_as_it_was(&lab, what, &again);
        assert!(!done.err.contains('\x1b') && !again.err.contains('\x1b'), "{what}: {done:?}");
    }
    tally.end("never wrong");
}

/// Fails when: the head of a map is believed, or what is no map stops a download.
#[test]
fn maps_that_are_none() {
    let honest = map_of(&new(), grain()).encode();
    let size = new().len();
    let far = map_of(&[new(), new()].concat(), grain()).encode();
    let lies: Vec<(&str, Vec<Step>)> = vec![
        ("no map", vec![Step::Finish]),
        ("half a map", vec![map_head(size, honest.len()), raw(&honest[..honest.len() / 2]), Step::Finish]),
        ("a map too long", vec![map_head(size, honest.len()), raw(&honest), raw(b"x"), Step::Finish]),
        ("a map without end", vec![map_head(size, honest.len()), Step::Forever(Bytes::from(vec![1; 60_000]))]),
        ("a map of 4 EiB", vec![map_head(size, 1 << 62), Step::Forever(Bytes::from(vec![1; 60_000]))]),
        ("a map of nothing", vec![map_head(size, 0), Step::Finish]),
        ("a map of a larger file", vec![map_head(size, far.len()), raw(&far), Step::Finish]),
        ("a head of a larger file", vec![map_head(2 * size, far.len()), raw(&far), Step::Finish]),
        (
            "a size that is none",
            vec![message(r#"{"code":0,"size":-1,"etag":"v","length":1}"#), raw(b"x"), Step::Finish],
        ),
        (
            "an etag that is a path",
            vec![message(r#"{"code":0,"size":1,"etag":"../v","length":1}"#), raw(b"x"), Step::Finish],
        ),
        ("a reset", vec![map_head(size, honest.len()), raw(&honest[..100]), Step::Reset(4711)]),
        ("changed", vec![message(r#"{"code":5}"#), Step::Finish]),
    ];
    let mut tally = Tally::new("no_maps", lies.len() as u64);
    for (what, steps) in lies {
        let lab = Lab::new();
        let server = server(move || steps.clone(), ranges);
        let done = replace(&lab, &server, &[]);
        tally.note(is_right_or_as_it_was(&lab, what, &done));
    }
    tally.end("never wrong");
}
