//! The bucket of the tests as a program, for `scripts/book-check.sh`: it holds one bucket, `demo`, in memory.
//!
//! ```sh
//! cargo run -p qfs-testkit --example s3_engine -- 127.0.0.1:9000
//! ```
#![allow(clippy::print_stdout, reason = "a program for a script")]

use std::error::Error;

use qfs_testkit::s3_engine::S3Engine;

fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).ok_or("s3_engine ADDRESS")?.parse()?;
    let engine = S3Engine::start_at(address)?;
    println!("listening on {} with the bucket {}", engine.endpoint(), S3Engine::BUCKET);
    loop {
        std::thread::park();
    }
}
