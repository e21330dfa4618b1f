//! The objects, and what each request does to them.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use jiff::Timestamp;
use qfs_core::model::Digest;

use super::message::{Answer, Request, decode};

/// An object.
#[derive(Debug, Clone, Default)]
pub struct Stored {
    /// Its bytes.
    pub content: Bytes,
    /// User metadata and the fields that are kept with an object.
    pub headers: Vec<(String, String)>,
    pub(super) tag: String,
    pub(super) changed: Timestamp,
    /// What Google names a version by: another number each time.
    pub(super) generation: u64,
}

/// An upload in parts.
pub(super) struct Upload {
    headers: Vec<(String, String)>,
    parts: BTreeMap<usize, Bytes>,
}

#[derive(Default)]
pub(super) struct Bucket {
    pub(super) objects: BTreeMap<String, Stored>,
    pub(super) uploads: BTreeMap<String, Upload>,
    count: u64,
}

/// Fields that are kept with an object.
const KEPT: [&str; 2] = ["content-type", "content-encoding"];

impl Request {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(is, _)| is == name).map(|(_, value)| value.as_str())
    }

    fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(is, _)| is == name).map(|(_, value)| value.as_str())
    }

    fn kept(&self) -> Vec<(String, String)> {
        let is_kept =
            |name: &str| name.starts_with("x-amz-meta-") || name.starts_with("x-goog-meta-") || KEPT.contains(&name);
        self.headers.iter().filter(|(name, _)| is_kept(name)).cloned().collect()
    }
}

impl Bucket {
    /// The ETag that it has, which S3 makes of the content alone.
    pub(super) fn store(&mut self, key: &str, stored: Stored) -> String {
        self.store_parts(key, stored, "")
    }

    /// The same, with what says how many parts it was put together of.
    fn store_parts(&mut self, key: &str, stored: Stored, parts: &str) -> String {
        let tag = format!("\"{}{parts}\"", &Digest::of(&stored.content).to_string()[..32]);
        self.count += 1;
        let stored = Stored { tag: tag.clone(), changed: Timestamp::now(), generation: self.count, ..stored };
        self.objects.insert(key.to_owned(), stored);
        tag
    }

    pub(super) fn answer(&mut self, request: &Request) -> Answer {
        match (request.method.as_str(), request.key.as_str()) {
            ("GET", "") => self.list(request),
            ("GET" | "HEAD", _) => self.get(request),
            ("POST", _) => self.upload(request),
            ("PUT", _) if request.query("uploadId").is_some() => self.part(request),
            ("PUT", _) => self.put(request),
            ("DELETE", _) => self.delete(request),
            _ => Answer::error(501, "NotImplemented"),
        }
    }

    /// The refusal of a condition on what is under the key.
    fn refusal(&self, request: &Request) -> Option<Answer> {
        let stored = self.objects.get(&request.key);
        if let Some(generation) = request.header("x-goog-if-generation-match")
            && generation != stored.map_or(0, |stored| stored.generation).to_string()
        {
            return Some(Answer::error(412, "PreconditionFailed"));
        }
        let found = stored.map(|stored| stored.tag.as_str());
        match (request.header("if-match"), request.header("if-none-match"), found) {
            (Some(_), _, None) => Some(Answer::error(404, "NoSuchKey")),
            (Some(tag), _, Some(found)) if tag != found => Some(Answer::error(412, "PreconditionFailed")),
            (_, Some("*"), Some(_)) => Some(Answer::error(412, "PreconditionFailed")),
            _ => None,
        }
    }

    fn get(&self, request: &Request) -> Answer {
        let Some(stored) = self.objects.get(&request.key) else { return Answer::error(404, "NoSuchKey") };
        if let Some(refusal) = self.refusal(request) {
            return refusal;
        }
        let size = stored.content.len();
        let mut answer = Answer::ok("");
        if let Some((start, end)) =
            request.header("range").and_then(|range| range.strip_prefix("bytes=")?.split_once('-'))
        {
            let start: usize = start.parse().unwrap_or(usize::MAX);
            let end = end.parse::<usize>().map_or(size, |end| size.min(end + 1));
            if start >= size {
                return Answer::error(416, "InvalidRange");
            }
            answer.status = 206;
            answer.headers.push(("content-range".to_owned(), format!("bytes {start}-{}/{size}", end - 1)));
            answer.content = stored.content.slice(start..end);
        } else {
            answer.content = stored.content.clone();
        }
        let changed = stored.changed.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        answer.headers.extend([("etag".to_owned(), stored.tag.clone()), ("last-modified".to_owned(), changed)]);
        answer.headers.push(("x-goog-generation".to_owned(), stored.generation.to_string()));
        answer.headers.extend(stored.headers.iter().cloned());
        if request.method == "HEAD" {
            answer.length = Some(size);
        }
        answer
    }

    fn put(&mut self, request: &Request) -> Answer {
        if let Some(refusal) = self.refusal(request) {
            return refusal;
        }
        let Some(source) = request.header("x-amz-copy-source") else {
            let tag = self.store(
                &request.key,
                Stored { content: request.content.clone(), headers: request.kept(), ..Stored::default() },
            );
            return Answer { headers: vec![("etag".to_owned(), tag)], ..Answer::ok("") };
        };
        let source = decode(source);
        let key = source.splitn(3, '/').nth(2).unwrap_or_default();
        let Some(original) = self.objects.get(key).cloned() else { return Answer::error(404, "NoSuchKey") };
        if request.header("x-amz-copy-source-if-match").is_some_and(|tag| tag != original.tag) {
            return Answer::error(412, "PreconditionFailed");
        }
        let is_replaced = request.header("x-amz-metadata-directive") == Some("REPLACE");
        let headers = if is_replaced { request.kept() } else { original.headers };
        let tag = self.store(&request.key, Stored { content: original.content, headers, ..Stored::default() });
        Answer::ok(format!("<CopyObjectResult><ETag>{tag}</ETag></CopyObjectResult>"))
    }

    fn delete(&mut self, request: &Request) -> Answer {
        if let Some(upload) = request.query("uploadId") {
            self.uploads.remove(upload);
        } else if let Some(refusal) = self.refusal(request) {
            return refusal;
        } else {
            self.objects.remove(&request.key);
        }
        Answer { status: 204, ..Answer::ok("") }
    }

    fn upload(&mut self, request: &Request) -> Answer {
        let Some(id) = request.query("uploadId") else {
            self.count += 1;
            let id = format!("upload {}", self.count);
            self.uploads.insert(id.clone(), Upload { headers: request.kept(), parts: BTreeMap::new() });
            return Answer::ok(format!(
                "<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>"
            ));
        };
        if let Some(refusal) = self.refusal(request) {
            return refusal;
        }
        let named = String::from_utf8_lossy(&request.content).matches("<PartNumber>").count();
        let Some(upload) = self.uploads.get(id) else { return Answer::error(404, "NoSuchUpload") };
        let sizes: Vec<_> = upload.parts.values().map(Bytes::len).collect();
        let is_small = sizes.iter().rev().skip(1).any(|size| *size < 5 << 20);
        if named != sizes.len() || is_small || upload.parts.keys().ne(&(1..=named).collect::<Vec<_>>()) {
            return Answer::error(400, "InvalidPart");
        }
        let Some(upload) = self.uploads.remove(id) else { return Answer::error(404, "NoSuchUpload") };
        let content = upload.parts.into_values().collect::<Vec<_>>().concat().into();
        let stored = Stored { content, headers: upload.headers, ..Stored::default() };
        let tag = self.store_parts(&request.key, stored, &format!("-{named}"));
        Answer::ok(format!("<CompleteMultipartUploadResult><ETag>{tag}</ETag></CompleteMultipartUploadResult>"))
    }

    fn part(&mut self, request: &Request) -> Answer {
        let number = request.query("partNumber").and_then(|number| number.parse().ok());
        match (request.query("uploadId").and_then(|id| self.uploads.get_mut(id)), number) {
            (Some(upload), Some(number)) => {
                upload.parts.insert(number, request.content.clone());
                Answer { headers: vec![("etag".to_owned(), format!("\"part {number}\""))], ..Answer::ok("") }
            }
            _ => Answer::error(404, "NoSuchUpload"),
        }
    }

    fn list(&self, request: &Request) -> Answer {
        let prefix = request.query("prefix").unwrap_or_default();
        let after = request.query("continuation-token").or(request.query("start-after")).unwrap_or_default();
        let most: usize = request.query("max-keys").and_then(|most| most.parse().ok()).unwrap_or(1000);
        let (mut rows, mut groups, mut last, mut is_truncated) = (String::new(), BTreeSet::new(), "", false);
        let mut count = 0;
        for (key, stored) in self.objects.iter().filter(|(key, _)| key.starts_with(prefix) && key.as_str() > after) {
            let group =
                request.query("delimiter").and_then(|slash| Some(prefix.len() + key[prefix.len()..].find(slash)? + 1));
            let group = group.map(|end| &key[..end]);
            if group.is_some_and(|group| groups.contains(group)) {
                last = key;
                continue;
            }
            if count == most {
                is_truncated = true;
                break;
            }
            count += 1;
            last = key;
            match group {
                Some(group) => drop(groups.insert(group)),
                None => rows.push_str(&format!(
                    "<Contents><Key>{}</Key><LastModified>{:.3}</LastModified><ETag>{}</ETag><Size>{}</Size></Contents>",
                    escape(key),
                    stored.changed,
                    escape(&stored.tag),
                    stored.content.len()
                )),
            }
        }
        for group in groups {
            rows.push_str(&format!("<CommonPrefixes><Prefix>{}</Prefix></CommonPrefixes>", escape(group)));
        }
        let token = if is_truncated {
            format!("<NextContinuationToken>{}</NextContinuationToken>", escape(last))
        } else {
            String::new()
        };
        Answer::ok(format!(
            "<ListBucketResult><IsTruncated>{is_truncated}</IsTruncated>{token}{rows}</ListBucketResult>"
        ))
    }
}

fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for character in text.chars() {
        match character {
            '&' | '<' | '>' | '"' | '\0'..='\x1f' => escaped.push_str(&format!("&#{};", u32::from(character))),
            _ => escaped.push(character),
        }
    }
    escaped
}
