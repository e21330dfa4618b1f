//! What is fuzzed: every place where bytes of a stranger become values. Each function takes any bytes and must neither panic
//! nor break what it asserts.
//!
//! `fuzz_targets/` feeds them from libFuzzer. `crates/qfs-client/tests/corpora.rs` includes this very file and feeds them
//! everything in `corpus/` as an ordinary test, so that the two cannot drift apart. Targets that reach into a crate are in that crate's
//! module `fuzzing`, which is compiled for fuzzers and tests alone, and whose own test feeds them their corpora.

use std::collections::VecDeque;
use std::ops::Range;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use qfs_client::trust::known_servers::{Document, parse_address};
use qfs_core::body::{Answer, collect};
use qfs_core::chunks::{ChunkMap, Limits, Recipe, Seeds, Source, Step, assemble};
use qfs_core::framing::read_frame;
use qfs_core::model::{
    ETag, Fingerprint, Holes, Layout, MAX_PATH_NOTE_CHARS, PathNote, RemotePath, Ticket, TicketSet, escape_untrusted,
};
use qfs_core::store::DigestCache;
use qfs_core::stream::{Chunk, ChunkSource, Order, StreamError};
use qfs_core::wire::{
    ChunkMapHead, Copies, DownloadHead, FRAME_PREFIX_BYTES, FileAnswer, IdentityHead, ListHead, ListPage, MAX_COPIES,
    MAX_COPIES_BYTES, MAX_FRAME_BYTES, MAX_MESSAGE_BYTES, MAX_RECORD_BYTES, MAX_SMALL_FILE_BYTES, MeasureHead,
    PathNoteHead, Request, StatusCode, Trailer, TreeEntry, UploadHead, Written, decode_error, decode_response,
    decode_upload_record, encode, take_record,
};

/// Takes any bytes.
pub type Target = fn(&[u8]);

/// The targets by name, which is also that of their corpus.
#[allow(dead_code, reason = "the targets of libFuzzer name their functions")]
pub const TARGETS: [(&str, Target); 11] = [
    ("request", request),
    ("response", response),
    ("answer", answer),
    ("many", many),
    ("chunk_map", chunk_map),
    ("copies", copies),
    ("path", path),
    ("known_servers", known_servers),
    ("ticket", ticket),
    ("tcp", tcp),
    ("digests", digests),
];

/// A request's payload, as the server reads it. What was read is written in one way, which reads back as the same.
pub fn request(data: &[u8]) {
    let Ok(request) = Request::decode(data) else { return };
    if let Request::DownloadRanges(request) = &request {
        let (envelope, gaps) = (request.ranges.envelope(), request.ranges.gaps());
        assert_eq!(
            Layout::new(&envelope, &gaps).place(0, u64::MAX).collect::<Vec<_>>(),
            request.ranges.iter().cloned().collect::<Vec<_>>()
        );
        holes(&gaps, &envelope);
    }
    if let Request::Upload(request) = &request
        && let Some(size) = request.size.filter(|_| request.holes_fit())
    {
        holes(&request.holes, &(0..size));
        assert_eq!(request.holes.joined(&request.holes), request.holes);
    }
    // Escapes can make a message longer than the one it was read from, so it may not fit.
    if let Ok(frame) = request.encode() {
        assert_eq!(Request::decode(&frame[FRAME_PREFIX_BYTES..]).ok(), Some(request));
    }
}

/// A payload of the server, as the client reads each of them.
pub fn response(data: &[u8]) {
    if let Ok(Ok(head)) = decode_response::<DownloadHead>(data) {
        let frame = encode(&head).expect("a head has no long fields");
        assert_eq!(decode_response(&frame[FRAME_PREFIX_BYTES..]).ok(), Some(Ok(head.clone())));
        if let Ok(range) = head.range.within(head.size) {
            assert!(range.start <= range.end && range.end <= head.size);
            holes(&head.holes, &range);
        }
    }
    if let Ok(Ok(trailer)) = decode_response::<Trailer>(data) {
        let frame = encode(&trailer).expect("a trailer has no long fields");
        assert_eq!(decode_response(&frame[FRAME_PREFIX_BYTES..]).ok(), Some(Ok(trailer)));
    }
    if let Ok(Ok(head)) = decode_response::<IdentityHead>(data) {
        let frame = encode(&head).expect("an identity has no long fields");
        assert_eq!(decode_response(&frame[FRAME_PREFIX_BYTES..]).ok(), Some(Ok(head)));
        if let Ok(next) = head.announced(head.current) {
            assert_ne!(next, Some(head.current));
        }
    }
    if let Ok(Ok(head)) = decode_response::<PathNoteHead>(data) {
        if let Some(note) = &head.note {
            assert!(note.as_str().len() <= MAX_PATH_NOTE_CHARS);
            if let Some(bytes) = note.to_bytes() {
                assert_eq!(PathNote::from_bytes(&bytes).as_ref(), Some(note));
            }
        }
        let frame = encode(&head).expect("a note has no long fields");
        assert_eq!(decode_response(&frame[FRAME_PREFIX_BYTES..]).ok(), Some(Ok(head)));
    }
    if let Ok(Ok(head)) = decode_response::<MeasureHead>(data) {
        let frame = encode(&head).expect("a rate has no long fields");
        assert_eq!(decode_response(&frame[FRAME_PREFIX_BYTES..]).ok(), Some(Ok(head)));
    }
    let _ = decode_response::<ListHead>(data);
    if let Ok(error) = decode_error(data) {
        assert!(error.message.len() <= MAX_MESSAGE_BYTES);
        is_inert(&escape_untrusted(&error.message));
    }
    if let Ok(Ok(written)) = decode_response::<Written>(data) {
        let frame = encode(&written).expect("what was written has no long fields");
        assert_eq!(decode_response(&frame[FRAME_PREFIX_BYTES..]).ok(), Some(Ok(written)));
    }
    if let Ok(Ok(head)) = decode_response::<ChunkMapHead>(data) {
        let frame = encode(&head).expect("the head of a map has no long fields");
        assert_eq!(decode_response(&frame[FRAME_PREFIX_BYTES..]).ok(), Some(Ok(head)));
    }
    if let Ok(record) = decode_upload_record(data) {
        assert!(record.size <= MAX_SMALL_FILE_BYTES);
    }
    let _ = decode_response::<UploadHead>(data);
    let _ = ListPage::<TreeEntry>::decode(data, None);
    page(data);
}

/// Holes are apart, and with the data around them they are all of the range, each byte once.
fn holes(holes: &Holes, range: &Range<u64>) {
    assert!(holes.iter().is_sorted_by(|a, b| a.end < b.start) && holes.iter().all(|hole| hole.start < hole.end));
    let clipped = holes.clipped(range);
    assert!(clipped.are_within(range) && (!holes.are_within(range) || clipped == *holes));
    let layout = Layout::new(range, holes);
    assert_eq!(layout.length() + clipped.bytes(), range.end - range.start);
    let placed: u64 = layout.place(0, u64::MAX).map(|part| part.end - part.start).sum();
    assert_eq!(placed, layout.length());
    let tail: u64 = layout.place(layout.length() / 2, u64::MAX).map(|part| part.end - part.start).sum();
    assert_eq!(tail, layout.length() - layout.length() / 2);
}

/// A page of a listing: its names are legal and ascend, behind the last one of the page before.
fn page(data: &[u8]) {
    let Ok(page) = <ListPage>::decode(data, None) else { return };
    assert!(page.files.is_sorted_by(|a, b| a.0 < b.0));
    for (name, _) in &page.files {
        assert_eq!(RemotePath::parse(name.as_str()).as_ref(), Ok(name));
        assert!(<ListPage>::decode(data, Some(name)).is_err(), "it comes again");
    }
    assert!(page.end.is_some() || !page.files.is_empty());
    let Ok(tree) = ListPage::<TreeEntry>::decode(data, None) else { return };
    assert!(page.files.iter().zip(&tree.files).all(|(a, b)| a.0 == b.0 && a.1.size == b.1.size));
}

/// The bytes of an answer's stream: frames of a download, then of a listing. The first byte says in pieces of which length
/// they arrive, and whether the body does from its end.
pub fn answer(data: &[u8]) {
    let Some((&shape, stream)) = data.split_first() else { return };
    let mut rest = stream;
    while let Ok(frame) = ready(read_frame(&mut rest)) {
        assert!((1..=MAX_FRAME_BYTES).contains(&frame.len()));
    }
    download(shape, stream);
    let mut listing = Answer::new(Pieces::new(shape, stream));
    while let Ok(frame) = ready(listing.next_frame()) {
        assert!((1..=MAX_FRAME_BYTES).contains(&frame.len()));
        page(&frame);
    }
}

fn download(shape: u8, stream: &[u8]) {
    let mut answer = Answer::new(Pieces::new(shape, stream));
    let Ok(frame) = ready(answer.next_frame()) else { return };
    let Ok(Ok(head)) = decode_response::<DownloadHead>(&frame) else { return };
    let Ok(range) = head.range.within(head.size) else { return };
    if !head.holes.are_within(&range) {
        return;
    }
    let layout = Layout::new(&range, &head.holes);
    let mut body = answer.into_body(layout.length());
    let Ok(pieces) = ready(collect(&mut body, |_| {})) else { return };
    let received: u64 = pieces.iter().map(|piece| piece.len() as u64).sum();
    assert_eq!(received, layout.length(), "a body is whole or an error");
    if let Ok(trailer) = body.into_trailer() {
        let whole = FRAME_PREFIX_BYTES as u64 * 2 + frame.len() as u64 + received + trailer.len() as u64;
        assert_eq!(whole, stream.len() as u64, "nothing follows the trailer");
        let _ = decode_response::<Trailer>(&trailer);
    }
}

/// The records of an answer to `download_many`, whole and cut short by the first byte: what is taken is bounded, consumed, and the
/// same however much has come behind it.
pub fn many(data: &[u8]) {
    let Some((&cut, stream)) = data.split_first() else { return };
    let whole = records(stream);
    let near = records(&stream[..stream.len().saturating_sub(usize::from(cut))]);
    assert_eq!(near[..], whole[..near.len()]);
}

fn records(stream: &[u8]) -> Vec<FileAnswer> {
    let (mut buffer, mut taken) = (Bytes::copy_from_slice(stream), Vec::new());
    loop {
        let before = buffer.len();
        let Ok(Some(answer)) = take_record(&mut buffer) else { return taken };
        assert!((1..=MAX_RECORD_BYTES).contains(&(before - buffer.len())));
        match &answer {
            Ok((record, body)) => assert_eq!(record.size, body.len() as u64),
            Err(refusal) => is_inert(&escape_untrusted(&refusal.message)),
        }
        taken.push(answer);
    }
}

/// Two chunk maps, the length of the first in front: of a version, and of what is there already. What was read is written in one
/// way, and what is made of both covers the version and reads nothing that the other does not have.
pub fn chunk_map(data: &[u8]) {
    let Some((length, maps)) = data.split_first_chunk() else { return };
    let (new, old) = maps.split_at(usize::from(u16::from_be_bytes(*length)).min(maps.len()));
    let (new, old) = (read_map(new), read_map(old));
    let Some(new) = new else { return };
    let mut seeds = Seeds::new();
    if let Some(old) = &old {
        assert_eq!(seeds.add(old.chunks()), Ok(()));
    }
    for limits in [Limits::default(), Limits { merge_below: 0, max_ranges: 2 }] {
        let recipe = assemble(&new, &seeds, &limits);
        assert!(recipe.ranges() <= limits.max_ranges);
        covers(&recipe, &new, old.as_ref().map_or(0, ChunkMap::size));
    }
}

/// The parts of an upload that are copied. What was read is written in one way, and what lies outside of the parts is the rest.
pub fn copies(data: &[u8]) {
    let Ok(copies) = Copies::decode(data) else { return };
    assert_eq!(copies.encode(), data);
    assert!(copies.parts().len() <= MAX_COPIES && data.len() <= MAX_COPIES_BYTES);
    let parts = copies.parts();
    assert!(parts.iter().all(|part| part.length > 0) && parts.is_sorted_by(|a, b| a.at + a.length <= b.at));
    let end = parts.last().map_or(0, |part| part.at + part.length);
    let copied: u64 = parts.iter().map(|part| part.length).sum();
    assert_eq!(copies.targets().bytes(), copied);
    assert_eq!(Layout::new(&(0..end), &copies.targets()).length(), end - copied);
    assert!(copies.fit(end, u64::MAX) && (end == 0 || !copies.fit(end - 1, u64::MAX)));
}

fn read_map(bytes: &[u8]) -> Option<ChunkMap> {
    let map = ChunkMap::decode(bytes).ok()?;
    assert_eq!(map.encode(), bytes);
    assert_eq!(map.chunks().iter().map(|chunk| u64::from(chunk.length)).sum::<u64>(), map.size());
    Some(map)
}

fn covers(recipe: &Recipe, map: &ChunkMap, seed: u64) {
    let fetches: Vec<_> = recipe.fetches().collect();
    let mut end = 0;
    for step in recipe.steps() {
        let (at, length) = match step {
            Step::Fetch(range) => (range.start, range.end - range.start),
            &Step::Copy { from: Source::Seed(number), offset, at, length } => {
                assert!(number == 0 && offset + length <= seed);
                (at, length)
            }
            &Step::Copy { from: Source::Itself, offset, at, length } => {
                assert!(fetches.iter().any(|range| range.start <= offset && offset + length <= range.end));
                (at, length)
            }
        };
        assert!(at == end && length > 0);
        end += length;
    }
    assert_eq!((end, recipe.fetched() + recipe.reused()), (map.size(), map.size()));
}

/// A name. What is legal stays below any directory, and is shown without acting on a terminal.
pub fn path(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    is_inert(&escape_untrusted(text));
    let Ok(path) = RemotePath::parse(text) else { return };
    assert_eq!(path.as_str(), text);
    is_inert(&path.to_string());
    assert_eq!(path.components().collect::<Vec<_>>().join("/"), text);
    assert!(path.components().all(|part| (1..=255).contains(&part.len())));
    let joined = std::path::Path::new("/root").join(text);
    assert!(joined.starts_with("/root"));
    assert!(joined.components().skip(1).all(|part| matches!(part, std::path::Component::Normal(_))));
}

/// The store of known servers. What was read is written so that it reads back as the same.
pub fn known_servers(data: &[u8]) {
    if let Ok(document) = Document::parse(data) {
        assert_eq!(Document::parse(document.to_string().as_bytes()).as_ref(), Ok(&document));
        for record in document.records() {
            assert_eq!(document.fingerprint(&record.server), Some(record.fingerprint));
            let known = document.known(&record.server).expect("it is on record");
            assert_eq!((known.key, known.next), (record.fingerprint, record.next));
            assert_ne!(known.next, Some(known.key));
        }
    }
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(address) = parse_address(text)
    {
        assert_eq!(parse_address(&address.to_string()), Ok(address));
    }
}

/// A ticket, and the values that stand in tickets and file names.
pub fn ticket(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(ticket) = text.parse::<Ticket>() {
        let written = ticket.to_string();
        is_inert(&written);
        assert_eq!(ticket.reveal().parse(), Ok(ticket.clone()));
        // A ticket of one server is the set of that one.
        assert_eq!(text.parse(), Ok(TicketSet::from(ticket)));
    }
    if let Ok(set) = text.parse::<TicketSet>() {
        let written = set.to_string();
        is_inert(&written);
        assert!(text.contains("&token=") || written.parse() == Ok(set.clone()));
        assert!((1..=TicketSet::MAX_SERVERS).contains(&set.tickets().len()));
    }
    if let Ok(fingerprint) = text.parse::<Fingerprint>() {
        assert_eq!(fingerprint.to_string(), text.to_ascii_lowercase());
    }
    if let Ok(etag) = text.parse::<ETag>() {
        assert_eq!(etag.as_str(), text);
        assert!((1..=64).contains(&text.len()) && !text.contains(['/', '.', '\0']));
    }
}

/// Frames of the TCP way (PROTOCOL §9), in pieces, while the halves of streams are worked on: the first byte gives the end and the
/// pieces, the second what is done. No more is held than was granted, and what is sent is frames.
pub fn tcp(data: &[u8]) {
    qfs_transport::exercise(data);
}

/// The file of digests that are remembered. What was read is written in one way, which reads back as the same.
pub fn digests(data: &[u8]) {
    let cache = DigestCache::default();
    let _ = cache.read_from(data);
    let (written, again) = (lines(&cache), DigestCache::default());
    assert!(written.len() <= data.iter().filter(|byte| **byte == b'\n').count() + 1);
    again.read_from((written.join("\n") + "\n").as_bytes()).expect("it is there");
    assert_eq!(lines(&again), written);
}

/// What is written of `cache`: a head, and a line for each version, in no order.
fn lines(cache: &DigestCache) -> Vec<String> {
    let mut bytes = Vec::new();
    cache.write_to(&mut bytes).expect("there is room");
    let text = String::from_utf8(bytes).expect("it is text");
    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
    lines[1..].sort();
    lines
}

fn is_inert(text: &str) {
    assert!(!text.contains(|c: char| c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c)), "{text:?}");
}

/// The outcome of a future that never waits.
fn ready<F: Future>(future: F) -> F::Output {
    match std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => unreachable!("everything is there"),
    }
}

/// A stream that has arrived.
struct Pieces {
    /// In order; taken from the end where they may come out of order.
    chunks: VecDeque<Chunk>,
    backwards: bool,
}

impl Pieces {
    fn new(shape: u8, stream: &[u8]) -> Self {
        let length = usize::from(shape >> 1) + 1;
        let pieces = stream.chunks(length).enumerate();
        let chunks =
            pieces.map(|(n, piece)| Chunk { offset: (n * length) as u64, bytes: Bytes::copy_from_slice(piece) });
        Self { chunks: chunks.collect(), backwards: shape & 1 == 1 }
    }
}

impl ChunkSource for Pieces {
    fn poll_chunk(&mut self, _: &mut Context<'_>, _: usize, order: Order) -> Poll<Result<Option<Chunk>, StreamError>> {
        let from_the_end = self.backwards && order == Order::Unordered;
        Poll::Ready(Ok(if from_the_end { self.chunks.pop_back() } else { self.chunks.pop_front() }))
    }

    fn stop(&mut self, _: StatusCode) {}
}
