//! What the store asks of a bucket, as requests of S3.

use std::ops::Range;
use std::time::UNIX_EPOCH;

use bytes::Bytes;
use http::Method;

use super::{S3, xml};
use crate::bucket::attributes::Attributes;
use crate::bucket::cloud::{Body, Cloud, Info, Job, Only, Page, PageQuery, was_ours, was_removed};
use crate::bucket::error::CloudError;
use crate::bucket::request::{Answer, Request};
use crate::bucket::stage::PART;

/// In front of the names of user metadata.
const METADATA: &str = "x-amz-meta-";
/// Fields that belong to an object and are kept when its metadata changes.
const FIELDS: [&str; 5] =
    ["cache-control", "content-disposition", "content-encoding", "content-language", "content-type"];

impl Cloud for S3 {
    fn head<'a>(&'a self, key: &'a str) -> Job<'a, Info> {
        Box::pin(async move {
            let (answer, _) = self.request(Method::HEAD, key).send().await?;
            let size = answer.text("content-length").and_then(|size| size.parse().ok());
            info(&answer, size.ok_or_else(|| CloudError::nonsense("no length"))?)
        })
    }

    fn get<'a>(&'a self, key: &'a str, range: Range<u64>, tag: Option<&'a str>) -> Job<'a, (Info, Body)> {
        Box::pin(async move {
            let last = if range.end > MAX_END { String::new() } else { (range.end - 1).to_string() };
            let request = self.request(Method::GET, key).header("range", &format!("bytes={}-{last}", range.start));
            let (answer, _) = request.of(tag).send().await?;
            let told = answer.text("content-range").and_then(content_range);
            let (start, size) =
                told.ok_or_else(|| CloudError::nonsense("an answer without the range that was asked for"))?;
            if start != range.start {
                return Err(CloudError::nonsense("another range than was asked for"));
            }
            let info = info(&answer, size)?;
            if tag.is_some_and(|tag| info.tag.as_deref().is_some_and(|is| is != tag)) {
                return Err(CloudError::Precondition);
            }
            Ok((info, answer.body))
        })
    }

    fn page<'a>(&'a self, query: &'a PageQuery) -> Job<'a, Page> {
        Box::pin(async move {
            let mut request = self.request(Method::GET, "").query("list-type", "2").query("prefix", &query.prefix);
            request = request.query("max-keys", &query.most.to_string());
            if query.shallow {
                request = request.query("delimiter", "/");
            }
            match (&query.token, &query.after) {
                (Some(token), _) => request = request.query("continuation-token", token),
                (None, Some(after)) => request = request.query("start-after", after),
                (None, None) => {}
            }
            let (answer, _) = request.document().send().await?;
            xml::page(&answer.document)
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
            let request = with_attributes(self.request(Method::PUT, key), attributes).content(content);
            match request.only(only).send().await {
                Ok((answer, _)) => Ok(answer.text("etag").map(str::to_owned)),
                Err(CloudError::Doubtful) => was_ours(self, key, attributes.nonce.as_deref()).await,
                Err(error) => Err(error),
            }
        })
    }

    fn describe<'a>(&'a self, key: &'a str, info: &'a Info, attributes: &'a Attributes) -> Job<'a, Option<String>> {
        self.copy(key, info, key, attributes, &Only::Any)
    }

    fn copy<'a>(
        &'a self,
        from: &'a str,
        info: &'a Info,
        to: &'a str,
        attributes: &'a Attributes,
        only: &'a Only,
    ) -> Job<'a, Option<String>> {
        Box::pin(async move {
            let mut request = self.request(Method::PUT, to).header("x-amz-copy-source", &self.source(from));
            request = with_attributes(request.header("x-amz-metadata-directive", "REPLACE"), attributes);
            if let Some(tag) = &info.tag {
                request = request.header("x-amz-copy-source-if-match", tag);
            }
            match request.moving(info.size).only(only).document().send().await {
                Ok((answer, _)) => Ok(xml::text_of(&answer.document, &["CopyObjectResult", "ETag"])),
                Err(CloudError::Doubtful) => was_ours(self, to, attributes.nonce.as_deref()).await,
                Err(error) => Err(error),
            }
        })
    }

    fn delete<'a>(&'a self, key: &'a str, tag: Option<&'a str>) -> Job<'a, ()> {
        Box::pin(async move {
            match self.request(Method::DELETE, key).of(tag).send().await {
                Ok(_) => Ok(()),
                Err(CloudError::Doubtful) => was_removed(self, key, tag).await,
                Err(error) => Err(error),
            }
        })
    }

    fn begin<'a>(&'a self, key: &'a str, attributes: &'a Attributes) -> Job<'a, String> {
        Box::pin(async move {
            let request = with_attributes(self.request(Method::POST, key).query("uploads", ""), attributes);
            let (answer, _) = request.document().send().await?;
            let upload = xml::text_of(&answer.document, &["InitiateMultipartUploadResult", "UploadId"]);
            upload.ok_or_else(|| CloudError::nonsense("an upload without a name"))
        })
    }

    fn part<'a>(&'a self, key: &'a str, upload: &'a str, number: usize, content: Bytes) -> Job<'a, String> {
        Box::pin(async move {
            let request = self.request(Method::PUT, key).query("partNumber", &(number + 1).to_string());
            let (answer, _) = request.query("uploadId", upload).content(content).send().await?;
            answer.text("etag").map(str::to_owned).ok_or_else(|| CloudError::nonsense("a part without an ETag"))
        })
    }

    fn complete<'a>(
        &'a self,
        key: &'a str,
        upload: &'a str,
        parts: &'a [String],
        attributes: &'a Attributes,
        only: &'a Only,
    ) -> Job<'a, Option<String>> {
        Box::pin(async move {
            let request = self.request(Method::POST, key).query("uploadId", upload).content(xml::parts(parts));
            // Amazon answers at once and then takes its time; others put the parts together before.
            match request.moving(parts.len() as u64 * PART).only(only).document().send().await {
                Ok((answer, _)) => Ok(xml::text_of(&answer.document, &["CompleteMultipartUploadResult", "ETag"])),
                Err(CloudError::Doubtful) => was_ours(self, key, attributes.nonce.as_deref()).await,
                Err(error) => Err(error),
            }
        })
    }

    fn abort<'a>(&'a self, key: &'a str, upload: &'a str) -> Job<'a, ()> {
        Box::pin(async move { self.request(Method::DELETE, key).query("uploadId", upload).send().await.map(drop) })
    }
}

/// No object is longer; a larger end means all there is.
const MAX_END: u64 = 1 << 50;

fn with_attributes<'a>(mut request: Request<'a>, attributes: &Attributes) -> Request<'a> {
    for (name, value) in attributes.metadata() {
        request = request.header(&format!("{METADATA}{name}"), &value);
    }
    for (name, value) in &attributes.fields {
        request = request.header(name, value);
    }
    request
}

/// What the head of an answer says of an object of `size` bytes.
fn info(answer: &Answer, size: u64) -> Result<Info, CloudError> {
    let changed = answer.text("last-modified").and_then(|text| httpdate::parse_http_date(text).ok());
    let changed = changed.and_then(|at| at.duration_since(UNIX_EPOCH).ok()).map_or(0, |since| since.as_secs());
    let mut attributes = Attributes::default();
    for (name, value) in &answer.headers {
        let Ok(value) = value.to_str() else { continue };
        if let Some(name) = name.as_str().strip_prefix(METADATA) {
            attributes.take(name, value);
        } else if FIELDS.contains(&name.as_str()) {
            attributes.fields.push((name.as_str().to_owned(), value.to_owned()));
        }
    }
    let changed = i64::try_from(changed).unwrap_or_default();
    Ok(Info { size, tag: answer.text("etag").map(str::to_owned), changed, attributes: Some(attributes) })
}

/// Start and whole size of `bytes A-B/SIZE`.
pub(in crate::bucket) fn content_range(text: &str) -> Option<(u64, u64)> {
    let (range, size) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (start, _) = range.split_once('-')?;
    Some((start.trim().parse().ok()?, size.trim().parse().ok()?))
}
