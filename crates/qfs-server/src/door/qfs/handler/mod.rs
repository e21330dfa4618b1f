//! The commands, a file each. They work on the small traits of `qfs_core::stream` and never see QUIC.

mod base;
mod change;
mod delta;
mod download;
mod download_many;
mod identity;
mod list;
mod measure;
mod path_note;
mod reply;
mod stall;
mod upload;
mod upload_many;

pub(crate) use change::{copy, make_directory, make_link, remove, set_metadata};
pub(crate) use delta::{chunk_map, download_ranges};
pub(crate) use download::download;
pub(crate) use download_many::download_many;
pub(crate) use identity::identity;
pub(crate) use list::list;
pub(crate) use measure::measure;
pub(crate) use path_note::{Path, path_note};
pub(crate) use reply::Reply;
pub(crate) use upload::{Origin, upload};
pub(crate) use upload_many::{Ledger, upload_many};
