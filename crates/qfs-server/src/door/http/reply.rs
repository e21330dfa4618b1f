//! The answer to one request as it goes out, whatever carries it: patient with the client up to a point, and counted.

use std::pin::Pin;

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderName, REFERRER_POLICY, RETRY_AFTER, VARY,
    WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use qfs_core::stream::{ByteSink, StreamError};
use qfs_core::wire::StatusCode as Code;

use super::error::HttpError;
use super::page;
use crate::gate::patience::{Patience, Progress};
use crate::pace::{Direction, Lane};

/// What carries an answer.
pub(super) trait Outlet: Send {
    /// Sends the head; `has_body` when something follows.
    fn head(&mut self, head: Response<()>, has_body: bool) -> impl Future<Output = Result<(), StreamError>> + Send;

    /// Sends a head that another one follows (RFC 9110 §15.2); false where this carries none.
    fn interim(&mut self, head: Response<()>) -> impl Future<Output = Result<bool, StreamError>> + Send;

    /// Sends a part of the body, waiting until it is taken.
    fn data(&mut self, bytes: Bytes) -> impl Future<Output = Result<(), StreamError>> + Send;

    /// Ends the body in good order.
    fn end(&mut self) -> impl Future<Output = Result<(), StreamError>> + Send;

    /// Cuts the answer off, so that the client sees that it is not whole.
    fn cut(&mut self, code: Code);

    /// Resolves when the client no longer wants the answer. Asked once.
    fn gone(&mut self) -> Gone;
}

/// Resolves when nobody wants an answer any more.
pub(super) type Gone = Pin<Box<dyn Future<Output = ()> + Send>>;

/// An answer, as those who make one see it.
pub(super) trait Answer: ByteSink {
    /// Sends the head. What `self` is told to send behind it is dropped when the client asked for the head alone.
    fn begin(&mut self, head: http::response::Builder) -> impl Future<Output = Result<(), StreamError>> + Send;

    /// Has the head carry this field besides, whatever the answer will be.
    fn also(&mut self, name: HeaderName, value: HeaderValue);

    /// Tells the client something before the answer; false where that is not possible.
    fn interim(&mut self, head: http::response::Builder) -> impl Future<Output = Result<bool, StreamError>> + Send;

    /// Whether the head alone was asked for.
    fn is_head_only(&self) -> bool;
}

/// Gives up on a client that takes nothing, and counts.
pub(super) struct Reply<O, P> {
    outlet: O,
    progress: P,
    patience: Patience,
    lane: Lane,
    /// Headers of every answer on this connection.
    elsewhere: Option<HeaderValue>,
    /// Headers of this one.
    also: HeaderMap,
    head_only: bool,
    begun: bool,
    sent: u64,
}

impl<O: Outlet, P: Progress> Reply<O, P> {
    pub(super) fn new(
        outlet: O,
        progress: P,
        patience: Patience,
        lane: Lane,
        elsewhere: Option<HeaderValue>,
        head_only: bool,
    ) -> Self {
        Self { outlet, progress, patience, lane, elsewhere, also: HeaderMap::new(), head_only, begun: false, sent: 0 }
    }

    /// Bytes of the body so far.
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    /// Resolves when the client no longer wants the answer.
    pub(super) fn gone(&mut self) -> Gone {
        self.outlet.gone()
    }

    /// Tells the client of a failure: as a status while nothing was sent, by cutting the answer off afterwards.
    pub(super) async fn fail(&mut self, error: &HttpError, form: Form) -> Result<(), StreamError> {
        if error.is_abandoned() {
            return Ok(());
        }
        if self.begun {
            self.outlet.cut(Code::INTERNAL);
            return Ok(());
        }
        let status = error.status();
        let (kind, text) = form.of(error);
        let mut head = head(status).header(CONTENT_TYPE, kind).header(CONTENT_LENGTH, text.len());
        if form == Form::Html {
            head = page::guarded(head);
        }
        match error {
            HttpError::Method { allow } => head = head.header(ALLOW, *allow),
            HttpError::Range { size } => head = head.header(CONTENT_RANGE, format!("bytes */{size}")),
            _ if status == StatusCode::UNAUTHORIZED => {
                head = head.header(WWW_AUTHENTICATE, "Bearer realm=\"qfs\"").header(VARY, "accept");
            }
            _ if status == StatusCode::SERVICE_UNAVAILABLE => head = head.header(RETRY_AFTER, "1"),
            _ => {}
        }
        self.begin(head).await?;
        self.send(text.into()).await?;
        self.end().await
    }

    /// Ends the answer in good order.
    pub(super) async fn end(&mut self) -> Result<(), StreamError> {
        self.outlet.end().await
    }
}

impl<O: Outlet, P: Progress> Answer for Reply<O, P> {
    async fn begin(&mut self, head: http::response::Builder) -> Result<(), StreamError> {
        let Ok(mut head) = head.body(()) else { return Err(StreamError::Reset(Code::INTERNAL)) };
        if let Some(elsewhere) = &self.elsewhere {
            head.headers_mut().insert(http::header::ALT_SVC, elsewhere.clone());
        }
        for (name, value) in std::mem::take(&mut self.also) {
            // Each was put in once, so each has its name.
            name.and_then(|name| head.headers_mut().insert(name, value));
        }
        self.begun = true;
        let empty = head.headers().get(CONTENT_LENGTH).is_some_and(|length| length == "0");
        let status = head.status();
        let has_body =
            !self.head_only && !empty && status != StatusCode::NOT_MODIFIED && status != StatusCode::NO_CONTENT;
        self.outlet.head(head, has_body).await
    }

    fn also(&mut self, name: HeaderName, value: HeaderValue) {
        self.also.insert(name, value);
    }

    async fn interim(&mut self, head: http::response::Builder) -> Result<bool, StreamError> {
        let Ok(head) = head.body(()) else { return Err(StreamError::Reset(Code::INTERNAL)) };
        self.outlet.interim(head).await
    }

    fn is_head_only(&self) -> bool {
        self.head_only
    }
}

impl<O: Outlet, P: Progress> ByteSink for Reply<O, P> {
    async fn send(&mut self, mut bytes: Bytes) -> Result<(), StreamError> {
        while !self.head_only && !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(self.lane.piece(Direction::Down)));
            // Before the client's patience is tried: this is not its doing.
            self.lane.pass(Direction::Down, piece.len()).await;
            self.send_now(piece).await?;
        }
        Ok(())
    }

    fn finish(&mut self) {}

    fn reset(&mut self, code: Code) {
        self.outlet.cut(code);
    }

    fn set_priority(&mut self, _: i32) {}

    async fn stopped(&mut self) {
        // Whoever answers is dropped when the client is gone.
        std::future::pending().await
    }
}

impl<O: Outlet, P: Progress> Reply<O, P> {
    async fn send_now(&mut self, bytes: Bytes) -> Result<(), StreamError> {
        let length = bytes.len() as u64;
        let result = tokio::select! {
            biased;
            result = self.outlet.data(bytes) => Some(result),
            () = self.patience.ends(&self.progress) => None,
        };
        match result {
            Some(result) => {
                self.sent += length;
                result
            }
            None => {
                self.outlet.cut(Code::TIMEOUT);
                Err(StreamError::Stopped(Code::TIMEOUT))
            }
        }
    }
}

/// How a client would have what is meant for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Html,
    Json,
    Text,
}

impl Form {
    /// What the value of an Accept header prefers; the order in which it names them decides.
    pub(super) fn of_accept(accept: Option<&HeaderValue>) -> Self {
        let accept = accept.and_then(|value| value.to_str().ok()).unwrap_or_default();
        for kind in accept.split(',') {
            match kind.split(';').next().unwrap_or_default().trim() {
                "text/html" | "application/xhtml+xml" => return Self::Html,
                "application/json" => return Self::Json,
                _ => {}
            }
        }
        Self::Text
    }

    fn of(self, error: &HttpError) -> (&'static str, String) {
        let (word, sentence) = (error.word(), error.sentence());
        match self {
            Self::Html => (HTML, page::error(error.status(), &sentence)),
            Self::Json => {
                let object = serde_json::json!({"error": {"code": word, "message": sentence}});
                ("application/json", format!("{object}\n"))
            }
            Self::Text => ("text/plain; charset=utf-8", format!("{word}: {sentence}\n")),
        }
    }
}

/// The type of a page.
pub(super) const HTML: &str = "text/html; charset=utf-8";

/// The beginning of every answer.
pub(super) fn head(status: StatusCode) -> http::response::Builder {
    Response::builder()
        .status(status)
        // What a file is called decides what it is, and nothing in it.
        .header(X_CONTENT_TYPE_OPTIONS, "nosniff")
        .header(REFERRER_POLICY, "no-referrer")
        .header(HeaderName::from_static("x-robots-tag"), "none")
        .header(HeaderName::from_static("cross-origin-resource-policy"), "same-origin")
        // Kept, but asked for again each time: the etag makes that cheap.
        .header(CACHE_CONTROL, "private, no-cache")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_is_the_one_that_is_asked_for() {
        let form = |accept: &'static str| Form::of_accept(Some(&HeaderValue::from_static(accept)));
        assert_eq!(form("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"), Form::Html);
        assert_eq!(form("application/json"), Form::Json);
        assert_eq!(form("application/json;q=1, text/html"), Form::Json);
        assert_eq!((form("*/*"), Form::of_accept(None)), (Form::Text, Form::Text));
    }
}
