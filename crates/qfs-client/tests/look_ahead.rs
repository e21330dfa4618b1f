//! What is asked for while files that have come are still being written.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed, which is its job")]

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use bytes::Bytes;
use qfs_client::config::{ConnectConfig, FetchConfig, ServerAddress};
use qfs_client::plan::selection::Selection;
use qfs_client::session::Session;
use qfs_client::transfer::outcome::Status;
use qfs_client::transfer::run;
use qfs_client::trust::NoRecords;
use qfs_core::model::{Digest, EntryMeta, HashKind, RemotePath};
use qfs_core::observe::NoObserver;
use qfs_core::wire::{FileRecord, ListHead, ManyHead, PageBuilder, Request, StatusCode, encode};
use qfs_store::mem::MemStore;
use qfs_testkit::fault_store::{Fault, FaultStore, Gate, Operation};
use qfs_testkit::hostile_server::{HostileServer, Step};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Enough small files for three batches, each with more than one step of the client.
const FILES: usize = 300;

const CONTENT: [u8; 4096] = [7; 4096];

fn names() -> impl Iterator<Item = RemotePath> {
    (0..FILES).map(|n| RemotePath::parse(&format!("{n:03}")).unwrap())
}

fn meta() -> EntryMeta {
    EntryMeta { size: CONTENT.len() as u64, modified: jiff::Timestamp::UNIX_EPOCH, digest: None, executable: false }
}

fn listing() -> Vec<Step> {
    let mut pages = PageBuilder::new();
    let head = encode(&ListHead { code: StatusCode::OK, tree: false, hash: HashKind::Sha256 }).unwrap();
    let mut frames = vec![head];
    names().for_each(|name| frames.extend(pages.push(&name, &meta()).unwrap()));
    frames.push(pages.finish().unwrap());
    frames.into_iter().map(Step::Send).chain([Step::Finish]).collect()
}

fn many(files: &[String]) -> Vec<Step> {
    let record = FileRecord {
        code: StatusCode::OK,
        size: CONTENT.len() as u64,
        modified: jiff::Timestamp::UNIX_EPOCH,
        digest: Digest::of(&CONTENT),
        executable: false,
    };
    let record = [encode(&record).unwrap(), Bytes::from_static(&CONTENT)];
    let files = files.iter().flat_map(|_| record.clone());
    let head = encode(&ManyHead { code: StatusCode::OK, hash: HashKind::Sha256 }).unwrap();
    [head].into_iter().chain(files).map(Step::Send).chain([Step::Finish]).collect()
}

async fn session(server: &HostileServer) -> Session {
    let address = ServerAddress { host: server.address().ip().to_string(), port: server.address().port() };
    let config = ConnectConfig { pin: Some(server.fingerprint()), ..ConnectConfig::new(address) };
    Session::connect(config, Arc::new(NoRecords), Arc::new(NoObserver)).await.unwrap()
}

/// Fails when: the next batch is asked for only once the one before has been written, so that the link stands still meanwhile.
#[tokio::test]
async fn the_next_batch_is_under_way_while_one_is_written() {
    for parallel in [None, NonZeroUsize::new(1)] {
        let (told, asked) = mpsc::channel();
        let told = Mutex::new(told);
        let server = HostileServer::start(move |request| match request {
            Request::DownloadMany(request) => {
                // Who listens has gone when enough was heard.
                let _ = told.lock().unwrap().send(request.files.len());
                many(&request.files)
            }
            _ => listing(),
        })
        .unwrap();
        let (store, gate) = (FaultStore::new(MemStore::default()), Gate::new());
        store.inject(Operation::Put, 1, Fault::StallUntil(gate.clone()));
        let listener = std::thread::spawn(move || {
            assert!(asked.recv_timeout(PATIENCE).is_ok(), "nothing was asked");
            let second = asked.recv_timeout(PATIENCE);
            // Until now the first file could not be written.
            gate.open();
            second.is_ok()
        });
        let session = session(&server).await;
        let config = FetchConfig { parallel, ..FetchConfig::default() };
        let fetched =
            run::fetch(&session, Arc::new(store), Selection::all(), config, Arc::new(NoObserver), &mut |_| {}).await;
        let files = fetched.unwrap().files;
        assert_eq!(files.len(), FILES);
        assert!(files.iter().all(|file| matches!(file.status, Status::Downloaded)));
        assert!(listener.join().unwrap(), "parallel {parallel:?}: the second batch waited for the first");
    }
}
