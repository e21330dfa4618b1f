//! Conversations recorded from the programs of commit cc02001 and of later ones, both sides, are replayed against those of today: nothing in the wire
//! changes its meaning (PROTOCOL §7).
//!
//! A conversation is a file in `recorded/`; `format.rs` says what its lines mean, and `recorded/tree.txt` names the files that are
//! served. Today's server is asked byte for byte what the old one was asked, and must answer the same, additions aside
//! (`against_server.rs`, `compare.rs`). Today's client runs the recorded command against the recorded server's side, and must print
//! and save the same (`against_client.rs`, `script.rs`).
//!
//! How the recordings are made: the old client talks to the old server through `relay.rs`, which has the server's own key and keeps
//! what passes on each stream; requests that no client sends are sent by hand. `scenarios.rs` says which, `record.rs` writes them down.
//! The tree stays as it is, since recorded listings name all of it.
//!
//! **A recorded conversation is never recorded anew to make a test pass**: then old programs would not understand today's. New ones
//! come beside it, from the programs of the day: add a scenario to `scenarios.rs`, its name to the list below, build the programs,
//! and run `scripts/record-conversations.sh DIRECTORY NAME`, where DIRECTORY holds `qfs-server` and `qfs-client`.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test that panics has failed, and touches files of its own only"
)]

mod against_client;
mod against_server;
mod answer;
mod compare;
mod format;
mod lab;
mod quic;
mod record;
mod relay;
mod scenarios;
mod script;
mod text;
mod tree;

use format::Conversation;

/// The scenarios to record, separated by spaces.
const RECORD: &str = "QFS_RECORD";

fn load(name: &str) -> Conversation {
    let text = std::fs::read_to_string(tree::recorded().join(format!("{name}.txt"))).unwrap();
    let conversation = Conversation::parse(&text);
    assert_eq!(conversation.to_text().trim(), text.split_once('\n').unwrap().1.trim(), "{name}.txt is not understood");
    conversation
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Two tests for each conversation with a client; one for those that were made by hand.
macro_rules! replays {
    (clients [$($client:ident)*] by_hand [$($by_hand:ident)*]) => {
        /// Fails when today's server answers otherwise than the recorded one did.
        mod the_server_answers_as_it_did {
            $(#[test] fn $client() { crate::block_on(crate::against_server::replay(&crate::load(stringify!($client)))) })*
            $(#[test] fn $by_hand() { crate::block_on(crate::against_server::replay(&crate::load(stringify!($by_hand)))) })*
        }

        /// Fails when today's client makes something else of what the recorded server said.
        mod the_client_understands_as_it_did {
            $(#[test] fn $client() { crate::block_on(crate::against_client::replay(&crate::load(stringify!($client)))) })*
        }

        const NAMES: &[&str] = &[$(stringify!($client),)* $(stringify!($by_hand)),*];
    };
}

replays! {
    clients [
        list get_one get_in_order get_parallel get_pattern get_all get_unchanged get_missing known_server next_key
        resume_in_run resume_next_run changed striped tokens
    ]
    by_hand [
        tokens_by_hand ranges not_found many identity identity_next maps malformed changed_by_hand
    ]
}

#[test]
fn every_recorded_conversation_is_replayed() {
    let mut files: Vec<String> = std::fs::read_dir(tree::recorded())
        .unwrap()
        .filter_map(|entry| Some(entry.unwrap().file_name().to_str()?.strip_suffix(".txt")?.to_owned()))
        .filter(|name| name != "tree")
        .collect();
    files.sort();
    let mut names = NAMES.to_vec();
    names.sort_unstable();
    assert_eq!(files, names);
}

/// Writes `recorded/`, from the programs that `QFS_TORTURE_BIN` names. Not a test: see `scripts/record-conversations.sh`.
#[test]
#[ignore = "records anew"]
fn record_conversations() {
    let wanted = std::env::var(RECORD).unwrap_or_else(|_| panic!("{RECORD} names no scenario"));
    let from = std::env::var("QFS_RECORD_FROM").unwrap_or_else(|_| panic!("QFS_RECORD_FROM says nothing"));
    let directory = tree::recorded();
    std::fs::create_dir_all(&directory).unwrap();
    let tree_file = directory.join("tree.txt");
    if !tree_file.exists() {
        std::fs::write(tree_file, record::tree_file()).unwrap();
    }
    for scenario in scenarios::all() {
        let name = scenario.name;
        if !wanted.split_ascii_whitespace().any(|wanted| wanted == name || wanted == "all") {
            continue;
        }
        let text = block_on(record::record(scenario)).to_text();
        std::fs::write(directory.join(format!("{name}.txt")), format!("# Recorded from {from}.\n{text}")).unwrap();
    }
}
