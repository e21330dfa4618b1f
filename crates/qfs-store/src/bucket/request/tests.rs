//! How long a request may take, with a bucket that takes its time.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use object_store::client::HttpErrorKind;

use super::*;
use crate::bucket::client::Connector;

/// Short where a test outlasts them, and long where one has to keep them.
const SHORT: Limits = Limits {
    quiet: Duration::from_millis(400),
    slowest: 64 << 10,
    inside: 1 << 10,
    deadline: Duration::from_millis(1200),
};
const LARGE: usize = 8 << 20;

/// Somebody who signs nothing and means what the status says.
struct Plain(HttpClient, String, Limits);

impl Service for Plain {
    fn client(&self) -> &HttpClient {
        &self.0
    }

    fn address(&self) -> &str {
        &self.1
    }

    fn sign<'a>(&'a self, _: &'a mut HttpRequest) -> BoxFuture<'a, Result<(), CloudError>> {
        Box::pin(async { Ok(()) })
    }

    fn failure(&self, status: StatusCode, _: &str) -> Failure {
        Failure::Passing(CloudError::unavailable(status))
    }

    fn limits(&self) -> Limits {
        self.2
    }
}

/// What the bucket does with one connection, once it has read the head of a request.
type Act = fn(&mut BufReader<TcpStream>);

fn bucket(limits: Limits, acts: Vec<Act>) -> Plain {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/demo", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for act in acts {
            let mut stream = BufReader::new(listener.accept().unwrap().0);
            let mut line = String::new();
            while stream.read_line(&mut line).unwrap() > 2 {
                line.clear();
            }
            act(&mut stream);
        }
    });
    let allowed = |key| matches!(key, ClientConfigKey::AllowHttp).then(|| "true".to_owned());
    Plain(client(allowed).unwrap(), address, limits)
}

fn wait<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

/// Reads `length` bytes in several times [`SHORT`]'s quiet.
fn read_slowly(stream: &mut BufReader<TcpStream>, length: usize) {
    for _ in 0..16 {
        std::thread::sleep(SHORT.quiet / 4);
        stream.read_exact(&mut vec![0; length / 16]).unwrap();
    }
}

fn answer(stream: &mut BufReader<TcpStream>, length: usize, body: &str) {
    write!(stream.get_mut(), "HTTP/1.1 200 x\r\ncontent-length: {length}\r\n\r\n{body}").unwrap();
}

/// Says nothing more until whoever asked has gone away.
fn be_silent(stream: &mut BufReader<TcpStream>) {
    let _ = stream.read_to_end(&mut Vec::new());
}

/// Fails when: the time that content needs to be sent counts as silence of the bucket.
#[test]
fn what_is_sent_slowly_arrives() {
    let put = |acts| {
        let bucket = bucket(SHORT, acts);
        let request = Request::new(&bucket, Method::PUT, "large").content(Bytes::from(vec![7; LARGE]));
        wait(request.send()).map(|(_, failed)| failed)
    };
    let arrives: Act = |stream| {
        read_slowly(stream, LARGE);
        answer(stream, 0, "");
    };
    assert_eq!(put(vec![arrives]).unwrap(), 0);
    // What breaks off after a long time is sent once more.
    let breaks_off: Act = |stream| read_slowly(stream, LARGE / 2);
    assert_eq!(put(vec![breaks_off, arrives]).unwrap(), 1);
}

/// Fails when: what the bucket has to move before it answers counts as silence.
#[test]
fn what_moves_inside_the_bucket_may_take_its_time() {
    let copies: Act = |stream| {
        std::thread::sleep(SHORT.quiet * 3);
        answer(stream, 0, "");
    };
    let bucket = bucket(SHORT, vec![copies]);
    wait(Request::new(&bucket, Method::PUT, "copy").moving(60 << 10).send()).unwrap();
}

/// Fails when: `object_store`'s own operations are held to other limits than ours.
#[test]
fn what_the_library_sends_is_held_to_the_same() {
    let limits = Limits { quiet: Duration::from_secs(2), ..SHORT };
    let sent = |limits, act, content: Bytes| {
        let Plain(_, address, _) = bucket(SHORT, vec![act]);
        let client = Connector(limits).connect(&ClientOptions::new().with_allow_http(true)).unwrap();
        let mut request = HttpRequest::new(HttpRequestBody::from(content));
        *request.uri_mut() = address.parse().unwrap();
        *request.method_mut() = Method::PUT;
        wait(client.execute(request)).map(|answer| answer.status())
    };
    let arrives: Act = |stream| {
        read_slowly(stream, LARGE);
        answer(stream, 0, "");
    };
    assert!(sent(SHORT, arrives, Bytes::from(vec![7; LARGE])).unwrap().is_success());
    assert_eq!(sent(limits, be_silent, Bytes::new()).unwrap_err().kind(), HttpErrorKind::Timeout);
    let stops: Act = |stream| {
        answer(stream, 10, "12345");
        be_silent(stream);
    };
    assert_eq!(sent(limits, stops, Bytes::new()).unwrap_err().kind(), HttpErrorKind::Interrupted);
}

/// Fails when: a bucket that has stopped answering is waited for without end.
#[test]
fn silence_ends_an_attempt() {
    let limits = Limits { quiet: Duration::from_secs(2), ..SHORT };
    let mute = bucket(limits, vec![be_silent]);
    let attempt = wait(Request::new(&mute, Method::GET, "a").attempt());
    assert!(matches!(attempt, Err(Failure::Passing(CloudError::Unavailable(_)))));
    let stops: Act = |stream| {
        answer(stream, 10, "12345");
        be_silent(stream);
    };
    let half = bucket(limits, vec![stops, stops]);
    let document = wait(Request::new(&half, Method::GET, "a").document().attempt());
    assert!(matches!(document, Err(Failure::Passing(CloudError::Unavailable(_)))));
    let pieces = wait(async {
        let answer = Request::new(&half, Method::GET, "a").attempt().await.ok().unwrap();
        answer.body.collect::<Vec<_>>().await
    });
    assert!(matches!(&pieces[..], [Ok(piece), Err(CloudError::Unavailable(_))] if piece == "12345"), "{pieces:?}");
}
