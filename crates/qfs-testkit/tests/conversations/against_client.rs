//! Today's client runs the recorded command against the recorded server's side, and what came of it is compared.

use std::sync::Arc;

use crate::format::{Conversation, Part};
use crate::lab::{Done, Lab};
use crate::script::Script;
use crate::tree;

pub(crate) async fn replay(conversation: &Conversation) {
    let lab = Arc::new(Lab::new());
    let key = lab.make_identity();
    assert!(conversation.parts.iter().all(|part| part.run.is_some()), "no client sent this");
    for part in &conversation.parts {
        let secret = part.shown.as_ref().map(|shown| secret(conversation, shown));
        let script = Script::start(&lab, conversation, part, &key);
        let done = lab.run(part, script.address(), &key, secret).await;
        let mut problems = script.finish().await;
        problems.extend(differences(&lab, part, &done));
        assert!(problems.is_empty(), "{:?}: {}\nit said {:?}", part.run, problems.join("\n"), done.stderr);
    }
}

pub(crate) fn secret<'a>(conversation: &'a Conversation, name: &str) -> &'a str {
    let token = conversation.tokens.iter().find(|token| token.name == name);
    token.map_or_else(|| panic!("there is no token {name:?}"), |token| &token.secret)
}

/// How a run and what it left differ from what was recorded.
fn differences(lab: &Lab, part: &Part, done: &Done) -> Vec<String> {
    let mut found = Vec::new();
    if done.exit != part.exit {
        found.push(format!("it exits with {:?}, and did with {:?}", done.exit, part.exit));
    }
    if lines(&done.stdout, part.unordered) != lines(&part.stdout, part.unordered) {
        found.push(format!("it prints {:?}, and did {:?}", done.stdout, part.stdout));
    }
    let saved = saved(lab);
    if saved != part.saved {
        found.push(format!("it leaves\n{}\nand did\n{}", saved.join("\n"), part.saved.join("\n")));
    }
    if let Some(key) = &part.learned
        && !std::fs::read_to_string(lab.known_servers()).is_ok_and(|text| text.contains(key))
    {
        found.push(format!("it did not learn {key}"));
    }
    found
}

fn lines(text: &str, unordered: bool) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    if unordered {
        lines.sort_unstable();
    }
    lines
}

/// What is in the client's directory; of what is not finished yet, nothing.
pub(crate) fn saved(lab: &Lab) -> Vec<String> {
    let found = tree::found_in(&lab.saved());
    let is_finished = |entry: &&tree::Entry| !entry.name.ends_with(".qfs-part");
    found.iter().filter(is_finished).map(tree::line).collect()
}
