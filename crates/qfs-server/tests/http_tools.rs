//! The real server before the programs that people have: curl, wget, aria2c, rclone, tar. One that is missing fails the test; `.ci/run`
//! installs them.
#![cfg(feature = "http")]
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may panic, and makes the files it publishes"
)]

mod support;

use std::path::Path;
use std::process::{Command, Output};

use qfs_transport::{Identity, IdentityPem};
use rustix::process::Signal;
use support::program::{Home, Running};
use support::{http, noise, soon};

const LARGE: usize = 20_000_003;

fn place() -> (Home, Running, Vec<u8>) {
    let home = Home::new();
    let large = noise(LARGE);
    home.tree.write("root/large.bin", &large);
    home.tree.write("root/sub/a b.txt", b"a");
    home.tree.write("root/sub/deep/ü.txt", b"c");
    home.tree.write("out/.keep", b"");
    let server = home.start(&[]);
    (home, server, large)
}

/// Runs `program` below `out`; it has to succeed.
fn run(home: &Home, program: &str, arguments: &[&str]) -> Output {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(home.path().join("out"))
        .env("HOME", home.path())
        .output()
        .unwrap_or_else(|error| panic!("{program} is needed for this test (see .ci/run): {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}\n{said}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout)
    );
    output
}

fn is_same(home: &Home, name: &str, content: &[u8]) -> bool {
    std::fs::read(home.path().join("out").join(name)).unwrap() == content
}

/// The first part of a file, as an interrupted download leaves it.
fn leave_part(home: &Home, name: &str, content: &[u8]) {
    std::fs::write(home.path().join("out").join(name), &content[..7_654_321]).unwrap();
}

#[test]
fn curl_fetches_and_continues() {
    let (home, server, large) = place();
    let base = format!("https://{}", server.address());
    for version in ["--http1.1", "--http2"] {
        let said = run(
            &home,
            "curl",
            &["-sSkf", version, "-o", "x", "-w", "%{http_version} %{size_download}", &format!("{base}/large.bin")],
        );
        let said = String::from_utf8(said.stdout).unwrap();
        assert_eq!(said, format!("{} {LARGE}", if version == "--http2" { "2" } else { "1.1" }));
        assert!(is_same(&home, "x", &large));
        leave_part(&home, "x", &large);
        let said = run(
            &home,
            "curl",
            &[
                "-sSkf",
                version,
                "-C",
                "-",
                "-o",
                "x",
                "-w",
                "%{http_code} %{size_download}",
                &format!("{base}/large.bin"),
            ],
        );
        assert_eq!(String::from_utf8(said.stdout).unwrap(), format!("206 {}", LARGE - 7_654_321));
        assert!(is_same(&home, "x", &large));
    }
    // Only what changed, by time and by tag.
    run(&home, "curl", &["-sSkfR", "-o", "y", "--etag-save", "tag", &format!("{base}/hello.txt")]);
    let said = run(
        &home,
        "curl",
        &["-sSkf", "--etag-compare", "tag", "-o", "z", "-w", "%{http_code}", &format!("{base}/hello.txt")],
    );
    assert_eq!(said.stdout, b"304");
    let said = run(&home, "curl", &["-sSkf", "-z", "y", "-o", "z", "-w", "%{http_code}", &format!("{base}/hello.txt")]);
    assert_eq!(said.stdout, b"304");
}

/// The server with everything allowed, and the address of its root.
fn writable() -> (Home, Running, String) {
    let home = Home::new();
    home.tree.write("out/.keep", b"");
    let server = home.start(&["--allow", "read,write,delete"]);
    let base = format!("https://{}", server.address());
    (home, server, base)
}

#[test]
fn curl_uploads_and_removes() {
    let (home, _server, base) = writable();
    let content = noise(5_000_003);
    let at = |name: &str| home.path().join("root").join(name);
    std::fs::write(home.path().join("out/x.bin"), &content).unwrap();
    std::fs::write(home.path().join("out/y.bin"), b"other").unwrap();
    for version in ["--http1.1", "--http2"] {
        let put = |from: &str, more: &[&str]| {
            let flags = ["-sSk", version, "-o", "said", "-w", "%{http_code}", "-T", from];
            let said = run(&home, "curl", &[&flags[..], more, &[&format!("{base}/new/dir/x.bin")]].concat());
            String::from_utf8(said.stdout).unwrap()
        };
        assert_eq!(put("x.bin", &[]), "201");
        assert!(std::fs::read(at("new/dir/x.bin")).unwrap() == content);
        // As with every server of WebDAV: what is there is replaced, unless that is forbidden.
        assert_eq!(put("y.bin", &["-H", "If-None-Match: *"]), "412");
        assert_eq!(put("y.bin", &[]), "204");
        assert_eq!(std::fs::read(at("new/dir/x.bin")).unwrap(), b"other");
        // curl has a way of its own to continue, which would leave a part in the place of the whole.
        assert_eq!(put("x.bin", &["-C", "100"]), "400");
        let said = run(
            &home,
            "curl",
            &["-sSkf", version, "-X", "DELETE", "-w", "%{http_code}", &format!("{base}/new/dir/x.bin")],
        );
        assert_eq!((said.stdout, at("new/dir/x.bin").exists()), (b"204".to_vec(), false));
    }
    // From a pipe, of which nobody knows how long it is; and with a directory's name, as -T completes it.
    let script = format!("cat x.bin | curl -sSkf -T - {base}/piped && curl -sSkf -T y.bin {base}/new/");
    run(&home, "sh", &["-c", &script]);
    assert!(std::fs::read(at("piped")).unwrap() == content && std::fs::read(at("new/y.bin")).unwrap() == b"other");
}

/// The requests of the draft by hand: a transfer that is killed in the middle goes on where it was.
#[test]
fn curl_continues_an_upload_that_was_killed() {
    let (home, _server, base) = writable();
    let content = noise(6_000_001);
    std::fs::write(home.path().join("out/x.bin"), &content).unwrap();
    let script = format!(
        r#"set -e
        up=$(curl -sSkf -D - -o /dev/null -X POST -H 'Upload-Complete: ?0' -H 'Upload-Length: 6000001' {base}/x.bin |
          tr -d '\r' | sed -n 's/^location: //ip')
        offset() {{ curl -sSkfI "{base}$up" | tr -d '\r' | sed -n 's/^upload-offset: //ip'; }}
        curl -sSk -X PATCH -H 'Content-Type: application/partial-upload' -H 'Upload-Offset: 0' -H 'Upload-Complete: ?1' \
          --limit-rate 2M --data-binary @x.bin "{base}$up" & first=$!
        until [ "$(cat ../root/.x.bin.*.qfs-part 2>/dev/null | head -c 300000 | wc -c)" = 300000 ]; do sleep 0.05; done
        kill -9 $first
        at=$(offset)
        [ "$at" -gt 0 ] && [ "$at" -lt 6000001 ]
        tail -c +$((at + 1)) x.bin | curl -sSkf -X PATCH -H 'Content-Type: application/partial-upload' -H "Upload-Offset: $at" \
          -H 'Upload-Complete: ?1' --data-binary @- "{base}$up"
        curl -sSkfI "{base}$up" | grep -qi '^upload-complete: ?1'"#
    );
    run(&home, "bash", &["-c", &script]);
    assert!(std::fs::read(home.path().join("root/x.bin")).unwrap() == content);
}

#[test]
fn wget_continues_and_fetches_directories() {
    let (home, server, large) = place();
    let base = format!("https://{}", server.address());
    leave_part(&home, "large.bin", &large);
    run(&home, "wget", &["-q", "--no-check-certificate", "-c", &format!("{base}/large.bin")]);
    assert!(is_same(&home, "large.bin", &large));
    run(&home, "wget", &["-q", "--no-check-certificate", "-r", "-np", "-nH", &format!("{base}/sub/")]);
    assert!(is_same(&home, "sub/a b.txt", b"a") && is_same(&home, "sub/deep/ü.txt", b"c"));
}

#[test]
fn aria2_fetches_in_eight_pieces() {
    let (home, server, large) = place();
    let base = format!("https://{}", server.address());
    let flags = ["-q", "--check-certificate=false", "-x8", "-s8", "-k1M", "--no-conf", "-o", "x"];
    run(&home, "aria2c", &[&flags[..], &[&format!("{base}/large.bin")]].concat());
    assert!(is_same(&home, "x", &large));
}

#[test]
fn rclone_copies_a_tree() {
    let (home, server, large) = place();
    let base = format!("https://{}", server.address());
    let flags = ["copy", "--no-check-certificate", "--config", "none", "--http-url", &base, ":http:", "tree"];
    run(&home, "rclone", &flags);
    assert!(is_same(&home, "tree/large.bin", &large));
    assert!(is_same(&home, "tree/sub/a b.txt", b"a") && is_same(&home, "tree/sub/deep/ü.txt", b"c"));
}

#[test]
fn tar_reads_the_archive() {
    let (home, server, large) = place();
    let base = format!("https://{}", server.address());
    run(&home, "curl", &["-sSkf", "-o", "x.tar", &format!("{base}/?tar")]);
    run(&home, "tar", &["xf", "x.tar"]);
    assert!(is_same(&home, "large.bin", &large) && is_same(&home, "sub/deep/ü.txt", b"c"));
    run(&home, "tar", &["df", "x.tar"]);
}

/// The certificate that the server shows.
async fn shown(server: &Running) -> Vec<u8> {
    let stream = http::connect(server.address(), &[b"http/1.1"]).await;
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

fn put_pair(directory: &Path) -> String {
    let pem = IdentityPem::generate().unwrap();
    let mode =
        |path: &Path| std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    for (name, text) in [("c.pem", &pem.certificate), ("k.pem", &pem.key)] {
        std::fs::write(directory.join("new"), text).unwrap();
        mode(&directory.join("new"));
        std::fs::rename(directory.join("new"), directory.join(name)).unwrap();
    }
    Identity::from_pem(pem.key.as_bytes(), pem.certificate.as_bytes()).unwrap().fingerprint().to_string()
}

/// Fails when a new certificate is not taken up, one that cannot be used takes the place of one that can, or a connection is lost.
#[tokio::test]
async fn a_certificate_is_taken_up_anew() {
    let home = Home::new();
    home.tree.write("tls/x", b"");
    let directory = home.path().join("tls");
    put_pair(&directory);
    let server = home.start(&["--cert", "tls/c.pem", "--key", "tls/k.pem", "-v"]);
    let client = server.connect(&qfs_transport::ClientTuning::default()).await;
    let first = shown(&server).await;
    let fingerprint = put_pair(&directory);
    server.signal(Signal::HUP);
    let mut second = shown(&server).await;
    let changed = async {
        while second == first {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            second = shown(&server).await;
        }
    };
    soon(changed).await;
    assert_eq!(client.get("hello.txt").await.unwrap().body, b"hello");
    std::fs::write(directory.join("c.pem"), "nonsense").unwrap();
    server.signal(Signal::HUP);
    assert_eq!(http::get(server.address(), "/hello.txt", &[]).await.text(), "hello");
    drop(client);
    let (status, _, said) = server.stopped().await;
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(
        said.contains(&format!("fingerprint {fingerprint}")) && said.contains("the certificate stays as it was"),
        "{said}"
    );
    assert!(said.contains("browsers and curl find the files at https://127.0.0.1:"), "{said}");
}
