//! What a malicious server answers to a download: every lie that fits between a request and the end of its stream.

use bytes::Bytes;
use qfs_core::model::Digest;
use qfs_core::wire::frame;
use qfs_testkit::hostile_server::Step;

/// A behaviour, and the exit codes a client may end with.
pub(crate) struct Lie {
    pub(crate) name: &'static str,
    pub(crate) steps: Vec<Step>,
    pub(crate) exits: &'static [i32],
}

const ETAG: &str = "0123456789abcdef0123456789abcdef";
const MODIFIED: &str = "2026-11-23T08:09:24Z";
const INTEGRITY: &[i32] = &[6];
const REFUSED: &[i32] = &[5];
const CONNECTION: &[i32] = &[3];

/// As those above, or as a lie where the client continues a part that it kept and is told the same again.
const CONNECTION_OR_LIE: &[i32] = &[3, 6];
const REFUSED_OR_LIE: &[i32] = &[5, 6];

pub(crate) fn message(json: &str) -> Step {
    Step::Send(frame(json.as_bytes()).unwrap())
}

pub(crate) fn raw(bytes: impl AsRef<[u8]>) -> Step {
    Step::Send(Bytes::copy_from_slice(bytes.as_ref()))
}

pub(crate) fn head(size: u64) -> Step {
    message(&head_with(&size.to_string(), 0, &size.to_string(), ETAG, MODIFIED))
}

fn head_with(size: &str, start: u64, end: &str, etag: &str, modified: &str) -> String {
    format!(
        r#"{{"code":0,"size":{size},"modified":"{modified}","etag":"{etag}","range":{{"start":{start},"end":{end}}}}}"#
    )
}

pub(crate) fn trailer(content: &[u8]) -> Step {
    message(&format!(r#"{{"code":0,"sha256":"{}"}}"#, Digest::of(content)))
}

/// The honest answer, which every lie below departs from.
pub(crate) fn honest(content: &[u8]) -> Vec<Step> {
    vec![head(content.len() as u64), raw(content), trailer(content), Step::Finish]
}

/// Lies about a file of this content.
pub(crate) fn lies(content: &[u8]) -> Vec<Lie> {
    let mut lies = body_lies(content);
    lies.extend(head_lies(content));
    lies.extend(hole_lies(content));
    lies.extend(refusals(content));
    lies
}

fn lie(name: &'static str, exits: &'static [i32], steps: Vec<Step>) -> Lie {
    Lie { name, steps, exits }
}

fn body_lies(content: &[u8]) -> Vec<Lie> {
    let size = content.len() as u64;
    let half = &content[..content.len() / 2];
    let mut flipped = content.to_vec();
    flipped[content.len() / 3] ^= 1;
    let whole = || vec![head(size), raw(content)];
    let and = |mut steps: Vec<Step>, more: Vec<Step>| {
        steps.extend(more);
        steps
    };
    vec![
        lie("a flipped bit", INTEGRITY, vec![head(size), raw(&flipped), trailer(content), Step::Finish]),
        lie("the digest of another file", INTEGRITY, and(whole(), vec![trailer(b"other"), Step::Finish])),
        lie("half a body", INTEGRITY, vec![head(size), raw(half), Step::Finish]),
        lie("half a body and the trailer", INTEGRITY, vec![head(size), raw(half), trailer(content), Step::Finish]),
        lie("a body too long", INTEGRITY, and(whole(), vec![raw(half), trailer(content), Step::Finish])),
        lie("an endless body", INTEGRITY, and(whole(), vec![Step::Forever(Bytes::from(vec![b'x'; 60_000]))])),
        lie("no trailer", INTEGRITY, and(whole(), vec![Step::Finish])),
        lie("half a trailer", INTEGRITY, and(whole(), vec![raw(b"\0\0\0\x50{\"code\":0"), Step::Finish])),
        lie("a trailer that is no JSON", INTEGRITY, and(whole(), vec![raw(b"\0\0\0\x04\xff\xfe\0{"), Step::Finish])),
        lie("a trailer without a digest", INTEGRITY, and(whole(), vec![message(r#"{"code":0}"#), Step::Finish])),
        lie("a trailer of 4 GiB", INTEGRITY, and(whole(), vec![raw(b"\xff\xff\xff\xff{}"), Step::Finish])),
        lie("a trailer of no length", INTEGRITY, and(whole(), vec![raw(b"\0\0\0\0"), Step::Finish])),
        lie("two trailers", INTEGRITY, and(whole(), vec![trailer(content), trailer(content), Step::Finish])),
        lie(
            "a failure for a trailer",
            REFUSED,
            and(whole(), vec![message(r#"{"code":6,"message":"\u001b[2J"}"#), Step::Finish]),
        ),
    ]
}

fn head_lies(content: &[u8]) -> Vec<Lie> {
    let size = content.len() as u64;
    let rest = || vec![raw(content), trailer(content), Step::Finish];
    let json = |name, text: String| lie(name, INTEGRITY, [vec![message(&text)], rest()].concat());
    let with = |name, s: &str, start, end: &str, etag: &str, modified: &str| {
        json(name, head_with(s, start, end, etag, modified))
    };
    let n = size.to_string();
    let more = (size + 1).to_string();
    let nested = format!("{}{}", "[".repeat(30_000), "]".repeat(30_000));
    vec![
        lie(
            "a head of 4 GiB",
            INTEGRITY,
            vec![raw(b"\xff\xff\xff\xff"), Step::Forever(Bytes::from(vec![b' '; 60_000]))],
        ),
        lie("a head one byte too long", INTEGRITY, vec![raw([0, 1, 0, 1]), raw([b' '; 65_537]), Step::Finish]),
        lie("a head of no length", INTEGRITY, vec![raw([0; 4]), Step::Finish]),
        lie("half a head", INTEGRITY, vec![raw(b"\0\0\0\x50{\"code\":0,"), Step::Finish]),
        lie("half a length", INTEGRITY, vec![raw(b"\0\0"), Step::Finish]),
        lie("nothing at all", INTEGRITY, vec![Step::Finish]),
        json("a head that is no object", "[]".to_owned()),
        json("a head nested 30,000 deep", nested),
        json("a head without a size", r#"{"code":0}"#.to_owned()),
        json("a code of 2⁶⁴", r#"{"code":18446744073709551616}"#.to_owned()),
        with("a negative size", "-1", 0, "-1", ETAG, MODIFIED),
        with("a size of 2⁶⁴ - 1", "18446744073709551615", 0, "18446744073709551615", ETAG, MODIFIED),
        with("a size that is text", "\"many\"", 0, &n, ETAG, MODIFIED),
        with("a range that was not asked for", &n, 1, &n, ETAG, MODIFIED),
        with("a range that ends early", &n, 0, "1", ETAG, MODIFIED),
        with("a range beyond the end", &n, 0, &more, ETAG, MODIFIED),
        with("a range without an end", &n, 0, "null", "../../etag", MODIFIED),
        with("an etag that is a path", &n, 0, &n, "../../../evil", MODIFIED),
        with("an etag with escapes", &n, 0, &n, r"\u001b[2J", MODIFIED),
        with("an etag without a character", &n, 0, &n, "", MODIFIED),
        with("an etag of 10,000 characters", &n, 0, &n, &"e".repeat(10_000), MODIFIED),
        with("a time that is none", &n, 0, &n, ETAG, r"yesterday\u001b[2J"),
        lie("a size no disk has", &[6, 7], vec![head(1 << 62), Step::Forever(Bytes::from(vec![b'x'; 60_000]))]),
    ]
}

/// Lies about parts that need not be sent. `content` has none.
fn hole_lies(content: &[u8]) -> Vec<Lie> {
    let size = content.len() as u64;
    let (third, half) = (size / 3, size / 2);
    let with = |name, holes: &str, body: &[u8]| {
        let head = head_with(&size.to_string(), 0, &size.to_string(), ETAG, MODIFIED);
        let head = format!(r#"{},"holes":{holes}}}"#, head.strip_suffix('}').unwrap());
        lie(name, INTEGRITY, vec![message(&head), raw(body), trailer(content), Step::Finish])
    };
    let data = &content[..third as usize];
    let around = [data, &content[half as usize..]].concat();
    let many: Vec<String> = (0..3000u64).map(|n| format!("[{},{}]", 2 * n, 2 * n + 1)).collect();
    vec![
        with("a hole where there is data", &format!("[[{third},{half}]]"), &around),
        with("a hole and the whole body", &format!("[[{third},{half}]]"), content),
        with("a hole and half of the rest", &format!("[[{third},{half}]]"), data),
        with("a hole that is all of the file", &format!("[[0,{size}]]"), b""),
        with("a hole beyond the end", &format!("[[{third},{}]]", size + 1), data),
        with("a hole far beyond the end", "[[9223372036854775807,18446744073709551615]]", content),
        with("holes that overlap", &format!("[[0,{half}],[{third},{size}]]"), b""),
        with("holes that descend", &format!("[[{half},{size}],[0,{third}]]"), b""),
        with("holes that touch", &format!("[[0,{third}],[{third},{size}]]"), b""),
        with("a hole that is empty", &format!("[[{third},{third}]]"), content),
        with("a hole that ends before it begins", &format!("[[{half},{third}]]"), content),
        with("a hole of one number", "[[1]]", content),
        with("holes that are no list", "{}", content),
        with("a negative hole", "[[-1,2]]", content),
        with("thousands of holes", &format!("[{}]", many.join(",")), content),
    ]
}

fn refusals(content: &[u8]) -> Vec<Lie> {
    let size = content.len() as u64;
    let half = || vec![head(size), raw(&content[..content.len() / 2])];
    let and = |mut steps: Vec<Step>, step: Step| {
        steps.push(step);
        steps
    };
    let long = format!(r#"{{"code":8,"message":"{}"}}"#, "\\u0007\\u009b".repeat(5000));
    vec![
        lie(
            "a message that clears the screen",
            REFUSED,
            vec![message(r#"{"code":8,"message":"\u001b[2J\r\u009b31m\u202egnp.exe\n"}"#), Step::Finish],
        ),
        lie("a message of 60,000 bytes", REFUSED, vec![message(&long), Step::Finish]),
        lie("a code nobody knows", REFUSED, vec![message(r#"{"code":4711}"#), Step::Finish]),
        lie("an unknown reset", REFUSED, vec![Step::Reset(4711)]),
        lie("an unknown reset in the body", REFUSED_OR_LIE, and(half(), Step::Reset(u32::MAX >> 2))),
        lie("a reset that says all is well", REFUSED_OR_LIE, and(half(), Step::Reset(0))),
        lie("a reset in the body", REFUSED_OR_LIE, and(half(), Step::Reset(6))),
    ]
}

/// Servers that say nothing, hang up, or put off, for as long as a client asks.
pub(crate) fn silences(content: &[u8]) -> Vec<Lie> {
    let size = content.len() as u64;
    let half = raw(&content[..content.len() / 2]);
    vec![
        lie("always changed", INTEGRITY, vec![Step::Reset(5)]),
        lie("always busy", REFUSED, vec![message(r#"{"code":4}"#), Step::Finish]),
        lie("no answer", CONNECTION, vec![Step::Hang]),
        lie("nothing behind the head", CONNECTION, vec![head(size), Step::Hang]),
        lie("nothing behind half the body", CONNECTION_OR_LIE, vec![head(size), half.clone(), Step::Hang]),
        lie("no end", CONNECTION_OR_LIE, vec![head(size), raw(content), Step::Hang]),
        lie("a connection closed with an unknown code", CONNECTION_OR_LIE, vec![head(size), half, Step::Close(4711)]),
        lie("a connection closed as if done", CONNECTION, vec![Step::Close(0)]),
        lie("a connection closed for ever", CONNECTION, vec![Step::Close(11)]),
    ]
}
