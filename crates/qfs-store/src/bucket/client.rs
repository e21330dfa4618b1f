//! The client that `object_store`'s own operations are sent with: its usual one, held to the same limits as our own requests. A status
//! that `object_store` has for us only in the text of an error is an error of ours already.

use std::pin::Pin;

use futures_util::StreamExt;
use http::StatusCode;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService, ReqwestConnector,
};

use super::error::CloudError;
use super::limits::Limits;
use super::request::{MAX_DOCUMENT_BYTES, read};

/// Makes such clients.
#[derive(Debug)]
pub(super) struct Connector(pub(super) Limits);

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let options = options.clone().with_timeout_disabled().with_read_timeout_disabled();
        let client = ReqwestConnector::default().connect(&options)?;
        Ok(HttpClient::new(Held { client, limits: self.0 }))
    }
}

/// See the module.
#[derive(Debug)]
struct Held {
    client: HttpClient,
    limits: Limits,
}

type Called<'a> = Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'a>>;

impl HttpService for Held {
    fn call<'a, 'b>(&'a self, request: HttpRequest) -> Called<'b>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async move {
            let answer = self.limits.answer(&self.client, request, 0).await?;
            match answer.status() {
                StatusCode::RANGE_NOT_SATISFIABLE => Err(HttpError::new(HttpErrorKind::Unknown, CloudError::Range)),
                // Whoever reads it looks at the time.
                StatusCode::PARTIAL_CONTENT => Ok(answer),
                _ => self.whole(answer).await,
            }
        })
    }
}

impl Held {
    /// An answer that is no part of an object, with all of its body.
    async fn whole(&self, answer: HttpResponse) -> Result<HttpResponse, HttpError> {
        let (parts, body) = answer.into_parts();
        let body = self.limits.pieces(body.bytes_stream()).boxed();
        match read(body, MAX_DOCUMENT_BYTES).await {
            Ok(document) => Ok(HttpResponse::from_parts(parts, document.into())),
            Err(error @ CloudError::Nonsense(_)) => Err(HttpError::new(HttpErrorKind::Decode, error)),
            Err(error) => Err(HttpError::new(HttpErrorKind::Interrupted, error)),
        }
    }
}

/// The error of ours that `error` comes from.
pub(super) fn told(error: &object_store::Error) -> Option<CloudError> {
    let mut error: &(dyn std::error::Error + 'static) = error;
    loop {
        if let Some(told) = error.downcast_ref::<CloudError>() {
            return Some(told.clone());
        }
        error = error.source()?;
    }
}
