//! Where requests of S3 go, how they are signed, and what refusals mean.

use futures_util::future::BoxFuture;
use http::{Method, StatusCode};
use object_store::aws::AwsAuthorizer;
use object_store::client::{HttpClient, HttpRequest};

use super::S3;
use crate::bucket::error::CloudError;
use crate::bucket::request::{Failure, Request, Service, in_address};

impl S3 {
    /// A request for `key`, which is empty for the bucket itself.
    pub(super) fn request(&self, method: Method, key: &str) -> Request<'_> {
        Request::new(self, method, key)
    }

    /// `key` as the source of a copy.
    pub(super) fn source(&self, key: &str) -> String {
        format!("/{}/{}", self.bucket, in_address(key))
    }
}

impl Service for S3 {
    fn client(&self) -> &HttpClient {
        &self.client
    }

    fn address(&self) -> &str {
        &self.address
    }

    fn sign<'a>(&'a self, request: &'a mut HttpRequest) -> BoxFuture<'a, Result<(), CloudError>> {
        Box::pin(async move {
            if !self.signs {
                return Ok(());
            }
            let denied = |e: object_store::Error| CloudError::Denied(e.to_string().into());
            let credential = self.credentials.get_credential().await.map_err(denied)?;
            AwsAuthorizer::new(&credential, "s3", &self.region)
                .with_sign_payload(self.signs_content)
                .try_authorize(request, None)
                .map_err(denied)
        })
    }

    fn failure(&self, status: StatusCode, code: &str) -> Failure {
        classify(status, code)
    }
}

/// What a status and S3's own code mean.
fn classify(status: StatusCode, code: &str) -> Failure {
    let said = || match code {
        "" => status.to_string(),
        code => format!("{status}, {code}"),
    };
    match (status.as_u16(), code) {
        (_, "ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired" | "RequestExpired") => {
            Failure::Expired(CloudError::Denied(format!("the credentials have expired ({})", said()).into()))
        }
        (
            _,
            "SlowDown" | "RequestTimeout" | "InternalError" | "ServiceUnavailable" | "OperationAborted" | "BadDigest",
        ) => Failure::Passing(CloudError::unavailable(said())),
        (_, "ConditionalRequestConflict") => Failure::Passing(CloudError::unavailable(said())),
        (_, "NoSuchBucket") => Failure::Final(CloudError::NoBucket),
        // An upload whose completion was answered, but not to us, is gone.
        (404, "NoSuchUpload") => Failure::Condition(CloudError::Missing),
        (404, _) => Failure::Final(CloudError::Missing),
        (412, _) => Failure::Condition(CloudError::Precondition),
        (416, _) => Failure::Final(CloudError::Range),
        (401 | 403, _) => Failure::Final(CloudError::Denied(said().into())),
        (501, _) => Failure::Final(CloudError::Unsupported),
        (408 | 409 | 429 | 500..=599, _) => Failure::Passing(CloudError::unavailable(said())),
        _ => Failure::Final(CloudError::nonsense(said())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_pass_is_tried_again_and_nothing_else() {
        let passes = |status: u16, code: &str| {
            matches!(classify(StatusCode::from_u16(status).unwrap(), code), Failure::Passing(_))
        };
        for (status, code) in
            [(500, ""), (503, "SlowDown"), (429, ""), (409, "ConditionalRequestConflict"), (400, "RequestTimeout")]
        {
            assert!(passes(status, code), "{status} {code}");
        }
        for (status, code) in
            [(403, "AccessDenied"), (404, "NoSuchKey"), (412, ""), (416, ""), (400, "InvalidArgument"), (501, "")]
        {
            assert!(!passes(status, code), "{status} {code}");
        }
        let expired = classify(StatusCode::BAD_REQUEST, "ExpiredToken");
        assert!(matches!(expired, Failure::Expired(CloudError::Denied(_))));
    }
}
