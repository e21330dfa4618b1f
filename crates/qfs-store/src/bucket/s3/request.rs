//! One request to S3: its address, its signature, and its retries, with jitter and until a deadline.

use bytes::Bytes;
use futures_util::StreamExt;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use object_store::aws::AwsAuthorizer;
use object_store::client::{HttpRequest, HttpRequestBody, HttpResponse};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::S3;
use super::xml;
use crate::bucket::error::CloudError;
use crate::bucket::patience::Patience;

/// Most bytes of a document that are read: a page of 1,000 keys of 1,024 bytes, each escaped, and room besides.
const MAX_DOCUMENT_BYTES: usize = 16 << 20;
/// Most bytes of an error that are read.
const MAX_ERROR_BYTES: usize = 64 << 10;

/// What stands in an address as it is.
const KEPT: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const KEPT_IN_KEYS: AsciiSet = KEPT.remove(b'/');

/// A request that is not sent yet.
pub(super) struct Request<'a> {
    bucket: &'a S3,
    method: Method,
    address: String,
    headers: HeaderMap,
    content: Bytes,
    has_document: bool,
}

impl S3 {
    /// A request for `key`, which is empty for the bucket itself.
    pub(super) fn request(&self, method: Method, key: &str) -> Request<'_> {
        let address = match key {
            "" => self.address.clone(),
            key => format!("{}/{}", self.address, utf8_percent_encode(key, &KEPT_IN_KEYS)),
        };
        Request { bucket: self, method, address, headers: HeaderMap::new(), content: Bytes::new(), has_document: false }
    }

    /// `key` as the source of a copy.
    pub(super) fn source(&self, key: &str) -> String {
        format!("/{}/{}", self.bucket, utf8_percent_encode(key, &KEPT_IN_KEYS))
    }
}

impl Request<'_> {
    /// Appends `name=value` to the address.
    pub(super) fn query(mut self, name: &str, value: &str) -> Self {
        self.address.push(if self.address.contains('?') { '&' } else { '?' });
        self.address.push_str(name);
        self.address.push('=');
        self.address.extend(utf8_percent_encode(value, &KEPT));
        self
    }

    /// Adds a header; one that cannot be sent is left out.
    pub(super) fn header(mut self, name: &str, value: &str) -> Self {
        match (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value)) {
            (Ok(name), Ok(value)) => drop(self.headers.insert(name, value)),
            _ => tracing::warn!(name, "a header that cannot be sent to the bucket"),
        }
        self
    }

    pub(super) fn content(mut self, content: Bytes) -> Self {
        self.content = content;
        self
    }

    /// The answer may say 200 and hold an error: it is read before it is believed.
    pub(super) fn document(mut self) -> Self {
        self.has_document = true;
        self
    }

    /// Sends it until there is an answer. Returns that, and how many attempts failed before.
    ///
    /// # Errors
    /// What the last attempt failed with.
    pub(super) async fn send(self) -> Result<(Answer, u32), CloudError> {
        let mut patience = Patience::new();
        let mut is_renewed = false;
        loop {
            let why = match self.attempt().await {
                Ok(answer) => return Ok((answer, patience.failed)),
                Err(Failure::Final(error)) => return Err(error),
                // The provider of credentials may have newer ones.
                Err(Failure::Expired(error)) if is_renewed => return Err(error),
                Err(Failure::Expired(error)) => {
                    is_renewed = true;
                    error
                }
                Err(Failure::Passing(error)) => error,
                // Somebody else may have made it true meanwhile; and it may have been this request, whose answer was lost.
                Err(Failure::Condition(_)) if patience.failed > 0 => return Err(CloudError::Doubtful),
                Err(Failure::Condition(error)) => return Err(error),
            };
            patience.again(why).await?;
        }
    }

    async fn attempt(&self) -> Result<Answer, Failure> {
        let mut request = HttpRequest::new(HttpRequestBody::from(self.content.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.address.parse().map_err(|e| Failure::Final(CloudError::nonsense(e)))?;
        *request.headers_mut() = self.headers.clone();
        if self.bucket.signs {
            let credential = self.bucket.credentials.get_credential().await;
            let credential = credential.map_err(|e| Failure::Final(CloudError::Denied(e.to_string().into())))?;
            AwsAuthorizer::new(&credential, "s3", &self.bucket.region)
                .with_sign_payload(self.bucket.signs_content)
                .try_authorize(&mut request, None)
                .map_err(|e| Failure::Final(CloudError::Denied(e.to_string().into())))?;
        }
        let answer = self.bucket.client.execute(request).await;
        let answer = answer.map_err(|e| Failure::Passing(CloudError::unavailable(deepest(&e))))?;
        if !answer.status().is_success() {
            return Err(failure(answer).await);
        }
        if !self.has_document {
            let (parts, body) = answer.into_parts();
            let body = body.bytes_stream().map(|piece| piece.map_err(|e| CloudError::unavailable(deepest(&e))));
            return Ok(Answer { headers: parts.headers, body: body.boxed(), document: Bytes::new() });
        }
        let (parts, body) = answer.into_parts();
        let document = read(body.bytes_stream(), MAX_DOCUMENT_BYTES).await.map_err(Failure::Passing)?;
        match xml::error_code(&document) {
            Some(code) => Err(classify(StatusCode::INTERNAL_SERVER_ERROR, &code)),
            None => Ok(Answer { headers: parts.headers, body: futures_util::stream::empty().boxed(), document }),
        }
    }
}

/// What a bucket answered.
pub(super) struct Answer {
    pub(super) headers: HeaderMap,
    pub(super) body: crate::bucket::cloud::Body,
    /// The body, where it was read already.
    pub(super) document: Bytes,
}

impl Answer {
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// What becomes of an attempt that failed.
enum Failure {
    /// It may be different the next time.
    Passing(CloudError),
    /// The credentials were good for too short a time.
    Expired(CloudError),
    /// A condition does not hold.
    Condition(CloudError),
    /// It stays so.
    Final(CloudError),
}

async fn failure(answer: HttpResponse) -> Failure {
    let (parts, body) = answer.into_parts();
    let document = read(body.bytes_stream(), MAX_ERROR_BYTES).await.unwrap_or_default();
    let code = xml::error_code(&document).unwrap_or_default();
    classify(parts.status, &code)
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

/// All of a body that has no more than `most` bytes.
async fn read<E: std::error::Error + Send + Sync + 'static>(
    mut body: impl futures_util::Stream<Item = Result<Bytes, E>> + Unpin,
    most: usize,
) -> Result<Bytes, CloudError> {
    let mut whole = Vec::new();
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(|e| CloudError::unavailable(deepest(&e)))?;
        if whole.len() + piece.len() > most {
            return Err(CloudError::nonsense("a document without end"));
        }
        whole.extend_from_slice(&piece);
    }
    Ok(whole.into())
}

/// The cause of all causes: what stands above it names addresses only.
fn deepest(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
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
