//! Which bucket a root names: `s3://BUCKET[/PREFIX]`, `gs://…`, `az://…`.

use qfs_core::model::RemotePath;

use super::error::SetupError;

/// Whose bucket it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    /// Amazon S3, and whatever speaks its protocol.
    S3,
    /// Google Cloud Storage.
    Google,
    /// Azure Blob Storage; the bucket is a container.
    Azure,
}

impl Provider {
    const ALL: [Self; 3] = [Self::S3, Self::Google, Self::Azure];

    /// What stands in front of `://`.
    #[must_use]
    pub fn scheme(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Google => "gs",
            Self::Azure => "az",
        }
    }
}

/// A bucket, or what is below a prefix in one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// Whose it is.
    pub provider: Provider,
    /// Its name.
    pub bucket: String,
    /// Everything served is below this, as a directory.
    pub prefix: Option<RemotePath>,
}

impl Location {
    /// Reads `text`; None when it names no bucket but, say, a directory.
    ///
    /// # Errors
    /// [`SetupError::Location`] when it begins as a bucket does and goes on as none.
    pub fn parse(text: &str) -> Result<Option<Self>, SetupError> {
        let Some((scheme, rest)) = text.split_once("://") else { return Ok(None) };
        let Some(provider) = Provider::ALL.into_iter().find(|provider| provider.scheme() == scheme) else {
            return Ok(None);
        };
        let wrong = |why: &str| SetupError::Location(why.to_owned());
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let legal = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
        if bucket.is_empty() || bucket.len() > 255 || !bucket.bytes().all(legal) {
            return Err(wrong("a bucket's name has letters, digits, -, . and _"));
        }
        let prefix = match prefix.trim_end_matches('/') {
            "" => None,
            prefix => Some(RemotePath::parse(prefix).map_err(|e| wrong(&format!("the prefix is no path: {e}")))?),
        };
        Ok(Some(Self { provider, bucket: bucket.to_owned(), prefix }))
    }

    /// What stands in front of every key, with a slash at its end; empty for a whole bucket.
    pub(super) fn key_prefix(&self) -> String {
        self.prefix.as_ref().map_or_else(String::new, |prefix| format!("{}/", prefix.as_str()))
    }
}

impl std::fmt::Display for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}", self.provider.scheme(), self.bucket)?;
        self.prefix.as_ref().map_or(Ok(()), |prefix| write!(f, "/{prefix}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_told_from_directories() {
        for directory in ["server_databases", "/srv/data", "./s3", "s3:/x", "http://x/y", "c://x", ""] {
            assert_eq!(Location::parse(directory).unwrap(), None, "{directory}");
        }
        let parse = |text: &str| Location::parse(text).unwrap().unwrap();
        assert_eq!(parse("s3://demo").key_prefix(), "");
        assert_eq!(parse("gs://a.b_c/").prefix, None);
        let deep = parse("az://box/a/b c/");
        assert_eq!((deep.provider, &*deep.bucket, &*deep.key_prefix()), (Provider::Azure, "box", "a/b c/"));
        assert_eq!(deep.to_string(), "az://box/a/b c");
    }

    #[test]
    fn what_is_no_bucket_is_refused() {
        for wrong in ["s3://", "s3:///x", "s3://a b", "s3://a/../b", "s3://a//b", "gs://a?x=1", "az://x/a\\b"] {
            assert!(matches!(Location::parse(wrong), Err(SetupError::Location(_))), "{wrong}");
        }
    }
}
