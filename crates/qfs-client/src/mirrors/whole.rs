//! A small file: whole from whoever is expected to bring it first, proved by the digest that the first server names.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use qfs_core::model::Digest;
use qfs_core::observe::Event;
use qfs_core::wire::{DownloadHead, DownloadRequest, RemoteError, StatusCode};

use super::STRIPED_BYTES;
use super::ask::{self, Part};
use super::busy::Busy;
use super::coming::Coming;
use super::fleet::Fleet;
use super::mirror::Mirror;
use crate::error::{AttemptError, Failure};
use crate::session::{Lease, Session, exchange};
use crate::transfer::job::{Context, Job};
use crate::transfer::look;
use crate::transfer::small::Small;

/// How often the servers are looked at.
const TICK: Duration = Duration::from_millis(100);

/// How long a server that is named first is waited for to name the digest, in addition to four round trips.
const DIGEST_PATIENCE: Duration = Duration::from_millis(1500);

/// What a file counts for whose size is not known, in bytes.
const UNKNOWN_BYTES: u64 = 64 << 10;

/// How it ended.
pub(super) enum Ended {
    /// It is there, with this digest and size.
    Fetched(Digest, u64),
    Failed(Failure),
    /// It is not small.
    Large,
}

/// Fetches the file of `job`, which has the digest that a server has `named`, if one has; counts in `received` what arrives.
pub(super) async fn fetch(
    context: &Context,
    fleet: &Arc<Fleet>,
    job: &Job,
    named: Option<(usize, Digest)>,
    received: &Arc<AtomicU64>,
) -> Ended {
    let askings = fleet.mirrors().iter().map(|_| Asking::default()).collect();
    let truth = match named {
        Some((leader, digest)) => Truth::Named(leader, digest),
        None => job.digest.map_or(Truth::Unknown, Truth::Listed),
    };
    let under_way = FuturesUnordered::new();
    let (content, is_large, directory) = (None, false, None);
    let mut whole = Whole { context, fleet, job, received, askings, truth, content, is_large, directory, under_way };
    loop {
        if let Some(ended) = whole.settle().await {
            return ended;
        }
        whole.go_on().await;
    }
}

/// What is known of asking one server.
#[derive(Default)]
struct Asking {
    /// What it is being asked for.
    coming: Option<Coming>,
    is_out: bool,
    /// Whether that is because it has another version.
    differs: bool,
    busy: Busy,
    /// Whether it is being asked for the digest.
    is_naming: bool,
    /// Since when its digest is waited for, however often it is asked.
    since: Option<Instant>,
    failure: Option<Failure>,
}

/// The digest that the file must have.
enum Truth {
    Unknown,
    /// As the listing had it, which may be of an earlier version.
    Listed(Digest),
    /// As this server names it, the first that has the file.
    Named(usize, Digest),
}

enum Done {
    Came(usize, Lease, Box<Result<Part, AttemptError>>),
    /// The digest; None where the file is a large one.
    Named(usize, Lease, Result<Option<Digest>, AttemptError>),
    /// Whether one that has no such file has a directory of that name.
    Directory(bool),
}

/// What came, and from whom.
struct Content {
    number: usize,
    bytes: Vec<Bytes>,
    digest: Digest,
    head: DownloadHead,
}

struct Whole<'a> {
    context: &'a Context,
    fleet: &'a Arc<Fleet>,
    job: &'a Job,
    received: &'a Arc<AtomicU64>,
    askings: Vec<Asking>,
    truth: Truth,
    content: Option<Content>,
    is_large: bool,
    /// Whether the name is that of a directory, once that was asked.
    directory: Option<bool>,
    under_way: FuturesUnordered<BoxFuture<'static, Done>>,
}

impl Whole<'_> {
    /// Commits what came, once it is known what it must be, and asks for what is not under way. How it ended, if it did.
    async fn settle(&mut self) -> Option<Ended> {
        if self.is_large {
            return Some(Ended::Large);
        }
        if let Some(content) = self.content.take() {
            let leader = self.leader();
            if matches!(self.truth, Truth::Unknown) && leader.as_ref().is_none_or(|(of, _)| of.number == content.number)
            {
                self.truth = Truth::Named(content.number, content.digest);
            }
            match self.truth {
                Truth::Unknown => self.content = Some(content),
                Truth::Listed(truth) | Truth::Named(_, truth) => {
                    if let Some(ended) = self.compare(content, truth).await {
                        return Some(ended);
                    }
                }
            }
        }
        if let Truth::Named(leader, _) = self.truth
            && !self.fleet.mirrors()[leader].has_hope()
        {
            self.out(leader, Failure::ConnectionLost("no server is left".to_owned()));
        }
        if matches!(self.truth, Truth::Unknown) {
            self.ask_for_digest();
        }
        if self.content.is_some() || self.ask_for_content() {
            return None;
        }
        if let Some(ended) = self.settle_directory() {
            return Some(ended);
        }
        if self.under_way.is_empty() {
            let is_left = |mirror: &Arc<Mirror>| mirror.has_hope() && !self.askings[mirror.number].is_out;
            if !self.fleet.mirrors().iter().any(is_left) {
                let said = self.askings.iter().find_map(|asking| asking.failure.clone());
                let failure = said.unwrap_or_else(|| Failure::ConnectionLost("no server is left".to_owned()));
                return Some(Ended::Failed(failure));
            }
        }
        None
    }

    /// Ends where the name is that of a directory. Who is silent, or is sought again, is not waited for to say that it has no such
    /// file either: where another one said so, that one is asked what it has under the name.
    fn settle_directory(&mut self) -> Option<Ended> {
        let said = |asking: &Asking| match &asking.failure {
            Some(Failure::Refused(RemoteError { code: StatusCode::NOT_FOUND, .. })) => asking.failure.clone(),
            _ => None,
        };
        match self.directory {
            Some(true) => return self.askings.iter().find_map(said).map(Ended::Failed),
            Some(false) => return None,
            // What a listing told of is a file.
            None if self.job.remote.is_some() => return None,
            None => {}
        }
        let mut able = self.fleet.usable().filter(|(mirror, _)| said(&self.askings[mirror.number]).is_some());
        let (_, session) = able.next()?;
        let path = self.job.path.clone();
        self.directory = Some(false);
        self.under_way.push(Box::pin(async move {
            // Who cannot say so is none to go by.
            Done::Directory(look::is_directory(&session, &path).await.unwrap_or(false))
        }));
        None
    }

    /// Waits until something is different.
    async fn go_on(&mut self) {
        tokio::select! {
            Some(done) = self.under_way.next(), if !self.under_way.is_empty() => self.take(done),
            () = tokio::time::sleep(TICK) => self.fleet.mirrors().iter().for_each(Mirror::give_up_if_dead),
            () = self.fleet.changed() => {}
        }
    }

    /// The server that decides: the first that has the file, and answers in time.
    fn leader(&self) -> Option<(Arc<Mirror>, Session)> {
        let is_late = |mirror: &Mirror, session: &Session| {
            let since = self.askings[mirror.number].since;
            mirror.is_silent()
                || since.is_some_and(|since| since.elapsed() > DIGEST_PATIENCE + 4 * session.path_report().rtt)
        };
        let mut able = self.fleet.usable().filter(|(mirror, _)| !self.askings[mirror.number].is_out);
        able.find(|(mirror, session)| !is_late(mirror, session)).map(|(mirror, session)| (Arc::clone(mirror), session))
    }

    fn ask_for_digest(&mut self) {
        let Some((mirror, session)) = self.leader() else { return };
        let (number, now) = (mirror.number, Instant::now());
        let asking = &mut self.askings[number];
        // Whoever decides and is asked for the content names the digest with it, unless that takes too long.
        let comes_with_it = asking.coming.as_ref().is_some_and(|coming| !mirror.is_slow_with(coming));
        if comes_with_it || asking.is_naming {
            return;
        }
        asking.since.get_or_insert(now);
        if asking.busy.is_left_alone(now) {
            return;
        }
        asking.is_naming = true;
        let (request, lease, question) = (self.request(), session.lease(), mirror.question(0));
        self.under_way.push(Box::pin(async move {
            let _question = question;
            let named = async {
                let head = exchange::head(&session, &lease, request.clone()).await?;
                if head.size >= STRIPED_BYTES {
                    return Ok(None);
                }
                ask::digest(&session, &lease, request, &head).await.map(Some)
            };
            Done::Named(number, lease.clone(), named.await)
        }));
    }

    /// Asks for the content, unless somebody is on it who is not silent. Whether somebody is. Where it trickles, one that is idle is
    /// asked too.
    fn ask_for_content(&mut self) -> bool {
        let mut is_slow = false;
        for mirror in self.fleet.mirrors() {
            match &self.askings[mirror.number].coming {
                Some(coming) if !mirror.is_silent() => match mirror.is_slow_with(coming) {
                    true => is_slow = true,
                    false => return true,
                },
                _ => {}
            }
        }
        let length = self.job.remote.map_or(UNKNOWN_BYTES, |remote| remote.size);
        let now = Instant::now();
        let may_be = |number: usize| {
            let asking = &self.askings[number];
            let is_free = asking.coming.is_none() && !asking.busy.is_left_alone(now);
            !asking.is_out && is_free && (!is_slow || self.fleet.mirrors()[number].is_idle())
        };
        let Some((mirror, session)) = self.fleet.lightest(length, may_be) else { return is_slow };
        let number = mirror.number;
        let coming = Coming::begin();
        self.askings[number].coming = Some(coming.clone());
        let (request, lease, received) = (self.request(), session.lease(), Arc::clone(self.received));
        // Counted from now on, and not when it is polled.
        let question = mirror.question(length);
        self.under_way.push(Box::pin(async move {
            let _question = question;
            let count = |bytes| {
                mirror.sent(bytes);
                coming.came(bytes);
                received.fetch_add(bytes, Ordering::Relaxed);
            };
            let part = ask::part(&session, &lease, request, STRIPED_BYTES - 1, count).await;
            Done::Came(number, lease, Box::new(part))
        }));
        true
    }

    fn request(&self) -> DownloadRequest {
        DownloadRequest {
            filename: self.job.path.as_str().to_owned(),
            priority: self.job.priority,
            holes: !self.context.config.dense,
            ..DownloadRequest::default()
        }
    }

    fn take(&mut self, done: Done) {
        match done {
            Done::Came(number, lease, part) => {
                self.askings[number].coming = None;
                match *part {
                    // Another answer was first.
                    Ok(_) if self.content.is_some() => {}
                    Ok(Part { head, content: Some(bytes), digest: Some(digest) }) => {
                        self.content = Some(Content { number, bytes, digest, head });
                    }
                    Ok(_) => self.take_large(number),
                    Err(error) => self.give_up(number, lease, error),
                }
            }
            Done::Named(number, lease, named) => {
                self.askings[number].is_naming = false;
                match named {
                    Ok(Some(digest)) if matches!(self.truth, Truth::Unknown) => {
                        self.truth = Truth::Named(number, digest);
                    }
                    Ok(Some(_)) => {}
                    Ok(None) => self.take_large(number),
                    Err(error) => self.give_up(number, lease, error),
                }
            }
            Done::Directory(is_directory) => self.directory = Some(is_directory),
        }
    }

    /// Server `number` has a large file.
    fn take_large(&mut self, number: usize) {
        match self.truth {
            // The one that decides has a small one.
            Truth::Named(leader, _) if leader != number && self.fleet.mirrors()[leader].has_hope() => {
                let what = "it has a large file where the first one has a small one";
                self.differs(number, Failure::Protocol(what.to_owned()));
            }
            // Which it is, the one that decides says where large ones are fetched.
            _ => self.is_large = true,
        }
    }

    /// Makes what came the target if it is what it must be.
    async fn compare(&mut self, content: Content, truth: Digest) -> Option<Ended> {
        let Content { number, bytes, digest, head } = content;
        if digest.kind() == truth.kind() && digest != truth {
            if matches!(self.truth, Truth::Listed(_)) {
                // The listing may be older than the file.
                self.truth = Truth::Unknown;
                self.content = Some(Content { number, bytes, digest, head });
                return None;
            }
            self.differs(number, Failure::DigestMismatch { got: digest, expected: truth });
            return None;
        }
        let (file, name, size) = (self.job.id, &self.job.path, head.size);
        self.fleet.observer().event(Event::Started { file, name, size, resumed_from: 0 });
        self.fleet.observer().event(Event::Received { file, bytes: size });
        let commit = self.context.config.commit_spec(head.modified, head.executable);
        let small = Small { content: bytes, kind: truth.kind(), expected: truth, commit };
        match small.store(self.context, self.job).await {
            Ok(digest) => Some(Ended::Fetched(digest, size)),
            Err(AttemptError::DigestMismatch { got, expected }) if digest == truth => {
                self.expose(number, Failure::DigestMismatch { got, expected }, "it sent wrong bytes of");
                None
            }
            Err(AttemptError::DigestMismatch { got, expected }) => {
                self.differs(number, Failure::DigestMismatch { got, expected });
                None
            }
            Err(error) => Some(Ended::Failed(error.into_failure())),
        }
    }

    /// Nothing came of asking server `number`.
    fn give_up(&mut self, number: usize, lease: Lease, error: AttemptError) {
        let asking = &mut self.askings[number];
        match error {
            AttemptError::Lost(why) => {
                asking.since = None;
                self.fleet.mirrors()[number].lost(lease, why);
            }
            AttemptError::Protocol(why) => {
                self.expose(number, Failure::Protocol(why), "its answer is not valid about");
            }
            AttemptError::Remote(error) if error.code.is_transient() && asking.busy.again(Instant::now()) => {}
            error => self.out(number, error.into_failure()),
        }
    }

    /// Server `number` lied: it is named, and asked for nothing more.
    fn expose(&mut self, number: usize, failure: Failure, what: &str) {
        let what = format!("{what} {}: {failure}", self.job.path.as_str());
        self.out(number, failure);
        self.fleet.mirrors()[number].lied(&what);
    }

    /// Server `number` has another version than the one that is wanted.
    fn differs(&mut self, number: usize, failure: Failure) {
        self.fleet.mirrors()[number].differs(self.job.path.as_str());
        self.askings[number].differs = true;
        self.out(number, failure);
    }

    /// Nothing more of this file is asked of server `number`. If it was the one that decides, another one does.
    fn out(&mut self, number: usize, failure: Failure) {
        self.askings[number].is_out = true;
        self.askings[number].failure.get_or_insert(failure);
        if matches!(self.truth, Truth::Named(leader, _) if leader == number) {
            self.truth = Truth::Unknown;
            for asking in self.askings.iter_mut().filter(|asking| asking.differs) {
                (asking.is_out, asking.differs, asking.failure) = (false, false, None);
            }
        }
    }
}
