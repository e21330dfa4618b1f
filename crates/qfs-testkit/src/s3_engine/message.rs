//! Requests and answers on a connection, and what may be done to them.

use std::io::{BufRead, Write};
use std::net::TcpStream;

use bytes::Bytes;

/// The name of the one bucket.
pub(super) const BUCKET: &str = "demo";

/// What is done to one request instead of what it asks, or besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Answered with this status and S3's code.
    Status(u16, &'static str),
    /// The body ends in the middle, and the connection with it.
    Truncated,
    /// The connection ends without an answer, before the request has any effect.
    Cut,
    /// The request has its effect, and the connection ends without an answer.
    Unanswered,
    /// The answer comes from an object that was replaced right before.
    Replaced,
    /// A page of a listing with nothing on it, and more to come, as buckets may have them.
    EmptyPage,
}

pub(super) struct Request {
    pub(super) method: String,
    pub(super) key: String,
    pub(super) query: Vec<(String, String)>,
    pub(super) headers: Vec<(String, String)>,
    pub(super) content: Bytes,
}

pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) content: Bytes,
    /// Of a HEAD: how long the content would be.
    pub(super) length: Option<usize>,
}

impl Answer {
    pub(super) fn ok(content: impl Into<Bytes>) -> Self {
        Self { status: 200, headers: Vec::new(), content: content.into(), length: None }
    }

    /// A page of nothing; the next one goes on behind `!`, which is in front of every letter.
    pub(super) fn empty_page() -> Self {
        let token = "<NextContinuationToken>!</NextContinuationToken>";
        Self::ok(format!("<ListBucketResult><IsTruncated>true</IsTruncated>{token}</ListBucketResult>"))
    }

    pub(super) fn error(status: u16, code: &str) -> Self {
        Self { status, ..Self::ok(format!("<Error><Code>{code}</Code></Error>")) }
    }
}

/// One request; None at the end of the connection.
pub(super) fn read(reader: &mut impl BufRead) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|length| *length > 0)?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length").map_or("0", |(_, value)| value);
    let mut content = vec![0; length.parse().ok()?];
    reader.read_exact(&mut content).ok()?;
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let key = decode(path).strip_prefix(&format!("/{}", BUCKET))?.trim_start_matches('/').to_owned();
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(name), decode(&value.replace('+', " ")))
    };
    let query = query.split('&').filter(|pair| !pair.is_empty()).map(pair).collect();
    Some(Request { method, key, query, headers, content: content.into() })
}

pub(super) fn write(mut stream: &TcpStream, answer: &Answer, fault: Option<Fault>) -> std::io::Result<()> {
    let length = answer.length.unwrap_or(answer.content.len());
    let mut head = format!("HTTP/1.1 {} x\r\ncontent-length: {length}\r\n", answer.status);
    for (name, value) in &answer.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.write_all(format!("{head}\r\n").as_bytes())?;
    if fault == Some(Fault::Truncated) {
        stream.write_all(&answer.content[..answer.content.len() / 2])?;
        return Err(std::io::ErrorKind::ConnectionAborted.into());
    }
    stream.write_all(&answer.content)
}

pub(super) fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match (first, hex.and_then(|hex| u8::from_str_radix(hex, 16).ok())) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
