//! What the real server can still reach once it serves, and what `--hidden` publishes.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a test may panic, makes the files it publishes, and says when it cannot run here"
)]

mod support;

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use qfs_core::model::Digest;
use qfs_core::wire::StatusCode;
use qfs_transport::ClientTuning;
use support::noise;
use support::program::{Home, Running};

/// Whether this kernel has a whole Landlock; where it has not, that it is said and refused is what there is to test.
fn has_landlock(home: &Home) -> bool {
    match Running::try_start(home.command().args(["--sandbox", "require"])) {
        Ok(_) => true,
        Err(said) => {
            assert!(said.starts_with("error: cannot confine the server: "), "{said}");
            assert!(said.contains("\nhint: Linux 6.2 or newer with Landlock"), "{said}");
            eprintln!("this kernel has no Landlock: only the refusal was tested");
            false
        }
    }
}

/// A published file that is old enough for its digest to be remembered.
fn publish_old(home: &Home, name: &str, content: &[u8]) {
    let path = home.tree.write(&format!("root/{name}"), content);
    let old = SystemTime::now() - Duration::from_secs(3600);
    std::fs::File::options().write(true).open(path).unwrap().set_modified(old).unwrap();
}

/// The one file of digests in a cache directory.
fn digest_file(cache: &Path) -> PathBuf {
    let mut files: Vec<_> = std::fs::read_dir(cache).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 1);
    files.pop().unwrap()
}

/// Runs a server that hashes `x`; whether it knew the digest from the start, and what it said.
async fn visit(home: &Home, flags: &[&str], meanwhile: impl FnOnce()) -> (bool, String) {
    let server = home.start(flags);
    let client = server.connect(&ClientTuning::default()).await;
    let got = client.get("x").await.unwrap();
    assert_eq!(got.digest, Digest::of(&got.body));
    assert!(client.list().await.0.iter().any(|(name, _)| name == "x"), "the thread that lists may read the root");
    drop(client);
    meanwhile();
    let (status, _, said) = server.stopped().await;
    assert_eq!(status.code(), Some(0), "{said}");
    (got.head.digest.is_some(), said)
}

/// Promise: under Landlock the server serves and remembers digests, and a path of its own that is turned outside meanwhile leads
/// nowhere, for reading and for writing, on its blocking threads too.
///
/// Fails when: `sandbox::enter` is not called, is called behind the start of the threads, or grants a directory too many. That the
/// same goes through with `--sandbox=off` shows that it is the sandbox which stops it.
#[tokio::test]
async fn nothing_outside_can_be_reached() {
    let home = Home::new();
    if !has_landlock(&home) {
        return;
    }
    publish_old(&home, "x", &noise(1_000_000));
    let (cache, outside) = (home.path().join("cache/qfs"), home.path().join("outside"));
    std::fs::create_dir(&outside).unwrap();

    // It serves, and saves where it may.
    let (known, said) = visit(&home, &["-v"], || ()).await;
    assert!(!known && said.contains("sandbox: Landlock"), "{said}");
    let digests = digest_file(&cache);
    let (known, _) = visit(&home, &[], || ()).await;
    assert!(known, "what was saved is read again");

    // Reading: the file with the digests becomes a link to the same file elsewhere.
    let elsewhere = outside.join("digests");
    std::fs::rename(&digests, &elsewhere).unwrap();
    symlink(&elsewhere, &digests).unwrap();
    let (known, said) = visit(&home, &["--sandbox", "off"], || ()).await;
    assert!(known, "without a sandbox it is read: {said}");
    // Saving may have replaced the link.
    std::fs::remove_file(&digests).unwrap();
    symlink(&elsewhere, &digests).unwrap();
    let (known, said) = visit(&home, &[], || ()).await;
    assert!(!known && said.contains("cannot be read"), "{said}");

    // Writing: the directory becomes a link while the server runs.
    for (sandbox, written) in [("off", true), ("require", false)] {
        let _ = std::fs::remove_file(&cache);
        let _ = std::fs::remove_dir_all(&cache);
        let target = outside.join(sandbox);
        std::fs::create_dir(&target).unwrap();
        let (_, said) = visit(&home, &["--sandbox", sandbox], || {
            std::fs::remove_dir_all(&cache).unwrap();
            symlink(&target, &cache).unwrap();
        })
        .await;
        assert_eq!(std::fs::read_dir(&target).unwrap().count() == 1, written, "{sandbox}: {said}");
        assert_eq!(said.contains("cannot be written"), !written, "{sandbox}: {said}");
    }
}

/// Every thread is under the same rules: entering them is what sets `no_new_privs`, and a thread started before would lack it.
///
/// Fails when: `sandbox::enter` comes behind the first blocking thread.
#[tokio::test]
async fn every_thread_is_confined() {
    let home = Home::new();
    if !has_landlock(&home) {
        return;
    }
    home.tree.write("root/x", &noise(1_000_000));
    for (sandbox, confined) in [("require", true), ("off", false)] {
        let server = home.start(&["--sandbox", sandbox]);
        let client = server.connect(&ClientTuning::default()).await;
        client.get("x").await.unwrap();
        let tasks = std::fs::read_dir(format!("/proc/{}/task", server.child.id())).unwrap();
        let threads: Vec<_> =
            tasks.map(|task| std::fs::read_to_string(task.unwrap().path().join("status")).unwrap()).collect();
        assert!(threads.len() > 1, "blocking threads run");
        assert!(threads.iter().all(|status| status.contains("NoNewPrivs:\t1") == confined), "{threads:?}");
    }
}

/// Fails when: `--hidden` reaches only one of listing and opening, or is the default.
#[tokio::test]
async fn hidden_names_are_published_when_asked_for() {
    let home = Home::new();
    for name in [".profile", ".config/tool", "sub/.deep/x"] {
        home.tree.write(&format!("root/{name}"), name.as_bytes());
    }
    let plain = home.start(&[]);
    let client = plain.connect(&ClientTuning::default()).await;
    assert_eq!(client.list().await.0, [("hello.txt".to_owned(), 5)]);
    for name in [".profile", ".config/tool", "sub/.deep/x"] {
        assert_eq!(client.get(name).await.unwrap_err().code(), Some(StatusCode::NOT_FOUND), "{name}");
    }
    drop((client, plain));
    let mut command = home.command();
    command.env("QFS_HIDDEN", "1");
    for open in [home.start(&["--hidden"]), Running::start(&mut command)] {
        let client = open.connect(&ClientTuning::default()).await;
        let names: Vec<_> = client.list().await.0.into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, [".config/tool", ".profile", "hello.txt", "sub/.deep/x"]);
        for name in names {
            assert!(client.get(&name).await.is_ok(), "{name}");
        }
        for name in [".", "..", ".config", "./.profile", ".config/../.profile"] {
            assert_eq!(client.get(name).await.unwrap_err().code(), Some(StatusCode::NOT_FOUND), "{name}");
        }
    }
}
