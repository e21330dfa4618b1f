//! Reads back what a child wrote into an unlinked file.
//!
//! It reads at positions, because child and bench share the file's offset.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

/// The first `limit` bytes.
pub(crate) fn head(file: &File, limit: u64) -> Vec<u8> {
    read(file, 0, length(file).min(limit))
}

/// The last `limit` bytes.
pub(crate) fn tail(file: &File, limit: u64) -> Vec<u8> {
    let length = length(file);
    let start = length.saturating_sub(limit);
    read(file, start, length - start)
}

fn length(file: &File) -> u64 {
    file.metadata().map(|meta| meta.len()).unwrap_or_default()
}

fn read(file: &File, start: u64, length: u64) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
    match file.read_exact_at(&mut bytes, start) {
        Ok(()) => bytes,
        // The file was cut meanwhile, which counts as nothing written.
        Err(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn both_ends() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"abcdef").unwrap();
        assert_eq!(head(&file, 2), b"ab");
        assert_eq!(tail(&file, 2), b"ef");
        assert_eq!(tail(&file, 9), b"abcdef");
    }
}
