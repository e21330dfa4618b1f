//! Takes an answer apart by what PROTOCOL §4 says of it, without the code that the programs do it with.

use serde_json::Value;

use crate::format::{End, Item};
use crate::tree::{SECOND, content};

/// Bytes that are compared at once.
const PIECE_BYTES: usize = 4096;

/// The pieces of what a client sent: the first frame, and whatever else there is.
pub(crate) fn split_request(mut bytes: &[u8]) -> Vec<Item> {
    let mut items: Vec<Item> = take_message(&mut bytes).into_iter().collect();
    if !bytes.is_empty() {
        items.push(Item::Bytes(bytes.to_vec()));
    }
    items
}

/// The request, if it is one.
pub(crate) fn request(sent: &[Item]) -> Value {
    match sent.first() {
        Some(Item::Message(text)) => serde_json::from_str(text).unwrap_or_default(),
        _ => Value::Null,
    }
}

/// The pieces of the answer to `request`. Of one that the client wanted no more of, only whole pieces count: where it was cut is
/// chance. Of a body that was reset, what is of one version counts.
pub(crate) fn split_answer(request: &Value, bytes: &[u8], end: End) -> Vec<Item> {
    let mut parts = Parts { rest: bytes, items: Vec::new(), end };
    let head = parts.message();
    if head.as_ref().is_some_and(|head| head["code"] == 0) {
        match request["command"].as_str() {
            Some("download") => {
                let range = &head.unwrap_or_default()["range"];
                if let (Some(start), Some(end)) = (range["start"].as_u64(), range["end"].as_u64()) {
                    parts.body(request["filename"].as_str().unwrap_or_default(), start, end - start);
                }
            }
            Some("download_ranges") => {
                for range in request["ranges"].as_array().into_iter().flatten() {
                    let (start, end) = (range[0].as_u64().unwrap_or_default(), range[1].as_u64().unwrap_or_default());
                    parts.body(request["filename"].as_str().unwrap_or_default(), start, end.saturating_sub(start));
                }
            }
            Some("download_many") => {
                for name in request["files"].as_array().into_iter().flatten() {
                    let Some(record) = parts.message() else { break };
                    if record["code"] == 0 {
                        parts.body(name.as_str().unwrap_or_default(), 0, record["size"].as_u64().unwrap_or_default());
                    }
                }
            }
            _ => {}
        }
    }
    while parts.message().is_some() {}
    if !parts.rest.is_empty() && !is_cut(end) {
        parts.items.push(Item::Bytes(parts.rest.to_vec()));
    }
    parts.items
}

struct Parts<'a> {
    rest: &'a [u8],
    items: Vec<Item>,
    end: End,
}

impl Parts<'_> {
    fn message(&mut self) -> Option<Value> {
        let item = take_message(&mut self.rest)?;
        let Item::Message(text) = &item else { return None };
        let value = serde_json::from_str(text).unwrap_or_default();
        self.items.push(item);
        Some(value)
    }

    fn body(&mut self, name: &str, start: u64, length: u64) {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if matches!(self.end, End::Stopped(_)) && self.rest.len() < length {
            self.rest = &[];
            return;
        }
        let (body, rest) = self.rest.split_at(length.min(self.rest.len()));
        self.rest = rest;
        if body.is_empty() {
            return;
        }
        let labels = [name.to_owned(), format!("{name}{SECOND}")];
        let from = usize::try_from(start).unwrap();
        // How much of the body is of a version.
        let agreed = |label: &String| {
            let of_version = content(label).and_then(|all| all.get(from..)).unwrap_or_default();
            // Whole pieces first: they are compared a hundred times as fast as bytes.
            let pieces = of_version.chunks(PIECE_BYTES).zip(body.chunks(PIECE_BYTES)).take_while(|(a, b)| a == b);
            let agreed = (pieces.count() * PIECE_BYTES).min(body.len());
            let rest = of_version.get(agreed..).unwrap_or_default().iter().zip(&body[agreed..]);
            agreed + rest.take_while(|(a, b)| a == b).count()
        };
        let most = labels.into_iter().map(|label| (agreed(&label), label)).max_by_key(|(agreed, _)| *agreed);
        self.items.push(match most {
            Some((agreed, label)) if agreed == body.len() || (agreed > 0 && matches!(self.end, End::Reset(_))) => {
                Item::Content { label, start, end: start + agreed as u64 }
            }
            _ => Item::Bytes(body.to_vec()),
        });
    }
}

/// Whether it is chance where an answer that ended so was cut.
pub(crate) fn is_cut(end: End) -> bool {
    matches!(end, End::Stopped(_) | End::Reset(_))
}

/// The frame that `bytes` begin with, if it is whole and text.
fn take_message(bytes: &mut &[u8]) -> Option<Item> {
    let (prefix, rest) = bytes.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*prefix)).ok().filter(|length| (1..=65_536).contains(length))?;
    let payload = rest.get(..length)?;
    let text = std::str::from_utf8(payload).ok()?;
    *bytes = &rest[length..];
    Some(Item::Message(text.to_owned()))
}
