//! What the tests of the server share: a server in this process, and a client that speaks raw protocol.

#![allow(dead_code, reason = "each test program uses its own part")]

#[cfg(feature = "http")]
pub(crate) mod browser;
#[cfg(feature = "http")]
pub(crate) mod http;
#[cfg(feature = "http")]
pub(crate) mod odd_store;
pub(crate) mod program;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use qfs_core::body::{Answer, ReceiveError, collect};
use qfs_core::model::Digest;
use qfs_core::store::WriteStore;
use qfs_core::stream::{ByteSink, StreamError};
use qfs_core::wire::{
    DownloadHead, DownloadRequest, ListHead, ListPage, RemoteError, Request, StatusCode, Trailer, decode_error,
    decode_response, frame,
};
use qfs_server::{Drained, ServeError, Server, ServerConfig};
use qfs_store::local::LocalStore;
use qfs_transport::{
    ClientEndpoint, ClientTuning, ConnectError, Connection, Identity, IdentityPem, Sink, Source, Trust, Way,
    connect_tcp,
};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Longer than anything here takes; a test that waits for it has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// How clients come in these tests: over UDP, or as `QFS_TEST_TRANSPORT` says. `scripts/test.sh` runs them both ways.
pub(crate) fn way() -> Way {
    if std::env::var_os("QFS_TEST_TRANSPORT").is_some_and(|way| way == "tcp") { Way::Tcp } else { Way::Udp }
}

/// Resolves within [`PATIENCE`], or the test fails.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("took too long")
}

/// A directory with files to publish.
pub(crate) struct Tree {
    directory: tempfile::TempDir,
}

impl Tree {
    pub(crate) fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn write(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }
}

/// Bytes without a period that a mistake could hide behind.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// A server in this process.
pub(crate) struct Rig {
    pub(crate) tree: Tree,
    pub(crate) address: std::net::SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<Result<Drained, ServeError>>,
}

impl Rig {
    /// Serves `tree` as `adjust` would have it.
    pub(crate) fn start(tree: Tree, adjust: impl FnOnce(&mut ServerConfig)) -> Self {
        Self::start_at(tree, "", adjust)
    }

    /// As [`Self::start`], with `below` in the tree published.
    pub(crate) fn start_at(tree: Tree, below: &str, adjust: impl FnOnce(&mut ServerConfig)) -> Self {
        let store = LocalStore::open_root(&tree.path().join(below)).unwrap();
        Self::start_over(tree, store, adjust)
    }

    /// Serves what is in `store`.
    pub(crate) fn serve(store: impl WriteStore, adjust: impl FnOnce(&mut ServerConfig)) -> Self {
        Self::start_over(Tree::new(), store, adjust)
    }

    fn start_over(tree: Tree, store: impl WriteStore, adjust: impl FnOnce(&mut ServerConfig)) -> Self {
        let pem = IdentityPem::generate().unwrap();
        let identity = Identity::from_pem(pem.key.as_bytes(), pem.certificate.as_bytes()).unwrap();
        let mut config = ServerConfig::new((Ipv4Addr::LOCALHOST, 0).into());
        adjust(&mut config);
        let server = Server::bind(config, &identity, store).unwrap();
        let address = server.local_addr();
        let (stop, stopped) = oneshot::channel::<()>();
        let served = tokio::spawn(server.serve(async move {
            let _ = stopped.await;
        }));
        Self { tree, address, stop: Some(stop), served }
    }

    /// Tells the server to stop.
    pub(crate) fn stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }

    /// What serving ended with.
    pub(crate) async fn ended(self) -> Drained {
        soon(self.served).await.unwrap().unwrap()
    }

    pub(crate) async fn connect(&self) -> Client {
        self.connect_with(&ClientTuning::default()).await
    }

    pub(crate) async fn connect_with(&self, tuning: &ClientTuning) -> Client {
        self.try_connect_with(tuning).await.unwrap()
    }

    pub(crate) async fn try_connect(&self) -> Result<Client, ConnectError> {
        self.try_connect_with(&ClientTuning::default()).await
    }

    async fn try_connect_with(&self, tuning: &ClientTuning) -> Result<Client, ConnectError> {
        let endpoint = ClientEndpoint::bind(self.address.ip(), None).unwrap();
        let connection = match way() {
            Way::Udp => endpoint.connect(self.address, "localhost", Trust::AnyKey, tuning, PATIENCE).await?,
            Way::Tcp => connect_tcp(self.address, "localhost", Trust::AnyKey, None, tuning, PATIENCE).await?,
        };
        Ok(Client { endpoint, connection })
    }
}

/// One connection.
pub(crate) struct Client {
    pub(crate) endpoint: ClientEndpoint,
    pub(crate) connection: Connection,
}

/// A client's window so small that the server cannot run ahead of its reading.
pub(crate) fn narrow() -> ClientTuning {
    ClientTuning { receive_window: 32 << 10, ..ClientTuning::default() }
}

impl Client {
    /// Opens a stream, sends `bytes` and ends it.
    pub(crate) async fn send(&self, bytes: impl Into<Bytes>) -> Answer<Source> {
        let (sink, source) = self.connection.open_stream().await.unwrap();
        sink.send_request(bytes.into()).await.unwrap();
        Answer::new(source)
    }

    /// Opens a stream and sends `bytes`, and then nothing.
    pub(crate) async fn begin(&self, bytes: impl Into<Bytes>) -> (Sink, Answer<Source>) {
        let (mut sink, source) = self.connection.open_stream().await.unwrap();
        sink.send(bytes.into()).await.unwrap();
        (sink, Answer::new(source))
    }

    /// Sends JSON as a request.
    pub(crate) async fn ask(&self, json: &str) -> Answer<Source> {
        self.send(frame(json.as_bytes()).unwrap()).await
    }

    /// What is answered to `json` behind a head of success, to the end of the stream.
    pub(crate) async fn whole(&self, json: &str) -> Bytes {
        let mut answer = self.ask(json).await;
        assert_eq!(&answer.next_frame().await.unwrap()[..], br#"{"code":0}"#);
        let mut pieces = Vec::new();
        while !answer.gather(&mut pieces, 1 << 20).await.unwrap() {}
        pieces.concat().into()
    }

    pub(crate) async fn request(&self, request: &DownloadRequest) -> Answer<Source> {
        self.send(Request::Download(request.clone()).encode().unwrap()).await
    }

    /// Downloads, whole.
    pub(crate) async fn download(&self, request: &DownloadRequest) -> Result<Downloaded, Failed> {
        let mut answer = self.request(request).await;
        let head = head(&mut answer).await?;
        finish(answer, head).await
    }

    pub(crate) async fn get(&self, name: &str) -> Result<Downloaded, Failed> {
        self.download(&DownloadRequest { filename: name.into(), ..DownloadRequest::default() }).await
    }

    /// The names listed, in order, and the pages they came on.
    pub(crate) async fn list(&self) -> (Vec<(String, u64)>, usize) {
        let mut answer = self.ask(r#"{"command":"get_files_list"}"#).await;
        let head = soon(answer.next_frame()).await.unwrap();
        decode_response::<ListHead>(&head).unwrap().unwrap();
        let (mut rows, mut pages, mut last) = (Vec::new(), 0, None);
        loop {
            let payload = soon(answer.next_frame()).await.unwrap();
            let page = <ListPage>::decode(&payload, last.as_ref()).unwrap();
            pages += 1;
            last = page.files.last().map(|(name, _)| name.clone()).or(last);
            rows.extend(page.files.into_iter().map(|(name, meta)| (name.as_str().to_owned(), meta.size)));
            if let Some(end) = page.end {
                assert_eq!(end.count, rows.len() as u64);
                assert!(answer.next_frame().await.is_err(), "nothing follows the last page");
                return (rows, pages);
            }
        }
    }

    /// The error head that answers `bytes`.
    pub(crate) async fn refusal(&self, bytes: impl Into<Bytes>) -> RemoteError {
        refusal(self.send(bytes).await).await
    }
}

/// A download that worked.
#[derive(Debug)]
pub(crate) struct Downloaded {
    pub(crate) head: DownloadHead,
    pub(crate) body: Vec<u8>,
    pub(crate) digest: Digest,
}

/// How a download failed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Failed {
    /// By an error head.
    Head(StatusCode, String),
    /// By a reset.
    Reset(StatusCode),
    /// The stream ended otherwise.
    Other(String),
}

impl From<ReceiveError> for Failed {
    fn from(error: ReceiveError) -> Self {
        match error {
            ReceiveError::Stream(StreamError::Reset(code)) => Self::Reset(code),
            other => Self::Other(other.to_string()),
        }
    }
}

impl Failed {
    pub(crate) fn code(&self) -> Option<StatusCode> {
        match self {
            Self::Head(code, _) | Self::Reset(code) => Some(*code),
            Self::Other(_) => None,
        }
    }
}

pub(crate) async fn head(answer: &mut Answer<Source>) -> Result<DownloadHead, Failed> {
    let payload = soon(answer.next_frame()).await?;
    decode_response::<DownloadHead>(&payload).unwrap().map_err(|e| Failed::Head(e.code, e.message))
}

/// Reads body and trailer.
pub(crate) async fn finish(answer: Answer<Source>, head: DownloadHead) -> Result<Downloaded, Failed> {
    let range = head.range.within(head.size).unwrap();
    let mut chunks = answer.into_body(range.end - range.start);
    let body = soon(collect(&mut chunks, |_| ())).await?.concat();
    let trailer = chunks.into_trailer()?;
    let trailer = decode_response::<Trailer>(&trailer).unwrap().unwrap();
    Ok(Downloaded { head, body, digest: trailer.digest })
}

/// The error head of an answer that is one, and ends behind it.
pub(crate) async fn refusal(mut answer: Answer<Source>) -> RemoteError {
    let payload = soon(answer.next_frame()).await.unwrap();
    let error = decode_error(&payload).unwrap();
    assert_ne!(error.code, StatusCode::OK);
    assert!(soon(answer.next_frame()).await.is_err(), "nothing follows an error head");
    error
}
