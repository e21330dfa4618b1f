//! How much may still be uploaded: the space that has to stay free, and what uploads under way have been promised.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use qfs_core::store::Space;

use crate::error::HandlerError;

/// Kept free unless something else was said, in bytes; on a small disk a twentieth of it.
const USUALLY_FREE: u64 = 1 << 30;

/// What is left free, and how much one file may have.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    keep_free: Option<u64>,
    max_upload: Option<u64>,
}

/// The room for uploads, of all connections together. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Room {
    bounds: Arc<Mutex<Bounds>>,
    /// Bytes that uploads under way may still write.
    promised: Arc<AtomicU64>,
}

impl Room {
    /// Keeps `keep_free` bytes free (None: as much as is usual), and takes no file beyond `max_upload` bytes.
    pub(crate) fn new(keep_free: Option<u64>, max_upload: Option<u64>) -> Self {
        Self { bounds: Arc::new(Mutex::new(Bounds { keep_free, max_upload })), promised: Arc::default() }
    }

    /// Other bounds from now on; what was promised stays.
    pub(crate) fn set(&self, keep_free: Option<u64>, max_upload: Option<u64>) {
        *self.bounds.lock().unwrap_or_else(PoisonError::into_inner) = Bounds { keep_free, max_upload };
    }

    /// Most bytes of one file.
    pub(crate) fn max_upload(&self) -> Option<u64> {
        self.bounds().max_upload
    }

    fn bounds(&self) -> Bounds {
        *self.bounds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a file of `size` bytes is taken at all.
    ///
    /// # Errors
    /// [`HandlerError::NoSpace`] when it is larger than any may be.
    pub(crate) fn ensure_taken(&self, size: u64) -> Result<(), HandlerError> {
        if self.max_upload().is_some_and(|most| size > most) {
            return Err(HandlerError::NoSpace("the file is larger than this server takes"));
        }
        Ok(())
    }

    /// Promises room for `bytes` more of a file that will have `size` bytes in all, in a store with so much space.
    ///
    /// # Errors
    /// [`HandlerError::NoSpace`] when the file is larger than any may be, or the disk would become too full.
    pub(crate) fn promise(&self, bytes: u64, size: u64, space: Option<Space>) -> Result<Promise, HandlerError> {
        self.ensure_taken(size)?;
        let promised = self.promised.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        // Given back when dropped, also on the way out below.
        let promise = Promise { promised: Arc::clone(&self.promised), left: bytes };
        if let Some(space) = space {
            let keep = self.bounds().keep_free.unwrap_or_else(|| USUALLY_FREE.min(space.total / 20));
            if space.free.saturating_sub(promised) < keep {
                return Err(HandlerError::NoSpace("the server's disk is too full for it"));
            }
        }
        Ok(promise)
    }
}

/// Room that one upload has been promised; what is left of it is given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Promise {
    promised: Arc<AtomicU64>,
    left: u64,
}

impl Promise {
    /// Counts `bytes` as arrived: they take up real space from now on.
    pub(crate) fn arrived(&mut self, bytes: u64) {
        let bytes = bytes.min(self.left);
        self.left -= bytes;
        self.promised.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.promised.fetch_sub(self.left, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn promises_add_up_and_are_given_back() {
        let room = Room::new(Some(100), None);
        let space = Some(Space { free: 1000, total: 10_000 });
        let first = room.promise(500, 500, space).unwrap();
        assert!(room.promise(401, 401, space).is_err());
        let mut second = room.promise(400, 400, space).unwrap();
        assert!(room.promise(1, 1, space).is_err());
        drop(first);
        second.arrived(300);
        // 300 bytes have arrived, and the disk shows it.
        let space = Some(Space { free: 700, total: 10_000 });
        assert!(room.promise(500, 500, space).is_ok());
        assert!(room.promise(501, 501, space).is_err());
    }

    #[test]
    fn a_small_disk_keeps_a_twentieth_and_no_file_is_too_large() {
        let room = Room::new(None, Some(50));
        let space = Some(Space { free: 60, total: 1000 });
        assert!(room.promise(10, 10, space).is_ok() && room.promise(11, 11, space).is_err());
        assert!(matches!(room.promise(51, 51, None), Err(HandlerError::NoSpace(_))));
        assert!(room.promise(50, 50, None).is_ok());
    }
}
