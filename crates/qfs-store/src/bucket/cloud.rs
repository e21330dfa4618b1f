//! What the store asks of a bucket, whoever provides it. Every request is retried inside until it has an answer or its deadline has
//! passed; nothing here knows of names, directories or versions of qfs.

use std::ops::Range;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;

use super::attributes::Attributes;
pub(super) use super::attributes::Info;
use super::error::CloudError;

/// A request under way.
pub(super) type Job<'a, T> = BoxFuture<'a, Result<T, CloudError>>;

/// What a condition of the bucket says must be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Only {
    /// Whatever is.
    Any,
    /// Nothing.
    Absent,
    /// The object with this ETag.
    Tag(String),
}

/// Which part of a listing is asked for.
#[derive(Debug, Clone, Default)]
pub(super) struct PageQuery {
    /// Keys begin with this.
    pub(super) prefix: String,
    /// Keys are behind this one.
    pub(super) after: Option<String>,
    /// What the page before said.
    pub(super) token: Option<String>,
    /// Keys with another slash behind the prefix are put together.
    pub(super) shallow: bool,
    /// Most rows.
    pub(super) most: usize,
}

impl PageQuery {
    /// Asks for the page that `next` names.
    ///
    /// # Errors
    /// [`CloudError::Nonsense`] when that is this one again, or one before it.
    pub(super) fn go_on(&mut self, next: Next) -> Result<(), CloudError> {
        match next {
            Next::Token(token) if self.token.as_ref() != Some(&token) => self.token = Some(token),
            Next::After(after) if self.after.as_ref() < Some(&after) => {
                (self.token, self.after) = (None, Some(after));
            }
            _ => return Err(CloudError::nonsense("a listing that does not go on")),
        }
        Ok(())
    }
}

/// One page of a listing.
#[derive(Debug, Default)]
pub(super) struct Page {
    /// In the order of the keys.
    pub(super) objects: Vec<(String, Info)>,
    /// What was put together, each with its slash, in order.
    pub(super) prefixes: Vec<String>,
    /// How to ask for the next page; None at the end.
    pub(super) next: Option<Next>,
}

impl Page {
    /// Leaves out what is not behind where `query` begins, which not everybody heeds, and puts the rest in order.
    pub(super) fn arrange(&mut self, query: &PageQuery) {
        self.objects.retain(|(key, _)| query.after.as_ref().is_none_or(|after| key > after));
        self.objects.sort_by(|(a, _), (b, _)| a.cmp(b));
    }
}

/// How a listing goes on.
#[derive(Debug, Clone)]
pub(super) enum Next {
    /// With this token.
    Token(String),
    /// Behind this key.
    After(String),
}

/// The body of an answer.
pub(super) type Body = BoxStream<'static, Result<Bytes, CloudError>>;

/// A bucket.
pub(super) trait Cloud: Send + Sync + 'static {
    /// What is known of `key`, attributes too.
    fn head<'a>(&'a self, key: &'a str) -> Job<'a, Info>;

    /// `range` of `key`, as far as there is anything of it, of the object with the ETag `tag` where one is given. The body may break
    /// off; whoever reads it counts.
    fn get<'a>(&'a self, key: &'a str, range: Range<u64>, tag: Option<&'a str>) -> Job<'a, (Info, Body)>;

    /// One page of the keys.
    fn page<'a>(&'a self, query: &'a PageQuery) -> Job<'a, Page>;

    /// Makes `content` the object `key`; its ETag.
    fn put<'a>(
        &'a self,
        key: &'a str,
        content: Bytes,
        attributes: &'a Attributes,
        only: &'a Only,
    ) -> Job<'a, Option<String>>;

    /// Stores other attributes beside the object `key` that `info` describes, without moving its content through here; its ETag then.
    fn describe<'a>(&'a self, key: &'a str, info: &'a Info, attributes: &'a Attributes) -> Job<'a, Option<String>>;

    /// Makes `to` a copy of the object `from` that `info` describes, with these attributes; its ETag.
    fn copy<'a>(
        &'a self,
        from: &'a str,
        info: &'a Info,
        to: &'a str,
        attributes: &'a Attributes,
        only: &'a Only,
    ) -> Job<'a, Option<String>>;

    /// Removes `key`, if it has the ETag `tag` where one is given.
    fn delete<'a>(&'a self, key: &'a str, tag: Option<&'a str>) -> Job<'a, ()>;

    /// Begins an upload in parts of an object with these attributes; its name.
    fn begin<'a>(&'a self, key: &'a str, attributes: &'a Attributes) -> Job<'a, String>;

    /// Uploads part `number`, from 0; its ETag, or what else names it.
    fn part<'a>(&'a self, key: &'a str, upload: &'a str, number: usize, content: Bytes) -> Job<'a, String>;

    /// Makes the parts the object, in one step; its ETag. The attributes are those that the upload began with.
    fn complete<'a>(
        &'a self,
        key: &'a str,
        upload: &'a str,
        parts: &'a [String],
        attributes: &'a Attributes,
        only: &'a Only,
    ) -> Job<'a, Option<String>>;

    /// Forgets the parts.
    fn abort<'a>(&'a self, key: &'a str, upload: &'a str) -> Job<'a, ()>;
}

/// Whether what is under `key` is what an attempt wrote whose answer was lost, as `nonce` shows; its ETag.
///
/// # Errors
/// [`CloudError::Precondition`] when it is not; what looking failed with.
pub(super) async fn was_ours(cloud: &dyn Cloud, key: &str, nonce: Option<&str>) -> Result<Option<String>, CloudError> {
    match cloud.head(key).await {
        Ok(info) if nonce.is_some() && info.attributes.as_ref().and_then(|a| a.nonce.as_deref()) == nonce => {
            Ok(info.tag)
        }
        Ok(_) | Err(CloudError::Missing) => Err(CloudError::Precondition),
        Err(error) => Err(error),
    }
}

/// What a refusal means of a removal under the condition `tag`, where an attempt before it had no answer and may have been the one that
/// removed the object.
///
/// # Errors
/// [`CloudError::Precondition`] when something is there; what looking failed with.
pub(super) async fn was_removed(cloud: &dyn Cloud, key: &str, tag: Option<&str>) -> Result<(), CloudError> {
    if tag.is_none() {
        // Without a condition only that nothing was there can have been refused.
        return Ok(());
    }
    match cloud.head(key).await {
        Err(CloudError::Missing) => Ok(()),
        Ok(_) => Err(CloudError::Precondition),
        Err(error) => Err(error),
    }
}
