//! A small S3 in memory on a port of loopback, for tests: one bucket, with every condition that the protocol knows, a count of
//! requests, and faults on order. It believes every signature.
//!
//! A real engine shows that qfs speaks S3; this one shows what qfs does when a bucket does what real ones do seldom.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

mod bucket;

use bucket::Bucket;
pub use bucket::Stored;

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
}

/// A request as it is counted: its method, and the key with the query.
pub type Seen = (String, String);

/// See the module. Ends with the test that made it.
#[derive(Clone)]
pub struct S3Engine {
    address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    bucket: Bucket,
    /// Each with what must be in the request's method and target, for the next that has it.
    faults: VecDeque<(String, Fault)>,
    seen: Vec<Seen>,
    latency: Duration,
}

struct Request {
    method: String,
    key: String,
    query: Vec<(String, String)>,
    headers: Vec<(String, String)>,
    content: Vec<u8>,
}

struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    content: Vec<u8>,
    /// Of a HEAD: how long the content would be.
    length: Option<usize>,
}

impl S3Engine {
    /// The name of the one bucket.
    pub const BUCKET: &'static str = "demo";

    /// Starts on a free port.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let engine = Self { address, shared: Arc::default() };
        let serving = engine.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let serving = serving.clone();
                std::thread::spawn(move || serving.serve(&stream));
            }
        });
        engine
    }

    /// `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next request with `what` in its method and target meets `fault`.
    pub fn fail(&self, what: &str, fault: Fault) {
        self.lock().faults.push_back((what.to_owned(), fault));
    }

    /// Faults that no request has met.
    #[must_use]
    pub fn unmet(&self) -> usize {
        self.lock().faults.len()
    }

    /// Every answer waits this long.
    pub fn delay(&self, latency: Duration) {
        self.lock().latency = latency;
    }

    /// The requests since the last call.
    pub fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.lock().seen)
    }

    /// Puts an object, as another program does.
    pub fn put(&self, key: &str, content: &[u8]) {
        self.lock().bucket.store(key, Stored { content: content.to_vec(), ..Stored::default() });
    }

    /// Removes one.
    pub fn remove(&self, key: &str) {
        self.lock().bucket.objects.remove(key);
    }

    /// What is under `key`.
    #[must_use]
    pub fn object(&self, key: &str) -> Option<Stored> {
        self.lock().bucket.objects.get(key).cloned()
    }

    /// All keys.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        self.lock().bucket.objects.keys().cloned().collect()
    }

    /// Uploads in parts that have neither been completed nor given up.
    #[must_use]
    pub fn uploads(&self) -> usize {
        self.lock().bucket.uploads.len()
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, stream: &TcpStream) {
        let mut reader = BufReader::new(stream);
        while let Some(request) = read(&mut reader) {
            let (answer, fault) = self.answer(&request);
            if matches!(fault, Some(Fault::Cut | Fault::Unanswered)) || write(stream, &answer, fault).is_err() {
                break;
            }
        }
        let _ = stream.shutdown(std::net::Shutdown::Both);
    }

    fn answer(&self, request: &Request) -> (Answer, Option<Fault>) {
        let latency = self.lock().latency;
        std::thread::sleep(latency);
        let mut shared = self.lock();
        let query: Vec<_> = request.query.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let target = format!("{}?{}", request.key, query.join("&"));
        let line = format!("{} {target}", request.method);
        shared.seen.push((request.method.clone(), target));
        let at = shared.faults.iter().position(|(what, _)| line.contains(what.as_str()));
        let fault = at.and_then(|at| shared.faults.remove(at)).map(|(_, fault)| fault);
        let mut answer = match fault {
            Some(Fault::Status(status, code)) => Answer::error(status, code),
            Some(Fault::Cut) => Answer::error(500, "Cut"),
            Some(Fault::Replaced) => {
                let content = vec![b'!'; shared.bucket.objects.get(&request.key).map_or(1, |old| old.content.len())];
                shared.bucket.store(&request.key, Stored { content, ..Stored::default() });
                shared.bucket.answer(request)
            }
            _ => shared.bucket.answer(request),
        };
        if request.method == "HEAD" {
            answer.length.get_or_insert(answer.content.len());
            answer.content.clear();
        }
        (answer, fault)
    }
}

impl Answer {
    fn ok(content: impl Into<Vec<u8>>) -> Self {
        Self { status: 200, headers: Vec::new(), content: content.into(), length: None }
    }

    fn error(status: u16, code: &str) -> Self {
        Self { status, ..Self::ok(format!("<Error><Code>{code}</Code></Error>")) }
    }
}

/// One request; None at the end of the connection.
fn read(reader: &mut impl BufRead) -> Option<Request> {
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
    let key = decode(path).strip_prefix(&format!("/{}", S3Engine::BUCKET))?.trim_start_matches('/').to_owned();
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(name), decode(value))
    };
    let query = query.split('&').filter(|pair| !pair.is_empty()).map(pair).collect();
    Some(Request { method, key, query, headers, content })
}

fn write(mut stream: &TcpStream, answer: &Answer, fault: Option<Fault>) -> std::io::Result<()> {
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

fn decode(text: &str) -> String {
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
