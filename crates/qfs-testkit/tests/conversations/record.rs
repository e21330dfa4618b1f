//! Records every scenario from the programs that are named in the environment (see `main.rs`).

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use quinn::ConnectionError;

use crate::against_client::{saved, secret};
use crate::answer::{is_cut, request, split_answer, split_request};
use crate::format::{Conversation, End, Exchange, Item, Part, Then};
use crate::lab::Lab;
use crate::quic::{Taken, connect, send, soon};
use crate::relay::Relay;
use crate::scenarios::{Plan, Raw, Scenario, files};
use crate::tree;

/// Writes `recorded/tree.txt`.
pub(crate) fn tree_file() -> String {
    let mut out = "# Size, time of modification, SHA-256 and name of every file that is served.\n".to_owned();
    let fractions = ["", ".5", ".123456789"];
    for (at, (name, size)) in files().into_iter().enumerate() {
        let modified = format!("2026-01-02T03:{:02}:{:02}{}Z", at / 60, at % 60, fractions[at % fractions.len()]);
        let sha256 = qfs_core::model::Digest::of(&tree::make(&name, size)).to_string();
        writeln!(out, "{}", tree::line(&tree::Entry { name, size, modified, sha256 })).unwrap();
    }
    out
}

/// Records one scenario.
pub(crate) async fn record(scenario: Scenario) -> Conversation {
    let lab = Arc::new(Lab::new());
    tree::plant(&lab.root(), scenario.large);
    let owned = |args: &[&str]| args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>();
    let mut conversation = Conversation {
        about: scenario.about.to_owned(),
        large: scenario.large,
        server: owned(scenario.server),
        tokens: scenario.tokens.iter().map(|(name, args)| lab.make_token(name, &owned(args))).collect(),
        ..Conversation::default()
    };
    let server = lab.serve(&conversation.server);
    conversation.key = server.fingerprint().to_owned();
    conversation.next = scenario.rotates.then(|| lab.rotate(&conversation.key));
    for plan in scenario.parts {
        let part = match plan {
            Plan::Raw { event, requests, closes } => {
                let part = Part { event, ..Part::default() };
                raw(&lab, server.address(), &conversation, part, (requests, closes)).await
            }
            Plan::Run { args, known, shown, event } => {
                let shown = shown.map(str::to_owned);
                let part = Part { run: Some(owned(args)), known, shown, event, ..Part::default() };
                run(&lab, server.address(), &conversation, part).await
            }
        };
        conversation.parts.push(part);
    }
    conversation
}

async fn run(lab: &Arc<Lab>, server: SocketAddr, conversation: &Conversation, mut part: Part) -> Part {
    let secret = part.shown.as_ref().map(|shown| secret(conversation, shown));
    let relay = Relay::start(server, Arc::clone(lab), part.event.clone());
    let done = lab.run(&part, relay.address(), &conversation.key, secret).await;
    (part.streams, part.closed) = relay.finish().await;
    part.exit = done.exit;
    part.unordered = part.run.iter().flatten().any(|arg| arg.starts_with("--parallel"));
    part.stdout = done.stdout;
    part.saved = saved(lab);
    let learned = conversation.next.clone().filter(|_| part.known);
    part.learned = learned.filter(|next| std::fs::read_to_string(lab.known_servers()).unwrap().contains(next));
    part
}

async fn raw(
    lab: &Lab,
    server: SocketAddr,
    conversation: &Conversation,
    mut part: Part,
    (requests, closes): (Vec<Raw>, bool),
) -> Part {
    let connection = connect(server).await;
    let mut etag = String::new();
    let count = requests.len();
    for (number, Raw { bytes, end }) in requests.into_iter().enumerate() {
        let bytes = filled_in(bytes, conversation, &etag);
        let sent = split_request(&bytes);
        let asked = request(&sent);
        let (mut sink, mut source) = soon("a stream", connection.open_bi()).await.unwrap();
        send(&mut sink, &bytes, end).await;
        if closes && number + 1 == count {
            let (answer, answer_end) = (Vec::new(), End::Open);
            part.streams.push(Exchange { connection: 0, sent, sent_end: end, answer, answer_end });
            let why = soon("the server to close", connection.closed()).await;
            let ConnectionError::ApplicationClosed(closed) = why else { panic!("the connection went: {why}") };
            part.closed.push((0, closed.error_code.into_inner()));
            break;
        }
        let mut taken = Taken::default();
        if part.event.as_ref().is_some_and(|event| event.file == asked["filename"] && asked["range"].is_null()) {
            taken.take_up_to(&mut source, 64 << 10).await;
            assert_eq!(part.event.as_ref().map(|event| event.then), Some(Then::Change));
            tree::change(&lab.root(), tree::LARGE);
        }
        taken.take_up_to(&mut source, usize::MAX).await;
        let answer_end = taken.end.unwrap();
        let answer = split_answer(&asked, &taken.bytes, answer_end);
        let all: Vec<u8> = answer.iter().flat_map(Item::bytes).collect();
        assert!(taken.bytes == all || is_cut(answer_end), "what is written down is not what was sent");
        if let Some(served) = request(&answer)["etag"].as_str() {
            served.clone_into(&mut etag);
        }
        part.streams.push(Exchange { connection: 0, sent, sent_end: end, answer, answer_end });
    }
    connection.close(crate::quic::code(0), b"");
    part
}

/// A request with what only the recording knows in its place.
fn filled_in(bytes: Vec<u8>, conversation: &Conversation, etag: &str) -> Vec<u8> {
    let Ok(text) = std::str::from_utf8(bytes.get(4..).unwrap_or_default()) else { return bytes };
    if !text.contains("TOKEN:") && !text.contains("ETAG") {
        return bytes;
    }
    let text = conversation
        .tokens
        .iter()
        .fold(text.replace("ETAG", etag), |text, token| text.replace(&format!("TOKEN:{}", token.name), &token.secret));
    crate::format::framed(text.as_bytes())
}
