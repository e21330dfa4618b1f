//! The commands, a file each. They work on the small traits of `qfs_core::stream` and never see QUIC.

mod download;
mod download_many;
mod identity;
mod list;
mod reply;

pub(crate) use download::download;
pub(crate) use download_many::download_many;
pub(crate) use identity::identity;
pub(crate) use list::list;
pub(crate) use reply::Reply;
