//! `--follow-links` with the real program: what is published, what is said of the rest, and where the sandbox ends.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a test may panic, makes the files it publishes, and says when it cannot run here"
)]

mod support;

use std::io::Read;
use std::os::unix::fs::symlink;
use std::path::Path;

use qfs_core::model::Digest;
use qfs_core::wire::StatusCode;
use qfs_transport::ClientTuning;
use support::Client;
use support::program::{Home, Running};

/// A home whose root links to files and directories inside and outside of it.
fn furnished() -> Home {
    let home = Home::new();
    for name in ["root/a/file", "root/.secret", "out/file", "out/dir/x", "elsewhere/late"] {
        home.tree.write(name, name.as_bytes());
    }
    let links = [
        ("in", "a/file"),
        ("in-dir", "a"),
        ("hidden", ".secret"),
        ("no\nwhere", "none"),
        ("out", "../out/file"),
        ("out-dir", "../out/dir"),
        ("key", "../certs/server.key"),
        ("certs", "../certs"),
        ("circle", "circle"),
    ];
    for (name, target) in links {
        link(&home, name, target);
    }
    home
}

fn link(home: &Home, name: &str, target: impl AsRef<Path>) {
    symlink(target, home.path().join("root").join(name)).unwrap();
}

async fn names(client: &Client) -> Vec<String> {
    client.list().await.0.into_iter().map(|(name, _)| name).collect()
}

/// Waits until the server has said something that ends with `end`, and returns all of it up to there.
fn said_until(server: &mut Running, end: &str) -> String {
    let stderr = server.child.stderr.as_mut().unwrap();
    let mut said = Vec::new();
    while !String::from_utf8_lossy(&said).ends_with(end) {
        let mut byte = [0];
        assert_eq!(stderr.read(&mut byte).unwrap(), 1, "{}", String::from_utf8_lossy(&said));
        said.push(byte[0]);
    }
    String::from_utf8(said).unwrap()
}

/// Fails when: a link is published without being asked for, or nobody says that there are any.
#[tokio::test]
async fn by_default_links_are_not_published_and_that_is_said() {
    let home = furnished();
    let mut server = home.start(&[]);
    // Other notes may stand in front of it.
    let said = said_until(&mut server, "any publishes all\n");
    let said = said.lines().last().unwrap().to_owned();
    assert_eq!(
        said,
        "note: 9 symbolic links are not published (first: \"certs\"); --follow-links inside publishes those that end \
         within the directory, any publishes all"
            .replace("\"certs\"", &format!("\"{}\"", first_of(&said)))
    );
    let client = server.connect(&ClientTuning::default()).await;
    assert_eq!(names(&client).await, ["a/file", "hello.txt"]);
    for name in ["in", "in-dir/file", "out"] {
        assert_eq!(client.get(name).await.unwrap_err().code(), Some(StatusCode::NOT_FOUND), "{name}");
    }
    let quiet = home.start(&["-q"]);
    let (_, _, said) = quiet.stopped().await;
    assert_eq!(said, "");
}

/// What is met first in a directory is up to the file system.
fn first_of(said: &str) -> String {
    said.split('"').nth(1).unwrap_or_default().to_owned()
}

/// Fails when: a link that ends inside is not followed, one that ends outside or at a hidden name is, or either goes unsaid.
#[tokio::test]
async fn links_that_end_inside_are_published_when_asked_for() {
    let home = furnished();
    link(&home, "absolute", home.path().canonicalize().unwrap().join("root/a/file"));
    let mut command = home.command();
    command.env("QFS_FOLLOW_LINKS", "inside");
    for mut server in [home.start(&["--follow-links", "inside"]), Running::start(&mut command)] {
        let client = server.connect(&ClientTuning::default()).await;
        assert_eq!(names(&client).await, ["a/file", "absolute", "hello.txt", "in", "in-dir/file"]);
        for name in ["absolute", "in", "in-dir/file"] {
            let got = client.get(name).await.unwrap();
            assert_eq!((&got.body[..], got.digest), (&b"root/a/file"[..], Digest::of(b"root/a/file")), "{name}");
        }
        for name in ["hidden", "out", "out-dir/x", "key", "certs/server.key", "circle"] {
            assert_eq!(client.get(name).await.unwrap_err().code(), Some(StatusCode::NOT_FOUND), "{name}");
        }
        let said = said_until(&mut server, "own files\n");
        for line in [
            "note: 1 symbolic link is not published (\"no\\nwhere\"): it leads nowhere\n",
            "note: 1 symbolic link is not published (\"circle\"): it leads to a directory above, or in a circle\n",
            "note: 1 symbolic link is not published (\"hidden\"): it ends at a name that begins with a dot; --hidden",
        ] {
            assert!(said.contains(line), "{said}");
        }
        // The server's own files are outside first of all.
        let outside = ": they end outside the directory; --follow-links any publishes them\n";
        assert!(said.contains("note: 2 symbolic links are not published") && said.contains(outside), "{said}");
        assert!(said.contains("note: 2 symbolic links are not published") && said.contains("own files"), "{said}");
    }
    assert!(home.refused(&["--follow-links", "some"]).contains("--follow-links"));
}

/// Promise: with `any` the sandbox is open where links ended at the start, and nowhere else.
///
/// Fails when: a place that a link ends at is not in the sandbox, the sandbox is open for more than those, the server hands out its
/// own key, or a link that came later goes unsaid.
#[tokio::test]
async fn any_link_is_published_as_far_as_the_sandbox_was_opened() {
    let home = furnished();
    let probe = Running::try_start(home.command().args(["--sandbox", "require"]));
    if probe.is_err() {
        eprintln!("this kernel has no Landlock: nothing was tested");
        return;
    }
    drop(probe);
    for (sandbox, late_is_published) in [("require", false), ("off", true)] {
        let mut server = home.start(&["--follow-links", "any", "--sandbox", sandbox]);
        let client = server.connect(&ClientTuning::default()).await;
        let published = ["a/file", "hello.txt", "in", "in-dir/file", "out", "out-dir/x"];
        assert_eq!(names(&client).await, published, "{sandbox}");
        for name in published {
            assert!(client.get(name).await.is_ok(), "{sandbox} {name}");
        }
        for name in ["hidden", "key", "certs/server.key", "certs/server.crt", "circle"] {
            assert_eq!(client.get(name).await.unwrap_err().code(), Some(StatusCode::NOT_FOUND), "{sandbox} {name}");
        }
        let said = said_until(&mut server, "own files\n");
        assert!(!said.contains("outside the directory"), "{said}");

        // What comes later: below a place that is known, and elsewhere.
        home.tree.write("out/dir/later", b"later");
        link(&home, "late", home.path().join("elsewhere/late"));
        link(&home, "late-dir", home.path().join("elsewhere"));
        let listed = names(&client).await;
        assert!(listed.contains(&"out-dir/later".to_owned()), "{listed:?}");
        assert!(client.get("out-dir/later").await.is_ok());
        for name in ["late", "late-dir/late"] {
            assert_eq!(listed.contains(&name.to_owned()), late_is_published, "{sandbox} {name}");
            assert_eq!(client.get(name).await.is_ok(), late_is_published, "{sandbox} {name}");
        }
        drop(client);
        let (_, _, said) = server.stopped().await;
        let told = said.lines().filter(|line| line.contains("left out of listings") && line.contains("sandbox"));
        assert_eq!(told.count(), if late_is_published { 0 } else { 2 }, "{said}");
        for name in ["late", "late-dir"] {
            std::fs::remove_file(home.path().join("root").join(name)).unwrap();
        }
        std::fs::remove_file(home.path().join("out/dir/later")).unwrap();
    }
}
