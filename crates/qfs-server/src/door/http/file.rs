//! `GET` of a file: conditions, ranges, digest, body.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use http::header::{
    ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG,
    HeaderName, LAST_MODIFIED, LOCATION,
};
use qfs_core::body::{self, Opened, Reservation};
use qfs_core::model::{Digest, HashKind, RemotePath};
use qfs_core::store::{StoreError, Version, WriteStore};
use qfs_core::stream::{ByteSink, StreamError};
use qfs_core::wire::StatusCode as Code;
use ring::rand::SecureRandom;

use super::ask::Ask;
use super::condition::{Outcome, Validators};
use super::error::HttpError;
use super::fields::{self, REPR_DIGEST};
use super::kind::{content_type, disposition};
use super::range::{self, Wanted};
use super::reply::{self, Answer};
use super::{directory, page, target};
use crate::deliveries::{Counting, Handed};
use crate::error::HandlerError;
use crate::view::View;

const WANT_REPR_DIGEST: HeaderName = HeaderName::from_static("want-repr-digest");

/// What a published file may do when a browser shows it: nothing but look like itself. It comes from the same origin as the page and its
/// cookie, and its author may be anybody.
const POLICY: &str = "sandbox; default-src 'none'; img-src 'self' data:; media-src 'self'; font-src 'self' data:; \
    style-src 'self' 'unsafe-inline'; frame-ancestors 'none'";

/// The same for what browsers show by a part of their own, which does not start in a sandbox.
const POLICY_OF_PDF: &str = "default-src 'none'; style-src 'unsafe-inline'; object-src 'self'; frame-ancestors 'none'";

/// Answers with the file at `path`, or sends whoever forgot the slash of a directory there.
pub(super) async fn answer<S: WriteStore, R: Answer>(
    ask: &Ask<'_, S>,
    view: &View<S>,
    path: &RemotePath,
    reply: &mut R,
    handed: &mut Handed,
) -> Result<(), HttpError> {
    match view.open_within(&ask.client.share, path.clone(), HashKind::Sha256).await {
        Ok((opened, room)) if ask.target.has("view") => page::preview::answer(ask, path, opened, room, reply).await,
        Ok((opened, room)) => send(ask, path, opened, room, reply, handed).await,
        Err(StoreError::NotFound | StoreError::NotRegular) => {
            if !directory::exists(ask, view, path).await? {
                return Err(HandlerError::NotFound.into());
            }
            let mut place = target::directory_path(Some(path));
            if ask.target.has("tar") {
                place.push_str("?tar");
            }
            let head = reply::head(StatusCode::FOUND).header(LOCATION, place).header(CONTENT_LENGTH, 0);
            Ok(reply.begin(head).await?)
        }
        Err(error) => Err(error.into()),
    }
}

async fn send<S: WriteStore, R: Answer>(
    ask: &Ask<'_, S>,
    path: &RemotePath,
    opened: Opened,
    room: Reservation,
    reply: &mut R,
    handed: &mut Handed,
) -> Result<(), HttpError> {
    let meta = opened.version.meta();
    let (size, validators) = (meta.size, Validators::of(meta));
    let mut head = reply::head(StatusCode::OK)
        .header(ETAG, &validators.etag)
        .header(LAST_MODIFIED, &validators.last_modified)
        .header(ACCEPT_RANGES, "bytes");
    match validators.judge(ask.headers) {
        Outcome::Failed => return Err(HttpError::Precondition),
        Outcome::NotModified => return Ok(reply.begin(head.status(StatusCode::NOT_MODIFIED)).await?),
        Outcome::Proceed => {}
    }
    let wanted = match validators.range(ask.headers) {
        Some(header) if !reply.is_head_only() => range::parse(header, size),
        _ => Wanted::Whole,
    };
    if wanted == Wanted::Unsatisfiable {
        return Err(HttpError::Range { size });
    }
    if let Some(digest) = digest(ask, &opened.version).await? {
        head = head.header(REPR_DIGEST, fields::digest(&digest));
    }
    let kind = content_type(path);
    let policy = if kind == "application/pdf" { POLICY_OF_PDF } else { POLICY };
    let disposition = disposition(path.file_name(), &kind, ask.target.has("download"));
    head = head.header(CONTENT_SECURITY_POLICY, policy).header(CONTENT_DISPOSITION, disposition);
    let mut source = Source { ask, opened: &opened, count: handed.begin(path.as_str()) };
    match wanted {
        Wanted::Parts(parts) if parts.len() > 1 => {
            let parts = Multipart::new(&parts, &kind, size)?;
            head = head.status(StatusCode::PARTIAL_CONTENT).header(CONTENT_TYPE, parts.content_type());
            reply.begin(head.header(CONTENT_LENGTH, parts.length())).await?;
            parts.send(&mut source, room, reply).await
        }
        Wanted::Parts(parts) => {
            let part = parts.into_iter().next().unwrap_or(0..size);
            let range = format!("bytes {}-{}/{size}", part.start, part.end - 1);
            head = head.status(StatusCode::PARTIAL_CONTENT).header(CONTENT_RANGE, range);
            reply.begin(head.header(CONTENT_TYPE, kind).header(CONTENT_LENGTH, part.end - part.start)).await?;
            source.send(part, Some(room), reply).await
        }
        Wanted::Whole | Wanted::Unsatisfiable => {
            reply.begin(head.header(CONTENT_TYPE, kind).header(CONTENT_LENGTH, size)).await?;
            source.send(0..size, Some(room), reply).await
        }
    }
}

/// The digest of the whole file, where it is known; where the client wants it, it is made first.
async fn digest<S: WriteStore>(ask: &Ask<'_, S>, version: &Arc<Version>) -> Result<Option<Digest>, HttpError> {
    let known = version.known_digest();
    let wants = ask.headers.get(WANT_REPR_DIGEST).and_then(|value| value.to_str().ok()).is_some_and(wants_sha256);
    if known.is_some() || !wants {
        return Ok(known);
    }
    let permit = Arc::clone(&ask.service.digest_passes).acquire_owned().await;
    let permit = permit.map_err(|_| HandlerError::ShuttingDown)?;
    let version = Arc::clone(version);
    let pass = move || {
        // Kept by the pass, which goes on when nobody waits for it any more.
        let _permit = permit;
        version.digest()
    };
    Ok(Some(qfs_store::blocking(pass).await?))
}

/// Whether `sha-256` has a weight that is not 0 (RFC 9530 §4).
pub(super) fn wants_sha256(header: &str) -> bool {
    header
        .split(',')
        .filter_map(|member| member.trim().split_once('='))
        .any(|(name, weight)| name.trim() == "sha-256" && weight.trim().parse::<u8>().is_ok_and(|weight| weight > 0))
}

/// Where the bytes of an answer come from.
struct Source<'a, S> {
    ask: &'a Ask<'a, S>,
    opened: &'a Opened,
    /// Bytes of the file that were sent.
    count: &'a mut u64,
}

impl<S: WriteStore> Source<'_, S> {
    /// Sends `range`. The last of it leaves only when it is certain that all of it is of one version: a client believes whoever sends as
    /// much as was announced.
    async fn send<K: ByteSink>(
        &mut self,
        range: Range<u64>,
        room: Option<Reservation>,
        sink: &mut K,
    ) -> Result<(), HttpError> {
        let mut sink = Counting::new(sink, self.count);
        if let Some(content) = &self.opened.content {
            // A small file is held whole, so its offsets fit.
            let body = content.slice(range.start as usize..range.end as usize);
            let body = match room {
                Some(mut room) => {
                    room.shrink(content.len());
                    room.attach(body)
                }
                None => body,
            };
            return Ok(sink.send(body).await?);
        }
        let mut held = HoldLast { left: range.end - range.start, last: None, sink: &mut sink };
        body::send_within(&mut held, &self.opened.version, range, &self.ask.client.share, room).await?;
        let last = held.last.take();
        match last {
            Some(last) => Ok(sink.send(last).await?),
            None => Ok(()),
        }
    }
}

/// A sink that keeps the last piece of `left` bytes.
struct HoldLast<'a, K> {
    left: u64,
    last: Option<Bytes>,
    sink: &'a mut K,
}

impl<K: ByteSink> ByteSink for HoldLast<'_, K> {
    async fn send(&mut self, bytes: Bytes) -> Result<(), StreamError> {
        self.left = self.left.saturating_sub(bytes.len() as u64);
        if self.left == 0 {
            self.last = Some(bytes);
            return Ok(());
        }
        self.sink.send(bytes).await
    }

    fn finish(&mut self) {}

    fn reset(&mut self, code: Code) {
        self.sink.reset(code);
    }

    fn set_priority(&mut self, priority: i32) {
        self.sink.set_priority(priority);
    }

    async fn stopped(&mut self) {
        self.sink.stopped().await;
    }
}

/// Several parts in one body (RFC 9110 §14.6).
struct Multipart {
    boundary: String,
    /// Each with what stands in front of it.
    parts: Vec<(String, Range<u64>)>,
    end: String,
}

impl Multipart {
    fn new(parts: &[Range<u64>], kind: &str, size: u64) -> Result<Self, HttpError> {
        let mut random = [0; 16];
        // Nobody who writes a file can know it.
        ring::rand::SystemRandom::new()
            .fill(&mut random)
            .map_err(|_| StoreError::Io(std::io::Error::other("no randomness")))?;
        let boundary: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let lead = |part: &Range<u64>| {
            let (first, last) = (part.start, part.end - 1);
            format!("\r\n--{boundary}\r\nContent-Type: {kind}\r\nContent-Range: bytes {first}-{last}/{size}\r\n\r\n")
        };
        let parts = parts.iter().map(|part| (lead(part), part.clone())).collect();
        Ok(Self { parts, end: format!("\r\n--{boundary}--\r\n"), boundary })
    }

    fn content_type(&self) -> String {
        format!("multipart/byteranges; boundary={}", self.boundary)
    }

    fn length(&self) -> u64 {
        let parts = self.parts.iter().map(|(lead, part)| lead.len() as u64 + (part.end - part.start));
        parts.sum::<u64>() + self.end.len() as u64
    }

    async fn send<S: WriteStore, K: ByteSink>(
        self,
        source: &mut Source<'_, S>,
        room: Reservation,
        sink: &mut K,
    ) -> Result<(), HttpError> {
        let mut room = Some(room);
        for (lead, part) in self.parts {
            sink.send(lead.into()).await?;
            source.send(part, room.take(), sink).await?;
        }
        Ok(sink.send(self.end.into()).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_made_for_who_gives_it_a_weight() {
        assert!(wants_sha256("sha-256=10") && wants_sha256("sha-512=3, sha-256=1"));
        assert!(!wants_sha256("sha-256=0") && !wants_sha256("sha-512=9") && !wants_sha256(""));
    }
}
