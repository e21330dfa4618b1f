//! Stands between a client and a server with the server's own key, and keeps what passes, stream by stream.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use quinn::{Connection, ConnectionError, Endpoint, RecvStream, SendStream, VarInt};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::answer::{is_cut, request, split_answer, split_request};
use crate::format::{End, Event, Exchange, Item, Then};
use crate::lab::Lab;
use crate::quic::{Taken, accepting, code, connect};
use crate::tree;

/// What a client is told when its connection is taken away: `shutting_down`, after which it connects anew.
pub(crate) const TAKEN_AWAY: u64 = 11;

pub(crate) struct Relay {
    endpoint: Endpoint,
    shared: Arc<Shared>,
}

struct Shared {
    server: SocketAddr,
    lab: Arc<Lab>,
    event: Mutex<Option<Event>>,
    connections: AtomicUsize,
    streams: Mutex<Vec<Kept>>,
    closed: Mutex<Vec<(usize, u64)>>,
    refuses: Notify,
}

/// What one stream carried.
#[derive(Debug, Clone)]
struct Kept {
    connection: usize,
    sent: Vec<u8>,
    sent_end: End,
    answer: Vec<u8>,
    answer_end: End,
}

impl Relay {
    /// Starts to relay to `server`, whose identity is in the lab.
    pub(crate) fn start(server: SocketAddr, lab: Arc<Lab>, event: Option<Event>) -> Self {
        let shared = Arc::new(Shared {
            server,
            lab,
            event: Mutex::new(event),
            connections: AtomicUsize::new(0),
            streams: Mutex::default(),
            closed: Mutex::default(),
            refuses: Notify::new(),
        });
        let endpoint = accepting(&shared.lab.certs());
        tokio::spawn(accept(endpoint.clone(), Arc::clone(&shared)));
        Self { endpoint, shared }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.endpoint.local_addr().unwrap()
    }

    /// What passed, in the order in which the streams were opened.
    pub(crate) async fn finish(self) -> (Vec<Exchange>, Vec<(usize, u64)>) {
        self.endpoint.close(code(0), b"");
        self.endpoint.wait_idle().await;
        assert!(self.shared.event.lock().unwrap().is_none(), "what was to happen did not");
        let streams = self.shared.streams.lock().unwrap().iter().map(Kept::exchange).collect();
        let closed = self.shared.closed.lock().unwrap().clone();
        (streams, closed)
    }
}

impl Kept {
    fn exchange(&self) -> Exchange {
        let sent = split_request(&self.sent);
        let answer = split_answer(&request(&sent), &self.answer, self.answer_end);
        let all: Vec<u8> = answer.iter().flat_map(Item::bytes).collect();
        assert!(self.answer.starts_with(&all), "what is written down is not what was sent");
        assert!(is_cut(self.answer_end) || all.len() == self.answer.len(), "bytes are missing");
        Exchange { connection: self.connection, sent, sent_end: self.sent_end, answer, answer_end: self.answer_end }
    }
}

async fn accept(endpoint: Endpoint, shared: Arc<Shared>) {
    loop {
        tokio::select! {
            incoming = endpoint.accept() => {
                let Some(incoming) = incoming else { return };
                tokio::spawn(relay(incoming, Arc::clone(&shared)));
            }
            () = shared.refuses.notified() => break,
        }
    }
    while let Some(incoming) = endpoint.accept().await {
        incoming.refuse();
    }
}

async fn relay(incoming: quinn::Incoming, shared: Arc<Shared>) {
    let Ok(client) = incoming.await else { return };
    let number = shared.connections.fetch_add(1, Ordering::Relaxed);
    let server = connect(shared.server).await;
    let mut streams = JoinSet::new();
    loop {
        tokio::select! {
            opened = client.accept_bi() => match opened {
                Ok(stream) => {
                    let at = shared.open(number);
                    streams.spawn(pass(stream, at, client.clone(), server.clone(), Arc::clone(&shared)));
                }
                Err(ConnectionError::ApplicationClosed(closed)) => {
                    server.close(closed.error_code, &closed.reason);
                    break;
                }
                Err(_) => break server.close(code(TAKEN_AWAY), b""),
            },
            why = server.closed() => {
                if let ConnectionError::ApplicationClosed(closed) = &why {
                    shared.closed.lock().unwrap().push((number, closed.error_code.into_inner()));
                    client.close(closed.error_code, &closed.reason);
                }
                break;
            }
        }
    }
    while streams.join_next().await.is_some() {}
}

impl Shared {
    fn open(&self, connection: usize) -> usize {
        let mut streams = self.streams.lock().unwrap();
        let (sent, answer) = (Vec::new(), Vec::new());
        streams.push(Kept { connection, sent, sent_end: End::Open, answer, answer_end: End::Lost });
        streams.len() - 1
    }

    /// Keeps what passed of a stream so far.
    fn keep(&self, at: usize, change: impl FnOnce(&mut Kept)) {
        change(&mut self.streams.lock().unwrap()[at]);
    }

    /// The event, if it is about what was asked here; it happens once.
    fn event_of(&self, at: usize) -> Option<Event> {
        let asked = request(&split_request(&self.streams.lock().unwrap()[at].sent));
        let mut event = self.event.lock().unwrap();
        let is_meant = event.as_ref().is_some_and(|event| asked["filename"] == event.file && asked["range"].is_null());
        if is_meant { event.take() } else { None }
    }
}

async fn pass(
    (to_client, from_client): (SendStream, RecvStream),
    at: usize,
    client: Connection,
    server: Connection,
    shared: Arc<Shared>,
) {
    let Ok((to_server, from_server)) = server.open_bi().await else { return };
    let asking = ask(from_client, to_server, at, &shared);
    let answering = answer(from_server, to_client, at, &client, &shared);
    tokio::join!(asking, answering);
}

async fn ask(mut from: RecvStream, mut to: SendStream, at: usize, shared: &Shared) {
    let mut taken = Taken::default();
    loop {
        let before = taken.bytes.len();
        tokio::select! {
            () = taken.take(&mut from) => {}
            stopped = to.stopped() => {
                if let Ok(Some(why)) = stopped {
                    let _ = from.stop(why);
                }
                return;
            }
        }
        shared.keep(at, |kept| kept.sent.extend_from_slice(&taken.bytes[before..]));
        let _ = to.write_all(&taken.bytes[before..]).await;
        match taken.end {
            None => continue,
            Some(End::Fin) => drop(to.finish()),
            Some(End::Reset(with)) => drop(to.reset(code(with))),
            Some(_) => return,
        }
        return shared.keep(at, |kept| kept.sent_end = taken.end.unwrap());
    }
}

async fn answer(mut from: RecvStream, mut to: SendStream, at: usize, client: &Connection, shared: &Shared) {
    let mut taken = Taken::default();
    let mut event = None;
    loop {
        let before = taken.bytes.len();
        tokio::select! {
            biased;
            stopped = to.stopped() => return stop(&mut from, stopped.ok().flatten(), at, shared),
            () = taken.take(&mut from) => {}
        }
        if before == 0 {
            event = shared.event_of(at);
        }
        let mut happens = None;
        if let Some(due) = &event
            && let Some(enough) = body_begins(&taken.bytes).map(|begin| begin + usize::try_from(due.after).unwrap())
            && taken.bytes.len() >= enough
        {
            // What passes before it is always the same.
            if due.then != Then::Change {
                taken.bytes.truncate(enough);
            }
            happens = event.take().map(|due| due.then);
        }
        shared.keep(at, |kept| kept.answer.extend_from_slice(&taken.bytes[before..]));
        let _ = to.write_all(&taken.bytes[before..]).await;
        match happens {
            Some(Then::Change) => {
                let (root, name): (PathBuf, _) = (shared.lab.root(), tree::LARGE);
                tree::change(&root, name);
            }
            Some(then) => {
                shared.lab.has_kept_some().await;
                if then == Then::LoseForGood {
                    shared.refuses.notify_one();
                }
                return client.close(code(TAKEN_AWAY), b"");
            }
            None => {}
        }
        match taken.end {
            None => continue,
            Some(End::Fin) => drop(to.finish()),
            Some(End::Reset(with)) => drop(to.reset(code(with))),
            Some(_) => {}
        }
        return shared.keep(at, |kept| kept.answer_end = taken.end.unwrap());
    }
}

fn stop(from: &mut RecvStream, why: Option<VarInt>, at: usize, shared: &Shared) {
    let Some(why) = why else { return };
    let _ = from.stop(why);
    shared.keep(at, |kept| kept.answer_end = End::Stopped(why.into_inner()));
}

/// Where the body begins behind a head's frame.
fn body_begins(bytes: &[u8]) -> Option<usize> {
    let prefix = bytes.first_chunk::<4>()?;
    Some(4 + usize::try_from(u32::from_be_bytes(*prefix)).unwrap())
}
