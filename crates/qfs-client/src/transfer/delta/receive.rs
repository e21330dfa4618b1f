//! Asks for what is missing as ranges, many in one request, until nothing is missing.

use std::ops::Range;

use futures_util::future::join_all;
use qfs_core::model::{Digest, Layout, Ranges};
use qfs_core::wire::{DownloadHead, DownloadRangesRequest, MAX_RANGES};

use super::rest::{Rest, requests};
use crate::error::AttemptError;
use crate::plan::stripes::MIN_STRIPE_BYTES;
use crate::session::{Lease, Session, delta, exchange};
use crate::transfer::intake::{Counts, take_in};
use crate::transfer::job::{Context, Job};
use crate::transfer::partial::Partial;

/// The head of an answer, and the digest of the whole in its trailer.
pub(crate) type End = (DownloadHead, Digest);

/// Receives what is missing of `known` but for what `rest` will be copied within it, over all connections; `counts`
/// what comes. None where nothing is missing.
pub(crate) async fn receive(
    context: &Context,
    job: &Job,
    known: &Partial,
    rest: &Rest,
    counts: &Counts,
) -> Result<Option<End>, AttemptError> {
    let wanted = rest.wanted(&known.assembly.missing());
    let total: u64 = wanted.iter().map(|range| range.end - range.start).sum();
    let sessions = &context.sessions;
    let share = total.div_ceil(sessions.len() as u64).max(MIN_STRIPE_BYTES);
    let requests = requests(wanted, MAX_RANGES, share);
    let receiving = sessions.iter().enumerate().map(|(first, session)| {
        let turns = requests.iter().skip(first).step_by(sessions.len());
        async move {
            let mut last = None;
            for ranges in turns {
                let fetch = Fetch { context, session, job, known, counts };
                last = fetch.whole(ranges).await?.or(last);
            }
            Ok::<_, AttemptError>(last)
        }
    });
    // All of them end before anything is decided: one given up halfway could still be writing.
    let ends: Result<Vec<_>, _> = join_all(receiving).await.into_iter().collect();
    Ok(ends?.into_iter().flatten().next())
}

/// Ranges asked for on one connection.
struct Fetch<'a> {
    context: &'a Context,
    session: &'a Session,
    job: &'a Job,
    known: &'a Partial,
    counts: &'a Counts,
}

impl Fetch<'_> {
    /// Receives `ranges`, asking again for what is missing of them whenever the connection is made anew.
    async fn whole(&self, ranges: &[Range<u64>]) -> Result<Option<End>, AttemptError> {
        let (mut lease, mut last) = (self.session.lease(), None);
        loop {
            let missing = ranges.iter().flat_map(|range| self.known.assembly.missing_in(range));
            // A loss can leave more gaps than there were ranges.
            let missing: Vec<_> = missing.take(MAX_RANGES).collect();
            if missing.is_empty() {
                return Ok(last);
            }
            match self.once(&lease, missing).await {
                Ok(end) => last = Some(end),
                Err(AttemptError::Lost(lost)) => {
                    lease = self.session.renew(&lease, &lost).await.map_err(AttemptError::Final)?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn once(&self, lease: &Lease, missing: Vec<Range<u64>>) -> Result<End, AttemptError> {
        let ranges = Ranges::new(missing).map_err(|error| AttemptError::Protocol(error.to_string()))?;
        let layout = Layout::new(&ranges.envelope(), &ranges.gaps());
        let request = DownloadRangesRequest {
            filename: self.job.path.as_str().to_owned(),
            if_match: self.known.etag.clone(),
            ranges,
            priority: self.job.priority,
            hash: self.session.hash(),
        };
        let (head, answer) = delta::download_ranges(self.session, lease, request).await?;
        self.known.hash_as(head.hash).await?;
        let (body, flush) = (answer.into_body(layout.length()), self.context.flush);
        let body = take_in(self.session, body, &self.known.assembly, layout, flush, self.counts).await?;
        let trailer = exchange::trailer(&body.into_trailer()?, &head)?;
        Ok((head, trailer.digest))
    }
}
