//! Uploads whose ends are killed, names that are replaced while they are read, and two uploads to one name.

use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, Ordering};

use qfs_testkit::udp_proxy::{Bottleneck, Faults, LinkSpec, PathFaults, UdpProxy};

use crate::lab::{Lab, files_below, finish, noise, wait_until};
use crate::tally::{Tally, count, seed};

/// What is uploaded where something is killed meanwhile: more than is recorded at once, so that there is something to go on from.
const SIZE: usize = 16 << 20;

const MAY_WRITE: [&str; 2] = ["--allow", "read,write"];

/// A link on which an upload takes long enough to be interrupted.
fn slow_upwards(lab: &Lab, bits_per_second: u64) -> UdpProxy {
    let link =
        LinkSpec { bottleneck: Some(Bottleneck { bits_per_second, queue_bytes: 1 << 20 }), ..LinkSpec::default() };
    let faults = Faults { to_server: PathFaults { link, ..PathFaults::default() }, ..Faults::default() };
    UdpProxy::start(lab.address(), faults).unwrap()
}

/// A server that takes uploads.
fn writable() -> Lab {
    let mut lab = Lab::new();
    lab.start_with(&MAY_WRITE);
    lab
}

/// Writes `content` where the client runs, and returns the name.
fn local(lab: &Lab, name: &str, content: &[u8]) -> String {
    std::fs::write(lab.home().join(name), content).unwrap();
    name.to_owned()
}

/// The published files that anybody may see.
fn visible(lab: &Lab) -> Vec<PathBuf> {
    let is_hidden = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
    files_below(&lab.root()).into_iter().filter(|path| !is_hidden(path)).collect()
}

fn wait_for_upload(proxy: &UdpProxy, before: u64, bytes: u64, child: &mut Child) {
    wait_until("bytes through the proxy", || {
        proxy.stats().to_server.forwarded_bytes - before >= bytes || child.try_wait().unwrap().is_some()
    });
}

/// Promise: an upload appears whole or not at all, whichever end is killed, and the client makes up for a killed server by itself.
///
/// Fails when: a file has its name before it is whole; a partial file is published; what a killed server holds is believed unread,
/// or sent again from the start every time.
#[test]
fn an_upload_is_whole_or_is_not_there() {
    let total = count("uploads", 4);
    let mut random = fastrand::Rng::with_seed(seed() ^ 51);
    let mut lab = writable();
    let proxy = slow_upwards(&lab, 300_000_000);
    let mut tally = Tally::new("uploads", total);
    let mut worst = 0.0_f64;
    for round in 0..total {
        let content = noise(seed() ^ (2000 + round), SIZE);
        let name = format!("f{round}");
        local(&lab, "source", &content);
        let args = ["put", "source", "--as", &name, "--json"];
        let before = proxy.stats().to_server.forwarded_bytes;
        let mut child = lab.client(proxy.addr(), &args).spawn().unwrap();
        wait_for_upload(&proxy, before, random.u64(0..SIZE as u64), &mut child);
        let was_running = child.try_wait().unwrap().is_none();
        let published = || std::fs::read(lab.root().join(&name)).ok();
        if random.bool() {
            child.kill().unwrap();
            child.wait().unwrap();
            assert!(published().is_none_or(|bytes| bytes == content), "half a file has its name");
            crate::lab::run(&mut lab.client(proxy.addr(), &args)).ends_with(0);
            tally.note(if was_running { "clients killed" } else { "finished too early" });
        } else {
            lab.crash_and_restart_with(&MAY_WRITE);
            let published = std::fs::read(lab.root().join(&name)).ok();
            assert!(published.is_none_or(|bytes| bytes == content), "half a file has its name");
            let done = finish(child).ends_with(0);
            assert_eq!(done.json()["files"].as_array().unwrap().len(), 1, "{done:?}");
            let carried = (proxy.stats().to_server.forwarded_bytes - before) as f64 / SIZE as f64;
            worst = worst.max(carried);
            tally.note(if was_running { "servers killed" } else { "finished too early" });
        }
        assert!(std::fs::read(lab.root().join(&name)).unwrap() == content);
        let seen = visible(&lab);
        assert_eq!(seen, [lab.root().join(&name)], "a partial file is published");
        std::fs::remove_file(lab.root().join(&name)).unwrap();
    }
    assert!(worst < 1.9, "after a crash the link carried {worst:.2} times the file");
    tally.end(&format!("all whole; after a crash the link carried at most {worst:.2} times the file"));
}

/// Promise: readers of a name that is replaced get the old version or the new one.
///
/// Fails when: a version is written in place, or two versions meet in one download.
#[test]
fn readers_beside_replacements() {
    const READERS: usize = 20;
    let total = count("replacements", 10);
    let lab = writable();
    let contents = [noise(seed() ^ 52, 3 << 20), noise(seed() ^ 53, 3 << 20)];
    let sources = [local(&lab, "a", &contents[0]), local(&lab, "b", &contents[1])];
    lab.run(&["put", "a", "--as", "name"]).ends_with(0);
    let mut tally = Tally::new("replacements", total);
    let over = AtomicBool::new(false);
    let (whole, told) = std::thread::scope(|scope| {
        let readers: Vec<_> = (0..READERS)
            .map(|n| {
                let (lab, over, contents) = (&lab, &over, &contents);
                scope.spawn(move || {
                    let place = lab.home().join(format!("reader-{n}"));
                    let (mut whole, mut told) = (0_u64, 0_u64);
                    while !over.load(Ordering::Relaxed) {
                        let mut get: Command = lab.client(lab.address(), &["get", "name", "--overwrite", "--save-dir"]);
                        let done = crate::lab::run(get.arg(&place));
                        match done.code {
                            Some(0) => whole += 1,
                            // It changed twice while it was read.
                            Some(6) => told += 1,
                            _ => panic!("{done:?}"),
                        }
                        if let Ok(saved) = std::fs::read(place.join("name")) {
                            assert!(contents.contains(&saved), "a blend");
                        }
                    }
                    (whole, told)
                })
            })
            .collect();
        for round in 0..total {
            let source = &sources[usize::from(round % 2 == 0)];
            lab.run(&["put", source, "--as", "name", "--overwrite"]).ends_with(0);
            tally.note("replaced");
        }
        over.store(true, Ordering::Relaxed);
        readers.into_iter().map(|reader| reader.join().unwrap()).fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    });
    assert!(whole > 0, "nobody read anything");
    tally.end(&format!("{READERS} readers: {whole} whole versions, {told} told that it changed, 0 blends"));
}

/// Promise: of two uploads to one name one wins and the other is told, whether there is a version to replace or none.
///
/// Fails when: the condition is looked at before the rename and not in it; `--if-unchanged` goes by the version of later.
#[test]
fn two_uploads_to_one_name() {
    let total = count("upload_races", 6);
    let lab = writable();
    let contents = [noise(seed() ^ 54, 4 << 20), noise(seed() ^ 55, 4 << 20)];
    let sources = [local(&lab, "a", &contents[0]), local(&lab, "b", &contents[1])];
    let proxy = slow_upwards(&lab, 150_000_000);
    let mut tally = Tally::new("upload_races", total);
    for round in 0..total {
        let replaces = round % 2 == 1;
        let mut flags = vec!["--json"];
        if replaces {
            lab.publish("name", b"what was there");
            flags.push("--if-unchanged");
        }
        let start = |source: &String| {
            let args = [&["put", source.as_str(), "--as", "name"][..], &flags].concat();
            lab.client(proxy.addr(), &args).spawn().unwrap()
        };
        let children: Vec<_> = sources.iter().map(start).collect();
        let ended: Vec<_> = children.into_iter().map(finish).collect();
        let winners: Vec<_> = (0..2).filter(|n| ended[*n].code == Some(0)).collect();
        assert_eq!(winners.len(), 1, "{ended:?}");
        let told = ended[1 - winners[0]].code;
        assert!(matches!(told, Some(6 | 7)), "{ended:?}");
        assert!(std::fs::read(lab.root().join("name")).unwrap() == contents[winners[0]], "the loser's content");
        std::fs::remove_file(lab.root().join("name")).unwrap();
        tally.note(if replaces { "one replaced it" } else { "one made it" });
    }
    tally.end("0 lost updates");
}
