//! A large file, from all servers that have it.
//!
//! Asks each server what it has, cuts the version that is wanted into stripes, asks for these as [`schedule`](super::schedule) says,
//! proves each before it is written, and compares the digest of the whole in the end.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::future::{AbortHandle, BoxFuture, abortable};
use futures_util::stream::FuturesUnordered;
use qfs_core::body::Assembly;
use qfs_core::chunks::ChunkMap;
use qfs_core::model::{ByteRange, Digest, ETag};
use qfs_core::observe::Event;
use qfs_core::store::{StageSpec, StoreError};
use qfs_core::wire::{DownloadHead, DownloadRequest};
use qfs_store::{blocking, blocking_threads};

mod ending;
mod taking;

use super::STRIPED_BYTES;
use super::ask::{self, Part as Piece};
use super::busy::Busy;
use super::claims::{Claims, Part, Standing, Wanted};
use super::fleet::Fleet;
use super::mirror::Mirror;
use super::schedule::{Asked, Board, Pace};
use super::stripes::{Stripe, cut};
use crate::error::{AttemptError, Failure, store_failure};
use crate::session::{Lease, exchange};
use crate::transfer::job::{Context, Job};
use crate::transfer::partial::RecordOnDrop;

/// How often the servers are looked at: a silent one is noticed so much later than it might be.
const TICK: Duration = Duration::from_millis(100);

/// How long a server that is named first is waited for to say what it has, in addition to four round trips.
const HEAD_PATIENCE: Duration = Duration::from_millis(1500);

/// How long its evidence is waited for, in addition to the time in which [`SLOWEST_EVIDENCE`] has read the file.
const EVIDENCE_PATIENCE: Duration = Duration::from_secs(1);

/// Slowest making of a map for which the others wait, in bytes a second.
const SLOWEST_EVIDENCE: u64 = 128 << 20;

/// However slow, no map is waited for longer than so: what a head says of the size is no more than a claim.
const LONGEST_PATIENCE: Duration = Duration::from_secs(300);

/// A file of this size is not too large to be true, in bytes, whatever sizes others name.
const LIKELY_BYTES: u64 = 2 << 30;

/// Nor is one that is so many times as large as another server says.
const LIKELY_TIMES: u64 = 16;

/// How a file came to be there.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    /// Whether a part of it was here from an earlier run.
    pub(crate) is_resumed: bool,
}

/// Why a file is fetched in another way.
#[derive(Debug)]
pub(crate) enum Ended {
    Fetched(Fetched),
    Failed(Failure),
    /// It is a small one, with this digest, as the server of this number says, which decides.
    Small(usize, Digest),
    /// Nobody has a map of it that would do: the server of this number has it.
    Unmapped(usize),
}

/// Fetches the file of `job`; counts in `received` what arrives.
pub(crate) async fn fetch(context: &Context, fleet: &Arc<Fleet>, job: &Job, received: &Arc<AtomicU64>) -> Ended {
    let count = fleet.mirrors().len();
    let work = Striped {
        context,
        fleet,
        job,
        received,
        begun: Instant::now(),
        claims: Claims::new(count),
        askings: (0..count).map(|_| Asking::default()).collect(),
        under_way: FuturesUnordered::new(),
        questions: HashMap::new(),
        version: None,
        may_resume: true,
    };
    match work.run().await {
        Ok(ended) => ended,
        Err(failure) => Ended::Failed(failure),
    }
}

/// What is known of asking one server.
#[derive(Default)]
struct Asking {
    /// Whether it is being asked what it has, or has said so.
    is_asked: bool,
    /// Since when its head, or its evidence, is waited for, however often it is asked.
    since: Option<Instant>,
    head: Option<DownloadHead>,
    busy: Busy,
    failure: Option<Failure>,
    /// Whether it sent bytes that do not fit the map of another, and has no map of its own that would tell who is wrong.
    is_doubted: bool,
}

struct Striped<'a> {
    context: &'a Context,
    fleet: &'a Arc<Fleet>,
    job: &'a Job,
    received: &'a Arc<AtomicU64>,
    begun: Instant,
    claims: Claims,
    askings: Vec<Asking>,
    under_way: FuturesUnordered<BoxFuture<'static, Done>>,
    questions: HashMap<Asked, Heard>,
    version: Option<Version>,
    /// Whether what an earlier run left is believed until the digest says otherwise.
    may_resume: bool,
}

/// The version that is being fetched.
struct Version {
    /// Who decided.
    leader: usize,
    digest: Digest,
    map: Arc<ChunkMap>,
    stripes: Vec<Stripe>,
    board: Board,
    assembly: Arc<Assembly>,
    is_resumed: bool,
    /// What each server is to it.
    parts: Vec<Part>,
    _record: RecordOnDrop,
}

/// What has arrived in answer to a question, and how it is given up.
struct Heard {
    bytes: Arc<AtomicU64>,
    told: u64,
    abort: AbortHandle,
}

/// Something has ended.
enum Done {
    Head(usize, Lease, Result<DownloadHead, AttemptError>),
    Evidence(usize, Lease, Result<(Digest, Option<ChunkMap>), AttemptError>),
    Came(Asked, usize, Lease, Box<Result<Piece, AttemptError>>),
    GivenUp(Asked),
    /// Whether what this server sent is what the map says; then it is written.
    Proved(Asked, usize, u64, Result<bool, StoreError>),
}

impl Striped<'_> {
    async fn run(mut self) -> Result<Ended, Failure> {
        let mut tick = tokio::time::interval(TICK);
        loop {
            self.leave_out_who_is_gone();
            self.ask_what_they_have();
            if self.version.is_none() {
                let wanted = self.claims.wanted(&|number| self.is_late(number));
                match wanted {
                    Some(Wanted::Plain(leader)) => return Ok(Ended::Unmapped(leader)),
                    Some(Wanted::Mapped(leader, map)) => {
                        let small = self.claims.digest(leader).filter(|_| map.size() < STRIPED_BYTES);
                        match (small, cut(&map)) {
                            (Some(digest), _) => return Ok(Ended::Small(leader, digest)),
                            (None, Some(stripes)) => self.begin(leader, map, stripes).await?,
                            (None, None) => return Ok(Ended::Unmapped(leader)),
                        }
                    }
                    None if !self.is_any_left(|_| true) => return Err(self.failure()),
                    None => {}
                }
            }
            if let Some(version) = &self.version {
                if version.board.is_done() {
                    if let Some(ended) = self.finish().await? {
                        return Ok(ended);
                    }
                    continue;
                }
                if !self.is_any_left(|number| self.part(number) == Part::Source) {
                    drop(self.give_version_up());
                    continue;
                }
                self.ask_for_stripes();
            }
            tokio::select! {
                Some(done) = self.under_way.next(), if !self.under_way.is_empty() => self.take(done)?,
                _ = tick.tick() => self.look(),
                () = self.fleet.changed() => {}
            }
        }
    }

    /// Whoever is asked for nothing more has no say either.
    fn leave_out_who_is_gone(&mut self) {
        for number in 0..self.askings.len() {
            if self.claims.0[number] != Standing::Out && !self.fleet.mirrors()[number].has_hope() {
                self.out(number);
            }
        }
    }

    /// Asks each server that has not been asked, or has been left alone for long enough.
    fn ask_what_they_have(&mut self) {
        let now = Instant::now();
        for (mirror, session) in self.fleet.usable() {
            let asking = &mut self.askings[mirror.number];
            let is_known = self.claims.0[mirror.number] != Standing::Unknown;
            if asking.is_asked || is_known || asking.busy.is_left_alone(now) {
                continue;
            }
            asking.is_asked = true;
            asking.since.get_or_insert(now);
            let (number, request, lease) = (mirror.number, request(self.context, self.job), session.lease());
            let question = mirror.question(0);
            self.under_way.push(Box::pin(async move {
                let _question = question;
                let head = exchange::head(&session, &lease, request).await;
                Done::Head(number, lease, head)
            }));
        }
    }

    /// Whether server `number` is not waited for any longer to say what it has.
    fn is_late(&self, number: usize) -> bool {
        let asking = &self.askings[number];
        let mirror = &self.fleet.mirrors()[number];
        let Some(session) = mirror.session() else { return true };
        let Some(since) = asking.since else { return false };
        let patience = match &asking.head {
            None if mirror.is_silent() => return true,
            None => HEAD_PATIENCE,
            Some(head) => self.evidence_patience(number, head.size),
        };
        since.elapsed() > patience + 4 * session.path_report().rtt
    }

    /// How long it is waited for what server `number` says of a file of `size` bytes. A size that nobody else's comes near to may be
    /// made up to hold the file, and one that is small to keep another server from having its say: the largest of the others counts.
    fn evidence_patience(&self, number: usize, size: u64) -> Duration {
        let others = self.askings.iter().enumerate().filter(|(other, _)| *other != number);
        let largest = others.filter_map(|(_, asking)| Some(asking.head.as_ref()?.size)).max().unwrap_or(0);
        let likely = size.min(largest.saturating_mul(LIKELY_TIMES).max(LIKELY_BYTES));
        let reading = Duration::from_secs_f64(likely as f64 / SLOWEST_EVIDENCE as f64);
        EVIDENCE_PATIENCE + reading.min(LONGEST_PATIENCE)
    }

    /// Whether one of the servers for which `may_be` holds is a source, or may become one.
    fn is_any_left(&self, may_be: impl Fn(usize) -> bool) -> bool {
        let is_left = |mirror: &Arc<Mirror>| {
            let is_out = self.claims.0[mirror.number] == Standing::Out;
            !is_out && mirror.has_hope() && may_be(mirror.number)
        };
        self.fleet.mirrors().iter().any(is_left)
    }

    /// What server `number` is to the version that is being fetched.
    fn part(&self, number: usize) -> Part {
        self.version.as_ref().map_or(Part::None, |version| version.parts[number])
    }

    /// Server `number` claims something, or nothing any more.
    fn stands(&mut self, number: usize, standing: Standing) {
        self.claims.0[number] = standing;
        if let Some(version) = &mut self.version {
            version.parts[number] = self.claims.part(number, version.digest, &version.map);
        }
        self.say_if_other(number);
    }

    /// Opens the partial file of the version that is wanted.
    async fn begin(&mut self, leader: usize, map: Arc<ChunkMap>, stripes: Vec<Stripe>) -> Result<(), Failure> {
        let Some(digest) = self.claims.digest(leader) else { return Ok(()) };
        let assembly = self.stage(digest, map.size()).await?;
        let here = assembly.frontier();
        let lengths = stripes.iter().map(|stripe| stripe.range.end - stripe.range.start).collect();
        let board = Board::new(lengths, |stripe| assembly.missing_in(&stripes[stripe].range).is_empty());
        let (file, name, size) = (self.job.id, &self.job.path, map.size());
        self.fleet.observer().event(Event::Started { file, name, size, resumed_from: here });
        let record = RecordOnDrop(Arc::clone(&assembly));
        let parts = (0..self.askings.len()).map(|number| self.claims.part(number, digest, &map)).collect();
        let is_resumed = here > 0;
        let version = Version { leader, digest, map, stripes, board, assembly, is_resumed, parts, _record: record };
        self.version = Some(version);
        for number in 0..self.askings.len() {
            self.say_if_other(number);
        }
        Ok(())
    }

    /// A partial file is that of the content, whichever server it came from.
    async fn stage(&mut self, digest: Digest, size: u64) -> Result<Arc<Assembly>, Failure> {
        let etag: ETag =
            digest.to_string().parse().map_err(|_| Failure::Local("a digest that is no version".to_owned()))?;
        let (store, path) = (Arc::clone(&self.context.store), self.job.path.clone());
        let (stages, may_resume) = (Arc::clone(&self.context.stages), self.may_resume);
        let staged = blocking(move || {
            let spec = StageSpec { size: Some(size), etag };
            if !may_resume {
                store.stage_sparse(&path, &spec, 0)?.discard()?;
            }
            let stage = store.stage_sparse(&path, &spec, 0)?;
            Ok(Arc::new(Assembly::of_kind(digest.kind(), stage, size, blocking_threads())?.counted_in(stages)))
        });
        staged.await.map_err(|error| store_failure(&error))
    }

    fn say_if_other(&self, number: usize) {
        if self.part(number) == Part::Other {
            self.fleet.mirrors()[number].differs(self.job.path.as_str());
        }
    }

    fn paces(&self) -> Vec<Pace> {
        let now = Instant::now();
        let is_left_alone = |number: usize| self.askings[number].busy.is_left_alone(now);
        let pace = |mirror: &Arc<Mirror>| {
            let number = mirror.number;
            mirror.pace(self.part(number) == Part::Source && !is_left_alone(number))
        };
        self.fleet.mirrors().iter().map(pace).collect()
    }

    fn ask_for_stripes(&mut self) {
        if self.fleet.unproved().is_full() {
            return;
        }
        let now = self.begun.elapsed();
        let mut paces = self.paces();
        loop {
            let mut is_all = true;
            for number in 0..paces.len() {
                let Some(version) = &mut self.version else { return };
                let Some((asked, stripe)) = version.board.next(number, &paces, now) else { continue };
                let range = version.stripes[stripe].range.clone();
                paces[number].under_way += range.end - range.start;
                paces[number].is_usable = self.ask_for(number, asked, range);
                is_all = false;
            }
            if is_all {
                return;
            }
        }
    }

    /// Asks server `number` for `range`, unless it was lost a moment ago.
    fn ask_for(&mut self, number: usize, asked: Asked, range: Range<u64>) -> bool {
        let (session, head) = (self.fleet.mirrors()[number].session(), &self.askings[number].head);
        let (Some(session), Some(head)) = (session, head) else {
            if let Some(version) = &mut self.version {
                version.board.failed(asked);
            }
            return false;
        };
        let length = range.end - range.start;
        let request = DownloadRequest {
            range: Some(ByteRange { start: range.start, end: Some(range.end) }),
            if_match: Some(head.etag.clone()),
            ..request(self.context, self.job)
        };
        let (mirror, bytes) = (Arc::clone(&self.fleet.mirrors()[number]), Arc::<AtomicU64>::default());
        let (heard, received) = (Arc::clone(&bytes), Arc::clone(self.received));
        let lease = session.lease();
        // Counted from now on, and not when it is polled.
        let question = mirror.question(length);
        let (asking, abort) = abortable(async move {
            let _question = question;
            let count = |bytes| {
                mirror.sent(bytes);
                heard.fetch_add(bytes, Ordering::Relaxed);
                received.fetch_add(bytes, Ordering::Relaxed);
            };
            let piece = ask::part(&session, &lease, request, length, count).await;
            Done::Came(asked, number, lease, Box::new(piece))
        });
        self.questions.insert(asked, Heard { bytes, told: 0, abort });
        self.under_way.push(Box::pin(async move { asking.await.unwrap_or(Done::GivenUp(asked)) }));
        true
    }

    /// Looks at who is silent.
    fn look(&mut self) {
        self.fleet.mirrors().iter().for_each(Mirror::give_up_if_dead);
        let (now, paces) = (self.begun.elapsed(), self.paces());
        let Some(version) = &mut self.version else { return };
        for (asked, heard) in &mut self.questions {
            let bytes = heard.bytes.load(Ordering::Relaxed);
            if bytes > heard.told {
                version.board.heard(*asked, bytes - heard.told, now);
                heard.told = bytes;
            }
        }
        version.board.look(&paces, now);
    }

    /// Why nobody has the file: what the first server says that was asked.
    fn failure(&self) -> Failure {
        let said = self.askings.iter().find_map(|asking| asking.failure.clone());
        said.unwrap_or_else(|| Failure::ConnectionLost("no server is left".to_owned()))
    }
}

fn request(context: &Context, job: &Job) -> DownloadRequest {
    DownloadRequest {
        filename: job.path.as_str().to_owned(),
        priority: job.priority,
        holes: !context.config.dense,
        ..DownloadRequest::default()
    }
}
