//! One request to a bucket: its address, its signature, and its retries, with jitter and until a deadline. How it is signed and what a
//! refusal means, the [`Service`] knows.

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use object_store::ClientOptions;
use object_store::client::{
    ClientConfigKey, HttpClient, HttpConnector, HttpRequest, HttpRequestBody, HttpResponse, ReqwestConnector,
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::time::Instant;

use super::cloud::{Body, Only};
use super::error::{CloudError, SetupError};
use super::limits::{LIMITS, Limits, deepest};
use super::patience::Patience;
use super::s3::error_code;

/// Most bytes of a document that are read: a page of 1,000 keys of 1,024 bytes, each escaped, and room besides.
pub(super) const MAX_DOCUMENT_BYTES: usize = 16 << 20;
/// Most bytes of an error that are read.
const MAX_ERROR_BYTES: usize = 64 << 10;

/// What stands in an address as it is.
const KEPT: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const KEPT_IN_KEYS: AsciiSet = KEPT.remove(b'/');

/// Settings of the client that are taken from the variables and options.
const CLIENT: [ClientConfigKey; 8] = [
    ClientConfigKey::AllowHttp,
    ClientConfigKey::AllowInvalidCertificates,
    ClientConfigKey::ConnectTimeout,
    ClientConfigKey::PoolIdleTimeout,
    ClientConfigKey::PoolMaxIdlePerHost,
    ClientConfigKey::ProxyUrl,
    ClientConfigKey::ProxyCaCertificate,
    ClientConfigKey::ProxyExcludes,
];

/// Whom requests go to.
pub(super) trait Service: Send + Sync {
    fn client(&self) -> &HttpClient;

    /// The bucket's address, without a slash at its end.
    fn address(&self) -> &str;

    /// Signs a request, with credentials that are good now.
    ///
    /// # Errors
    /// [`CloudError::Denied`] where there are none.
    fn sign<'a>(&'a self, request: &'a mut HttpRequest) -> BoxFuture<'a, Result<(), CloudError>>;

    /// What a status and the service's own code mean.
    fn failure(&self, status: StatusCode, code: &str) -> Failure;

    /// How long it may take.
    fn limits(&self) -> Limits {
        LIMITS
    }
}

/// A client that has what `said` knows of the settings.
///
/// # Errors
/// [`SetupError::Setting`] for what cannot be.
pub(super) fn client(said: impl Fn(ClientConfigKey) -> Option<String>) -> Result<HttpClient, SetupError> {
    // Of several parts of the program that choose it, the first wins: they choose the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut options = ClientOptions::new().with_timeout_disabled();
    for key in CLIENT {
        if let Some(value) = said(key) {
            options = options.with_config(key, value);
        }
    }
    ReqwestConnector::default().connect(&options).map_err(|e| SetupError::Setting(e.to_string()))
}

/// `key` as it stands in an address.
pub(super) fn in_address(key: &str) -> impl std::fmt::Display + '_ {
    utf8_percent_encode(key, &KEPT_IN_KEYS)
}

/// A request that is not sent yet.
pub(super) struct Request<'a> {
    service: &'a dyn Service,
    method: Method,
    address: String,
    headers: HeaderMap,
    content: Bytes,
    has_document: bool,
    moved: u64,
}

impl<'a> Request<'a> {
    /// A request for `key`, which is empty for the bucket itself.
    pub(super) fn new(service: &'a dyn Service, method: Method, key: &str) -> Self {
        let address = match key {
            "" => service.address().to_owned(),
            key => format!("{}/{}", service.address(), in_address(key)),
        };
        let (headers, content) = (HeaderMap::new(), Bytes::new());
        Self { service, method, address, headers, content, has_document: false, moved: 0 }
    }

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

    /// Of the object with the ETag `tag`, where one is given.
    pub(super) fn of(self, tag: Option<&str>) -> Self {
        match tag {
            Some(tag) => self.header("if-match", tag),
            None => self,
        }
    }

    /// Under this condition.
    pub(super) fn only(self, only: &Only) -> Self {
        match only {
            Only::Any => self,
            Only::Absent => self.header("if-none-match", "*"),
            Only::Tag(tag) => self.of(Some(tag)),
        }
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

    /// The bucket has to move `bytes` by itself before it can answer.
    pub(super) fn moving(mut self, bytes: u64) -> Self {
        self.moved = bytes;
        self
    }

    /// Sends it until there is an answer. Returns that, and how many attempts failed before.
    ///
    /// # Errors
    /// What the last attempt failed with.
    pub(super) async fn send(self) -> Result<(Answer, u32), CloudError> {
        let limits = self.service.limits();
        let mut patience = Patience::within(&limits);
        let mut is_renewed = false;
        loop {
            let begun = Instant::now();
            let why = match self.attempt().await {
                Ok(answer) => return Ok((answer, patience.failed)),
                // What is to be removed may have been by this request, whose answer was lost.
                Err(Failure::Final(CloudError::Missing)) if patience.failed > 0 && self.method == Method::DELETE => {
                    return Err(CloudError::Doubtful);
                }
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
            // What is sent slowly is tried again as often as what is not.
            patience.pass_over(begun.elapsed().saturating_sub(limits.quiet));
            patience.again(why).await?;
        }
    }

    async fn attempt(&self) -> Result<Answer, Failure> {
        let mut request = HttpRequest::new(HttpRequestBody::from(self.content.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.address.parse().map_err(|e| Failure::Final(CloudError::nonsense(e)))?;
        *request.headers_mut() = self.headers.clone();
        self.service.sign(&mut request).await.map_err(Failure::Final)?;
        let limits = self.service.limits();
        let answer = limits.answer(self.service.client(), request, self.moved).await;
        let answer = answer.map_err(|e| Failure::Passing(CloudError::unavailable(deepest(&e))))?;
        if !answer.status().is_success() {
            return Err(self.refusal(answer).await);
        }
        let (parts, body) = answer.into_parts();
        let body = limits.pieces(body.bytes_stream()).boxed();
        if !self.has_document {
            return Ok(Answer { headers: parts.headers, body, document: Bytes::new() });
        }
        let document = read(body, MAX_DOCUMENT_BYTES).await.map_err(Failure::Passing)?;
        match error_code(&document) {
            Some(code) => Err(self.service.failure(StatusCode::INTERNAL_SERVER_ERROR, &code)),
            None => Ok(Answer { headers: parts.headers, body: futures_util::stream::empty().boxed(), document }),
        }
    }

    async fn refusal(&self, answer: HttpResponse) -> Failure {
        let (parts, body) = answer.into_parts();
        let document =
            read(self.service.limits().pieces(body.bytes_stream()).boxed(), MAX_ERROR_BYTES).await.unwrap_or_default();
        // Azure says it in a header too, and a HEAD has nothing else.
        let told = parts.headers.get("x-ms-error-code").and_then(|code| code.to_str().ok()).map(str::to_owned);
        let code = error_code(&document).or(told).unwrap_or_default();
        self.service.failure(parts.status, &code)
    }
}

/// What a bucket answered.
pub(super) struct Answer {
    pub(super) headers: HeaderMap,
    pub(super) body: Body,
    /// The body, where it was read already.
    pub(super) document: Bytes,
}

impl Answer {
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// What becomes of an attempt that failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// It may be different the next time.
    Passing(CloudError),
    /// The credentials were good for too short a time.
    Expired(CloudError),
    /// A condition does not hold.
    Condition(CloudError),
    /// It stays so.
    Final(CloudError),
}

/// All of a body that has no more than `most` bytes.
///
/// # Errors
/// What the body ends with; [`CloudError::Nonsense`] where it has more.
pub(super) async fn read(mut body: Body, most: usize) -> Result<Bytes, CloudError> {
    let mut whole = Vec::new();
    while let Some(piece) = body.next().await {
        let piece = piece?;
        if whole.len() + piece.len() > most {
            return Err(CloudError::nonsense("a document without end"));
        }
        whole.extend_from_slice(&piece);
    }
    Ok(whole.into())
}

#[cfg(test)]
mod tests;
