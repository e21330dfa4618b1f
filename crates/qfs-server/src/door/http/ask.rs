//! A request, as those who answer it see it.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use tokio::time::timeout;

use super::client::Client;
use super::error::HttpError;
use super::reply::Form;
use super::target::Target;
use crate::error::HandlerError;
use crate::pace::{Direction, Lane};
use crate::service::Service;

/// What a client sends behind the head of its request.
pub(super) trait RequestBody: Send + 'static {
    /// The next part; None at the end, an error when it broke off.
    fn chunk(&mut self) -> impl Future<Output = Option<Result<Bytes, ()>>> + Send;
}

/// A body that is read no faster than its client's lane has it.
pub(super) struct PacedBody<B> {
    body: B,
    lane: Lane,
}

impl<B> PacedBody<B> {
    pub(super) fn new(body: B, lane: Lane) -> Self {
        Self { body, lane }
    }
}

impl<B: RequestBody> RequestBody for PacedBody<B> {
    async fn chunk(&mut self) -> Option<Result<Bytes, ()>> {
        let next = self.body.chunk().await;
        if let Some(Ok(bytes)) = &next {
            self.lane.pass_all(Direction::Up, bytes.len()).await;
        }
        next
    }
}

/// The whole of `body`, at most `limit` bytes, within `patience`.
///
/// # Errors
/// [`HttpError::TooLarge`]; [`HandlerError::RequestTimeout`].
pub(super) async fn whole_body(
    body: &mut impl RequestBody,
    limit: usize,
    patience: Duration,
) -> Result<Bytes, HttpError> {
    let gather = async {
        let mut whole = BytesMut::new();
        while let Some(part) = body.chunk().await {
            let part = part.map_err(|()| HttpError::gone())?;
            if whole.len() + part.len() > limit {
                return Err(HttpError::TooLarge);
            }
            whole.extend_from_slice(&part);
        }
        Ok(whole.freeze())
    };
    timeout(patience, gather).await.map_err(|_| HandlerError::RequestTimeout)?
}

/// A request, as those who answer it see it.
pub(super) struct Ask<'a, S> {
    pub(super) service: &'a Service<S>,
    pub(super) client: &'a Client,
    pub(super) headers: &'a HeaderMap,
    /// The host of its target, where it has one.
    pub(super) authority: Option<&'a str>,
    pub(super) target: Target,
    pub(super) form: Form,
    /// The id of the token that let it in.
    pub(super) token: Option<String>,
}
