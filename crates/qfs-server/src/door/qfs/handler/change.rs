//! The small commands that change what is published: `copy`, `remove`, `make_directory`, `make_link`, `set_metadata`
//! (PROTOCOL §4.7). One step on a blocking thread each.

use std::sync::Arc;

use qfs_core::model::RemotePath;
use qfs_core::store::{Condition, WriteStore};
use qfs_core::stream::ByteSink;
use qfs_core::wire::{
    CopyRequest, Done, Kind, MakeDirectoryRequest, MakeLinkRequest, RemoveRequest, SetMetadataRequest, StatusCode,
    encode,
};

use super::upload::{condition, written};
use crate::error::HandlerError;
use crate::intake::step;
use crate::service::Service;
use crate::view::View;
use crate::view::write::CopySpec;

fn path(name: &str) -> Result<RemotePath, HandlerError> {
    RemotePath::parse(name).map_err(|_| HandlerError::NotFound)
}

async fn done<K: ByteSink>(sink: &mut K) -> Result<(), HandlerError> {
    sink.send(encode(&Done { code: StatusCode::OK })?).await?;
    sink.finish();
    Ok(())
}

/// Answers on `sink` when the file, link or empty directory is gone.
pub(crate) async fn remove<S: WriteStore, K: ByteSink>(
    view: &View<S>,
    sink: &mut K,
    request: RemoveRequest,
) -> Result<(), HandlerError> {
    let path = path(&request.filename)?;
    step(view, move |view| match request.kind {
        Kind::Directory => view.remove_directory(&path),
        Kind::Link => view.remove_link(&path),
        Kind::File => view.remove(&path, &request.if_match.map_or(Condition::Any, Condition::Matches)),
    })
    .await?;
    done(sink).await
}

/// Answers on `sink` when the directory is there.
pub(crate) async fn make_directory<S: WriteStore, K: ByteSink>(
    view: &View<S>,
    sink: &mut K,
    request: MakeDirectoryRequest,
) -> Result<(), HandlerError> {
    let path = path(&request.filename)?;
    step(view, move |view| view.make_directory(&path, request.modified)).await?;
    done(sink).await
}

/// Answers on `sink` when the link is there.
pub(crate) async fn make_link<S: WriteStore, K: ByteSink>(
    view: &View<S>,
    sink: &mut K,
    request: MakeLinkRequest,
) -> Result<(), HandlerError> {
    let path = path(&request.filename)?;
    step(view, move |view| view.make_link(&path, &request.target)).await?;
    done(sink).await
}

/// Answers on `sink` with what the file is afterwards.
pub(crate) async fn set_metadata<S: WriteStore, K: ByteSink>(
    view: &View<S>,
    sink: &mut K,
    request: SetMetadataRequest,
) -> Result<(), HandlerError> {
    let path = path(&request.filename)?;
    let SetMetadataRequest { if_match, modified, executable, .. } = request;
    let (meta, digest) = step(view, move |view| view.set_metadata(&path, if_match, modified, executable)).await?;
    sink.send(encode(&written(&meta, digest))?).await?;
    sink.finish();
    Ok(())
}

/// Answers on `sink` with what the copy is.
pub(crate) async fn copy<S: WriteStore, K: ByteSink>(
    service: &Service<S>,
    view: &View<S>,
    sink: &mut K,
    request: CopyRequest,
) -> Result<(), HandlerError> {
    let (from, to) = (path(&request.from)?, path(&request.filename)?);
    let condition = condition(&request.condition)?;
    let CopyRequest { from_etag: from_version, modified, executable, hash, .. } = request;
    let spec = CopySpec { from, from_version, modified, executable, condition, hash };
    // As long as a pass for a digest, and as many at once.
    let turn = Arc::clone(&service.digest_passes).acquire_owned().await.map_err(|_| HandlerError::ShuttingDown)?;
    let room = service.room.clone();
    let copied = step(view, move |view| {
        // Kept by the copying, which goes on when nobody waits for it any more.
        let _turn = turn;
        let space = view.space()?;
        view.copy(&to, spec, |size| room.promise(size, size, space))
    });
    let (meta, digest) = copied.await?;
    sink.send(encode(&written(&meta, Some(digest)))?).await?;
    sink.finish();
    Ok(())
}
