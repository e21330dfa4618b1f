//! Uploads over HTTP whose client is cut off and whose server is killed, at random moments.

use std::net::SocketAddr;

use fastrand::Rng;
use tokio::io::AsyncWriteExt;

use crate::crowd::runtime;
use crate::http::{try_open, whole};
use crate::lab::{Lab, noise};
use crate::raw::soon;
use crate::tally::{Tally, count, seed};

/// What is uploaded: more than is recorded at once, so that a killed server has something to go on from.
const SIZE: usize = 12 << 20;

/// Requests that an upload may take. Each that the server outlives brings it forward.
const MAX_REQUESTS: usize = 60;

/// What an HTTP/1.1 server says to a request with these lines and no content.
async fn ask(server: SocketAddr, method: &str, target: &str, lines: &str) -> (u16, String) {
    let request =
        format!("{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n{lines}\r\n");
    let said = String::from_utf8_lossy(&whole(server, request.as_bytes()).await).into_owned();
    let status = said.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.unwrap_or_else(|| panic!("{method} {target}: {said:?}")), said)
}

fn value<'a>(said: &'a str, name: &str) -> &'a str {
    let mut lines = said.lines().filter_map(|line| line.split_once(": "));
    lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value)
}

async fn begin(server: SocketAddr, name: &str) -> String {
    let lines = format!("Upload-Complete: ?0\r\nUpload-Length: {SIZE}\r\nIf-None-Match: *\r\n");
    let (status, said) = ask(server, "POST", name, &lines).await;
    assert_eq!(status, 201, "{said}");
    value(&said, "location").to_owned()
}

/// Sends `content` from `offset` on, up to `until`, and leaves.
async fn append(server: SocketAddr, upload: &str, offset: usize, until: usize, content: &[u8]) {
    let Ok(mut stream) = try_open(server, b"http/1.1").await else { return };
    let head = format!(
        "PATCH {upload} HTTP/1.1\r\nHost: x\r\nContent-Type: application/partial-upload\r\nUpload-Offset: {offset}\r\n\
         Upload-Complete: ?1\r\nContent-Length: {}\r\n\r\n",
        content.len() - offset
    );
    if soon(stream.write_all(head.as_bytes())).await.is_err() {
        return;
    }
    let sent = soon(stream.write_all(&content[offset..until])).await.is_ok();
    // Whoever has sent everything waits for the answer; who has not is cut off now.
    if sent && until == content.len() {
        let mut said = [0; 12];
        let _ = soon(tokio::io::AsyncReadExt::read_exact(&mut stream, &mut said)).await;
    } else {
        let _ = soon(stream.shutdown()).await;
    }
}

/// Promise: an upload appears whole or not at all, and goes on from what the server holds.
///
/// Fails when: `uploads::settle` writes no record, a partial file is believed unread, or a file has its name before it is whole.
#[test]
fn uploads_that_are_cut_and_servers_that_are_killed() {
    let total = count("http_uploads", 3);
    let mut random = Rng::with_seed(seed() ^ 41);
    let mut tally = Tally::new("http_uploads", total);
    let mut lab = Lab::new();
    let flags = ["--allow", "read,write"];
    lab.start_with(&flags);
    let (mut kills, mut cuts) = (0, 0);
    for index in 0..total {
        let content = noise(seed() ^ (1000 + index), SIZE);
        let name = format!("f{index}");
        let target = format!("/{name}");
        let mut upload = runtime().block_on(begin(lab.address(), &target));
        let mut done = false;
        for _ in 0..MAX_REQUESTS {
            let (status, said) = runtime().block_on(ask(lab.address(), "HEAD", &upload, ""));
            if status == 404 {
                // Nothing of it had been written down.
                upload = runtime().block_on(begin(lab.address(), &target));
                continue;
            }
            assert_eq!(status, 204, "{said}");
            if value(&said, "upload-complete") == "?1" {
                done = true;
                break;
            }
            let offset: usize = value(&said, "upload-offset").parse().unwrap();
            let until = if random.u8(..4) == 0 { SIZE } else { random.usize(offset..=SIZE) };
            let is_killed = random.u8(..3) == 0;
            let address = lab.address();
            if is_killed {
                kills += 1;
                std::thread::scope(|scope| {
                    let sending = scope.spawn(|| runtime().block_on(append(address, &upload, offset, until, &content)));
                    std::thread::sleep(std::time::Duration::from_millis(random.u64(..60)));
                    lab.crash_and_restart_with(&flags);
                    sending.join().unwrap();
                });
            } else {
                cuts += 1;
                runtime().block_on(append(address, &upload, offset, until, &content));
            }
            if let Ok(found) = std::fs::read(lab.root().join(&name)) {
                assert!(found == content, "{name} is not whole");
                done = true;
                break;
            }
        }
        assert!(done, "{name} never came to its end");
        assert!(std::fs::read(lab.root().join(&name)).unwrap() == content);
        tally.note("whole");
    }
    tally.end(&format!("{kills} kills of the server, {cuts} cuts"));
}
