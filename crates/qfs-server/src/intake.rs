//! One file on its way in, whichever door it comes through: its stage, the room it was promised, and its end.
//!
//! Knows no protocol. What fails here leaves a partial file behind only where somebody may continue it.

use std::sync::Arc;

use bytes::Bytes;
use qfs_core::model::{Digest, ETag, HashKind, Hasher, Holes, RemotePath};
use qfs_core::store::{CommitSpec, Condition, ObjectMeta, StageSpec, StagedObject, WriteStore};
use qfs_store::blocking;
use ring::rand::{SecureRandom, SystemRandom};

use crate::error::HandlerError;
use crate::room::Promise;
use crate::service::Service;
use crate::view::View;

/// Bytes of an upload that are gathered before they are written; as many again twice over are being written.
pub(crate) const FLUSH_BYTES: usize = 256 << 10;

/// What one upload holds in memory.
pub(crate) const HELD_BYTES: usize = 3 * FLUSH_BYTES;

/// Bytes of an upload of unknown length for which room is asked at a time.
const ROOM_STEP: u64 = 64 << 20;

/// Runs `work` on what `view` shows, where blocking is allowed.
///
/// # Errors
/// What `work` failed with; [`HandlerError::Store`] when it panicked.
pub(crate) async fn step<S: Send + Sync + 'static, T: Send + 'static>(
    view: &View<S>,
    work: impl FnOnce(&View<S>) -> Result<T, HandlerError> + Send + 'static,
) -> Result<T, HandlerError> {
    let view = view.clone();
    blocking(move || Ok(work(&view))).await?
}

/// A file that is being taken in.
pub(crate) struct Intake {
    pub(crate) stage: Arc<dyn StagedObject>,
    /// Room for what is still to come of it.
    pub(crate) promise: Promise,
    /// Whether somebody may continue it when it is cut off.
    pub(crate) keep: bool,
}

impl Intake {
    /// Opens the stage that `spec` says for `path`, if the request may write there, `condition` holds now and there is room for all of it but
    /// `holes`.
    ///
    /// # Errors
    /// As [`View::ensure_writable`] and [`View::stage`]; [`HandlerError::NoSpace`].
    pub(crate) async fn begin<S: WriteStore>(
        service: &Service<S>,
        view: &View<S>,
        path: &RemotePath,
        condition: &Condition,
        (spec, holes): (StageSpec, &Holes),
        keep: bool,
    ) -> Result<Self, HandlerError> {
        let (size, empty) = (spec.size, holes.bytes());
        let (path, condition) = (path.clone(), condition.clone());
        let (stage, space) = step(view, move |view| {
            view.ensure_writable(&path, &condition)?;
            let space = view.space()?;
            Ok((view.stage_sparse(&path, &spec, empty)?, space))
        })
        .await?;
        let frontier = stage.recorded_frontier();
        let empty = holes.clipped(&(frontier..u64::MAX)).bytes();
        let missing = size.unwrap_or(ROOM_STEP).saturating_sub(frontier).saturating_sub(empty);
        match service.room.promise(missing, size.unwrap_or(0), space) {
            Ok(promise) => Ok(Self { stage, promise, keep }),
            Err(error) => Err(give_up(stage, keep, error).await),
        }
    }

    /// One of a stage of `size` bytes that is open already and has the first `arrived` of them.
    ///
    /// # Errors
    /// [`HandlerError::NoSpace`].
    #[cfg(feature = "http")]
    pub(crate) async fn resume<S: WriteStore>(
        service: &Service<S>,
        view: &View<S>,
        stage: Arc<dyn StagedObject>,
        size: u64,
        arrived: u64,
    ) -> Result<Self, HandlerError> {
        let space = step(view, |view| view.space()).await?;
        let promise = service.room.promise(size.saturating_sub(arrived), size, space)?;
        Ok(Self { stage, promise, keep: true })
    }

    /// Makes what was staged the file, whose digest this is.
    ///
    /// # Errors
    /// As [`View::commit`].
    pub(crate) async fn commit<S: WriteStore>(
        self,
        view: &View<S>,
        spec: CommitSpec,
        digest: Digest,
    ) -> Result<ObjectMeta, HandlerError> {
        let stage = Arc::clone(&self.stage);
        match step(view, move |view| view.commit(&*stage, &spec, digest)).await {
            Ok(meta) => Ok(meta),
            Err(error) => Err(self.fail(error).await),
        }
    }

    /// Keeps what is staged for a later attempt, or removes it, and returns why. What is known to be wrong is never kept.
    pub(crate) async fn fail(self, error: HandlerError) -> HandlerError {
        let keep = self.keep && !matches!(error, HandlerError::DigestMismatch);
        give_up(self.stage, keep, error).await
    }
}

async fn give_up(stage: Arc<dyn StagedObject>, keep: bool, error: HandlerError) -> HandlerError {
    if !keep {
        // A leftover is removed later by whoever writes into the same directory.
        let _ = blocking(move || stage.discard()).await;
    }
    error
}

/// A file whose length nobody knows, written in order.
pub(crate) struct Growing {
    stage: Arc<dyn StagedObject>,
    hasher: Hasher,
    position: u64,
    /// Room was asked for up to here.
    asked: u64,
}

impl Growing {
    /// One whose [`Intake`] has just begun, with a digest of `kind`.
    pub(crate) fn new(intake: &Intake, kind: HashKind) -> Self {
        Self { stage: Arc::clone(&intake.stage), hasher: Hasher::of_kind(kind), position: 0, asked: ROOM_STEP }
    }

    /// Writes `blocks` behind what was written before; asks for more room if more may follow than there is.
    ///
    /// # Errors
    /// [`HandlerError::NoSpace`]; what writing failed with.
    pub(crate) async fn take<S: WriteStore>(
        mut self,
        service: &Service<S>,
        view: &View<S>,
        promise: &mut Promise,
        blocks: Vec<Bytes>,
    ) -> Result<Self, HandlerError> {
        let length: u64 = blocks.iter().map(|block| block.len() as u64).sum();
        service.room.ensure_taken(self.position + length)?;
        promise.arrived(length);
        let mut grown = blocking(move || {
            self.stage.write_at(self.position, &blocks)?;
            blocks.iter().for_each(|block| self.hasher.update(block));
            self.position += length;
            Ok(self)
        })
        .await?;
        if grown.position >= grown.asked {
            let space = step(view, |view| view.space()).await?;
            *promise = service.room.promise(ROOM_STEP, grown.position, space)?;
            grown.asked = grown.position + ROOM_STEP;
        }
        Ok(grown)
    }

    /// The digest of all that was written.
    pub(crate) fn finish(self) -> Digest {
        self.hasher.finish()
    }
}

/// Names a stage that nobody continues.
pub(crate) fn private_key() -> ETag {
    let mut random = [0; 32];
    // Without random bytes two uploads may meet in one name; the store then gives the second a stage of its own.
    let _ = SystemRandom::new().fill(&mut random);
    Digest::of(&random).into()
}
