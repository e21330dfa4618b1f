//! What the answers of the servers change: what they have, stripes that came and were proved, and who is asked no more.

use std::sync::Arc;
use std::time::Instant;

use qfs_core::observe::Event;
use qfs_core::store::StoreError;
use qfs_core::stream::Chunk;
use qfs_core::wire::{DownloadHead, StatusCode};
use qfs_store::blocking;

use super::{Asking, Done, Striped, request};
use crate::error::{AttemptError, Failure, store_failure};
use crate::mirrors::ask::{self, Part as Piece};
use crate::mirrors::claims::{Claim, Standing};
use crate::mirrors::schedule::Asked;
use crate::mirrors::stripes::{Stripe, is_proved, joined};
use crate::session::Lease;

impl Striped<'_> {
    pub(super) fn take(&mut self, done: Done) -> Result<(), Failure> {
        match done {
            Done::Head(number, lease, head) => match head {
                Ok(head) => self.take_head(number, head),
                Err(error) => return self.give_up(number, lease, error),
            },
            Done::Evidence(number, lease, evidence) => match evidence {
                Ok((digest, map)) => {
                    let map = map.map(|map| self.claims.shared(map));
                    self.stands(number, Standing::Claims(Claim { digest, map }));
                }
                Err(error) => return self.give_up(number, lease, error),
            },
            Done::GivenUp(asked) => drop(self.questions.remove(&asked)),
            Done::Came(asked, number, lease, piece) => {
                self.questions.remove(&asked);
                return self.take_piece(asked, number, lease, *piece);
            }
            Done::Proved(asked, number, bytes, proof) => self.take_proof(asked, number, bytes, proof)?,
        }
        Ok(())
    }

    fn take_head(&mut self, number: usize, head: DownloadHead) {
        let asking = &mut self.askings[number];
        asking.since = Some(Instant::now());
        asking.head = Some(head.clone());
        let Some(session) = self.fleet.mirrors()[number].session() else {
            // It is asked again when it is back.
            *asking = Asking::default();
            return;
        };
        let (request, lease) = (request(self.context, self.job), session.lease());
        self.under_way.push(Box::pin(async move {
            let evidence = ask::evidence(&session, &lease, request, &head).await;
            Done::Evidence(number, lease, evidence)
        }));
    }

    fn take_piece(
        &mut self,
        asked: Asked,
        number: usize,
        lease: Lease,
        piece: Result<Piece, AttemptError>,
    ) -> Result<(), Failure> {
        let Some(version) = &mut self.version else { return Ok(()) };
        let piece = match piece {
            Ok(piece) => piece,
            Err(error) => {
                version.board.failed(asked);
                return self.give_up(number, lease, error);
            }
        };
        let Some(stripe) = version.board.came(asked) else { return Ok(()) };
        let claimed = self.claims.digest(number);
        let agrees = claimed.is_none_or(|claimed| piece.digest == Some(claimed));
        let content = piece.content.filter(|_| piece.head.size == version.map.size() && agrees);
        let Some(content) = content else {
            version.board.failed(asked);
            self.expose(number, &format!("what it says of {} contradicts itself", self.job.path.as_str()));
            return Ok(());
        };
        let (assembly, map) = (Arc::clone(&version.assembly), Arc::clone(&version.map));
        let Stripe { range, chunks } = version.stripes[stripe].clone();
        let bytes = range.end - range.start;
        let held = self.fleet.unproved().hold(bytes);
        self.under_way.push(Box::pin(async move {
            let proved = blocking(move || {
                let _held = held;
                let is_proved = is_proved(&map.chunks()[chunks], &content);
                if is_proved {
                    assembly.write(vec![Chunk { offset: range.start, bytes: joined(&content) }])?;
                }
                Ok(is_proved)
            });
            Done::Proved(asked, number, bytes, proved.await)
        }));
        Ok(())
    }

    fn take_proof(
        &mut self,
        asked: Asked,
        number: usize,
        bytes: u64,
        proof: Result<bool, StoreError>,
    ) -> Result<(), Failure> {
        let is_proved = proof.map_err(|error| store_failure(&error))?;
        let Some(version) = &mut self.version else { return Ok(()) };
        if is_proved {
            self.askings[number].busy.served();
            for other in version.board.proved(asked) {
                if let Some(heard) = self.questions.get(&other) {
                    heard.abort.abort();
                }
            }
            self.fleet.observer().event(Event::Received { file: self.job.id, bytes });
        } else if version.board.failed(asked).is_some() {
            let what = format!("it sent wrong bytes of {}", self.job.path.as_str());
            if self.claims.has_map(number) {
                self.expose(number, &what);
            } else {
                // It or the map is wrong. The digest of the whole tells.
                self.askings[number].is_doubted = true;
                self.askings[number].failure.get_or_insert(Failure::Protocol(what));
                self.out(number);
            }
        }
        Ok(())
    }

    /// Nothing came of asking server `number`.
    fn give_up(&mut self, number: usize, lease: Lease, error: AttemptError) -> Result<(), Failure> {
        let asking = &mut self.askings[number];
        match error {
            AttemptError::Lost(why) => {
                // What it has is asked again when it is back, if that is not known.
                if self.claims.0[number] == Standing::Unknown {
                    *asking = Asking::default();
                }
                self.fleet.mirrors()[number].lost(lease, why);
            }
            AttemptError::Protocol(why) => {
                self.expose(number, &format!("its answer about {} is not valid: {why}", self.job.path.as_str()));
            }
            AttemptError::Store(error) => return Err(store_failure(&error)),
            AttemptError::Remote(error) if is_busy(error.code) && asking.busy.again(Instant::now()) => {
                if self.claims.0[number] == Standing::Unknown {
                    asking.is_asked = false;
                }
            }
            error => {
                asking.failure = Some(error.into_failure());
                self.out(number);
            }
        }
        Ok(())
    }

    /// Server `number` lied: it is named, and asked for nothing more.
    pub(super) fn expose(&mut self, number: usize, what: &str) {
        self.askings[number].failure.get_or_insert(Failure::Protocol(what.to_owned()));
        self.out(number);
        self.fleet.mirrors()[number].lied(what);
    }

    /// Nothing more of this file is asked of server `number`.
    pub(super) fn out(&mut self, number: usize) {
        self.stands(number, Standing::Out);
        let Some(version) = &mut self.version else { return };
        for asked in version.board.drop_mirror(number) {
            if let Some(heard) = self.questions.get(&asked) {
                heard.abort.abort();
            }
        }
    }
}

fn is_busy(code: StatusCode) -> bool {
    code != StatusCode::CHANGED && code.is_transient()
}
