//! Makes sure that what was sent of an object that is being appended to is what it has.

use std::sync::Arc;

use crate::model::Digest;
use crate::store::{Live, StoreError};

/// Compares what was sent, whose digest is `sent`, with what is there now. Returns whether the object is another one by now, as one
/// that has grown is. Reads on threads for blocking work, step by step: dropped halfway, it ends with the step.
///
/// # Errors
/// [`StoreError::Changed`] when what was sent is not there any more; what reading failed with otherwise.
pub async fn confirm(live: &Arc<Live>, sent: Digest) -> Result<bool, StoreError> {
    let threads = live.version().threads().clone();
    let looked = Arc::clone(live);
    if threads.run(move || looked.is_unchanged()).await? {
        return Ok(false);
    }
    let mut pass = live.second_pass();
    let found = loop {
        match threads.run(move || pass.step()).await? {
            Ok(digest) => break digest,
            Err(rest) => pass = rest,
        }
    };
    if found == sent { Ok(true) } else { Err(StoreError::Changed) }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU64, Ordering};

    use bytes::Bytes;

    use super::*;
    use crate::body::testing::{here, ready};
    use crate::model::{HashKind, RemotePath};
    use crate::store::{BLOCK_BYTES, ListQuery, Object, ObjectMeta, Store, Versions, Visit};

    /// A file in memory that others write to.
    #[derive(Default)]
    struct File {
        content: Mutex<Vec<u8>>,
        writes: AtomicU64,
    }

    impl File {
        fn write(&self, change: impl FnOnce(&mut Vec<u8>)) {
            change(&mut self.content.lock().unwrap());
            self.writes.fetch_add(1, Ordering::Relaxed);
        }
    }

    struct Opened {
        file: Arc<File>,
        meta: ObjectMeta,
        writes: u64,
    }

    impl Object for Opened {
        fn meta(&self) -> &ObjectMeta {
            &self.meta
        }

        fn read_at(&self, offset: u64, length: usize) -> Result<Bytes, StoreError> {
            let content = self.file.content.lock().unwrap();
            let start = usize::try_from(offset).unwrap();
            content.get(start..start + length).map(Bytes::copy_from_slice).ok_or(StoreError::Changed)
        }

        fn ensure_unchanged(&self) -> Result<(), StoreError> {
            if self.file.writes.load(Ordering::Relaxed) == self.writes { Ok(()) } else { Err(StoreError::Changed) }
        }

        fn ensure_not_shorter(&self) -> Result<(), StoreError> {
            let size = self.file.content.lock().unwrap().len() as u64;
            if size >= self.meta.size { Ok(()) } else { Err(StoreError::Changed) }
        }
    }

    struct One(Arc<File>);

    impl Store for One {
        fn open(&self, _: &RemotePath, _: usize) -> Result<(Arc<dyn Object>, Bytes), StoreError> {
            let meta = ObjectMeta {
                size: self.0.content.lock().unwrap().len() as u64,
                modified: jiff::Timestamp::UNIX_EPOCH,
                etag: "v".parse().unwrap(),
                unsettled: false,
                executable: false,
            };
            let writes = self.0.writes.load(Ordering::Relaxed);
            Ok((Arc::new(Opened { file: Arc::clone(&self.0), meta, writes }), Bytes::new()))
        }

        fn list(&self, _: &ListQuery, _: &mut Visit<'_>) -> Result<(), StoreError> {
            Ok(())
        }
    }

    /// What becomes of an object of `blocks` blocks that is changed so between the first and the second pass.
    fn after(blocks: u64, change: impl Fn(&mut Vec<u8>)) -> Result<bool, StoreError> {
        let [sha256, blake3] = HashKind::ALL.map(|kind| after_as(kind, blocks, &change));
        assert_eq!(sha256.as_ref().ok(), blake3.as_ref().ok());
        sha256
    }

    fn after_as(kind: HashKind, blocks: u64, change: impl FnOnce(&mut Vec<u8>)) -> Result<bool, StoreError> {
        let file = Arc::new(File::default());
        file.write(|content| content.resize((blocks * BLOCK_BYTES) as usize, 7));
        let versions = Versions::new(One(Arc::clone(&file)), Arc::default(), here());
        let live = Arc::new(versions.open_live(&RemotePath::parse("x").unwrap(), kind).unwrap());
        (0..blocks).for_each(|index| drop(live.version().block(index).unwrap()));
        let sent = live.version().digest().unwrap();
        assert_eq!(sent, Digest::of_kind(kind, &file.content.lock().unwrap()));
        file.write(change);
        let ended = ready(confirm(&live, sent));
        assert!(versions.digests().recall(&"v".parse().unwrap(), kind).is_none(), "remembered");
        ended
    }

    /// Fails when: a change inside what was sent is taken for growth, at whatever place; a step of the second pass is left out; the
    /// digest is remembered under an etag that means nothing.
    #[test]
    fn growth_is_told_from_a_change_inside() {
        for blocks in [0, 1, 16, 17, 40] {
            assert!(matches!(after(blocks, |content| content.push(1)), Ok(true)), "{blocks}");
            assert!(matches!(after(blocks, |_| ()), Ok(true)), "touched");
        }
        for place in [0, BLOCK_BYTES - 1, 16 * BLOCK_BYTES, 40 * BLOCK_BYTES - 1] {
            let flip = |content: &mut Vec<u8>| content[place as usize] ^= 1;
            assert!(matches!(after(40, flip), Err(StoreError::Changed)), "{place}");
        }
        assert!(matches!(after(40, |content| content.truncate(9)), Err(StoreError::Changed)));
        let regrown = |content: &mut Vec<u8>| {
            let length = content.len();
            content.clear();
            content.resize(2 * length, 8);
        };
        assert!(matches!(after(3, regrown), Err(StoreError::Changed)));
    }

    #[test]
    fn an_object_that_stays_is_read_once() {
        let file = Arc::new(File::default());
        file.write(|content| content.extend_from_slice(b"abc"));
        let versions = Versions::new(One(file), Arc::default(), here());
        let live = Arc::new(versions.open_live(&RemotePath::parse("x").unwrap(), HashKind::Sha256).unwrap());
        // Another digest would not be compared.
        assert!(matches!(ready(confirm(&live, Digest::of(b"other"))), Ok(false)));
    }
}
