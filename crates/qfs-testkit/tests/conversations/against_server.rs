//! Today's server is asked what the old one was asked, byte for byte, and its answers are compared.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use quinn::{Connection, ConnectionError};

use crate::answer::{request, split_answer};
use crate::compare::{Rules, Same};
use crate::format::{Conversation, End, Event, Exchange, Item, Part, Then};
use crate::lab::Lab;
use crate::quic::{Taken, code, connect, send, soon};
use crate::tree;

/// What a message may have grown by since it was recorded, in bytes.
const GROWTH_BYTES: usize = 64 << 10;

pub(crate) async fn replay(conversation: &Conversation) {
    let lab = Lab::new();
    tree::plant(&lab.root(), conversation.large);
    let mut same = Same::default();
    for token in &conversation.tokens {
        same.token(&token.secret, &lab.make_token(&token.name, &token.args).secret);
    }
    let server = lab.serve(&conversation.server);
    same.key(&conversation.key, server.fingerprint());
    if let Some(next) = &conversation.next {
        same.key(next, &lab.rotate(server.fingerprint()));
    }
    for part in &conversation.parts {
        let mut replay = Replay { lab: &lab, server: server.address(), connections: BTreeMap::new(), event: None };
        replay.part(&mut same, part).await;
    }
}

struct Replay<'a> {
    lab: &'a Lab,
    server: SocketAddr,
    connections: BTreeMap<usize, Connection>,
    event: Option<Event>,
}

impl Replay<'_> {
    async fn part(&mut self, same: &mut Same, part: &Part) {
        self.event.clone_from(&part.event);
        // What one client asked for at once is asked here one after another, and so the server may know more digests.
        let rules = Rules { known_digests: part.run.is_none() };
        for recorded in &part.streams {
            let today = self.exchange(same, recorded).await;
            let asked = request(&recorded.sent);
            if let Err(why) = rules.compare(same, &asked, recorded, &today) {
                panic!("the server answers {asked} otherwise than it did: {why}");
            }
        }
        for (number, with) in &part.closed {
            let why = soon("the server to close", self.connections[number].closed()).await;
            assert!(
                matches!(&why, ConnectionError::ApplicationClosed(closed) if closed.error_code == code(*with)),
                "the connection was closed with {with}, and now: {why}"
            );
        }
        assert!(self.event.is_none(), "what happened during the recording did not happen");
        self.connections.values().for_each(|connection| connection.close(code(0), b""));
    }

    async fn exchange(&mut self, same: &Same, recorded: &Exchange) -> Exchange {
        let connection = match self.connections.get(&recorded.connection) {
            Some(connection) => connection.clone(),
            None => connect(self.server).await,
        };
        self.connections.insert(recorded.connection, connection.clone());
        let (mut sink, mut source) = soon("a stream", connection.open_bi()).await.unwrap();
        let bytes: Vec<u8> = recorded.sent.iter().flat_map(|item| same.translated(item)).collect();
        send(&mut sink, &bytes, recorded.sent_end).await;
        let asked = request(&recorded.sent);
        let is_meant = |event: &Event| asked["filename"] == event.file && asked["range"].is_null();
        let happens = self.event.take_if(|event| is_meant(event)).map(|event| event.then);
        let expected: Vec<Vec<u8>> = recorded.answer.iter().map(Item::bytes).collect();
        let mut taken = Taken::default();
        if happens == Some(Then::Change) {
            // A head, and some of the body.
            taken.take_up_to(&mut source, expected[0].len() + 1).await;
            tree::change(&self.lab.root(), tree::LARGE);
        }
        let whole = |taken: &Taken| split_answer(&asked, &taken.bytes, recorded.answer_end).len();
        match recorded.answer_end {
            End::Stopped(with) => {
                // The client took so much, and wanted no more.
                while taken.end.is_none() && whole(&taken) < expected.len() {
                    taken.take(&mut source).await;
                }
                drop(source.stop(code(with)));
                taken.end = Some(recorded.answer_end);
            }
            End::Lost => {
                taken.take_up_to(&mut source, expected.concat().len() + GROWTH_BYTES).await;
                connection.close(code(0), b"");
                taken = cut(taken, &asked, recorded);
            }
            // How far a body gets before its end is chance.
            End::Reset(_) => taken.take_up_to(&mut source, usize::MAX).await,
            // Nobody waited for an answer.
            End::Open => {}
            End::Fin => {
                let enough = expected.concat().len() + GROWTH_BYTES * expected.len().max(1);
                taken.take_up_to(&mut source, enough).await;
            }
        }
        let answer_end = taken.end.unwrap_or(End::Open);
        let mut answer = split_answer(&asked, &taken.bytes, answer_end);
        if let End::Stopped(_) = answer_end {
            answer.truncate(recorded.answer.len());
        }
        Exchange { answer, answer_end, ..recorded.clone() }
    }
}

/// What was taken of an answer before the connection went, as far as the recorded client had it. A head may have grown.
fn cut(mut taken: Taken, asked: &serde_json::Value, recorded: &Exchange) -> Taken {
    let today = split_answer(asked, &taken.bytes, End::Lost);
    if let (Some(Item::Content { end: old, .. }), Some(Item::Content { end: new, .. })) =
        (recorded.answer.last(), today.last())
    {
        taken.bytes.truncate(taken.bytes.len() - usize::try_from(new.saturating_sub(*old)).unwrap());
    }
    taken.end = Some(End::Lost);
    taken
}
