//! The client that `object_store`'s own operations are sent with: its usual one, and a status that it has for us only in the text of
//! an error is an error of ours already.

use std::pin::Pin;

use http::StatusCode;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService, ReqwestConnector,
};

use super::error::CloudError;

/// Makes such clients.
#[derive(Debug)]
pub(super) struct Connector;

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        ReqwestConnector::default().connect(options).map(|client| HttpClient::new(Telling(client)))
    }
}

/// See the module.
#[derive(Debug)]
struct Telling(HttpClient);

type Called<'a> = Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'a>>;

impl HttpService for Telling {
    fn call<'a, 'b>(&'a self, request: HttpRequest) -> Called<'b>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async move {
            let answer = self.0.execute(request).await?;
            match answer.status() {
                StatusCode::RANGE_NOT_SATISFIABLE => Err(HttpError::new(HttpErrorKind::Unknown, CloudError::Range)),
                _ => Ok(answer),
            }
        })
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
