//! Google Cloud Storage, and what is read of Azure, through `object_store`'s own operations, which retry and sign by themselves.
//!
//! They can less than `s3` does: new metadata needs the content to be written again, so that none is set; the end of an upload in parts
//! and a removal are checked by a look right before, not by the bucket; and a listing ends at a key that `object_store` takes for no
//! path. Keys with a slash at their end cannot be asked for, so that no directory is kept that nothing is in.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;
use futures_util::StreamExt;
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::list::{PaginatedListOptions, PaginatedListStore};
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{
    Attribute, Attributes as Beside, Error, GetOptions, GetRange, GetResult, ObjectStore, ObjectStoreExt, PutMode,
    PutMultipartOptions, PutOptions, UpdateVersion,
};

use super::attributes::Attributes;
use super::client::{Connector, told};
use super::cloud::{Body, Cloud, Info, Job, Next, Only, Page, PageQuery, was_ours};
use super::error::{CloudError, SetupError};
use super::limits::LIMITS;
use super::location::Location;
use super::patience;

/// Everything that is asked of a client of `object_store`.
trait Client: ObjectStore + PaginatedListStore + MultipartStore {}
impl<T: ObjectStore + PaginatedListStore + MultipartStore> Client for T {}

/// A bucket of Google or a container of Azure.
pub(super) struct Other(Box<dyn Client>);

impl Other {
    pub(super) fn new(client: impl ObjectStore + PaginatedListStore + MultipartStore) -> Self {
        Self(Box::new(client))
    }

    /// The version of `key` with the ETag `tag`, as a condition: Azure takes the one, Google the other.
    async fn version(&self, key: &str, tag: &str) -> Result<UpdateVersion, CloudError> {
        let options = GetOptions { head: true, ..GetOptions::default() };
        let found = self.0.get_opts(&path(key)?, options).await.map_err(failed)?;
        if found.meta.e_tag.as_deref() != Some(tag) {
            return Err(CloudError::Precondition);
        }
        Ok(UpdateVersion { e_tag: found.meta.e_tag, version: found.meta.version })
    }
}

/// The bucket of Google `location` with `options`, which beat the variables. Sends nothing.
///
/// # Errors
/// [`SetupError`] for an option that is none, and where something is missing.
pub(super) fn google(location: &Location, options: &[(String, String)]) -> Result<Other, SetupError> {
    // Of several parts of the program that choose it, the first wins: they choose the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = GoogleCloudStorageBuilder::from_env().with_bucket_name(&location.bucket);
    builder = builder.with_http_connector(Connector(LIMITS)).with_retry(patience::config());
    for (name, value) in options {
        let key: GoogleConfigKey = name.parse().map_err(|_| unknown(location, name))?;
        builder = builder.with_config(key, value);
    }
    Ok(Other::new(builder.build().map_err(incomplete)?))
}

/// What an option is that its provider does not know.
pub(super) fn unknown(location: &Location, name: &str) -> SetupError {
    SetupError::Setting(format!("{name} is no setting of {}://", location.provider.scheme()))
}

/// What it means when no client can be made.
pub(super) fn incomplete(error: Error) -> SetupError {
    SetupError::Credentials(error.to_string())
}

impl Cloud for Other {
    fn head<'a>(&'a self, key: &'a str) -> Job<'a, Info> {
        Box::pin(async move {
            let options = GetOptions { head: true, ..GetOptions::default() };
            self.0.get_opts(&path(key)?, options).await.map(|found| info(&found)).map_err(failed)
        })
    }

    fn get<'a>(&'a self, key: &'a str, range: Range<u64>, tag: Option<&'a str>) -> Job<'a, (Info, Body)> {
        Box::pin(async move {
            let options = GetOptions {
                range: Some(GetRange::Bounded(range)),
                if_match: tag.map(str::to_owned),
                ..GetOptions::default()
            };
            let found = self.0.get_opts(&path(key)?, options).await.map_err(failed)?;
            let info = info(&found);
            Ok((info, LIMITS.pieces(found.into_stream()).boxed()))
        })
    }

    fn page<'a>(&'a self, query: &'a PageQuery) -> Job<'a, Page> {
        Box::pin(async move {
            let options = PaginatedListOptions {
                offset: query.after.clone(),
                delimiter: query.shallow.then_some(Cow::Borrowed("/")),
                max_keys: Some(query.most),
                page_token: query.token.clone(),
                ..PaginatedListOptions::default()
            };
            let prefix = (!query.prefix.is_empty()).then_some(query.prefix.as_str());
            let found = self.0.list_paginated(prefix, options).await.map_err(failed)?;
            let row = |meta: object_store::ObjectMeta| {
                let info = Info {
                    size: meta.size,
                    tag: meta.e_tag,
                    changed: meta.last_modified.timestamp(),
                    attributes: None,
                };
                (meta.location.to_string(), info)
            };
            let prefixes = found.result.common_prefixes.into_iter().map(|prefix| format!("{prefix}/"));
            let mut page = Page {
                objects: found.result.objects.into_iter().map(row).collect(),
                prefixes: prefixes.collect(),
                next: found.page_token.map(Next::Token),
            };
            page.arrange(query);
            Ok(page)
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
            if key.ends_with('/') {
                // A directory that nothing is in: there is no such key for `object_store`.
                return Ok(None);
            }
            let mode = match only {
                Only::Any => PutMode::Overwrite,
                Only::Absent => PutMode::Create,
                Only::Tag(tag) => PutMode::Update(self.version(key, tag).await?),
            };
            let options = PutOptions { mode, attributes: beside(attributes), ..PutOptions::default() };
            match self.0.put_opts(&path(key)?, content.into(), options).await.map_err(failed) {
                Ok(put) => Ok(put.e_tag),
                // An attempt before this one may have been answered, but not to us.
                Err(CloudError::Precondition) => was_ours(self, key, attributes.nonce.as_deref()).await,
                Err(error) => Err(error),
            }
        })
    }

    fn describe<'a>(&'a self, _: &'a str, _: &'a Info, _: &'a Attributes) -> Job<'a, Option<String>> {
        Box::pin(async { Err(CloudError::Unsupported) })
    }

    fn copy<'a>(
        &'a self,
        _: &'a str,
        _: &'a Info,
        _: &'a str,
        _: &'a Attributes,
        _: &'a Only,
    ) -> Job<'a, Option<String>> {
        // A copy would have the attributes of the original, its time and version among them, and could not be told from it.
        Box::pin(async { Err(CloudError::Unsupported) })
    }

    fn delete<'a>(&'a self, key: &'a str, tag: Option<&'a str>) -> Job<'a, ()> {
        Box::pin(async move {
            if key.ends_with('/') {
                return Ok(());
            }
            if tag.is_some() && self.head(key).await?.tag.as_deref() != tag {
                return Err(CloudError::Precondition);
            }
            self.0.delete(&path(key)?).await.map_err(failed)
        })
    }

    fn begin<'a>(&'a self, key: &'a str, attributes: &'a Attributes) -> Job<'a, String> {
        Box::pin(async move {
            let options = PutMultipartOptions { attributes: beside(attributes), ..PutMultipartOptions::default() };
            self.0.create_multipart_opts(&path(key)?, options).await.map_err(failed)
        })
    }

    fn part<'a>(&'a self, key: &'a str, upload: &'a str, number: usize, content: Bytes) -> Job<'a, String> {
        Box::pin(async move {
            let part =
                self.0.put_part(&path(key)?, &upload.to_owned(), number, content.into()).await.map_err(failed)?;
            Ok(part.content_id)
        })
    }

    fn complete<'a>(
        &'a self,
        key: &'a str,
        upload: &'a str,
        parts: &'a [String],
        _: &'a Attributes,
        only: &'a Only,
    ) -> Job<'a, Option<String>> {
        Box::pin(async move {
            match (self.head(key).await, only) {
                (_, Only::Any) | (Err(CloudError::Missing), Only::Absent) => {}
                (Ok(info), Only::Tag(tag)) if info.tag.as_ref() == Some(tag) => {}
                (Err(error), _) if !matches!(error, CloudError::Missing) => return Err(error),
                _ => return Err(CloudError::Precondition),
            }
            let parts = parts.iter().map(|part| PartId { content_id: part.clone() }).collect();
            let done = self.0.complete_multipart(&path(key)?, &upload.to_owned(), parts).await.map_err(failed)?;
            Ok(done.e_tag)
        })
    }

    fn abort<'a>(&'a self, key: &'a str, upload: &'a str) -> Job<'a, ()> {
        Box::pin(async move { self.0.abort_multipart(&path(key)?, &upload.to_owned()).await.map_err(failed) })
    }
}

fn path(key: &str) -> Result<Path, CloudError> {
    Path::parse(key).map_err(CloudError::nonsense)
}

/// How a name of metadata is stored: Azure takes no hyphen in it.
pub(super) fn stored_name(name: &str) -> String {
    name.replace('-', "_")
}

/// The name that is stored so.
pub(super) fn our_name(name: &str) -> String {
    name.replace('_', "-")
}

fn beside(attributes: &Attributes) -> Beside {
    let metadata = attributes.metadata().into_iter();
    metadata.map(|(name, value)| (Attribute::Metadata(stored_name(&name).into()), value)).collect()
}

fn info(found: &GetResult) -> Info {
    let mut attributes = Attributes::default();
    for (name, value) in &found.attributes {
        if let Attribute::Metadata(name) = name {
            attributes.take(&our_name(name), value);
        }
    }
    let meta = &found.meta;
    Info {
        size: meta.size,
        tag: meta.e_tag.clone(),
        changed: meta.last_modified.timestamp(),
        attributes: Some(attributes),
    }
}

fn failed(error: Error) -> CloudError {
    if let Some(told) = told(&error) {
        return told;
    }
    match error {
        Error::NotFound { .. } => CloudError::Missing,
        Error::AlreadyExists { .. } | Error::Precondition { .. } | Error::NotModified { .. } => {
            CloudError::Precondition
        }
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => CloudError::Denied(error.to_string().into()),
        Error::NotSupported { .. } | Error::NotImplemented { .. } => CloudError::Unsupported,
        Error::InvalidPath { .. } => CloudError::nonsense(error),
        error => CloudError::unavailable(error),
    }
}
