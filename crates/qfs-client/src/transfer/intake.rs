//! The bytes of one file as they come: counted, told, and taken in where the connection that brings them is driven.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use qfs_core::body::{Assembly, BodyChunks, ReceiveError, pump_into};
use qfs_core::model::Layout;
use qfs_core::observe::{Event, FileId, Observer};

use super::partial::RecordOnDrop;
use crate::session::{Patience, Session};

/// Counts the bytes of one file, and tells of them. Clones count together.
#[derive(Clone)]
pub(crate) struct Counts {
    file: FileId,
    observer: Arc<dyn Observer>,
    /// Bytes that came.
    received: Arc<AtomicU64>,
    /// Bytes copied from what was here.
    reused: Arc<AtomicU64>,
}

impl Counts {
    pub(crate) fn new(file: FileId, observer: &Arc<dyn Observer>) -> Self {
        Self { file, observer: Arc::clone(observer), received: Arc::default(), reused: Arc::default() }
    }

    /// Bytes came.
    pub(crate) fn receive(&self, bytes: u64) {
        self.note_received(bytes);
        self.observer.event(Event::Received { file: self.file, bytes });
    }

    /// Bytes came that are none of the file.
    pub(crate) fn note_received(&self, bytes: u64) {
        self.received.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes were copied from what is here.
    pub(crate) fn reuse(&self, bytes: u64) {
        self.reused.fetch_add(bytes, Ordering::Relaxed);
        self.observer.event(Event::Spared { file: self.file, bytes });
    }

    /// What was copied turned out to be wrong.
    pub(crate) fn forget_reused(&self) {
        self.reused.store(0, Ordering::Relaxed);
    }

    /// Bytes received, and bytes copied.
    pub(crate) fn totals(&self) -> (u64, u64) {
        (self.received.load(Ordering::Relaxed), self.reused.load(Ordering::Relaxed))
    }
}

/// Takes `body`, which `session` brings and which lies in the file as `layout` says, into `assembly`, on the thread that drives the
/// session; writes `flush` bytes at once. Returns it, for its end to be read.
///
/// # Errors
/// As [`pump_into`].
pub(crate) async fn take_in(
    session: &Session,
    mut body: BodyChunks<Patience>,
    assembly: &Arc<Assembly>,
    layout: Layout,
    flush: usize,
    counts: &Counts,
) -> Result<BodyChunks<Patience>, ReceiveError> {
    let (driven, assembly, counts) = (session.clone(), Arc::clone(assembly), counts.clone());
    let taking = async move {
        let _record = RecordOnDrop(Arc::clone(&assembly));
        pump_into(&mut body, &assembly, &layout, flush, |bytes| {
            driven.note_progress();
            counts.receive(bytes);
        })
        .await?;
        Ok(body)
    };
    session.alongside(taking).await
}
