//! The bucket of the tests as a program, for scripts: it holds one bucket, `demo`, in memory, with the files of a directory in it where one is
//! named.
//!
//! ```sh
//! cargo run -p qfs-testkit --example s3_engine -- 127.0.0.1:9000 [DIRECTORY]
//! ```
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a program for a script, which reads what the script made"
)]

use std::error::Error;
use std::fs;
use std::path::Path;

use qfs_testkit::s3_engine::S3Engine;

fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).ok_or("s3_engine ADDRESS [DIRECTORY]")?.parse()?;
    let engine = S3Engine::start_at(address)?;
    if let Some(directory) = std::env::args_os().nth(2) {
        put_all(&engine, directory.as_ref())?;
    }
    println!("listening on {} with the bucket {}", engine.endpoint(), S3Engine::BUCKET);
    loop {
        std::thread::park();
    }
}

/// Puts the files below `root`, each under its path from there.
fn put_all(engine: &S3Engine, root: &Path) -> Result<(), Box<dyn Error>> {
    let mut directories = vec![root.to_owned()];
    while let Some(next) = directories.pop() {
        for entry in fs::read_dir(next)? {
            let path = entry?.path();
            if path.is_dir() {
                directories.push(path);
            } else {
                engine.put(path.strip_prefix(root)?.to_str().ok_or("a name that is no text")?, &fs::read(&path)?);
            }
        }
    }
    Ok(())
}
