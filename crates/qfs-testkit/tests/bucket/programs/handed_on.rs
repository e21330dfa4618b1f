//! An upload whose server is gone, and another one of the same identity on the same bucket in its place.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use qfs_core::model::Digest;
use qfs_testkit::binaries::{ServerOptions, ServerProcess};

use super::competing::putting;
use super::{Lab, lab, noise};

/// A server on the bucket of `lab`, with its identity and a spool of its own.
fn server(lab: &Lab, spool: &Path, port: u16, more: &[&str]) -> ServerProcess {
    let (certs, spool) = (lab.place.path().join("certs"), format!("--spool={}", spool.display()));
    let mut args = vec!["--allow=read,write,delete", spool.as_str()];
    args.extend(lab.options.iter().map(String::as_str));
    args.extend(more);
    ServerProcess::start_with(&ServerOptions {
        certs: Some(&certs),
        port,
        args: &args,
        ..ServerOptions::new(Path::new(&lab.root))
    })
}

/// Bytes of the files in a directory, as far as they can be seen.
fn bytes_in(directory: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let files = fs::read_dir(directory).into_iter().flatten().flatten();
    files.filter_map(|file| Some(file.metadata().ok()?.blocks() * 512)).sum()
}

#[test]
fn an_upload_goes_on_from_its_beginning_at_a_server_that_takes_over() {
    let lab = lab("handed-on");
    let content = noise(12 << 20, 21);
    lab.write("large", &content);
    let spools = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let mut first = server(&lab, spools[0].path(), 0, &["--limit=off,4M"]);
    let home = tempfile::tempdir().unwrap();
    let client = putting(&lab, first.ticket(), &home, "large", "large", &["--json"]);
    let begun = Instant::now();
    while bytes_in(spools[0].path()) < 3 << 20 {
        assert!(begun.elapsed() < Duration::from_secs(60), "nothing arrives: {}", first.said());
        std::thread::sleep(Duration::from_millis(20));
    }
    let port = first.address().port();
    first.kill().unwrap();
    lab.ends(&["cat", "large"], 5);
    let second = server(&lab, spools[1].path(), port, &[]);
    let put = client.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&put.stdout).into_owned();
    assert!(put.status.success(), "{told} {} {}", String::from_utf8_lossy(&put.stderr), second.said());
    assert!(told.contains(&Digest::of(&content).to_string()), "{told}");
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert!(told["bytes"].as_u64().unwrap() > (14 << 20), "what the first one had was sent again: {told}");
    lab.works(&["get", "large"]);
    assert!(fs::read(lab.here().join("client_env/large")).unwrap() == content);
    // What the first one had is on its disk, where nobody asks for it, and nothing of it in the bucket.
    assert!(bytes_in(spools[0].path()) > 0);
    assert!(fs::read_dir(spools[1].path()).unwrap().next().is_none(), "the spool is empty again");
    if let Some(engine) = &lab.engine {
        assert_eq!(engine.uploads(), 0);
    }
}
