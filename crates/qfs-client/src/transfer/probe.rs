//! What the server has under a name, without its content (PROTOCOL §4.2, "Probing").

use qfs_core::model::Digest;
use qfs_core::wire::{DownloadHead, DownloadRequest};

use crate::error::{AttemptError, Failure};
use crate::session::{Lease, Session, Tries, exchange};

/// Asks for no bytes at all of what `request` names: the head, and with `digest` the trailer's digest.
pub(crate) async fn probe(
    session: &Session,
    request: &DownloadRequest,
    digest: bool,
) -> Result<(DownloadHead, Option<Digest>), Failure> {
    let mut tries = Tries::new(session);
    loop {
        match once(session, &tries.lease, request, digest).await {
            Ok(answer) => return Ok(answer),
            Err(error) => tries.after(error).await?,
        }
    }
}

async fn once(
    session: &Session,
    lease: &Lease,
    request: &DownloadRequest,
    digest: bool,
) -> Result<(DownloadHead, Option<Digest>), AttemptError> {
    let (head, answer) = exchange::probe(session, lease, request.clone()).await?;
    let known = head.digest;
    if !digest || known.is_some() {
        answer.stop();
        return Ok((head, known));
    }
    let digest = exchange::trailing_digest(answer, head.hash).await?;
    Ok((head, Some(digest)))
}
