//! Azure: what is read goes through `object_store`, as in `other`; what is written are requests of our own, signed by it, so that each
//! carries its condition, and what stands beside an object, which `object_store` 0.14 does not let through everywhere.
//!
//! Parts are blocks, which lie under the name that the object will have and are nobody's until a list of them makes them the object.
//! They are named by the upload and their number. Azure forgets them when anything else is written under that name, and after a week.
//! Nothing is copied.

mod listing;

use std::ops::Range;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::header::CONTENT_LENGTH;
use http::{HeaderValue, Method, StatusCode};
use object_store::azure::{AzureAuthorizer, AzureConfigKey as Key, AzureCredentialProvider, MicrosoftAzureBuilder};
use object_store::client::{ClientConfigKey, HttpClient, HttpRequest};

use crate::bucket::attributes::Attributes;
use crate::bucket::client::Connector;
use crate::bucket::cloud::{Body, Cloud, Info, Job, Only, Page, PageQuery, was_ours, was_removed};
use crate::bucket::error::{CloudError, SetupError};
use crate::bucket::limits::LIMITS;
use crate::bucket::location::Location;
use crate::bucket::other::{self, Other};
use crate::bucket::patience;
use crate::bucket::request::{Answer, Failure, Request, Service, client};

/// The account of the emulator, unless another one is named.
const EMULATOR_ACCOUNT: &str = "devstoreaccount1";
/// Where the emulator listens, unless a variable says so.
const EMULATOR: &str = "http://127.0.0.1:10000";

/// A container of Azure.
struct Azure {
    /// Who reads.
    reader: Other,
    client: HttpClient,
    credentials: AzureCredentialProvider,
    account: String,
    /// The container's address, without a slash at its end.
    address: String,
    signs: bool,
}

/// The container `location` with `options`, which beat the variables. Sends nothing.
///
/// # Errors
/// [`SetupError`] for an option that is none, and where something is missing.
pub(super) fn connect(location: &Location, options: &[(String, String)]) -> Result<Box<dyn Cloud>, SetupError> {
    let mut builder = MicrosoftAzureBuilder::from_env().with_container_name(&location.bucket);
    builder = builder.with_http_connector(Connector(LIMITS)).with_retry(patience::config());
    for (name, value) in options {
        let key: Key = name.parse().map_err(|_| other::unknown(location, name))?;
        builder = builder.with_config(key, value);
    }
    let said = |key: Key| builder.get_config_value(&key);
    let is_on = |key: Key| said(key).is_some_and(|value| value == "true" || value == "1");
    let is_emulator = is_on(Key::UseEmulator);
    let account = said(Key::AccountName).or_else(|| is_emulator.then(|| EMULATOR_ACCOUNT.to_owned()));
    let service = match said(Key::Endpoint) {
        _ if is_emulator => Where::Emulator(std::env::var("AZURITE_BLOB_STORAGE_URL").ok()),
        Some(endpoint) => Where::Endpoint(endpoint),
        None if is_on(Key::UseFabricEndpoint) => Where::Fabric,
        None => Where::Azure,
    };
    let client = client(|key| match key {
        ClientConfigKey::AllowHttp if is_emulator => Some("true".to_owned()),
        key => said(Key::Client(key)),
    })?;
    let (signs, has_own_key) = (!is_on(Key::SkipSignature), said(Key::EncryptionKey).is_some());
    let built = builder.build().map_err(other::incomplete)?;
    let credentials = std::sync::Arc::clone(built.credentials());
    let reader = Other::new(built);
    // Keys of the customer's own stand in headers that only `object_store` makes.
    match account {
        Some(account) if !has_own_key => {
            let address = service.address(&account, &location.bucket);
            Ok(Box::new(Azure { reader, client, credentials, account, address, signs }))
        }
        _ => Ok(Box::new(reader)),
    }
}

/// Where containers are.
enum Where {
    /// The emulator, at this address or the usual one.
    Emulator(Option<String>),
    Endpoint(String),
    Fabric,
    Azure,
}

impl Where {
    /// The address of `container`, as `object_store` makes it.
    fn address(&self, account: &str, container: &str) -> String {
        let end = |address: &str| address.trim_end_matches('/').to_owned();
        match self {
            Self::Emulator(named) => format!("{}/{account}/{container}", end(named.as_deref().unwrap_or(EMULATOR))),
            Self::Endpoint(named) => format!("{}/{container}", end(named)),
            Self::Fabric => format!("https://{account}.blob.fabric.microsoft.com/{container}"),
            Self::Azure => format!("https://{account}.blob.core.windows.net/{container}"),
        }
    }
}

impl Azure {
    fn put_request(&self, key: &str) -> Request<'_> {
        Request::new(self, Method::PUT, key)
    }
}

impl Service for Azure {
    fn client(&self) -> &HttpClient {
        &self.client
    }

    fn address(&self) -> &str {
        &self.address
    }

    fn sign<'a>(&'a self, request: &'a mut HttpRequest) -> BoxFuture<'a, Result<(), CloudError>> {
        Box::pin(async move {
            let length = HeaderValue::from(request.body().content_length());
            request.headers_mut().insert(CONTENT_LENGTH, length);
            if !self.signs {
                return Ok(());
            }
            let denied = |e: object_store::Error| CloudError::Denied(e.to_string().into());
            let credential = self.credentials.get_credential().await.map_err(denied)?;
            AzureAuthorizer::new(&credential, &self.account).try_authorize(request).map_err(denied)
        })
    }

    fn failure(&self, status: StatusCode, code: &str) -> Failure {
        classify(status, code)
    }
}

/// What a status and Azure's own code mean.
fn classify(status: StatusCode, code: &str) -> Failure {
    let said = || match code {
        "" => status.to_string(),
        code => format!("{status}, {code}"),
    };
    match (status.as_u16(), code) {
        (_, "ContainerNotFound") => Failure::Final(CloudError::NoBucket),
        // What an attempt with a lost answer has removed.
        (404, _) => Failure::Condition(CloudError::Missing),
        // Blocks that are an object already, or were forgotten because another one was written.
        (_, "InvalidBlockList") => Failure::Condition(CloudError::Missing),
        (_, "BlobAlreadyExists" | "ConditionNotMet") => Failure::Condition(CloudError::Precondition),
        // Somebody holds a lease, or asked for what is there to stay.
        (_, "LeaseIdMissing" | "LeaseLost" | "BlobImmutableDueToPolicy" | "SnapshotsPresent" | "BlobArchived") => {
            Failure::Final(CloudError::Denied(said().into()))
        }
        (412, _) => Failure::Condition(CloudError::Precondition),
        (401, "InvalidAuthenticationInfo") => Failure::Expired(CloudError::Denied(said().into())),
        (401 | 403, _) => Failure::Final(CloudError::Denied(said().into())),
        (501, _) => Failure::Final(CloudError::Unsupported),
        (408 | 409 | 429 | 500..=599, _) => Failure::Passing(CloudError::unavailable(said())),
        _ => Failure::Final(CloudError::nonsense(said())),
    }
}

impl Cloud for Azure {
    fn head<'a>(&'a self, key: &'a str) -> Job<'a, Info> {
        self.reader.head(key)
    }

    fn get<'a>(&'a self, key: &'a str, range: Range<u64>, tag: Option<&'a str>) -> Job<'a, (Info, Body)> {
        self.reader.get(key, range, tag)
    }

    fn page<'a>(&'a self, query: &'a PageQuery) -> Job<'a, Page> {
        Box::pin(async move {
            let mut request = Request::new(self, Method::GET, "").query("restype", "container").query("comp", "list");
            request = request.query("include", "metadata").query("prefix", &query.prefix);
            request = request.query("maxresults", &query.most.to_string());
            if query.shallow {
                request = request.query("delimiter", "/");
            }
            match (&query.token, &query.after) {
                (Some(token), _) => request = request.query("marker", token),
                (None, Some(after)) => request = request.query("startFrom", after),
                (None, None) => {}
            }
            let (answer, _) = request.document().send().await?;
            listing::page(&answer.document, query)
        })
    }

    fn put<'a>(
        &'a self,
        key: &'a str,
        content: Bytes,
        attributes: &'a Attributes,
        only: &'a Only,
    ) -> Job<'a, Option<String>> {
        Box::pin(async move {
            let request = self.put_request(key).header("x-ms-blob-type", "BlockBlob").content(content);
            match with_attributes(request, attributes).only(only).send().await {
                Ok((answer, _)) => Ok(tag(&answer)),
                Err(CloudError::Doubtful) => was_ours(self, key, attributes.nonce.as_deref()).await,
                // Accounts with directories of their own need no object that keeps one, and may take none.
                Err(CloudError::Nonsense(_)) if key.ends_with('/') => Ok(None),
                Err(error) => Err(error),
            }
        })
    }

    fn describe<'a>(&'a self, key: &'a str, info: &'a Info, attributes: &'a Attributes) -> Job<'a, Option<String>> {
        Box::pin(async move {
            let request = with_attributes(self.put_request(key).query("comp", "metadata"), attributes);
            match request.of(info.tag.as_deref()).send().await {
                Ok((answer, _)) => Ok(tag(&answer)),
                Err(CloudError::Doubtful) => was_ours(self, key, attributes.nonce.as_deref()).await,
                Err(error) => Err(error),
            }
        })
    }

    fn copy<'a>(
        &'a self,
        _: &'a str,
        _: &'a Info,
        _: &'a str,
        _: &'a Attributes,
        _: &'a Only,
    ) -> Job<'a, Option<String>> {
        // Azure may say that a copy is under way, and finish it when it likes.
        Box::pin(async { Err(CloudError::Unsupported) })
    }

    fn delete<'a>(&'a self, key: &'a str, tag: Option<&'a str>) -> Job<'a, ()> {
        Box::pin(async move {
            match Request::new(self, Method::DELETE, key).of(tag).send().await {
                Ok(_) => Ok(()),
                Err(CloudError::Doubtful) => was_removed(self, key, tag).await,
                // A directory that only shows in what is below it.
                Err(CloudError::Missing) if key.ends_with('/') => Ok(()),
                Err(error) => Err(error),
            }
        })
    }

    fn begin<'a>(&'a self, _: &'a str, _: &'a Attributes) -> Job<'a, String> {
        // Nothing is begun there: the name sets these blocks apart from those of another upload of the same object.
        Box::pin(async { Ok(format!("{:024x}", fastrand::u128(..) >> 32)) })
    }

    fn part<'a>(&'a self, key: &'a str, upload: &'a str, number: usize, content: Bytes) -> Job<'a, String> {
        Box::pin(async move {
            // Has to be Base64, all of one length: so are 32 hexadecimal digits.
            let block = format!("{upload}{number:08x}");
            let request = self.put_request(key).query("comp", "block").query("blockid", &block);
            request.content(content).send().await?;
            Ok(block)
        })
    }

    fn complete<'a>(
        &'a self,
        key: &'a str,
        _: &'a str,
        parts: &'a [String],
        attributes: &'a Attributes,
        only: &'a Only,
    ) -> Job<'a, Option<String>> {
        Box::pin(async move {
            let request = self.put_request(key).query("comp", "blocklist").content(block_list(parts));
            match with_attributes(request, attributes).only(only).send().await {
                Ok((answer, _)) => Ok(tag(&answer)),
                Err(CloudError::Doubtful) => was_ours(self, key, attributes.nonce.as_deref()).await,
                // Somebody else has written an object of this name meanwhile.
                Err(CloudError::Missing) if *only == Only::Any => {
                    Err(CloudError::unavailable("another upload of the same name has ended first"))
                }
                Err(CloudError::Missing) => Err(CloudError::Precondition),
                Err(error) => Err(error),
            }
        })
    }

    fn abort<'a>(&'a self, _: &'a str, _: &'a str) -> Job<'a, ()> {
        // There is no such request: Azure forgets blocks by itself.
        Box::pin(async { Ok(()) })
    }
}

fn block_list(blocks: &[String]) -> Bytes {
    let mut list = String::from("<?xml version=\"1.0\" encoding=\"utf-8\"?><BlockList>");
    for block in blocks {
        list.push_str("<Uncommitted>");
        list.push_str(block);
        list.push_str("</Uncommitted>");
    }
    list.push_str("</BlockList>");
    list.into()
}

fn tag(answer: &Answer) -> Option<String> {
    answer.text("etag").map(str::to_owned)
}

fn with_attributes<'a>(mut request: Request<'a>, attributes: &Attributes) -> Request<'a> {
    for (name, value) in attributes.metadata() {
        request = request.header(&format!("x-ms-meta-{}", other::stored_name(&name)), &value);
    }
    request
}

#[cfg(test)]
mod tests;
