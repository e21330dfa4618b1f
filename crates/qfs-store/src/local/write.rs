//! Many chunks to one place in a file, in few system calls.

use std::io::IoSlice;
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
