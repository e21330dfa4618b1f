//! Many chunks to one place in a file, in few system calls, and without the long runs of zeros among them.

use std::io::IoSlice;
use std::ops::Range;
use std::os::fd::AsFd;

use bytes::Bytes;
use rustix::io::{Errno, retry_on_intr};

/// Writes `chunks`, one behind the other, from `offset`, whatever number of system calls that takes.
pub(super) fn write_all_at(file: impl AsFd, offset: u64, chunks: &[Bytes]) -> Result<(), Errno> {
    let mut position = offset;
    let (mut first, mut skip) = (0, 0);
    while let Some(front) = chunks.get(first) {
        if skip == front.len() {
            (first, skip) = (first + 1, 0);
            continue;
        }
        let mut written = write_some_at(&file, position, &chunks[first..], skip)?;
        position += written as u64;
        while let Some(rest) = chunks.get(first).map(|chunk| chunk.len() - skip) {
            if written < rest {
                skip += written;
                break;
            }
            written -= rest;
            (first, skip) = (first + 1, 0);
        }
    }
    Ok(())
}

/// One system call's worth of `chunks` but their first `skip` bytes; at least one byte.
fn write_some_at(file: impl AsFd, position: u64, chunks: &[Bytes], skip: usize) -> Result<usize, Errno> {
    /// Most pieces one pwritev takes (UIO_MAXIOV); the list of them is 16 KiB.
    const MAX_PIECES: usize = 1024;
    let written = match chunks {
        [only] => retry_on_intr(|| rustix::io::pwrite(&file, &only[skip..], position))?,
        _ => {
            let mut pieces: Vec<_> = chunks.iter().take(MAX_PIECES).map(|chunk| IoSlice::new(chunk)).collect();
            pieces[0] = IoSlice::new(&chunks[0][skip..]);
            retry_on_intr(|| rustix::io::pwritev(&file, &pieces, position))?
        }
    };
    // Never seen from a regular file; without this the loop above would not end.
    if written == 0 { Err(Errno::IO) } else { Ok(written) }
}

/// Shortest run of zeros that is left out, in bytes. Shorter ones would make more extents than they spare.
pub(super) const MIN_HOLE_BYTES: u64 = 64 << 10;

/// What file systems store or do not store as one.
const PAGE_BYTES: usize = 4096;

static ZERO_PAGE: [u8; PAGE_BYTES] = [0; PAGE_BYTES];

/// The runs of zeros in `chunks`, which lie one behind the other from `offset`, of at least [`MIN_HOLE_BYTES`]. They begin and
/// end at pages of the file, or where the chunks do.
///
/// Data is told by the first bytes of each page, so what has no zeros costs next to nothing.
pub(super) fn zero_runs(offset: u64, chunks: &[Bytes]) -> Vec<Range<u64>> {
    let length: u64 = chunks.iter().map(|chunk| chunk.len() as u64).sum();
    if length < MIN_HOLE_BYTES {
        return Vec::new();
    }
    let (mut runs, mut run): (Vec<Range<u64>>, Range<u64>) = (Vec::new(), offset..offset);
    let mut cursor = Cursor { chunks, skip: 0 };
    let (mut position, end) = (offset, offset + length);
    while position < end {
        // The first page may be a part of one, and the last.
        let step = (PAGE_BYTES as u64 - position % PAGE_BYTES as u64).min(end - position);
        let is_zero = cursor.take_zeros(step as usize);
        position += step;
        if is_zero {
            run.end = position;
        }
        if !is_zero || position == end {
            if run.end - run.start >= MIN_HOLE_BYTES {
                runs.push(run);
            }
            run = position..position;
        }
    }
    runs
}

/// A place in chunks that lie one behind the other.
struct Cursor<'a> {
    chunks: &'a [Bytes],
    /// Bytes of the first one that were taken.
    skip: usize,
}

impl Cursor<'_> {
    /// Takes `length` bytes, a page at most; whether all are zeros.
    fn take_zeros(&mut self, length: usize) -> bool {
        let (mut left, mut is_zero) = (length, true);
        while left > 0
            && let Some((chunk, behind)) = self.chunks.split_first()
        {
            let piece = &chunk[self.skip..chunk.len().min(self.skip + left)];
            // The first eight bytes decide nearly always.
            is_zero = is_zero && piece.iter().take(8).all(|byte| *byte == 0) && *piece == ZERO_PAGE[..piece.len()];
            left -= piece.len();
            self.skip += piece.len();
            if self.skip == chunk.len() {
                (self.chunks, self.skip) = (behind, 0);
            }
        }
        is_zero
    }
}

/// Writes `chunks` from `offset`, but what of them lies in `runs`.
pub(super) fn write_around(file: impl AsFd, offset: u64, chunks: &[Bytes], runs: &[Range<u64>]) -> Result<(), Errno> {
    let end: u64 = offset + chunks.iter().map(|chunk| chunk.len() as u64).sum::<u64>();
    let mut position = offset;
    for run in runs.iter().cloned().chain([end..end]) {
        if position < run.start {
            write_all_at(&file, position, &cut(offset, chunks, &(position..run.start)))?;
        }
        position = run.end;
    }
    Ok(())
}

/// What of `chunks`, which lie from `offset`, lies in `range`.
fn cut(offset: u64, chunks: &[Bytes], range: &Range<u64>) -> Vec<Bytes> {
    let mut start = offset;
    let cut = chunks.iter().filter_map(|chunk| {
        let place = start..start + chunk.len() as u64;
        start = place.end;
        let (from, to) = (place.start.max(range.start), place.end.min(range.end));
        // Both differences are at most the length of the chunk.
        (from < to).then(|| chunk.slice((from - place.start) as usize..(to - place.start) as usize))
    });
    cut.collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against the slow way: pages one by one.
        ///
        /// Fails when: a byte that is not zero lies in a run; a run ends early at the edge of a chunk; a run that is long enough is
        /// overlooked, at the beginning or the end too.
        #[test]
        fn long_runs_of_zeros_are_found_wherever_chunks_end(
            offset in 0..9000u64,
            parts in prop::collection::vec((any::<bool>(), 1..150_000usize), 0..6),
            cuts in prop::collection::vec(0..400_000usize, 0..40),
        ) {
            let mut bytes = Vec::new();
            for (is_zero, length) in parts {
                bytes.resize(bytes.len() + length, u8::from(!is_zero));
            }
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(bytes.len())).chain([0, bytes.len()]).collect();
            cuts.sort_unstable();
            let chunks: Vec<_> = cuts.windows(2).map(|pair| Bytes::copy_from_slice(&bytes[pair[0]..pair[1]])).collect();
            let found = zero_runs(offset, &chunks);
            let end = offset + bytes.len() as u64;
            let edge = |position: u64| position == offset || position == end || position.is_multiple_of(PAGE_BYTES as u64);
            let at = |position: u64| bytes[(position - offset) as usize];
            // Pages of zeros, joined.
            let mut expected: Vec<Range<u64>> = Vec::new();
            let mut position = offset;
            while position < end {
                let next = ((position / PAGE_BYTES as u64 + 1) * PAGE_BYTES as u64).min(end);
                if (position..next).all(|position| at(position) == 0) {
                    match expected.last_mut() {
                        Some(run) if run.end == position => run.end = next,
                        _ => expected.push(position..next),
                    }
                }
                position = next;
            }
            expected.retain(|run| run.end - run.start >= MIN_HOLE_BYTES);
            prop_assert!(expected.iter().all(|run| edge(run.start) && edge(run.end)));
            prop_assert_eq!(&found, &expected);

            let file = tempfile::tempfile().unwrap();
            file.set_len(end).unwrap();
            write_around(&file, offset, &chunks, &found).unwrap();
            let mut read = vec![7; bytes.len()];
            std::os::unix::fs::FileExt::read_exact_at(&file, &mut read, offset).unwrap();
            prop_assert!(read == bytes);
        }
    }
}
