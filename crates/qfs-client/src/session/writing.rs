//! Exchanges that write: what the client sends besides the request, and what the server says of it.

use bytes::{BufMut as _, Bytes, BytesMut};
use qfs_core::body::Answer;
use qfs_core::model::Digest;
use qfs_core::stream::{ByteSink, StreamError};
use qfs_core::wire::{
    MAX_FRAME_BYTES, MAX_MEASURE_BYTES, MeasureHead, MeasureRequest, Request, StatusCode, Trailer, UploadHead,
    UploadRequest, Written, decode_response, encode,
};
use qfs_transport::Sink;
use serde::de::DeserializeOwned;

use super::exchange::{agreed, ask};
use super::handle::{Lease, Session};
use super::patience::{Patience, patiently};
use super::tries::Tries;
use crate::error::{AttemptError, Failure};

/// Bytes that are sent at once: what a server takes at its slowest shows after as many.
const PIECE_BYTES: usize = 64 << 10;

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
    let asking = async {
        let (mut sink, source) = lease.connection.open_stream().await?;
        sink.send(frame).await?;
        Ok::<_, StreamError>((sink, source))
    };
    let (sink, source) = patiently(session, asking).await?;
    Ok(Conversation { sink, answer: Answer::new(Patience::new(source, session)) })
}

/// Announces an upload, and waits for the server's agreement.
pub(crate) async fn upload(
    session: &Session,
    lease: &Lease,
    request: UploadRequest,
) -> Result<(Conversation, UploadHead), AttemptError> {
    let (size, asked_for_base) = (request.size.unwrap_or(0), request.base.is_some());
    let asked_for_holes = !request.holes.is_empty();
    let request = UploadRequest { hash: session.hash(), ..request };
    let mut conversation = converse(session, lease, &Request::Upload(request)).await?;
    // Before it agrees the server reads back what it holds, which may take a while.
    conversation.answer.source_mut().allow_digest(size);
    let head: UploadHead = decode_response(&conversation.answer.next_frame().await?)??;
    if head.offset > size {
        return Err(AttemptError::Protocol("it holds more of the file than there is".to_owned()));
    }
    agreed(session, head.hash)?;
    if head.base && !asked_for_base {
        return Err(AttemptError::Protocol("it wants parts that were not offered".to_owned()));
    }
    if head.holes && !asked_for_holes {
        return Err(AttemptError::Protocol("it wants holes left out that were not offered".to_owned()));
    }
    Ok((conversation, head))
}

impl Conversation {
    /// Sends `bytes`, no more than [`PIECE_BYTES`], and listens meanwhile: a server that has said why it takes no more need not stop the
    /// stream (PROTOCOL §4.5.2).
    ///
    /// # Errors
    /// [`StreamError`]; [`StreamError::Stopped`] also when the server has answered before it took all: [`Self::reason`] reads that.
    /// [`Lost::TimedOut`](qfs_core::stream::Lost::TimedOut) when it takes nothing and says nothing for too long.
    pub(crate) async fn send(&mut self, bytes: Bytes) -> Result<(), StreamError> {
        tokio::select! {
            biased;
            sent = self.sink.send(bytes) => {
                self.answer.source_mut().note_taken();
                sent
            }
            heard = self.answer.arrival() => Err(heard.err().unwrap_or(StreamError::Stopped(StatusCode::CANCELLED))),
        }
    }

    /// Sends the trailer, ends this half, and waits for what the file has become.
    pub(crate) async fn conclude(mut self, digest: Digest) -> Result<Written, AttemptError> {
        let trailer = encode(&Trailer::new(digest));
        let trailer = trailer.map_err(|e| AttemptError::Protocol(e.to_string()))?;
        if let Err(error) = self.send(trailer).await {
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

/// Sends bytes that the server takes for nothing, until it has enough of them, and returns at what rate they came (PROTOCOL §4.10).
pub(crate) async fn measure(session: &Session) -> Result<MeasureHead, AttemptError> {
    let lease = session.lease();
    let mut conversation = converse(session, &lease, &Request::Measure(MeasureRequest {})).await?;
    let (piece, mut sent) = (incompressible(), 0);
    // One piece more than is counted: the first one starts the clock.
    while sent <= MAX_MEASURE_BYTES {
        sent += piece.len() as u64;
        match conversation.send(piece.clone()).await {
            Ok(()) => {}
            // It has said what it has to say.
            Err(StreamError::Stopped(_)) => break,
            Err(error) => return Err(error.into()),
        }
    }
    let head: MeasureHead = decode_response(&conversation.answer.next_frame().await?)??;
    if head.bytes > sent {
        return Err(AttemptError::Protocol("it took more than was sent".to_owned()));
    }
    // What was handed over and is still waiting to go out is wanted by nobody.
    conversation.sink.reset(StatusCode::CANCELLED);
    Ok(head)
}

/// [`PIECE_BYTES`] that no tunnel on the way makes shorter.
fn incompressible() -> Bytes {
    let digests = (0..PIECE_BYTES / 32).map(|n| *Digest::of(&n.to_le_bytes()).as_bytes());
    digests.flatten().collect()
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

/// Sends bytes of which the other side does not know how many there are, in blocks (PROTOCOL §4.5.3).
pub(crate) async fn send_blocks<K: ByteSink>(sink: &mut K, bytes: &[u8]) -> Result<(), StreamError> {
    let mut blocks = BytesMut::with_capacity(bytes.len() + bytes.len() / MAX_FRAME_BYTES * 4 + 8);
    for block in bytes.chunks(MAX_FRAME_BYTES) {
        // No longer than a frame, so that it fits.
        blocks.put_u32(block.len() as u32);
        blocks.put_slice(block);
    }
    blocks.put_u32(0);
    sink.send(blocks.freeze()).await
}

/// The client's half of a conversation as a sink that tells how much was handed over.
pub(crate) struct Counted<'a, F> {
    pub(crate) conversation: &'a mut Conversation,
    pub(crate) sent: F,
}

impl<F: FnMut(u64) + Send> ByteSink for Counted<'_, F> {
    async fn send(&mut self, mut bytes: Bytes) -> Result<(), StreamError> {
        while !bytes.is_empty() {
            let piece = bytes.split_to(PIECE_BYTES.min(bytes.len()));
            let length = piece.len() as u64;
            self.conversation.send(piece).await?;
            (self.sent)(length);
        }
        Ok(())
    }

    fn finish(&mut self) {
        self.conversation.sink.finish();
    }

    fn reset(&mut self, code: StatusCode) {
        self.conversation.sink.reset(code);
    }

    fn set_priority(&mut self, priority: i32) {
        self.conversation.sink.set_priority(priority);
    }

    async fn stopped(&mut self) {
        self.conversation.sink.stopped().await;
    }
}
