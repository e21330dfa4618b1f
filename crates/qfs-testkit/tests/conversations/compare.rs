//! Whether two answers mean the same (PROTOCOL §7): what was there is there and says the same; what is new beside it does no harm.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value};

use crate::format::{End, Exchange, Item, framed};
use crate::tree;

/// What a refused message begins with; behind it a parser says in its own words what it did not like.
const PARSER_SAYS: &str = "malformed message: ";

/// Values that are another server's: etags follow from inodes, keys and tokens from chance. What was recorded, and what it is today.
#[derive(Debug, Default)]
pub(crate) struct Same {
    etags: BTreeMap<String, String>,
    keys: BTreeMap<String, String>,
    tokens: BTreeMap<String, String>,
}

impl Same {
    pub(crate) fn key(&mut self, recorded: &str, today: &str) {
        self.keys.insert(recorded.to_owned(), today.to_owned());
    }

    pub(crate) fn token(&mut self, recorded: &str, today: &str) {
        self.tokens.insert(recorded.to_owned(), today.to_owned());
    }

    /// The bytes that were sent, with the etags and tokens of today in them.
    pub(crate) fn translated(&self, item: &Item) -> Vec<u8> {
        let Item::Message(text) = item else { return item.bytes() };
        let of_field = |field, values: &BTreeMap<String, String>, text: String| {
            values.iter().fold(text, |text, (recorded, today)| {
                text.replace(&format!("\"{field}\":\"{recorded}\""), &format!("\"{field}\":\"{today}\""))
            })
        };
        let text = of_field("if_match", &self.etags, text.clone());
        framed(of_field("token", &self.tokens, text).as_bytes())
    }

    /// One recorded version is one version today, and no other one.
    fn etag(&mut self, recorded: &str, today: &str) -> Result<(), String> {
        let is_legal = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if !(1..=64).contains(&today.len()) || !today.chars().all(is_legal) {
            return Err(format!("{today:?} is no etag"));
        }
        if self.etags.iter().any(|(old, new)| (old == recorded) != (new == today)) {
            return Err(format!("the etag {recorded} is {today}, which does not fit {:?}", self.etags));
        }
        self.etags.insert(recorded.to_owned(), today.to_owned());
        Ok(())
    }
}

/// How answers are compared.
pub(crate) struct Rules {
    /// Whether digests that the server may know or not (`sha256` in heads and rows) must be there where they were. Only where
    /// streams followed each other in the recording as they do today.
    pub(crate) known_digests: bool,
}

impl Rules {
    /// Compares the answer of `today` with the one that was recorded for the same request.
    ///
    /// # Errors
    /// What differs.
    pub(crate) fn compare(
        &self,
        same: &mut Same,
        request: &Value,
        recorded: &Exchange,
        today: &Exchange,
    ) -> Result<(), String> {
        if today.answer_end == End::Open && recorded.answer_end != End::Open {
            return Err(format!("it goes on where it ended by {:?}", recorded.answer_end));
        }
        if recorded.answer_end != today.answer_end {
            return Err(format!("it ended by {:?}, which was {:?}", today.answer_end, recorded.answer_end));
        }
        if request["command"] == "get_files_list" && !recorded.answer.is_empty() {
            return self.compare_listings(same, &recorded.answer, &today.answer);
        }
        let (recorded_items, mut today_items) = (&recorded.answer[..], &today.answer[..]);
        if matches!(recorded.answer_end, End::Reset(_)) {
            // How far a body got before its end is chance.
            today_items = &today_items[..today_items.len().min(recorded_items.len())];
        }
        if recorded_items.len() != today_items.len() {
            return Err(format!("{today_items:?} in place of {recorded_items:?}"));
        }
        let digest = digest_of(request, recorded);
        for (old, new) in recorded_items.iter().zip(today_items) {
            match (old, new) {
                (Item::Message(old), Item::Message(new)) => {
                    self.message(same, &parsed(old)?, &parsed(new)?, digest.as_deref())
                        .map_err(|why| format!("{why}\n  recorded {old}\n  today    {new}"))?;
                }
                (Item::Content { .. }, Item::Content { .. }) if matches!(recorded.answer_end, End::Reset(_)) => {}
                _ if old == new => {}
                _ => return Err(format!("{new:?} in place of {old:?}")),
            }
        }
        Ok(())
    }

    fn message(&self, same: &mut Same, recorded: &Value, today: &Value, digest: Option<&str>) -> Result<(), String> {
        let (Some(recorded), Some(today)) = (recorded.as_object(), today.as_object()) else {
            return Err("a message is an object".to_owned());
        };
        self.digest(recorded, today, digest)?;
        for (field, old) in recorded.iter().filter(|(_, value)| !value.is_null()) {
            let Some(new) = today.get(field).filter(|value| !value.is_null()) else {
                if field == "sha256" && is_hint(recorded) && !self.known_digests {
                    continue;
                }
                return Err(format!("{field} is missing"));
            };
            field_agrees(same, field, old, new)?;
        }
        Ok(())
    }

    /// A digest that was not known then, and is today, must be right.
    fn digest(
        &self,
        recorded: &Map<String, Value>,
        today: &Map<String, Value>,
        digest: Option<&str>,
    ) -> Result<(), String> {
        let known = |message: &Map<String, Value>| message.get("sha256").and_then(Value::as_str).map(str::to_owned);
        match (known(recorded), known(today)) {
            (None, Some(new)) if Some(&*new) != digest => Err(format!("{new} is no digest of it")),
            (None, Some(_)) if self.known_digests => Err("the digest was not known".to_owned()),
            _ => Ok(()),
        }
    }

    fn compare_listings(&self, same: &mut Same, recorded: &[Item], today: &[Item]) -> Result<(), String> {
        let (old, new) = (Listing::read(recorded)?, Listing::read(today)?);
        self.message(same, &old.head, &new.head, None)?;
        let names = |listing: &Listing| listing.rows.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        if names(&old) != names(&new) {
            return Err(format!("the names are {:?}, and were {:?}", names(&new), names(&old)));
        }
        for ((name, old), (_, new)) in old.rows.iter().zip(&new.rows) {
            let digest = tree::entry(name).map(|entry| &*entry.sha256);
            self.message(same, old, new, digest)
                .map_err(|why| format!("{name:?}: {why}\n  recorded {old}\n  today    {new}"))?;
        }
        if old.end != new.end {
            return Err(format!("it ends with {:?}, and did with {:?}", new.end, old.end));
        }
        Ok(())
    }
}

fn field_agrees(same: &mut Same, field: &str, recorded: &Value, today: &Value) -> Result<(), String> {
    let texts = recorded.as_str().zip(today.as_str());
    let agrees = match (field, texts) {
        ("etag", Some((old, new))) => return same.etag(old, new),
        ("current" | "next", Some((old, new))) => same.keys.get(old).map(String::as_str) == Some(new),
        ("modified", Some((old, new))) => {
            let time = |text: &str| text.ends_with('Z').then(|| text.parse::<jiff::Timestamp>().ok()).flatten();
            time(old).is_some() && time(old) == time(new)
        }
        ("message", Some((old, new))) if old.starts_with(PARSER_SAYS) => new.starts_with(PARSER_SAYS),
        _ => includes(recorded, today),
    };
    if agrees { Ok(()) } else { Err(format!("{field} is {today}, and was {recorded}")) }
}

/// Whether `today` says all that `recorded` did.
fn includes(recorded: &Value, today: &Value) -> bool {
    match (recorded, today) {
        (Value::Object(old), Value::Object(new)) => {
            old.iter().all(|(field, old)| old.is_null() || new.get(field).is_some_and(|new| includes(old, new)))
        }
        _ => recorded == today,
    }
}

/// Whether the digest in this message is one that need not be there: in trailers and records it must be.
fn is_hint(message: &Map<String, Value>) -> bool {
    message.contains_key("etag") || !message.contains_key("code")
}

/// The digest of the version that was served: that of the trailer, or of the file that was asked for.
fn digest_of(request: &Value, recorded: &Exchange) -> Option<String> {
    let trailer = recorded.answer.iter().skip(1).find_map(|item| match item {
        Item::Message(text) => parsed(text).ok()?["sha256"].as_str().map(str::to_owned),
        _ => None,
    });
    trailer.or_else(|| Some(tree::entry(request["filename"].as_str()?)?.sha256.clone()))
}

fn parsed(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("{text:?} is no JSON: {error}"))
}

/// All pages of a listing; where one page ends and the next begins means nothing, the order of rows does.
#[derive(Debug)]
struct Listing {
    head: Value,
    rows: Vec<(String, Value)>,
    end: Option<Value>,
}

impl Listing {
    fn read(items: &[Item]) -> Result<Self, String> {
        let mut listing = Self { head: Value::Null, rows: Vec::new(), end: None };
        for (at, item) in items.iter().enumerate() {
            let Item::Message(text) = item else { return Err(format!("{item:?} in a listing")) };
            if at == 0 {
                listing.head = parsed(text)?;
                continue;
            }
            if listing.end.is_some() {
                return Err("a page behind the last one".to_owned());
            }
            let page: Page = serde_json::from_str(text).map_err(|error| format!("{text:?} is no page: {error}"))?;
            listing.rows.extend(page.files.0);
            listing.end = page.end;
        }
        Ok(listing)
    }
}

#[derive(serde::Deserialize)]
struct Page {
    files: Rows,
    end: Option<Value>,
}

/// The rows of a page in their order.
struct Rows(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Rows {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Rows;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("rows")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Rows, A::Error> {
                let mut rows = Vec::new();
                while let Some(row) = map.next_entry()? {
                    rows.push(row);
                }
                Ok(Rows(rows))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(messages: &[&str]) -> Exchange {
        let answer = messages.iter().map(|text| Item::Message((*text).to_owned())).collect();
        Exchange { connection: 0, sent: Vec::new(), sent_end: End::Fin, answer, answer_end: End::Fin }
    }

    fn compare(request: &str, recorded: &[&str], today: &[&str]) -> Result<(), String> {
        let rules = Rules { known_digests: true };
        rules.compare(&mut Same::default(), &parsed(request).unwrap(), &exchange(recorded), &exchange(today))
    }

    #[test]
    fn additions_are_allowed_and_nothing_else() {
        let head = r#"{"code":0,"size":3,"modified":"2026-01-01T00:00:00.5Z","etag":"a","range":{"start":0,"end":3}}"#;
        let with = |old: &str, new: &str| compare(r#"{"command":"download"}"#, &[head], &[&head.replace(old, new)]);
        for (old, new) in [
            ("\"code\"", "\"mode\":493,\"code\""),
            ("\"end\":3", "\"end\":3,\"more\":[1]"),
            ("00.5Z", "00.500Z"),
            ("\"a\"", "\"b\""),
        ] {
            assert_eq!(with(old, new), Ok(()), "{old} {new}");
        }
        for (old, new) in [
            ("\"size\":3,", ""),
            ("\"size\":3", "\"size\":\"3\""),
            ("\"size\":3", "\"size\":4"),
            ("\"size\":3", "\"size\":null"),
            ("\"size\"", "\"length\""),
            ("00.5Z", "00.6Z"),
            ("00.5Z", "00.5+00:00"),
            ("\"a\"", "\"a b\""),
            ("\"end\":3", "\"end\":2"),
            ("\"range\":{\"start\":0,\"end\":3}", "\"range\":[0,3]"),
            ("\"code\":0", "\"code\":9"),
        ] {
            assert!(with(old, new).is_err(), "{old} {new}");
        }
        assert!(compare("null", &[head], &[head, head]).is_err());
        assert!(compare("null", &[head, head], &[head]).is_err());
    }

    #[test]
    fn a_version_is_one_version() {
        let mut same = Same::default();
        assert_eq!(same.etag("a", "x"), Ok(()));
        assert_eq!(same.etag("a", "x"), Ok(()));
        assert_eq!(same.etag("b", "y"), Ok(()));
        assert!(same.etag("a", "y").is_err());
        assert!(same.etag("c", "x").is_err());
        let asked = Item::Message(r#"{"command":"download","filename":"a","if_match":"a"}"#.to_owned());
        assert_eq!(same.translated(&asked), framed(br#"{"command":"download","filename":"a","if_match":"x"}"#));
    }

    #[test]
    fn rows_keep_their_order_and_pages_may_be_cut_elsewhere() {
        let row = |name: &str| format!(r#""{name}":{{"size":1,"modified":"2026-01-01T00:00:00Z","sha256":null}}"#);
        let head = r#"{"code":0}"#;
        let end = r#""end":{"count":2}"#;
        let one = format!(r#"{{"files":{{{},{}}},{end}}}"#, row("a"), row("b"));
        let two = [format!(r#"{{"files":{{{}}}}}"#, row("a")), format!(r#"{{"files":{{{}}},{end}}}"#, row("b"))];
        let swapped = format!(r#"{{"files":{{{},{}}},{end}}}"#, row("b"), row("a"));
        let list = r#"{"command":"get_files_list"}"#;
        assert_eq!(compare(list, &[head, &one], &[head, &two[0], &two[1]]), Ok(()));
        assert!(compare(list, &[head, &one], &[head, &swapped]).is_err());
        assert!(compare(list, &[head, &one], &[head, &two[0]]).is_err());
        assert!(compare(list, &[head, &one], &[head, &one.replace("\"count\":2", "\"count\":3")]).is_err());
    }
}
