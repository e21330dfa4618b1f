//! Values that are valid once they exist. Imports no other qfs module.

mod digest;
mod escape;
mod fingerprint;
mod hash_tree;
mod holes;
pub(crate) mod keyed;
mod meta;
mod path;
mod path_note;
mod range;
mod ranges;
mod text;
mod ticket;
mod ticket_set;
mod token;

pub use digest::{Digest, HashKind, Hasher, ParseDigestError, ParseHashKindError};
pub use escape::escape_untrusted;
pub use fingerprint::{Fingerprint, ParseFingerprintError};
pub use hash_tree::{HashTree, Part, Scratch};
pub use holes::{Holes, HolesError, Layout};
pub(crate) use meta::null_is_false;
pub use meta::{ETag, EntryMeta, ParseETagError};
pub use path::{MAX_COMPONENT_BYTES, MAX_PATH_BYTES, PathError, RemotePath};
pub use path_note::{MAX_PATH_NOTE_CHARS, ParsePathNoteError, PathNote};
pub use range::{ByteRange, RangeError};
pub use ranges::{Ranges, RangesError};
pub use ticket::{DEFAULT_PORT, ParseTicketError, Ticket};
pub use ticket_set::TicketSet;
pub use token::{MAX_TOKEN_BYTES, ParseTokenError, Token};
