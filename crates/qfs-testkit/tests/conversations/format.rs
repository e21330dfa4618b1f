//! A recorded conversation, as values and as text.
//!
//! ```text
//! about WHAT IT SHOWS
//! large                            the large file is served too
//! server ["--auth","tokens"]       arguments of the server beside the usual ones
//! token NAME SECRET ["--scope","sub"]
//! key sha256:HEX                   the server's key
//! next sha256:HEX                  the key that it announces
//!
//! run ["get","one"]                one run of the client …
//! raw                              … or requests that no client sends by itself
//! known                            the server is on record with the client; otherwise the client is given a ticket
//! shown NAME                       the token that the client has
//! event {"after":8388608,"file":"large","then":"lose"}
//!
//! stream 0                         on which connection
//! > message {"command":"download","filename":"one"}
//! > fin
//! < message {"code":0,…}
//! < content "one" 0..1             bytes of that file
//! < message {"code":0,…}
//! < fin
//!
//! closed 0 8                       connection 0 was closed by the server with code 8
//! exit 0
//! unordered                        the lines of stdout come in any order
//! stdout "…"
//! saved 1 2026-01-02T03:04:06Z HEX "one"
//! learned sha256:HEX               the key put on record
//! ```

use std::fmt::Write as _;

use crate::text::{hex, quoted, unhex, unquoted};

/// A whole conversation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Conversation {
    pub(crate) about: String,
    pub(crate) large: bool,
    pub(crate) server: Vec<String>,
    pub(crate) tokens: Vec<Token>,
    pub(crate) key: String,
    pub(crate) next: Option<String>,
    pub(crate) parts: Vec<Part>,
}

/// A token that the server had given out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) name: String,
    pub(crate) secret: String,
    /// Arguments with which it was made.
    pub(crate) args: Vec<String>,
}

/// One run of a client, or requests sent by hand.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Part {
    /// The client's arguments; None for requests sent by hand.
    pub(crate) run: Option<Vec<String>>,
    pub(crate) known: bool,
    /// The name of the token shown.
    pub(crate) shown: Option<String>,
    pub(crate) event: Option<Event>,
    pub(crate) streams: Vec<Exchange>,
    /// Connections that the server closed, and with which code.
    pub(crate) closed: Vec<(usize, u64)>,
    pub(crate) exit: Option<i32>,
    pub(crate) unordered: bool,
    pub(crate) stdout: String,
    /// What was in the client's directory afterwards, a line for each file.
    pub(crate) saved: Vec<String>,
    pub(crate) learned: Option<String>,
}

/// What happens while a file is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) file: String,
    /// Behind so many bytes of its body.
    pub(crate) after: u64,
    pub(crate) then: Then,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// The file gets its second version.
    Change,
    /// The connection is closed.
    Lose,
    /// The connection is closed, and no other is let in.
    LoseForGood,
}

impl Then {
    const NAMES: [(&str, Self); 3] =
        [("change", Self::Change), ("lose", Self::Lose), ("lose for good", Self::LoseForGood)];
}

/// One stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Exchange {
    pub(crate) connection: usize,
    pub(crate) sent: Vec<Item>,
    pub(crate) sent_end: End,
    pub(crate) answer: Vec<Item>,
    pub(crate) answer_end: End,
}

/// A piece of what one side sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Item {
    /// The payload of a frame, UTF-8.
    Message(String),
    /// Bytes of a version of a file.
    Content { label: String, start: u64, end: u64 },
    /// Anything else.
    Bytes(Vec<u8>),
}

/// How one side of a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Fin,
    Reset(u64),
    /// It did not end by itself.
    Open,
    /// The receiver wanted no more, with this code.
    Stopped(u64),
    /// The connection went.
    Lost,
}

impl Conversation {
    pub(crate) fn to_text(&self) -> String {
        let mut out = format!("about {}\n", self.about);
        if self.large {
            out += "large\n";
        }
        writeln!(out, "server {}", list(&self.server)).unwrap();
        for token in &self.tokens {
            writeln!(out, "token {} {} {}", token.name, token.secret, list(&token.args)).unwrap();
        }
        writeln!(out, "key {}", self.key).unwrap();
        self.next.iter().for_each(|next| writeln!(out, "next {next}").unwrap());
        self.parts.iter().for_each(|part| part.write(&mut out));
        out
    }

    pub(crate) fn parse(text: &str) -> Self {
        let mut conversation = Self::default();
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            if !conversation.take(word, rest) {
                let part = conversation.parts.last_mut().unwrap_or_else(|| panic!("{line:?} before any part"));
                assert!(part.take(word, rest), "{line:?} is not understood");
            }
        }
        conversation
    }

    fn take(&mut self, word: &str, rest: &str) -> bool {
        match word {
            "about" => self.about = rest.to_owned(),
            "large" => self.large = true,
            "server" => self.server = unlist(rest),
            "token" => {
                let fields: Vec<&str> = rest.splitn(3, ' ').collect();
                let [name, secret, args] = fields[..] else { panic!("{rest:?} is no token") };
                self.tokens.push(Token { name: name.into(), secret: secret.into(), args: unlist(args) });
            }
            "key" => self.key = rest.to_owned(),
            "next" => self.next = Some(rest.to_owned()),
            "run" => self.parts.push(Part { run: Some(unlist(rest)), ..Part::default() }),
            "raw" => self.parts.push(Part::default()),
            _ => return false,
        }
        true
    }
}

impl Part {
    fn write(&self, out: &mut String) {
        match &self.run {
            Some(args) => writeln!(out, "\nrun {}", list(args)).unwrap(),
            None => *out += "\nraw\n",
        }
        if self.known {
            *out += "known\n";
        }
        self.shown.iter().for_each(|shown| writeln!(out, "shown {shown}").unwrap());
        if let Some(Event { file, after, then }) = &self.event {
            let then = Then::NAMES.iter().find(|(_, known)| known == then).unwrap().0;
            writeln!(out, "event {}", serde_json::json!({ "file": file, "after": after, "then": then })).unwrap();
        }
        self.streams.iter().for_each(|stream| stream.write(out));
        *out += "\n";
        self.closed.iter().for_each(|(connection, code)| writeln!(out, "closed {connection} {code}").unwrap());
        self.exit.iter().for_each(|exit| writeln!(out, "exit {exit}").unwrap());
        if self.unordered {
            *out += "unordered\n";
        }
        if self.run.is_some() {
            writeln!(out, "stdout {}", quoted(&self.stdout)).unwrap();
        }
        self.saved.iter().for_each(|file| writeln!(out, "saved {file}").unwrap());
        self.learned.iter().for_each(|key| writeln!(out, "learned {key}").unwrap());
    }

    fn take(&mut self, word: &str, rest: &str) -> bool {
        match word {
            "known" => self.known = true,
            "shown" => self.shown = Some(rest.to_owned()),
            "event" => {
                let event: serde_json::Value = serde_json::from_str(rest).unwrap();
                let then = Then::NAMES.iter().find(|(name, _)| event["then"] == **name).unwrap().1;
                let file = event["file"].as_str().unwrap().to_owned();
                self.event = Some(Event { file, after: event["after"].as_u64().unwrap(), then });
            }
            "stream" => self.streams.push(Exchange {
                connection: rest.parse().unwrap(),
                sent: Vec::new(),
                sent_end: End::Open,
                answer: Vec::new(),
                answer_end: End::Open,
            }),
            ">" | "<" => {
                let stream = self.streams.last_mut().expect("a stream");
                let (items, end) = match word {
                    ">" => (&mut stream.sent, &mut stream.sent_end),
                    _ => (&mut stream.answer, &mut stream.answer_end),
                };
                match End::parse(rest) {
                    Some(ended) => *end = ended,
                    None => items.push(Item::parse(rest)),
                }
            }
            "closed" => {
                let (connection, code) = rest.split_once(' ').unwrap();
                self.closed.push((connection.parse().unwrap(), code.parse().unwrap()));
            }
            "exit" => self.exit = Some(rest.parse().unwrap()),
            "unordered" => self.unordered = true,
            "stdout" => self.stdout = unquoted(rest),
            "saved" => self.saved.push(rest.to_owned()),
            "learned" => self.learned = Some(rest.to_owned()),
            _ => return false,
        }
        true
    }
}

impl Exchange {
    fn write(&self, out: &mut String) {
        writeln!(out, "\nstream {}", self.connection).unwrap();
        for (side, items, end) in [(">", &self.sent, self.sent_end), ("<", &self.answer, self.answer_end)] {
            items.iter().for_each(|item| writeln!(out, "{side} {}", item.to_text()).unwrap());
            writeln!(out, "{side} {}", end.to_text()).unwrap();
        }
    }
}

impl Item {
    fn to_text(&self) -> String {
        match self {
            Self::Message(text) if text.chars().all(|c| matches!(c, ' '..='~')) => format!("message {text}"),
            Self::Message(text) => format!("escaped {}", quoted(text)),
            Self::Content { label, start, end } => format!("content {} {start}..{end}", quoted(label)),
            Self::Bytes(bytes) => format!("bytes {}", hex(bytes)),
        }
    }

    fn parse(text: &str) -> Self {
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        match word {
            "message" => Self::Message(rest.to_owned()),
            "escaped" => Self::Message(unquoted(rest)),
            "content" => {
                let (label, range) = rest.rsplit_once(' ').unwrap();
                let (start, end) = range.split_once("..").unwrap();
                Self::Content { label: unquoted(label), start: start.parse().unwrap(), end: end.parse().unwrap() }
            }
            "bytes" => Self::Bytes(unhex(rest)),
            _ => panic!("{text:?} is not understood"),
        }
    }

    /// The bytes on the wire.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Message(text) => framed(text.as_bytes()),
            Self::Content { label, start, end } => {
                let content = crate::tree::content(label).unwrap_or_else(|| panic!("there is no {label:?}"));
                content[usize::try_from(*start).unwrap()..usize::try_from(*end).unwrap()].to_vec()
            }
            Self::Bytes(bytes) => bytes.clone(),
        }
    }
}

/// A payload with its length before it (PROTOCOL §2.1).
pub(crate) fn framed(payload: &[u8]) -> Vec<u8> {
    [&u32::try_from(payload.len()).unwrap().to_be_bytes()[..], payload].concat()
}

impl End {
    fn to_text(self) -> String {
        match self {
            Self::Fin => "fin".to_owned(),
            Self::Reset(code) => format!("reset {code}"),
            Self::Open => "open".to_owned(),
            Self::Stopped(code) => format!("stopped {code}"),
            Self::Lost => "lost".to_owned(),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        Some(match text.split_once(' ') {
            None if text == "fin" => Self::Fin,
            None if text == "open" => Self::Open,
            None if text == "lost" => Self::Lost,
            Some(("reset", code)) => Self::Reset(code.parse().unwrap()),
            Some(("stopped", code)) => Self::Stopped(code.parse().unwrap()),
            _ => return None,
        })
    }
}

fn list(args: &[String]) -> String {
    serde_json::to_string(args).unwrap()
}

fn unlist(text: &str) -> Vec<String> {
    serde_json::from_str(text).unwrap()
}
