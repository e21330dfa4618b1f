//! The messages of qfs version 1 and their bytes: everything `docs/PROTOCOL.md` fixes, and no I/O.
//!
//! A stream carries one command. The client sends one [`Request`] frame and finishes its side. The server answers
//! `get_files_list` with a head and [`ListPage`]s, `download` with a [`DownloadHead`], the body's raw bytes and a
//! [`Trailer`], `download_many` with a head and for each file a [`FileRecord`] and its bytes, `get_identity` with an
//! [`IdentityHead`], `chunk_map` with a [`ChunkMapHead`] and the map's bytes, `download_ranges` as `download`.
//! A head may be a [`RemoteError`] instead; an error behind the head resets the stream with its [`StatusCode`].

mod codec;
mod copies;
mod delta;
mod download;
mod identity;
mod limits;
mod many;
mod measure;
mod path;
mod request;
mod response;
mod status;
mod tree;
mod write;

pub use codec::{DecodeError, EncodeError, decode_error, encode, frame};
pub use copies::{CopiedPart, Copies, MAX_COPIES, MAX_COPIES_BYTES};
pub use delta::{ChunkMapHead, ChunkMapRequest, DownloadRangesRequest};
pub use download::{DownloadHead, Trailer};
pub use identity::{IdentityHead, IdentityRequest};
pub use limits::{
    ALPN, FRAME_PREFIX_BYTES, MAX_FRAME_BYTES, MAX_HOLES, MAX_LIST_ENTRIES, MAX_MANY_FILES, MAX_MEASURE_BYTES,
    MAX_MESSAGE_BYTES, MAX_RANGES, MAX_SMALL_FILE_BYTES, MAX_UPLOAD_HOLES, MIN_HOLE_BYTES,
};
pub use many::{FileAnswer, FileRecord, MAX_RECORD_BYTES, name_bytes, put_record, put_refusal, take_record};
pub use measure::{MeasureHead, MeasureRequest};
pub use path::{PathNoteHead, PathNoteRequest};
pub use request::{DownloadManyRequest, DownloadRequest, ListRequest, Request};
pub use response::{ListEnd, ListHead, ListPage, ManyHead, PageBuilder, decode_response};
pub use status::{RemoteError, StatusCode};
pub use tree::TreeEntry;
pub use write::{
    CopyRequest, Done, Kind, MakeDirectoryRequest, MakeLinkRequest, Precondition, RemoveRequest, SetMetadataRequest,
    UploadHead, UploadManyRequest, UploadRecord, UploadRequest, Written, decode_upload_record,
};
