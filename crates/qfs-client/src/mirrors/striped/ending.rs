//! How a version ends: compared with its digest and committed, or given up.

use std::sync::Arc;

use futures_util::stream::FuturesUnordered;
use qfs_core::model::Digest;
use qfs_core::store::StoreError;
use qfs_store::blocking;

use super::{Ended, Fetched, Striped, Version};
use crate::error::{Failure, store_failure};
use crate::mirrors::claims::{Part, Standing};

impl Striped<'_> {
    /// All stripes are here: the digest of the whole decides whether the map was right.
    pub(super) async fn finish(&mut self) -> Result<Option<Ended>, Failure> {
        let Some(version) = &self.version else { return Ok(None) };
        let assembly = Arc::clone(&version.assembly);
        let digest = blocking(move || {
            assembly.finish()?;
            Ok(assembly.digest())
        });
        let got = digest.await.map_err(|error| store_failure(&error))?;
        let got = got.ok_or_else(|| Failure::Protocol("the stripes are not the whole file".to_owned()))?;
        let sources: Vec<_> = (0..self.askings.len()).filter(|number| self.part(*number) == Part::Source).collect();
        let is_right = |number: &usize| self.claims.digest(*number) == Some(got);
        let Some(right) =
            sources.iter().copied().find(is_right).or_else(|| (version.digest == got).then_some(version.leader))
        else {
            if version.is_resumed {
                // What was here is no proof against anybody.
                self.may_resume = false;
            } else {
                let failure = Failure::DigestMismatch { got, expected: version.digest };
                for number in sources {
                    // Without a map of its own it did not say that this is the file.
                    if !self.claims.has_map(number) {
                        continue;
                    }
                    self.askings[number].failure.get_or_insert(failure.clone());
                    self.expose(number, &format!("{} is not what its digest says", self.job.path.as_str()));
                }
            }
            self.start_over().await?;
            return Ok(None);
        };
        self.commit(right).await?;
        self.name_who_lied(got);
        let Some(version) = self.version.take() else { return Ok(None) };
        let is_resumed = version.is_resumed;
        Ok(Some(Ended::Fetched(Fetched { digest: got, size: version.map.size(), is_resumed })))
    }

    async fn commit(&mut self, right: usize) -> Result<(), Failure> {
        let Some(version) = &self.version else { return Ok(()) };
        let head = self.askings[right].head.as_ref().or(self.askings[version.leader].head.as_ref());
        let Some(head) = head else { return Err(Failure::Protocol("nobody has the file any more".to_owned())) };
        let spec = self.context.config.commit_spec(head.modified, head.executable);
        let stage = Arc::clone(version.assembly.stage());
        let committed = blocking(move || match stage.commit(&spec) {
            Err(StoreError::Exists) => {
                stage.discard()?;
                Err(StoreError::Exists)
            }
            committed => committed.map(drop),
        });
        committed.await.map_err(|error| store_failure(&error))
    }

    /// The file is right: whoever said otherwise of the same content or the same digest is named.
    fn name_who_lied(&mut self, right: Digest) {
        for number in 0..self.askings.len() {
            let claimed = self.claims.digest(number);
            let is_comparable = claimed.is_some_and(|claimed| claimed.kind() == right.kind());
            match self.part(number) {
                Part::Source if is_comparable && claimed != Some(right) => {
                    self.expose(number, &format!("its digest of {} is wrong", self.job.path.as_str()));
                }
                Part::Contested if claimed == Some(right) => {
                    self.expose(number, &format!("its chunk map of {} is wrong", self.job.path.as_str()));
                }
                _ if self.askings[number].is_doubted => {
                    self.expose(number, &format!("it sent wrong bytes of {}", self.job.path.as_str()));
                }
                _ => {}
            }
        }
    }

    /// Gives the version up, with all that came of it: it is wrong.
    async fn start_over(&mut self) -> Result<(), Failure> {
        let Some(version) = self.give_version_up() else { return Ok(()) };
        let stage = Arc::clone(version.assembly.stage());
        drop(version);
        blocking(move || stage.discard()).await.map_err(|error| store_failure(&error))
    }

    /// Asks for nothing more of the version, and looks what there is besides. What came of it stays in its partial file, from which
    /// it is continued when somebody has it again, in this run or a later one.
    pub(super) fn give_version_up(&mut self) -> Option<Version> {
        let version = self.version.take()?;
        self.questions.values().for_each(|heard| heard.abort.abort());
        self.questions.clear();
        self.under_way = FuturesUnordered::new();
        for (number, asking) in self.askings.iter_mut().enumerate() {
            // Its bytes did not fit a map that nobody goes by any more.
            if std::mem::take(&mut asking.is_doubted) {
                self.claims.0[number] = Standing::Unknown;
                asking.failure = None;
            }
            // Whoever was being asked what it has is asked again.
            if self.claims.0[number] == Standing::Unknown {
                (asking.is_asked, asking.since) = (false, None);
            }
        }
        Some(version)
    }
}
