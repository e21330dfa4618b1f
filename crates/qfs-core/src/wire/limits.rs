//! Every bound of the wire, in one place. Each is checked before memory is allocated for what it bounds.

/// The application protocol negotiated in the TLS handshake (PROTOCOL §1.2).
pub const ALPN: &[u8] = b"qfs/1";

/// Bytes of the length that precedes every control message (PROTOCOL §2.1).
pub const FRAME_PREFIX_BYTES: usize = 4;

/// Longest control message, in bytes, its prefix not counted (PROTOCOL §2.1).
pub const MAX_FRAME_BYTES: usize = 64 * 1024;

/// Longest error message, in bytes. A longer one is cut (PROTOCOL §3.2).
pub const MAX_MESSAGE_BYTES: usize = 1024;

/// The most rows of a listing that a client accepts, which ends an endless listing (PROTOCOL §4.1).
pub const MAX_LIST_ENTRIES: u64 = 10_000_000;

/// Most holes in the head of a download: the head fits its frame, however long their numbers are (PROTOCOL §4.2.1).
pub const MAX_HOLES: usize = 1024;

/// Most holes in an `upload`: the request fits its frame, however long its name is (PROTOCOL §4.5.5).
pub const MAX_UPLOAD_HOLES: usize = 512;

/// Smallest hole that anybody tells of, in bytes: below it, a round of zeros costs less than the bookkeeping (PROTOCOL §4.2.1).
pub const MIN_HOLE_BYTES: u64 = 64 << 10;

/// Largest file that `download_many` delivers, in bytes (PROTOCOL §4.3).
pub const MAX_SMALL_FILE_BYTES: u64 = 256 << 10;

/// The most names in one `download_many` (PROTOCOL §4.3).
pub const MAX_MANY_FILES: usize = 1000;

/// The most ranges in one `download_ranges` (PROTOCOL §4.8.2): a request fits its frame wherever they lie.
pub const MAX_RANGES: usize = 1024;

/// The most bytes that a server takes of one `measure`, the first piece not counted (PROTOCOL §4.10): more tells no more.
pub const MAX_MEASURE_BYTES: u64 = 32 << 20;
