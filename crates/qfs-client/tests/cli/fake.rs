//! A server that answers every download with a wrong digest or as changed, and an end point that speaks another protocol.

use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use qfs_core::model::{ByteRange, Digest, HashKind, Holes};
use qfs_core::stream::ByteSink as _;
use qfs_core::wire::{DownloadHead, RemoteError, StatusCode, Trailer, encode};
use qfs_transport::{Connection, Identity, IdentityPem, Listener, ServerTuning};

/// How it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// With a body that is not what its trailer says.
    WrongDigest,
    /// As if the file changed at every attempt.
    Changed,
    /// By refusing.
    Denied,
}

/// Runs until the test ends.
pub(crate) struct Fake {
    address: SocketAddr,
    _stop: tokio::sync::oneshot::Sender<()>,
}

impl Fake {
    pub(crate) fn start(manner: Manner) -> Self {
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let (bound, address) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let pem = IdentityPem::generate().unwrap();
                let identity = Identity::from_pem(pem.key.as_bytes(), pem.certificate.as_bytes()).unwrap();
                let listener =
                    Listener::bind((Ipv4Addr::LOCALHOST, 0).into(), &identity, ServerTuning::default()).unwrap();
                bound.send(listener.local_addr().unwrap()).unwrap();
                tokio::select! {
                    () = serve(&listener, manner) => {}
                    _ = stopped => {}
                }
            });
        });
        Self { address: address.recv().unwrap(), _stop: stop }
    }

    pub(crate) fn port(&self) -> String {
        self.address.port().to_string()
    }
}

async fn serve(listener: &Listener, manner: Manner) {
    while let Some(incoming) = listener.accept().await {
        if let Ok(connection) = listener.handshake(incoming).await {
            tokio::spawn(answer(connection, manner));
        }
    }
}

async fn answer(connection: Connection, manner: Manner) {
    while let Ok((mut sink, request)) = connection.accept_stream().await {
        // The answer does not depend on the question.
        drop(request);
        let reply = match manner {
            Manner::WrongDigest => wrong_digest(),
            Manner::Changed => encode(&RemoteError::new(StatusCode::CHANGED, "changed")).unwrap(),
            Manner::Denied => encode(&RemoteError::new(StatusCode::DENIED, "not \x1b[2J you")).unwrap(),
        };
        if sink.send(reply).await.is_ok() {
            sink.finish();
        }
    }
}

fn wrong_digest() -> Bytes {
    let body = b"not what it seems";
    let size = body.len() as u64;
    let head = DownloadHead {
        code: StatusCode::OK,
        size,
        modified: "2026-11-23T08:09:24Z".parse().unwrap(),
        etag: "1".parse().unwrap(),
        range: ByteRange { start: 0, end: Some(size) },
        digest: None,
        holes: Holes::default(),
        executable: false,
        live: false,
        hash: HashKind::Sha256,
    };
    let trailer = Trailer::new(Digest::of(b"something else"));
    let parts = [encode(&head).unwrap(), Bytes::from_static(body), encode(&trailer).unwrap()];
    parts.concat().into()
}
