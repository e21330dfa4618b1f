//! The library as another program uses it: every operation is a future that may be spawned, and ends its work when it is dropped.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test that panics has failed; directories of the test's own"
)]

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use qfs_client::config::{ConnectConfig, FetchConfig, ServerAddress};
use qfs_client::error::Failure;
use qfs_client::plan::selection::Selection;
use qfs_client::plan::sync::Options;
use qfs_client::session::{Session, exchange};
use qfs_client::transfer::cat::{self, Part};
use qfs_client::transfer::outcome::Status;
use qfs_client::transfer::put::{self, PutConfig, Replace};
use qfs_client::transfer::remote_file::RemoteFile;
use qfs_client::transfer::sync::{self, Direction, SyncConfig, SyncRequest};
use qfs_client::transfer::{change, look, run, single};
use qfs_client::trust::NoRecords;
use qfs_core::model::{ByteRange, Digest, HashKind, Holes, RemotePath};
use qfs_core::observe::{Event, NoObserver, Observer};
use qfs_core::wire::{DownloadHead, Kind, Request, StatusCode, encode};
use qfs_store::local::LocalStore;
use qfs_testkit::binaries::{ServerOptions, ServerProcess};
use qfs_testkit::hostile_server::{HostileServer, Step};
use tokio::sync::{Notify, mpsc};

fn path(text: &str) -> RemotePath {
    RemotePath::parse(text).unwrap()
}

fn spawnable<F: Future + Send>(future: F) -> F {
    future
}

/// A server whose root anybody may change, and a session with it.
struct Lab {
    place: tempfile::TempDir,
    session: Session,
    /// Ends with the test.
    _server: ServerProcess,
}

impl Lab {
    async fn new(files: &[(&str, &[u8])]) -> Self {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().join("root");
        std::fs::create_dir(&root).unwrap();
        for (name, content) in files {
            std::fs::create_dir_all(root.join(name).parent().unwrap()).unwrap();
            std::fs::write(root.join(name), content).unwrap();
        }
        let args = &["--allow", "read,write,delete", "--keep-free", "1"];
        let server = ServerProcess::start_with(&ServerOptions { args, ..ServerOptions::new(&root) });
        let config = ConnectConfig::from(server.ticket().parse::<qfs_core::model::Ticket>().unwrap());
        let session = spawnable(Session::connect(config, Arc::new(NoRecords), Arc::new(NoObserver))).await.unwrap();
        Self { place, session, _server: server }
    }

    fn root(&self) -> std::path::PathBuf {
        self.place.path().join("root")
    }

    fn home(&self) -> std::path::PathBuf {
        self.place.path().join("home")
    }
}

fn noise(length: usize) -> Vec<u8> {
    (0..length as u64).map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

/// Counts the bytes that arrive, and tells when the first have.
#[derive(Default)]
struct Arrivals {
    bytes: AtomicU64,
    begun: Notify,
}

impl Observer for Arrivals {
    fn event(&self, event: Event<'_>) {
        if let Event::Received { bytes, .. } = event {
            self.bytes.fetch_add(bytes, Ordering::Relaxed);
            self.begun.notify_one();
        }
    }
}

const OVERWRITE: PutConfig = PutConfig {
    parallel: None,
    connections: None,
    replace: Replace::Any,
    checksum: false,
    durable: false,
    perms: false,
    whole: false,
    dense: false,
    measured: false,
};

#[tokio::test]
async fn names_are_looked_at_and_files_read_in_parts() {
    let content = noise(700_000);
    let lab = Lab::new(&[("a/b/c.bin", &content), ("a/d.txt", b"d"), ("e", b"")]).await;
    let session = &lab.session;

    let top = spawnable(look::children(session, None)).await.unwrap().unwrap();
    let kinds: Vec<_> = top.iter().map(|(name, found)| (name.as_str(), found.kind)).collect();
    assert_eq!(kinds, [("a", Kind::Directory), ("e", Kind::File)]);
    let inside = look::children(session, Some(&path("a"))).await.unwrap().unwrap();
    assert_eq!(inside.keys().map(RemotePath::as_str).collect::<Vec<_>>(), ["a/b", "a/d.txt"]);
    assert_eq!(look::children(session, Some(&path("nothing"))).await.unwrap(), None);
    assert_eq!(look::children(session, Some(&path("e"))).await.unwrap(), None, "a file is no directory");

    let below = spawnable(look::files(session, Some(&path("a")))).await.unwrap().unwrap();
    assert_eq!(below.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["a/b/c.bin", "a/d.txt"]);
    assert_eq!(look::files(session, Some(&path("e"))).await.unwrap(), None);

    let found = spawnable(look::stat(session, &path("a/b/c.bin"))).await.unwrap().unwrap();
    assert_eq!((found.kind, found.size), (Kind::File, 700_000));
    assert_eq!(look::stat(session, &path("a")).await.unwrap().unwrap().kind, Kind::Directory);
    assert_eq!(look::stat(session, &path("ab")).await.unwrap(), None);

    let file = spawnable(RemoteFile::open(session, &path("a/b/c.bin"))).await.unwrap();
    for (offset, length) in [(0, 1), (1, 600_000), (699_999, 10), (700_000, 10), (u64::MAX, 1), (0, 0)] {
        let expected = content.get(offset.min(700_000) as usize..).unwrap();
        let expected = &expected[..length.min(expected.len())];
        assert_eq!(spawnable(file.read_at(offset, length)).await.unwrap(), expected, "{length} from {offset}");
    }

    // Another version is never read as if it were this one.
    std::fs::write(lab.root().join("a/b/c.bin"), noise(500)).unwrap();
    let failure = file.read_at(0, 10).await.unwrap_err();
    assert!(matches!(failure, Failure::Changed), "{failure}");
}

#[tokio::test]
async fn bytes_go_there_and_files_come_to_any_path() {
    let lab = Lab::new(&[]).await;
    let (session, observer) = (&lab.session, Arc::new(NoObserver));
    let content = Bytes::from(noise(300_000));
    for name in ["x.bin", "deep/er/x.bin"] {
        let remote = path(name);
        let put = put::put_bytes(session, &remote, content.clone(), PutConfig::default(), observer.clone());
        let outcome = spawnable(put).await.unwrap();
        assert_eq!(outcome.digest, Some(Digest::of(&content)));
        assert_eq!(std::fs::read(lab.root().join(name)).unwrap(), content);
    }
    let again = put::put_bytes(session, &path("x.bin"), Bytes::new(), PutConfig::default(), observer.clone()).await;
    assert!(matches!(again.unwrap_err(), Failure::Exists));
    put::put_bytes(session, &path("x.bin"), Bytes::new(), OVERWRITE, observer.clone()).await.unwrap();
    assert_eq!(std::fs::read(lab.root().join("x.bin")).unwrap(), b"");

    let target = lab.home().join("made/on the way/y");
    let name = path("deep/er/x.bin");
    let fetch = |config| single::fetch_file(session, &name, &target, config, observer.clone());
    let outcome = spawnable(fetch(FetchConfig::default())).await.unwrap();
    assert!(matches!(outcome.status, Status::Downloaded), "{outcome:?}");
    assert_eq!(std::fs::read(&target).unwrap(), content);
    assert!(matches!(fetch(FetchConfig::default()).await.unwrap().status, Status::Unchanged));
    std::fs::write(&target, b"other").unwrap();
    let refused = fetch(FetchConfig::default()).await.unwrap();
    assert!(matches!(refused.status, Status::Failed(Failure::Exists)), "{refused:?}");
    fetch(FetchConfig { overwrite: true, ..FetchConfig::default() }).await.unwrap();
    assert_eq!(std::fs::read(&target).unwrap(), content);

    spawnable(change::make_directory(session, &path("new"))).await.unwrap();
    spawnable(change::copy(session, &path("deep/er/x.bin"), &path("new/z"), false)).await.unwrap();
    assert!(matches!(change::copy(session, &path("x.bin"), &path("new/z"), false).await.unwrap_err(), Failure::Exists));
    for (name, kind, version) in spawnable(change::doomed(session, path("new"))).await.unwrap() {
        spawnable(change::remove(session, &name, kind, version)).await.unwrap();
    }
    assert!(!lab.root().join("new").exists());
}

/// Fails when: an operation cannot be spawned on a runtime with several threads.
#[tokio::test]
async fn whole_runs_are_spawnable_and_told_of() {
    let content = noise(200_000);
    let lab = Lab::new(&[("one", &content), ("two/three", b"3")]).await;
    let session = &lab.session;

    let arrivals = Arc::new(Arrivals::default());
    let store = Arc::new(LocalStore::create_root(&lab.home()).unwrap());
    let ended = Mutex::new(Vec::new());
    let mut done = |files: &[&qfs_client::transfer::outcome::FileOutcome]| {
        ended.lock().unwrap().extend(files.iter().map(|file| file.name.clone()));
    };
    let observer = Arc::clone(&arrivals) as _;
    let config = FetchConfig::default();
    spawnable(run::fetch(session, store, Selection::all(), config, observer, &mut done)).await.unwrap();
    assert_eq!(*ended.lock().unwrap(), ["one", "two/three"]);
    assert_eq!(
        arrivals.bytes.load(Ordering::Relaxed),
        200_001,
        "the observer of the run is told, not that of the session"
    );

    let request = |direction, directory: &Path| SyncRequest {
        direction,
        prefix: Some(path("two")),
        directory: directory.to_owned(),
        options: Options::default(),
    };
    for (direction, directory) in [(Direction::Pull, lab.home().join("pulled")), (Direction::Push, lab.home())] {
        let prepared = spawnable(sync::prepare(session, request(direction, &directory))).await.unwrap();
        let (observer, mut report) = (Arc::new(NoObserver), |_, _: &_| {});
        let carried = prepared.carry_out(session, SyncConfig::default(), observer, &mut report);
        assert_eq!(spawnable(carried).await.unwrap().failures().count(), 0);
    }
    assert_eq!(std::fs::read(lab.home().join("pulled/three")).unwrap(), b"3");
    assert_eq!(std::fs::read(lab.root().join("two/one")).unwrap(), content);

    let sources = put::gather(vec![(lab.home(), path("copy"))]).await.map_err(|(_, error)| error).unwrap();
    spawnable(put::put(session, sources, PutConfig::default(), Arc::new(NoObserver), &mut |_| {})).await.unwrap();
    assert!(lab.root().join("copy/pulled/three").exists());

    let (out, mut pieces) = mpsc::channel(8);
    let part = Part::Range(ByteRange { start: 199_990, end: None });
    spawnable(cat::cat(session, "one", part, &out)).await.unwrap();
    assert_eq!(pieces.recv().await.unwrap(), content[199_990..]);
    let mut rows = 0;
    let mut count = |page: Vec<_>| {
        rows += page.len();
        ControlFlow::Continue(())
    };
    spawnable(exchange::list(session, &mut count)).await.unwrap();
    assert!(rows > 2);
}

/// Fails when: a dropped future leaves its work going on, or a cancelled upload leaves something under its name.
#[tokio::test]
async fn what_is_dropped_ends() {
    let content = noise(64 << 20);
    let lab = Lab::new(&[("large", &content)]).await;
    let (session, target) = (&lab.session, lab.home().join("large"));

    let arrivals = Arc::new(Arrivals::default());
    let name = path("large");
    let fetching = single::fetch_file(session, &name, &target, FetchConfig::default(), arrivals.clone());
    tokio::select! {
        ended = fetching => panic!("64 MiB have come before it was told of any: {ended:?}"),
        () = arrivals.begun.notified() => {}
    }
    let arrived = arrivals.bytes.load(Ordering::Relaxed);
    // The connection goes on, and brings nothing more of that file.
    assert_eq!(look::children(session, None).await.unwrap().unwrap().len(), 1);
    assert_eq!(arrivals.bytes.load(Ordering::Relaxed), arrived);
    assert!(arrived < content.len() as u64 && !target.exists());

    // What has arrived is kept.
    let outcome = single::fetch_file(session, &name, &target, FetchConfig::default(), arrivals.clone()).await;
    assert!(matches!(outcome.unwrap().status, Status::Resumed | Status::Downloaded));
    assert_eq!(std::fs::read(&target).unwrap(), content);

    let (sender, blocks) = mpsc::channel(1);
    let arrivals = Arc::new(Arrivals::default());
    let upload = path("upload");
    let putting = put::put_stream(session, &upload, blocks, PutConfig::default(), arrivals.clone());
    let feeding = async {
        sender.send(Ok(Bytes::from(noise(1000)))).await.unwrap();
        arrivals.begun.notified().await;
    };
    tokio::select! {
        ended = putting => panic!("it has no end: {ended:?}"),
        () = feeding => {}
    }
    assert_eq!(look::stat(session, &path("upload")).await.unwrap(), None);
    // The name is free again.
    put::put_bytes(session, &path("upload"), Bytes::from_static(b"whole"), PutConfig::default(), Arc::new(NoObserver))
        .await
        .unwrap();
}

/// Fails when: memory is taken for as much as a server says that there is.
#[tokio::test]
async fn a_size_that_a_server_makes_up_takes_no_memory() {
    const SIZE: u64 = 1 << 62;
    let server = HostileServer::start(|request| {
        let Request::Download(download) = request else { return vec![Step::Reset(StatusCode::UNKNOWN_COMMAND.0)] };
        let head = head(SIZE, download.range.unwrap(), None);
        match head.range.end {
            Some(0) => vec![Step::Send(encode(&head).unwrap()), Step::Hang],
            _ => vec![Step::Reset(StatusCode::INTERNAL.0)],
        }
    })
    .unwrap();
    let session = session_with(&server).await;
    let file = RemoteFile::open(&session, &path("f")).await.unwrap();
    assert_eq!(file.size(), SIZE);
    let failure = file.read_at(0, usize::MAX).await.unwrap_err();
    assert!(matches!(failure, Failure::Refused(_)), "{failure}");
}

/// Fails when: bytes are taken for those of the version that was opened before the server has said so (PROTOCOL §4.2).
#[tokio::test]
async fn a_part_of_a_file_that_changed_meanwhile_is_none() {
    for knows_digest in [true, false] {
        let is_taken = AtomicBool::new(false);
        let server = HostileServer::start(move |request| {
            let Request::Download(download) = request else { return vec![Step::Reset(StatusCode::UNKNOWN_COMMAND.0)] };
            let range = download.range.unwrap();
            let is_empty = range.end == Some(range.start);
            if is_empty && is_taken.load(Ordering::Relaxed) {
                return vec![Step::Reset(StatusCode::CHANGED.0)];
            }
            let digest = knows_digest.then(|| Digest::of(b"hello"));
            let head = Step::Send(encode(&head(5, range, digest)).unwrap());
            if is_empty {
                return vec![head, Step::Hang];
            }
            is_taken.store(true, Ordering::Relaxed);
            let part = Step::Send(Bytes::from_static(b"ell"));
            let end = if knows_digest { Step::Reset(StatusCode::CHANGED.0) } else { Step::Hang };
            vec![head, part, Step::Wait(Duration::from_secs(1)), end]
        })
        .unwrap();
        let session = session_with(&server).await;
        let file = RemoteFile::open(&session, &path("f")).await.unwrap();
        let failure = file.read_at(1, 3).await.unwrap_err();
        assert!(matches!(failure, Failure::Changed), "{knows_digest}: {failure}");
    }
}

/// A head for `range` of a file of `size` bytes.
fn head(size: u64, range: ByteRange, digest: Option<Digest>) -> DownloadHead {
    DownloadHead {
        code: StatusCode::OK,
        size,
        modified: jiff::Timestamp::UNIX_EPOCH,
        etag: "v".parse().unwrap(),
        range,
        digest,
        holes: Holes::default(),
        executable: false,
        live: false,
        hash: HashKind::Sha256,
    }
}

async fn session_with(server: &HostileServer) -> Session {
    let address = ServerAddress { host: server.address().ip().to_string(), port: server.address().port() };
    let config = ConnectConfig { pin: Some(server.fingerprint()), ..ConnectConfig::new(address) };
    Session::connect(config, Arc::new(NoRecords), Arc::new(NoObserver)).await.unwrap()
}
