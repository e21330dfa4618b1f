//! Values that are valid once they exist. Imports no other qfs module.

mod digest;
mod escape;
mod fingerprint;
mod holes;
mod meta;
mod path;
mod path_note;
mod range;
mod ticket;
mod token;

pub use digest::{Digest, Hasher, ParseDigestError};
pub use escape::escape_untrusted;
pub use fingerprint::{Fingerprint, ParseFingerprintError};
pub use holes::{Holes, HolesError, Layout};
pub(crate) use meta::null_is_false;
pub use meta::{ETag, EntryMeta, ParseETagError};
pub use path::{MAX_COMPONENT_BYTES, MAX_PATH_BYTES, PathError, RemotePath};
pub use path_note::{MAX_PATH_NOTE_CHARS, ParsePathNoteError, PathNote};
pub use range::{ByteRange, RangeError};
pub use ticket::{DEFAULT_PORT, ParseTicketError, Ticket};
pub use token::{MAX_TOKEN_BYTES, ParseTokenError, Token};
