//! A mirror that lies: says of one file what is true, and sends it with a flipped bit in each 64 KiB. For `scripts/wan-mirrors.sh`.
//!
//! ```sh
//! cargo run -p qfs-testkit --example lying_mirror -- 127.0.0.1:9000 FILE
//! ```
#![allow(clippy::disallowed_methods, clippy::print_stdout, reason = "a program for a script")]

use std::error::Error;
use std::net::SocketAddr;
use std::path::Path;

use bytes::Bytes;
use qfs_core::chunks::{Chunker, Grain};
use qfs_core::model::Digest;
use qfs_core::wire::{Request, frame};
use qfs_testkit::hostile_server::{HostileServer, Step};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().collect();
    let [_, address, file] = &args[..] else { return Err("lying_mirror ADDRESS FILE".into()) };
    let address: SocketAddr = address.parse()?;
    let name = Path::new(file).file_name().and_then(|name| name.to_str()).ok_or("a file without a name")?.to_owned();
    let content = std::fs::read(file)?;
    let (size, digest) = (content.len() as u64, Digest::of(&content));
    let mut chunker = Chunker::new(Grain::for_size(size).ok_or("too large")?);
    chunker.push(&content);
    let map = Bytes::from(chunker.finish(digest)?.encode());
    let mut lie = content;
    lie.chunks_mut(64 << 10).for_each(|part| part[0] ^= 1);
    let lie = Bytes::from(lie);
    let server = HostileServer::start_at(address, move |request| {
        let head = |range: &std::ops::Range<u64>| {
            format!(
                r#"{{"code":0,"size":{size},"modified":"2026-11-23T08:09:24Z","etag":"v1","range":{{"start":{},"end":{}}}}}"#,
                range.start, range.end
            )
        };
        let answer = |json: String, body: Bytes| {
            let mut steps: Vec<_> = frame(json.as_bytes()).map(Step::Send).into_iter().collect();
            steps.push(Step::Send(body));
            steps
        };
        match request {
            Request::Download(request) if request.filename == name => {
                let range = request.range.map_or(Ok(0..size), |range| range.within(size)).unwrap_or(0..0);
                // Within what is in memory.
                let body = lie.slice(range.start as usize..range.end as usize);
                let mut steps = answer(head(&range), body);
                let end = format!(r#"{{"code":0,"sha256":"{digest}"}}"#);
                steps.extend(frame(end.as_bytes()).map(Step::Send));
                steps.push(Step::Finish);
                steps
            }
            Request::ChunkMap(request) if request.filename == name => {
                let json = format!(r#"{{"code":0,"size":{size},"etag":"v1","length":{}}}"#, map.len());
                [answer(json, map.clone()), vec![Step::Finish]].concat()
            }
            _ => [answer(r#"{"code":2}"#.to_owned(), Bytes::new()), vec![Step::Finish]].concat(),
        }
    })?;
    println!("ticket qfs://{}#{}", server.address(), server.fingerprint());
    loop {
        std::thread::park();
    }
}
