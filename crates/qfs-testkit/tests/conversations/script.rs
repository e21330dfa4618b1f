//! The recorded server's side, played to a client of today.
//!
//! A client may ask for more or less than the one that was recorded did, in another order, and may say more in a request than
//! an old server understands. What it asks in the words of then must have been asked then, or elsewhere in the recordings of the same
//! server, and is answered as it was. Where a client decides by chance which part of a file it asks for (after a loss, in stripes), any part is answered.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use qfs_core::model::Digest;
use quinn::{Connection, Endpoint, RecvStream, SendStream};
use serde_json::{Map, Value, json};
use tokio::sync::Notify;

use crate::answer::{request, split_request};
use crate::format::{Conversation, End, Exchange, Item, Part, Then};
use crate::lab::Lab;
use crate::quic::{Taken, accepting, code};
use crate::relay::TAKEN_AWAY;
use crate::tree;

/// The commands that the recorded server knew.
const COMMANDS: [&str; 4] = ["get_files_list", "download", "download_many", "get_identity"];

/// The fields of requests that the recorded server understood and that change an answer. `priority` changes none.
const FIELDS: [&str; 6] = ["command", "filename", "files", "range", "if_match", "token"];

/// Longest request in bytes, its length included.
const MAX_REQUEST_BYTES: usize = 4 + (64 << 10);

pub(crate) struct Script {
    endpoint: Endpoint,
    shared: Arc<Shared>,
}

struct Shared {
    lab: Arc<Lab>,
    part: Part,
    /// What was asked of the same server at other times, and answered whole.
    elsewhere: Vec<Exchange>,
    /// The recorded server's key, and that of this one, which has the same length.
    keys: (String, String),
    played: Mutex<Played>,
    refuses: Notify,
}

#[derive(Default)]
struct Played {
    /// Which exchanges were asked for.
    used: Vec<bool>,
    has_happened: bool,
    problems: Vec<String>,
    /// Requests for the rest of a version.
    resumed: usize,
}

impl Script {
    /// Plays the server of `part` with the identity `key`, which is in the lab.
    pub(crate) fn start(lab: &Arc<Lab>, conversation: &Conversation, part: &Part, key: &str) -> Self {
        let played = Mutex::new(Played { used: vec![false; part.streams.len()], ..Played::default() });
        let keys = (conversation.key.clone(), key.to_owned());
        // Everybody may list the same tree, with or without the one large file.
        let listing = (!conversation.large).then(|| crate::load("list"));
        let parts = conversation.parts.iter().chain(listing.iter().flat_map(|listing| &listing.parts));
        let whole = |stream: &&Exchange| stream.answer_end == End::Fin;
        let elsewhere = parts.flat_map(|part| &part.streams).filter(whole).cloned().collect();
        let (lab, part) = (Arc::clone(lab), part.clone());
        let shared = Shared { lab, part, elsewhere, keys, played, refuses: Notify::new() };
        let (endpoint, shared) = (accepting(&shared.lab.certs()), Arc::new(shared));
        tokio::spawn(accept(endpoint.clone(), Arc::clone(&shared)));
        Self { endpoint, shared }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.endpoint.local_addr().unwrap()
    }

    /// What was asked that should not have been, and what should have been and was not.
    pub(crate) async fn finish(self) -> Vec<String> {
        self.endpoint.close(code(0), b"");
        self.endpoint.wait_idle().await;
        let played = self.shared.played.lock().unwrap();
        let mut problems = played.problems.clone();
        if !played.used.contains(&true) {
            problems.push("nothing was asked of what was asked then".to_owned());
        }
        if self.shared.part.event.is_some() && !played.has_happened {
            problems.push("what happened during the recording did not happen".to_owned());
        }
        let has_resumed = self.shared.part.streams.iter().any(|recorded| continues(&request(&recorded.sent)));
        if has_resumed && played.resumed == 0 {
            problems.push("no rest of a file was asked for".to_owned());
        }
        problems
    }
}

/// Whether a request asks for the rest of a version of which a part is here.
fn continues(request: &Value) -> bool {
    request["range"]["start"].as_u64().is_some_and(|start| start > 0) && request["if_match"].is_string()
}

async fn accept(endpoint: Endpoint, shared: Arc<Shared>) {
    loop {
        tokio::select! {
            incoming = endpoint.accept() => {
                let Some(incoming) = incoming else { return };
                let shared = Arc::clone(&shared);
                tokio::spawn(async move {
                    let Ok(connection) = incoming.await else { return };
                    while let Ok(stream) = connection.accept_bi().await {
                        tokio::spawn(serve(stream, connection.clone(), Arc::clone(&shared)));
                    }
                });
            }
            () = shared.refuses.notified() => break,
        }
    }
    while let Some(incoming) = endpoint.accept().await {
        incoming.refuse();
    }
}

async fn serve((mut sink, mut source): (SendStream, RecvStream), connection: Connection, shared: Arc<Shared>) {
    let mut taken = Taken::default();
    taken.take_up_to(&mut source, MAX_REQUEST_BYTES).await;
    let asked = request(&split_request(&taken.bytes));
    if taken.end != Some(End::Fin) || !asked["command"].is_string() {
        return shared.problem(format!("{:?} is no request", String::from_utf8_lossy(&taken.bytes)));
    }
    let Some((answer, end)) = shared.answer(&asked) else {
        shared.problem(format!("{asked} was not asked then"));
        return drop(sink.reset(code(1)));
    };
    let bytes: Vec<u8> = answer.iter().flat_map(Item::bytes).collect();
    // A client may have had enough.
    let _ = sink.write_all(&bytes).await;
    match end {
        End::Reset(with) => drop(sink.reset(code(with))),
        End::Lost => {
            shared.lab.has_kept_some().await;
            if shared.part.event.as_ref().is_some_and(|event| event.then == Then::LoseForGood) {
                shared.refuses.notify_one();
            }
            connection.close(code(TAKEN_AWAY), b"");
        }
        End::Fin | End::Open | End::Stopped(_) => {
            let _ = sink.finish();
            let _ = sink.stopped().await;
        }
    }
}

impl Shared {
    fn problem(&self, what: String) {
        self.played.lock().unwrap().problems.push(what);
    }

    /// The answer to a request, and how it ends; None when it was never given.
    fn answer(&self, asked: &Value) -> Option<(Vec<Item>, End)> {
        let mut played = self.played.lock().unwrap();
        played.resumed += usize::from(continues(asked));
        let streams = &self.part.streams;
        let means = |at: &usize| means_the_same(&request(&streams[*at].sent), asked);
        let fresh = (0..streams.len()).filter(|at| !played.used[*at]).find(means);
        if let Some(at) = fresh.or_else(|| (0..streams.len()).rfind(means)) {
            played.used[at] = true;
            let recorded = &streams[at];
            let happens = matches!(recorded.answer_end, End::Lost | End::Reset(_));
            played.has_happened |= happens;
            return match recorded.answer_end {
                // The recorded client took no more of it.
                End::Stopped(_) => Some((self.part_of(recorded, asked)?, End::Fin)),
                end => Some((recorded.answer.iter().map(|item| self.with_key(item)).collect(), end)),
            };
        }
        if !COMMANDS.iter().any(|command| asked["command"] == *command) {
            let said = json!({ "code": 2, "message": format!("unknown command {}", asked["command"]) });
            return Some((vec![Item::Message(said.to_string())], End::Fin));
        }
        let means = |recorded: &&Exchange| means_the_same(&request(&recorded.sent), asked);
        if let Some(recorded) = self.elsewhere.iter().find(means) {
            return Some((recorded.answer.iter().map(|item| self.with_key(item)).collect(), End::Fin));
        }
        let same_file = |recorded: &&Exchange| {
            let then = request(&recorded.sent);
            let is_version = asked["if_match"].is_null() || asked["if_match"] == etag(recorded);
            then["filename"] == asked["filename"] && then["token"] == asked["token"] && is_version
        };
        // Only where the recorded client asked for parts as well.
        let in_parts = asked["command"] == "download"
            && streams.iter().any(|recorded| {
                let then = request(&recorded.sent);
                then["filename"] == asked["filename"] && !then["range"].is_null()
            });
        let recorded = streams.iter().filter(same_file).find(|recorded| etag(recorded).is_string())?;
        if in_parts { Some((self.part_of(recorded, asked)?, End::Fin)) } else { None }
    }

    /// The part of a recorded version that is asked for, in the words of the recorded head.
    fn part_of(&self, recorded: &Exchange, asked: &Value) -> Option<Vec<Item>> {
        let mut head = head(recorded);
        let size = head["size"].as_u64()?;
        let start = asked["range"]["start"].as_u64().unwrap_or(0);
        let end = asked["range"]["end"].as_u64().unwrap_or(size);
        if start > end || end > size {
            return None;
        }
        head["range"] = json!({ "start": start, "end": end });
        let name = asked["filename"].as_str()?;
        let version = |exchange: &&Exchange| etag(exchange) == head["etag"];
        let label = self.part.streams.iter().filter(version).flat_map(|exchange| &exchange.answer).find_map(label);
        let label = label.unwrap_or_else(|| name.to_owned());
        let trailer = json!({ "code": 0, "sha256": Digest::of(tree::content(&label)?).to_string() });
        let mut answer = vec![Item::Message(head.to_string())];
        if start < end {
            answer.push(Item::Content { label, start, end });
        }
        answer.push(Item::Message(trailer.to_string()));
        Some(answer)
    }

    /// The recorded server's key becomes this one's, where it is told.
    fn with_key(&self, item: &Item) -> Item {
        match item {
            Item::Message(text) => Item::Message(text.replace(&self.keys.0, &self.keys.1)),
            item => item.clone(),
        }
    }
}

fn label(item: &Item) -> Option<String> {
    match item {
        Item::Content { label, .. } => Some(label.clone()),
        _ => None,
    }
}

/// The first message of an answer.
fn head(recorded: &Exchange) -> Value {
    request(&recorded.answer)
}

/// The version that was served, if one was.
fn etag(recorded: &Exchange) -> Value {
    head(recorded)["etag"].clone()
}

/// Whether a request of today asks an old server for what was asked then.
fn means_the_same(then: &Value, today: &Value) -> bool {
    let (Some(then), Some(today)) = (then.as_object(), today.as_object()) else { return false };
    let field = |request: &Map<String, Value>, field: &str| request.get(field).cloned().unwrap_or_default();
    FIELDS.iter().all(|name| field(then, name) == field(today, name))
}

#[test]
fn a_request_may_say_more_and_not_other_things() {
    let then = json!({ "command": "download", "filename": "a", "priority": -1 });
    let same = |today: Value| means_the_same(&then, &today);
    assert!(same(json!({ "command": "download", "filename": "a", "later": [1], "range": null })));
    assert!(!same(json!({ "command": "download", "filename": "b" })));
    assert!(!same(json!({ "command": "download", "name": "a" })));
    assert!(!same(json!({ "command": "download", "filename": "a", "range": { "start": 0, "end": 0 } })));
    assert!(!same(json!({ "command": "download", "filename": "a", "token": "t" })));
    assert!(!same(json!({ "command": "fetch", "filename": "a" })));
}
