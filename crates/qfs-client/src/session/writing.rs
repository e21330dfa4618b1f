//! Exchanges that write: what the client sends besides the request, and what the server says of it.

use bytes::Bytes;
use qfs_core::body::Answer;
use qfs_core::model::Digest;
use qfs_core::stream::{ByteSink, StreamError};
use qfs_core::wire::{Request, StatusCode, Trailer, UploadHead, UploadRequest, Written, decode_response, encode};
use qfs_transport::Sink;
use serde::de::DeserializeOwned;

use super::exchange::{agreed, ask};
use super::handle::{Lease, Session};
use super::patience::Patience;
use super::tries::Tries;
use crate::error::{AttemptError, Failure};

/// A stream whose request has been sent and on which more follows.
pub(crate) struct Conversation {
    pub(crate) sink: Sink,
    pub(crate) answer: Answer<Patience>,
}

/// Sends `request` on a stream of its own and leaves the client's half open.
pub(crate) async fn converse(
    session: &Session,
    lease: &Lease,
    request: &Request,
) -> Result<Conversation, AttemptError> {
    let frame = request.encode_with(session.token()).map_err(|e| AttemptError::Protocol(e.to_string()))?;
    let (mut sink, source) = lease.connection.open_stream().await?;
    sink.send(frame).await?;
    Ok(Conversation { sink, answer: Answer::new(Patience::new(source, session)) })
}

/// Announces an upload, and waits for the server's agreement.
pub(crate) async fn upload(
    session: &Session,
    lease: &Lease,
    request: UploadRequest,
) -> Result<(Conversation, UploadHead), AttemptError> {
    let size = request.size.unwrap_or(0);
    let request = UploadRequest { hash: session.hash(), ..request };
    let mut conversation = converse(session, lease, &Request::Upload(request)).await?;
    // Before it agrees the server reads back what it holds, which may take a while.
    conversation.answer.source_mut().allow_digest(size);
    let head: UploadHead = decode_response(&conversation.answer.next_frame().await?)??;
    if head.offset > size {
        return Err(AttemptError::Protocol("it holds more of the file than there is".to_owned()));
    }
    agreed(session, head.hash)?;
    Ok((conversation, head))
}

impl Conversation {
    /// Sends the trailer, ends this half, and waits for what the file has become.
    pub(crate) async fn conclude(mut self, digest: Digest) -> Result<Written, AttemptError> {
        let trailer = encode(&Trailer::new(digest));
        let trailer = trailer.map_err(|e| AttemptError::Protocol(e.to_string()))?;
        if let Err(error) = self.sink.send(trailer).await {
            return Err(self.reason(error).await);
        }
        self.sink.finish();
        let written: Written = decode_response(&self.answer.next_frame().await?)??;
        if written.digest.is_some_and(|theirs| theirs != digest) {
            return Err(AttemptError::Protocol("it says that it holds other bytes than were sent".to_owned()));
        }
        Ok(written)
    }

    /// Why sending failed: what the server says of it, if it still says something.
    pub(crate) async fn reason(mut self, error: StreamError) -> AttemptError {
        let StreamError::Stopped(_) = error else { return error.into() };
        match self.answer.next_frame().await.map_err(AttemptError::from) {
            Ok(payload) => match decode_response::<Written>(&payload) {
                Ok(Err(refusal)) => refusal.into(),
                Ok(Ok(_)) => AttemptError::Protocol("it ends the upload before it is whole".to_owned()),
                Err(malformed) => malformed.into(),
            },
            Err(lost @ AttemptError::Lost(_)) => lost,
            Err(_) => error.into(),
        }
    }
}

/// Asks for something that is answered by one message, again where that may help.
///
/// # Errors
/// [`Failure`].
pub(crate) async fn request<T: DeserializeOwned>(session: &Session, request: &Request) -> Result<T, Failure> {
    let mut tries = Tries::new(session);
    loop {
        let attempt = async {
            let mut answer = ask(session, &tries.lease, request).await?;
            let message: T = decode_response(&answer.next_frame().await?)??;
            session.note_progress();
            Ok(message)
        };
        match attempt.await {
            Ok(message) => return Ok(message),
            Err(error) => tries.after(error).await?,
        }
    }
}

/// A sink that tells how much was handed over.
pub(crate) struct Counted<'a, F> {
    pub(crate) sink: &'a mut Sink,
    pub(crate) sent: F,
}

impl<F: FnMut(u64) + Send> ByteSink for Counted<'_, F> {
    async fn send(&mut self, bytes: Bytes) -> Result<(), StreamError> {
        let length = bytes.len() as u64;
        self.sink.send(bytes).await?;
        (self.sent)(length);
        Ok(())
    }

    fn finish(&mut self) {
        self.sink.finish();
    }

    fn reset(&mut self, code: StatusCode) {
        self.sink.reset(code);
    }

    fn set_priority(&mut self, priority: i32) {
        self.sink.set_priority(priority);
    }

    async fn stopped(&mut self) {
        self.sink.stopped().await;
    }
}
