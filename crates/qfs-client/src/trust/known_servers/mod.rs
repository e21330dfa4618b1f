//! The store of known servers: which key each server had when it was first trusted.
//!
//! A text file, one record a line, which people may read and edit:
//!
//! ```text
//! # lines that start with # are comments and stay where they are
//! data.example.org:8000 sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
//! [2001:db8::1]:8000 sha256:60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752 next=sha256:fd61…
//! ```
//!
//! A record is `HOST:PORT`, blanks, and a fingerprint. Behind it may stand, after blanks, `next=` and another fingerprint: the
//! key that the server has announced. Nothing else may follow. An IPv6 address stands in brackets. Host names
//! compare without regard to case. An empty line counts as a comment. Whatever else is found makes the whole store
//! unusable: it fails closed, and says which line is at fault.
//!
//! [`document`] owns the format, [`mod@file`] the file with its lock and its atomic replacement, [`keeper`] the decision about a
//! server ([`crate::trust::TrustStore`]). Nothing here prints or asks; whoever can ask a person passes a callback.

mod document;
mod file;
mod keeper;

pub use document::{
    AddressError, Document, FormatError, LineError, MAX_LINE_BYTES, MAX_STORE_BYTES, Record, parse_address,
};
pub use file::{Change, KnownServers, KnownServersError, store_path};
pub use keeper::{Ask, Keeper, Newcomers};
