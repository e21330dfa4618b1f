//! Who may read: the tokens that were handed out, as the server keeps them.
//!
//! A text file beside the identity, one token a line, each line a JSON object:
//!
//! ```text
//! {"id":"0b5c1f9e","sha256":"9f86…0a08","created":"2026-11-24T20:00:00Z","expires":"2026-12-31T00:00:00Z","scope":["photos"],"can":["read","write"],"name":"Ann"}
//! ```
//!
//! `expires`, `scope`, `can` and `name` may be absent: never, everything, reading alone, nobody in particular. Whatever else is found makes the whole
//! file unusable, and nobody is let in: a rule that is not understood must not become no rule.
//!
//! The token itself is not kept, only its SHA-256. A slow hash, as passwords need it, would protect nothing more here: the secret
//! is 256 random bits, and there is no list of likely ones to try against the hash.
//!
//! [`document`] owns the format, [`scope`] what a token reaches, [`mod@file`] the file with its lock and its atomic replacement.

mod document;
mod file;
mod scope;

pub use document::{
    Document, FormatError, LineError, MAX_FILE_BYTES, MAX_LINE_BYTES, MAX_NAME_BYTES, MAX_TOKENS, ParseTokenIdError,
    Record, TokenId,
};
pub use file::{Issue, TOKENS_FILE, TokenFile, TokenFileError};
pub use scope::{MAX_SCOPE_PATTERNS, Scope, ScopeError};
#[cfg(feature = "http")]
pub(crate) use scope::{Place, Reach};
