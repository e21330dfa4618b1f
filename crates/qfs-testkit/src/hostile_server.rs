//! A server that answers whatever a test makes up: right keys and right QUIC, and anything at all on its streams.
//!
//! Knows how to read a request and to run a script of steps; what is a lie and what is not, the tests know.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use qfs_core::framing::read_frame;
use qfs_core::model::Fingerprint;
use qfs_core::stream::ByteSink as _;
use qfs_core::wire::{Request, StatusCode};
use qfs_transport::{Connection, Identity, IdentityPem, Listener, RequestReader, ServerTuning, Sink};
use tokio::sync::oneshot;

/// One step of an answer. An answer whose steps end without an end is reset with `cancelled`.
#[derive(Debug, Clone)]
pub enum Step {
    /// Sends these bytes.
    Send(Bytes),
    /// Sends these bytes again and again, until the client wants no more.
    Forever(Bytes),
    /// Ends the stream in good order.
    Finish,
    /// Resets the stream with this code.
    Reset(u32),
    /// Says nothing for so long.
    Wait(Duration),
    /// Says nothing more for as long as the connection lives.
    Hang,
    /// Closes the connection with this code.
    Close(u32),
}

/// What is answered to a request.
pub type Script = dyn Fn(&Request) -> Vec<Step> + Send + Sync;

/// The server, on a thread of its own; ends when dropped.
#[derive(Debug)]
pub struct HostileServer {
    address: SocketAddr,
    fingerprint: Fingerprint,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl HostileServer {
    /// Starts one on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// When it gets no socket, key or thread.
    pub fn start(script: impl Fn(&Request) -> Vec<Step> + Send + Sync + 'static) -> io::Result<Self> {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into(), script)
    }

    /// Starts one on a free port of 127.0.0.1 that grants clients what `tuning` says.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_tuned(
        tuning: ServerTuning,
        script: impl Fn(&Request) -> Vec<Step> + Send + Sync + 'static,
    ) -> io::Result<Self> {
        Self::begin((Ipv4Addr::LOCALHOST, 0).into(), tuning, Arc::new(script))
    }

    /// Starts one at this address.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_at(
        address: SocketAddr,
        script: impl Fn(&Request) -> Vec<Step> + Send + Sync + 'static,
    ) -> io::Result<Self> {
        Self::begin(address, ServerTuning::default(), Arc::new(script))
    }

    fn begin(wanted: SocketAddr, tuning: ServerTuning, script: Arc<Script>) -> io::Result<Self> {
        let (bound, address) = mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new().name("hostile-server".into()).spawn(move || {
            runtime.block_on(async {
                let listener = listen(wanted, tuning);
                let reached = listener.as_ref().map_err(ToString::to_string).and_then(|(listener, fingerprint)| {
                    let address = listener.local_addr().map_err(|error| error.to_string())?;
                    Ok((address, *fingerprint))
                });
                // Whoever started it waits for this.
                let _ = bound.send(reached);
                let Ok((listener, _)) = listener else { return };
                tokio::select! {
                    () = serve(&listener, &script) => {}
                    _ = stopped => {}
                }
            });
        })?;
        let (address, fingerprint) = address.recv().map_err(io::Error::other)?.map_err(io::Error::other)?;
        Ok(Self { address, fingerprint, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The key that it proves to hold.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }
}

impl Drop for HostileServer {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // A panic over there was printed over there.
            let _ = thread.join();
        }
    }
}

fn listen(address: SocketAddr, tuning: ServerTuning) -> io::Result<(Listener, Fingerprint)> {
    let pem = IdentityPem::generate().map_err(io::Error::other)?;
    let identity = Identity::from_pem(pem.key.as_bytes(), pem.certificate.as_bytes()).map_err(io::Error::other)?;
    let bound = Listener::bind(address, &identity, tuning);
    Ok((bound.map_err(io::Error::other)?, identity.fingerprint()))
}

async fn serve(listener: &Listener, script: &Arc<Script>) {
    while let Some(incoming) = listener.accept().await {
        if let Ok(connection) = listener.handshake(incoming).await {
            tokio::spawn(converse(connection, Arc::clone(script)));
        }
    }
}

async fn converse(connection: Connection, script: Arc<Script>) {
    while let Ok((sink, reader)) = connection.accept_stream().await {
        tokio::spawn(answer(connection.clone(), sink, reader, Arc::clone(&script)));
    }
}

async fn answer(connection: Connection, mut sink: Sink, mut reader: RequestReader, script: Arc<Script>) {
    let Ok(frame) = read_frame(&mut reader).await else { return };
    let Ok(request) = Request::decode(&frame) else { return };
    for step in script(&request) {
        match step {
            Step::Send(bytes) => {
                if sink.send(bytes).await.is_err() {
                    return;
                }
            }
            Step::Forever(bytes) => while sink.send(bytes.clone()).await.is_ok() {},
            Step::Finish => sink.finish(),
            Step::Reset(code) => sink.reset(StatusCode(code)),
            Step::Wait(time) => tokio::time::sleep(time).await,
            Step::Hang => drop(connection.closed().await),
            Step::Close(code) => connection.close(StatusCode(code)),
        }
    }
}
