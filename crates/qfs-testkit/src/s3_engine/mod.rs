//! A small S3 in memory on a port of loopback, for tests: one bucket, with every condition that the protocol knows, a count of
//! requests, and faults on order. It believes every signature. It also knows what Google's XML interface has instead: `x-goog-meta-`,
//! generations, and conditions on them.
//!
//! A real engine shows that qfs speaks S3; this one shows what qfs does when a bucket does what real ones do seldom.

use std::collections::VecDeque;
use std::io::BufReader;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;

mod bucket;
mod message;

use bucket::Bucket;
pub use bucket::Stored;
pub use message::Fault;
use message::{Answer, Request, read, write};

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

impl S3Engine {
    /// The name of the one bucket.
    pub const BUCKET: &'static str = message::BUCKET;

    /// Starts on a free port.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn start() -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port")
    }

    /// Starts at this address.
    ///
    /// # Errors
    /// When it is taken.
    pub fn start_at(address: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let engine = Self { address, shared: Arc::default() };
        let serving = engine.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let serving = serving.clone();
                std::thread::spawn(move || serving.serve(&stream));
            }
        });
        Ok(engine)
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
        self.lock().bucket.store(key, Stored { content: Bytes::copy_from_slice(content), ..Stored::default() });
    }

    /// Gives an object other content and leaves what stands beside it, as some programs do.
    pub fn refill(&self, key: &str, content: &[u8]) {
        let mut shared = self.lock();
        let headers = shared.bucket.objects.get(key).map(|stored| stored.headers.clone()).unwrap_or_default();
        let content = Bytes::copy_from_slice(content);
        shared.bucket.store(key, Stored { content, headers, ..Stored::default() });
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
            Some(Fault::EmptyPage) => Answer::empty_page(),
            Some(Fault::Cut) => Answer::error(500, "Cut"),
            Some(Fault::Replaced) => {
                let content = vec![b'!'; shared.bucket.objects.get(&request.key).map_or(1, |old| old.content.len())];
                shared.bucket.store(&request.key, Stored { content: content.into(), ..Stored::default() });
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
