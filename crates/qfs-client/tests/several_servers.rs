//! Several servers of the same files, through the library: what the programs cannot show, as how much is held in memory.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test that panics has failed; directories of the test's own"
)]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use qfs_client::config::{ConnectConfig, FetchConfig, ServerAddress};
use qfs_client::mirrors::fleet::Fleet;
use qfs_client::plan::selection::Selection;
use qfs_client::transfer::outcome::Status;
use qfs_client::transfer::run;
use qfs_client::trust::NoRecords;
use qfs_core::chunks::{Chunk, ChunkHash, ChunkMap, Grain};
use qfs_core::model::Digest;
use qfs_core::observe::NoObserver;
use qfs_core::wire::{Request, frame};
use qfs_store::local::LocalStore;
use qfs_testkit::fault_store::{Fault, FaultStore, Gate, Operation};
use qfs_testkit::hostile_server::{HostileServer, Step};

const ETAG: &str = "0123456789abcdef0123456789abcdef";

/// How long a chunk of the file is that [`alike`] serves, all of which are the same.
const CHUNK: usize = 1 << 20;

/// A server of the file `f`, which is the same chunk `count` times over: of any size, and next to nothing in memory.
fn alike(count: usize) -> HostileServer {
    let chunk: Bytes = (0..CHUNK).map(|n| (n % 251) as u8).collect();
    let size = count * CHUNK;
    let digest = Digest::of(&chunk.repeat(count));
    let one = Chunk { length: u32::try_from(CHUNK).unwrap(), hash: ChunkHash::of(&chunk) };
    let map = ChunkMap::new(Grain::from_exponent(20).unwrap(), digest, vec![one; count]).unwrap();
    let map = Bytes::from(map.encode());
    let message = |json: String| Step::Send(frame(json.as_bytes()).unwrap());
    let script = move |request: &Request| match request {
        Request::Download(request) => {
            let range = request.range.map_or(0..size as u64, |range| range.within(size as u64).unwrap());
            let (start, end) = (range.start as usize, range.end as usize);
            let mut steps = vec![message(format!(
                r#"{{"code":0,"size":{size},"modified":"2026-11-23T08:09:24Z","etag":"{ETAG}","range":{{"start":{start},"end":{end}}}}}"#
            ))];
            let mut at = start;
            while at < end {
                let stop = end.min(at - at % CHUNK + CHUNK);
                steps.push(Step::Send(chunk.slice(at % CHUNK..at % CHUNK + (stop - at))));
                at = stop;
            }
            steps.push(message(format!(r#"{{"code":0,"sha256":"{digest}"}}"#)));
            steps.push(Step::Finish);
            steps
        }
        Request::ChunkMap(_) => {
            let head = format!(r#"{{"code":0,"size":{size},"etag":"{ETAG}","length":{}}}"#, map.len());
            vec![message(head), Step::Send(map.clone()), Step::Finish]
        }
        _ => vec![message(r#"{"code":2}"#.to_owned()), Step::Finish],
    };
    HostileServer::start(script).unwrap()
}

async fn fleet(servers: &[HostileServer]) -> Arc<Fleet> {
    let config = |server: &HostileServer| {
        let (host, port) = (server.address().ip().to_string(), server.address().port());
        ConnectConfig { pin: Some(server.fingerprint()), ..ConnectConfig::new(ServerAddress { host, port }) }
    };
    let configs = servers.iter().map(config).collect();
    Fleet::connect(configs, Arc::new(NoRecords), Arc::new(NoObserver), None).await.unwrap()
}

fn received(fleet: &Fleet) -> u64 {
    fleet.reports().iter().map(|report| report.bytes).sum()
}

/// Fails when: servers that are faster than the disk are asked for more and more, and what they send waits in memory.
#[tokio::test]
async fn what_the_disk_has_not_taken_is_bounded() {
    const COUNT: usize = 160;
    /// What is not proved, and what each of two servers has under way.
    const MOST: u64 = (32 + 2 * 16) << 20;
    let servers = [alike(COUNT), alike(COUNT)];
    let fleet = fleet(&servers).await;
    let home = tempfile::tempdir().unwrap();
    let store = FaultStore::new(LocalStore::create_root(home.path()).unwrap());
    let gate = Gate::new();
    store.inject_from(Operation::Write, 1, Fault::StallUntil(gate.clone()));
    let fetching = {
        let (fleet, store) = (Arc::clone(&fleet), Arc::new(store.clone()));
        let selection = Selection::parse(&["f".to_owned()]).unwrap();
        tokio::spawn(async move {
            let (config, observer) = (FetchConfig::default(), Arc::new(NoObserver));
            run::fetch_from(&fleet, store, Default::default(), selection, config, observer, &mut |_| {}).await
        })
    };
    // Until nothing more comes, or too much has come.
    let (mut before, mut quiet) = (0, 0);
    while quiet < 10 && before <= MOST {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = received(&fleet);
        quiet = if now == before && now > 0 { quiet + 1 } else { 0 };
        before = now;
    }
    gate.open();
    let outcome = fetching.await.unwrap().unwrap();
    assert!(before <= MOST, "{before} bytes were taken though none could be written");
    assert!(matches!(outcome.files[0].status, Status::Downloaded), "{outcome:?}");
    assert_eq!(std::fs::metadata(home.path().join("f")).unwrap().len(), (COUNT * CHUNK) as u64);
    fleet.close().await;
}
