//! Uploads in several requests, after draft-ietf-httpbis-resumable-upload: begun, asked about, continued, given up.
//!
//! The address of an upload has in it all that has to be known of it beside what has arrived, so that nothing but the partial file
//! needs to outlast the server. Whoever shows another token finds nothing there.

use std::sync::Arc;

use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use http::{HeaderValue, Method, StatusCode};
use jiff::Timestamp;
use qfs_core::model::{Digest, RemotePath};
use qfs_core::store::{Condition, ObjectMeta, StageSpec, StoreError, WriteStore};
use qfs_store::blocking;
use ring::rand::{SecureRandom, SystemRandom};

use super::ask::{Ask, RequestBody};
use super::error::HttpError;
use super::fields::{
    self, CONTENT_DIGEST, PARTIAL_UPLOAD, REPR_DIGEST, UPLOAD_COMPLETE, UPLOAD_LENGTH, UPLOAD_LIMIT, UPLOAD_OFFSET,
};
use super::reply::{self, Answer};
use super::target::{self, Target};
use super::upload::{self, Job, Part, Wanted};
use crate::error::HandlerError;
use crate::gate::rights::Right;
use crate::intake::{HELD_BYTES, Intake, step};
use crate::uploads::{Found, Held, Key, State};
use crate::view::View;

/// The part of a query that makes the address of a file that of an upload to it.
pub(super) const UPLOAD: &str = "upload";

/// A request before an answer: where the upload is to be found.
const RESUMPTION_SUPPORTED: u16 = 104;

/// Digits of an upload's name, which nobody can guess.
const NAME_DIGITS: usize = 32;

/// An upload, as its address has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Resource {
    name: String,
    /// Bytes of the whole.
    length: u64,
    wanted: Wanted,
}

impl Resource {
    /// One that there was none of before.
    fn new(length: u64, wanted: Wanted) -> Result<Self, HttpError> {
        let mut random = [0; NAME_DIGITS / 2];
        SystemRandom::new().fill(&mut random).map_err(|_| HandlerError::Busy)?;
        Ok(Self { name: random.iter().map(|byte| format!("{byte:02x}")).collect(), length, wanted })
    }

    /// The one that `target` is the address of; None when it is none.
    pub(super) fn of(path: &RemotePath, target: &Target) -> Option<Self> {
        let is_name = |name: &&str| name.len() == NAME_DIGITS && name.bytes().all(|b| b.is_ascii_hexdigit());
        let name = target.value(UPLOAD).filter(is_name)?;
        let condition = match (target.value("match"), target.has("new")) {
            (Some(etag), _) => Condition::Matches(etag.parse().ok()?),
            (None, true) => Condition::Absent,
            (None, false) => Condition::Any,
        };
        let sha256 = target.value("sha256").map(str::parse).transpose().ok()?;
        let modified = target.value("modified").map(str::parse).transpose().ok()?;
        Some(Self {
            name: name.to_owned(),
            length: target.value("length")?.parse().ok()?,
            wanted: Wanted {
                path: path.clone(),
                condition,
                sha256,
                modified: modified.map(Timestamp::from_second).transpose().ok()?,
            },
        })
    }

    pub(super) fn address(&self) -> String {
        let Wanted { path, condition, sha256, modified } = &self.wanted;
        let mut address = format!("/{}?{UPLOAD}={}&length={}", target::encoded(path.as_str()), self.name, self.length);
        match condition {
            Condition::Matches(etag) => address.push_str(&format!("&match={etag}")),
            Condition::Absent => address.push_str("&new"),
            Condition::Any => {}
        }
        if let Some(sha256) = sha256 {
            address.push_str(&format!("&sha256={sha256}"));
        }
        if let Some(modified) = modified {
            address.push_str(&format!("&modified={}", modified.as_second()));
        }
        address
    }

    /// What it is known by here: what one holder of a token began nobody else continues.
    fn key(&self, token: Option<&str>) -> Key {
        Digest::of(format!("upload over HTTP\n{}\n{}", token.unwrap_or_default(), self.address()).as_bytes())
    }
}

/// Begins an upload to `path`; with `complete` all of it comes with this request.
pub(super) async fn create<S: WriteStore, R: Answer>(
    ask: &Ask<'_, S>,
    view: &View<S>,
    path: &RemotePath,
    complete: bool,
    body: impl RequestBody,
    reply: &mut R,
) -> Result<(), HttpError> {
    let (content, said) = (fields::content_length(ask.headers), fields::integer(ask.headers, &UPLOAD_LENGTH));
    let length = match (said, content.filter(|_| complete)) {
        (Some(said), Some(content)) if said != content => return Err(HttpError::Inconsistent),
        (said, content) => said.or(content),
    };
    let Some(length) = length else {
        return if complete {
            upload::put(ask, view, path, None, body, reply).await
        } else {
            Err(HttpError::LengthRequired)
        };
    };
    let (wanted, existed) = Wanted::of(ask, view, path).await?;
    upload::ensure_taken(ask, Some(length), reply)?;
    // Said now, before anything is sent in vain.
    let space = step(view, |view| view.space()).await?;
    drop(ask.service.room.promise(length, length, space)?);
    let resource = Resource::new(length, wanted)?;
    let address = HeaderValue::try_from(resource.address()).map_err(|_| HandlerError::NotFound)?;
    let begins = http::Response::builder().status(RESUMPTION_SUPPORTED).header(LOCATION, &address);
    let is_told = reply.interim(begins.header(UPLOAD_LIMIT, upload::limit(ask))).await?;
    if complete && !is_told {
        // Nobody would find it again.
        return upload::put(ask, view, path, Some(length), body, reply).await;
    }
    let held = match ask.service.uploads.take(resource.key(ask.token.as_deref())).await {
        Some(Found::Known(held) | Found::Unknown(held)) => held,
        _ => return Err(HandlerError::Busy.into()),
    };
    if !complete && content == Some(0) {
        ensure_writable(view, &resource.wanted).await?;
        return incomplete(ask, Some(&resource), 0, reply).await;
    }
    let request = Request { offset: 0, is_first: true, complete, content };
    receive(ask, view, resource, held, request, existed, body, reply).await
}

async fn ensure_writable<S: WriteStore>(view: &View<S>, wanted: &Wanted) -> Result<(), HttpError> {
    let checked = wanted.clone();
    let possible = step(view, move |view| view.ensure_writable(&checked.path, &checked.condition)).await;
    possible.map_err(|error| upload::refused(error, &wanted.condition))
}

/// Answers what is asked of the upload whose address it is.
pub(super) async fn answer<S: WriteStore, R: Answer>(
    ask: &Ask<'_, S>,
    view: &View<S>,
    path: &RemotePath,
    method: &Method,
    body: impl RequestBody,
    reply: &mut R,
) -> Result<(), HttpError> {
    let resource = Resource::of(path, &ask.target).ok_or(HandlerError::NotFound)?;
    let asked = path.clone();
    let existed = step(view, move |view| view.current(Right::Write, &asked)).await?.is_some();
    let request = match *method {
        Method::PATCH => Some(Request::of(ask, &resource)?),
        Method::HEAD | Method::DELETE => None,
        _ => return Err(HttpError::Method { allow: "HEAD, PATCH, DELETE, OPTIONS" }),
    };
    let uploads = &ask.service.uploads;
    let key = resource.key(ask.token.as_deref());
    let (mut held, is_known) = match uploads.take(key).await.ok_or(HandlerError::Busy)? {
        Found::Known(held) => (held, true),
        Found::Unknown(held) => (held, false),
        Found::Done(size) if *method == Method::HEAD => return state(ask, true, size, size, reply).await,
        Found::Done(_) if *method == Method::DELETE => return Err(HandlerError::NotFound.into()),
        Found::Done(_) => return Err(HttpError::Completed),
    };
    let offset = match stage(view, &resource, key, &mut held, is_known).await {
        Ok(offset) => offset,
        Err(error) => {
            uploads.forget(key);
            return Err(upload::refused(error, &resource.wanted.condition));
        }
    };
    match request {
        Some(request) if request.offset != offset => {
            reply.also(UPLOAD_OFFSET, offset.into());
            reply.also(UPLOAD_COMPLETE, fields::truth(false));
            Err(HttpError::Offset)
        }
        Some(request) => receive(ask, view, resource, held, request, existed, body, reply).await,
        None if *method == Method::HEAD => state(ask, false, offset, resource.length, reply).await,
        None => {
            if let Some(stage) = std::mem::take(&mut *held.state).stage() {
                blocking(move || stage.discard()).await?;
            }
            uploads.forget(key);
            Ok(reply.begin(reply::head(StatusCode::NO_CONTENT)).await?)
        }
    }
}

/// Opens what has arrived of an upload, where it is not open; how much that is. One that is not known has to have something.
async fn stage<S: WriteStore>(
    view: &View<S>,
    resource: &Resource,
    key: Key,
    held: &mut Held,
    is_known: bool,
) -> Result<u64, HandlerError> {
    if let Some(offset) = held.state.offset() {
        return Ok(offset);
    }
    let (path, spec) = (resource.wanted.path.clone(), StageSpec { size: Some(resource.length), etag: key.into() });
    let stage = if is_known {
        step(view, move |view| view.stage(&path, &spec)).await?
    } else {
        step(view, move |view| view.find_stage(&path, &spec)).await?.ok_or(HandlerError::NotFound)?
    };
    let offset = stage.recorded_frontier();
    *held.state = State::Staged(stage);
    Ok(offset)
}

/// A request that brings some of an upload.
struct Request {
    offset: u64,
    /// Whether it began the upload.
    is_first: bool,
    /// Whether nothing follows.
    complete: bool,
    /// Bytes that it says it has.
    content: Option<u64>,
}

impl Request {
    fn of<S>(ask: &Ask<'_, S>, resource: &Resource) -> Result<Self, HttpError> {
        let kind = ask.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if kind.split(';').next().unwrap_or_default().trim() != PARTIAL_UPLOAD {
            return Err(HttpError::Kind("an upload is continued with application/partial-upload"));
        }
        let offset = fields::integer(ask.headers, &UPLOAD_OFFSET);
        let offset = offset.ok_or(HttpError::Malformed("Upload-Offset is missing"))?;
        let complete = fields::boolean(ask.headers, &UPLOAD_COMPLETE);
        let complete = complete.ok_or(HttpError::Malformed("Upload-Complete is missing"))?;
        if fields::integer(ask.headers, &UPLOAD_LENGTH).is_some_and(|length| length != resource.length) {
            return Err(HttpError::Inconsistent);
        }
        Ok(Self { offset, is_first: false, complete, content: fields::content_length(ask.headers) })
    }
}

/// Takes in what a request brings of an upload, and what was wanted of it once it is whole.
#[expect(clippy::too_many_arguments, reason = "an upload, a request, and what every answer needs")]
async fn receive<S: WriteStore, R: Answer>(
    ask: &Ask<'_, S>,
    view: &View<S>,
    mut resource: Resource,
    mut held: Held,
    request: Request,
    existed: bool,
    body: impl RequestBody,
    reply: &mut R,
) -> Result<(), HttpError> {
    let (length, key) = (resource.length, resource.key(ask.token.as_deref()));
    let missing = length.saturating_sub(request.offset);
    if request.content.is_some_and(|content| content > missing || (request.complete && content < missing)) {
        return Err(HttpError::Inconsistent);
    }
    let digest = upload::sha256(ask, &CONTENT_DIGEST)?;
    let whole = upload::sha256(ask, &REPR_DIGEST)?;
    if let (Some(one), Some(other)) = (whole, resource.wanted.sha256)
        && one != other
    {
        return Err(HandlerError::DigestMismatch.into());
    }
    resource.wanted.sha256 = whole.or(resource.wanted.sha256);
    let _held = ask.client.share.reserve(HELD_BYTES).await;
    stage(view, &resource, key, &mut held, true).await?;
    let stage = held.state.stage().ok_or(HandlerError::NotFound)?;
    ensure_writable(view, &resource.wanted).await?;
    let intake = Intake::resume(ask.service, view, stage, length, request.offset).await?;
    let assembly = match &*held.state {
        State::Open(assembly) => Arc::clone(assembly),
        State::Staged(_) | State::Closed => upload::assemble(&intake, length).await?,
    };
    *held.state = State::Open(Arc::clone(&assembly));
    if assembly.frontier() != request.offset {
        reply.also(UPLOAD_OFFSET, assembly.frontier().into());
        return Err(HttpError::Offset);
    }
    let job = Job { intake, assembly, size: length, held: Some(held) };
    let exact = if request.content.is_none() && request.complete { Some(missing) } else { request.content };
    let part = Part { start: request.offset, exact, most: missing, digest };
    let job = job.receive(body, part, ask.service.deadlines().stall).await?;
    if !request.complete {
        return incomplete(ask, request.is_first.then_some(&resource), job.assembly.frontier(), reply).await;
    }
    let ended = end(ask, view, resource, key, job).await;
    let may_go_on = ended.as_ref().is_err_and(may_pass);
    // Unless it may be tried again, nothing can be put behind it any more.
    reply.also(UPLOAD_COMPLETE, fields::truth(!may_go_on));
    if may_go_on {
        reply.also(UPLOAD_OFFSET, length.into());
    }
    let (meta, sha256) = ended?;
    // The draft leaves it out where an upload is complete; some clients look for it in every answer.
    reply.also(UPLOAD_OFFSET, meta.size.into());
    upload::tell(&meta, sha256, existed, reply).await
}

/// Whether the same may succeed later: a busy store, a full disk. Another digest stays another one, and what a condition says of the
/// file that is there was wrong.
fn may_pass(error: &HttpError) -> bool {
    error.status().is_server_error()
}

/// Brings an upload to its end, whether or not the client waits for that: it may ask later. What has arrived is kept where it fails for
/// a reason that may pass.
async fn end<S: WriteStore>(
    ask: &Ask<'_, S>,
    view: &View<S>,
    resource: Resource,
    key: Key,
    job: Job,
) -> Result<(ObjectMeta, Digest), HttpError> {
    let Job { intake, assembly, mut held, size } = job;
    let sha256 = assembly.digest().ok_or(HttpError::Inconsistent)?;
    let (uploads, view) = (Arc::clone(&ask.service.uploads), view.clone());
    let ending = tokio::spawn(async move {
        let stage = Arc::clone(&intake.stage);
        let committed = upload::commit(&view, intake, resource.wanted, sha256).await;
        match &committed {
            Ok(_) => uploads.complete(key, size),
            Err(error) if may_pass(error) => {
                // Opened anew it is read back, whatever became of it.
                let open = held.as_mut().map(|held| std::mem::take(&mut *held.state));
                let close = move || {
                    drop((open, assembly, stage));
                    Ok(())
                };
                let _ = blocking(close).await;
            }
            Err(_) => {
                // Continuing it would lead to the same.
                let _ = blocking(move || stage.discard()).await;
                uploads.forget(key);
            }
        }
        drop(held);
        committed
    });
    let meta = ending.await.map_err(|error| StoreError::Io(std::io::Error::other(error)))??;
    Ok((meta, sha256))
}

/// Says how far an upload has got that goes on, and where, if it has just `begun`.
async fn incomplete<S: WriteStore, R: Answer>(
    ask: &Ask<'_, S>,
    begun: Option<&Resource>,
    offset: u64,
    reply: &mut R,
) -> Result<(), HttpError> {
    let mut head = reply::head(if begun.is_some() { StatusCode::CREATED } else { StatusCode::NO_CONTENT })
        .header(UPLOAD_OFFSET, offset)
        .header(UPLOAD_COMPLETE, fields::truth(false))
        .header(UPLOAD_LIMIT, upload::limit(ask));
    if let Some(begun) = begun {
        head = head.header(LOCATION, begun.address()).header(CONTENT_LENGTH, 0);
    }
    Ok(reply.begin(head).await?)
}

/// Says how far an upload has got.
async fn state<S: WriteStore, R: Answer>(
    ask: &Ask<'_, S>,
    complete: bool,
    offset: u64,
    length: u64,
    reply: &mut R,
) -> Result<(), HttpError> {
    reply.also(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let head = reply::head(StatusCode::NO_CONTENT)
        .header(UPLOAD_COMPLETE, fields::truth(complete))
        .header(UPLOAD_OFFSET, offset)
        .header(UPLOAD_LENGTH, length)
        .header(UPLOAD_LIMIT, upload::limit(ask));
    Ok(reply.begin(head).await?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn wanted(condition: Condition) -> Wanted {
        let path = RemotePath::parse("d/a b?&=%.bin").unwrap();
        let modified = Some("2026-11-23T08:09:24Z".parse().unwrap());
        Wanted { path, condition, sha256: Some(Digest::of(b"x")), modified }
    }

    /// Fails when something of an upload is lost between its beginning and its end.
    #[test]
    fn an_address_has_all_that_has_to_be_known() {
        for condition in [Condition::Any, Condition::Absent, Condition::Matches("v1".parse().unwrap())] {
            let begun = Resource::new(7, wanted(condition)).unwrap();
            let address = begun.address();
            let (path, query) = address.split_once('?').unwrap();
            let target = Target::parse(path, Some(query)).unwrap();
            assert_eq!(target.place, target::Place::File(begun.wanted.path.clone()));
            assert_eq!(Resource::of(&begun.wanted.path, &target), Some(begun.clone()));
            let key = begun.key(Some("t1"));
            assert!(key != begun.key(Some("t2")) && key != begun.key(None));
            assert_ne!(begun.name, Resource::new(7, begun.wanted.clone()).unwrap().name);
        }
    }

    /// Fails when an address is taken that this server has not made: it would not read back as the same.
    #[test]
    fn a_name_is_digits_alone() {
        let path = RemotePath::parse("x").unwrap();
        let known = |name: &str| {
            let target = Target::parse("/x", Some(&format!("upload={name}&length=7"))).unwrap();
            Resource::of(&path, &target).is_some()
        };
        assert!(known("0123456789abcdef0123456789abcdef"));
        assert!(!known("0123456789abcdef0123456789abcdeg") && !known("%26new%26length=5%26upload=abcdefghijk"));
    }

    proptest! {
        #[test]
        fn no_address_panics(query in "(upload=[0-9a-f]{30,34}|length=[0-9]{0,21}|match=.{0,5}|new|sha256=.{0,5}|modified=-?[0-9]{0,20}|&|\\PC{0,5}){0,8}") {
            let path = RemotePath::parse("x").unwrap();
            let resource = Target::parse("/x", Some(&query)).and_then(|target| Resource::of(&path, &target));
            prop_assert!(resource.is_none_or(|resource| resource.name.len() == NAME_DIGITS));
        }
    }
}
