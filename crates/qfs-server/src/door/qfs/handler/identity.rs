//! `get_identity` (PROTOCOL §4.4): the key of this server, and the one that it will have next.

use qfs_core::stream::ByteSink;
use qfs_core::wire::{IdentityHead, StatusCode, encode};
use qfs_store::blocking;

use crate::error::HandlerError;
use crate::identity::Announcer;

/// Answers on `sink` with what `announcer` finds now, up to and including the end of the stream.
pub(crate) async fn identity<K: ByteSink>(announcer: &Announcer, sink: &mut K) -> Result<(), HandlerError> {
    let current = announcer.current;
    // Read anew each time: two files of a few hundred bytes, and `identity rotate` needs no restart.
    let next = match announcer.directory.clone() {
        None => None,
        Some(directory) => blocking(move || Ok(directory.announced(current))).await??,
    };
    sink.send(encode(&IdentityHead { code: StatusCode::OK, current, next })?).await?;
    sink.finish();
    Ok(())
}
