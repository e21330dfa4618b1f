//! What lies between a server and its bucket, for `scripts/bucket-speed.sh`: a relay for HTTP that has each answer wait, lets so many
//! bytes of answers through, for each connection and for all, and counts requests.
//!
//! ```sh
//! cargo run -p qfs-testkit --example bucket_link -- 127.0.0.1:9000 --latency 50 --each 25 --all 100
//! ```
//!
//! Milliseconds and MiB/s. `GET /counts` is answered by the link itself, with the requests since the last time.
#![allow(clippy::print_stdout, reason = "a program for a script")]

use std::error::Error;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Bytes that are carried at once.
const PIECE_BYTES: usize = 64 << 10;
/// Bytes of a head, at most.
const MAX_HEAD_BYTES: u64 = 64 << 10;
/// The longest lag behind a rate that is caught up with: what a sleep takes too long.
const SLACK: Duration = Duration::from_millis(20);

/// A rate that several take their turn at.
struct Rate {
    /// Of one MiB; none where there is no limit.
    time: Option<Duration>,
    free: Mutex<Instant>,
}

impl Rate {
    fn new(mib: f64) -> Self {
        let time = (mib > 0.0).then(|| Duration::from_secs_f64(1.0 / mib));
        Self { time, free: Mutex::new(Instant::now()) }
    }

    /// Waits until `bytes` more may go.
    fn take(&self, bytes: usize) {
        let Some(time) = self.time else { return };
        let turn = {
            let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
            let begins = (*free).max(Instant::now().checked_sub(SLACK).unwrap_or(*free));
            *free = begins + time.mul_f64(bytes as f64 / f64::from(1 << 20));
            *free
        };
        std::thread::sleep(turn.saturating_duration_since(Instant::now()));
    }
}

#[derive(Default)]
struct Counts {
    gets: AtomicUsize,
    heads: AtomicUsize,
    lists: AtomicUsize,
    others: AtomicUsize,
    under_way: AtomicUsize,
    most: AtomicUsize,
}

impl Counts {
    fn begin(&self, line: &str) {
        let kind = match line.split_once(' ') {
            Some(("GET", target)) if target.contains("list-type=") => &self.lists,
            Some(("GET", _)) => &self.gets,
            Some(("HEAD", _)) => &self.heads,
            _ => &self.others,
        };
        kind.fetch_add(1, Relaxed);
        self.most.fetch_max(self.under_way.fetch_add(1, Relaxed) + 1, Relaxed);
    }

    /// What was counted, and begins anew.
    fn take(&self) -> String {
        let take = |count: &AtomicUsize| count.swap(0, Relaxed);
        let [gets, heads, lists, others] = [&self.gets, &self.heads, &self.lists, &self.others].map(take);
        format!("get {gets} head {heads} list {lists} other {others} at-once {}\n", take(&self.most))
    }
}

struct Link {
    target: String,
    latency: Duration,
    each: f64,
    all: Rate,
    counts: Counts,
}

/// A head, with its blank line; None at the end of the connection.
fn head(from: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut text = String::new();
    let mut from = from.take(MAX_HEAD_BYTES);
    while from.read_line(&mut text)? > 0 {
        if text.ends_with("\r\n\r\n") {
            return Ok(Some(text));
        }
    }
    if text.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let named = |line: &'a str| line.split_once(':').filter(|(is, _)| is.eq_ignore_ascii_case(name));
    head.lines().find_map(named).map(|(_, value)| value.trim())
}

fn length(head: &str) -> u64 {
    field(head, "content-length").and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// Carries `length` bytes; `pace` is told of each piece before it goes.
fn carry(from: &mut impl Read, to: &mut impl Write, length: u64, pace: &dyn Fn(usize)) -> io::Result<()> {
    let mut piece = vec![0; PIECE_BYTES];
    let mut from = from.take(length);
    loop {
        let count = from.read(&mut piece)?;
        if count == 0 {
            return if from.limit() == 0 { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
        pace(count);
        to.write_all(&piece[..count])?;
    }
}

/// Carries a body in chunks, to its end.
fn carry_chunks(from: &mut impl BufRead, to: &mut impl Write, pace: &dyn Fn(usize)) -> io::Result<()> {
    loop {
        let mut line = String::new();
        from.take(MAX_HEAD_BYTES).read_line(&mut line)?;
        to.write_all(line.as_bytes())?;
        let size = line.trim().split(';').next().and_then(|size| u64::from_str_radix(size, 16).ok());
        let size = size.ok_or(io::ErrorKind::InvalidData)?;
        // With the end of its line; there are no trailers.
        carry(from, to, size + 2, pace)?;
        if size == 0 {
            return Ok(());
        }
    }
}

impl Link {
    /// Relays the requests of one connection, one after the other.
    fn serve(&self, client: &TcpStream) -> io::Result<()> {
        client.set_nodelay(true)?;
        let (mut asks, mut answers) = (BufReader::new(client), client);
        let bucket = TcpStream::connect(&self.target)?;
        bucket.set_nodelay(true)?;
        let (mut answered, mut asked) = (BufReader::new(&bucket), &bucket);
        let each = Rate::new(self.each);
        let pace = |bytes| {
            each.take(bytes);
            self.all.take(bytes);
        };
        while let Some(request) = head(&mut asks)? {
            if request.starts_with("GET /counts ") {
                let counts = self.counts.take();
                write!(answers, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{counts}", counts.len())?;
                continue;
            }
            self.counts.begin(&request);
            let done = (|| {
                asked.write_all(request.as_bytes())?;
                carry(&mut asks, &mut asked, length(&request), &|_| {})?;
                std::thread::sleep(self.latency);
                let answer = head(&mut answered)?.ok_or(io::ErrorKind::UnexpectedEof)?;
                answers.write_all(answer.as_bytes())?;
                let status = answer.split(' ').nth(1).unwrap_or_default();
                if request.starts_with("HEAD ") || ["204", "304"].contains(&status) {
                    Ok(())
                } else if field(&answer, "transfer-encoding").is_some() {
                    carry_chunks(&mut answered, &mut answers, &pace)
                } else {
                    carry(&mut answered, &mut answers, length(&answer), &pace)
                }
            })();
            self.counts.under_way.fetch_sub(1, Relaxed);
            done?;
        }
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let usage = "bucket_link HOST:PORT [--latency MS] [--each MIB] [--all MIB]";
    let mut args = std::env::args().skip(1);
    let target = args.next().ok_or(usage)?;
    let (mut latency, mut each, mut all) = (0.0, 0.0, 0.0);
    while let Some(name) = args.next() {
        let value: f64 = args.next().ok_or(usage)?.parse()?;
        match name.as_str() {
            "--latency" => latency = value,
            "--each" => each = value,
            "--all" => all = value,
            _ => return Err(usage.into()),
        }
    }
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("listening on http://{}", listener.local_addr()?);
    let latency = Duration::try_from_secs_f64(latency / 1000.0)?;
    let link = Arc::new(Link { target, latency, each, all: Rate::new(all), counts: Counts::default() });
    for client in listener.incoming().flatten() {
        let link = Arc::clone(&link);
        // Whoever ends the connection knows why.
        std::thread::spawn(move || drop(link.serve(&client)));
    }
    Ok(())
}
