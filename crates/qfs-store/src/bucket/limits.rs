//! How long a bucket may take for an answer, whoever asks it.
//!
//! `reqwest` knows a bound on reading too, but begins to count before it connects and sends: whatever takes longer to send would be cut
//! off, each time anew.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use object_store::client::{HttpClient, HttpError, HttpErrorKind, HttpRequest, HttpResponse};

use super::error::CloudError;

/// How long a bucket may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Until the head of an answer has come, where nothing is to be moved for it, and from one piece of a body to the next.
    pub(super) quiet: Duration,
    /// Bytes that a second brings into the bucket at least. Many requests share the way there.
    pub(super) slowest: u64,
    /// Bytes that a second moves inside the bucket at least.
    pub(super) inside: u64,
    /// No retry begins later than this after the first attempt.
    pub(super) deadline: Duration,
}

/// What buckets are held to. A connection that is dead shows earlier: what is sent has to be acknowledged within 30 s.
pub(super) const LIMITS: Limits =
    Limits { quiet: Duration::from_secs(15), slowest: 16 << 10, inside: 8 << 20, deadline: Duration::from_secs(30) };

impl Limits {
    /// Sends `request` and waits for the head of the answer, for which the bucket has to move `moved` bytes by itself.
    ///
    /// # Errors
    /// As the client; [`HttpErrorKind::Timeout`].
    pub(super) async fn answer(
        &self,
        client: &HttpClient,
        request: HttpRequest,
        moved: u64,
    ) -> Result<HttpResponse, HttpError> {
        let sending = Duration::from_secs(request.body().content_length() as u64 / self.slowest);
        let limit = self.quiet + sending + Duration::from_secs(moved / self.inside);
        let late = |_| HttpError::new(HttpErrorKind::Timeout, silence(limit));
        tokio::time::timeout(limit, client.execute(request)).await.map_err(late)?
    }

    /// The pieces of `body`, which ends with an error where the next one does not come in time.
    pub(super) fn pieces<E: std::error::Error + 'static>(
        &self,
        body: impl Stream<Item = Result<Bytes, E>> + Unpin + Send + 'static,
    ) -> impl Stream<Item = Result<Bytes, CloudError>> + Send + 'static {
        let limit = self.quiet;
        stream::unfold(Some(body), move |body| async move {
            let mut body = body?;
            let piece = match tokio::time::timeout(limit, body.next()).await {
                Ok(piece) => piece?.map_err(|e| CloudError::unavailable(deepest(&e))),
                Err(_) => Err(CloudError::unavailable(silence(limit))),
            };
            let rest = piece.is_ok().then_some(body);
            Some((piece, rest))
        })
    }
}

fn silence(limit: Duration) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("nothing came for {} s", limit.as_secs()))
}

/// The cause of all causes: what stands above it names addresses only.
pub(super) fn deepest(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
