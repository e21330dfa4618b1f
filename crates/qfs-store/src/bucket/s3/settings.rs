//! The usual variables (`AWS_…`) and `--root-option`, and the bucket that they describe.

use std::sync::Arc;
use std::time::Duration;

use object_store::RetryConfig;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey as Key};

use super::S3;
use crate::bucket::error::SetupError;
use crate::bucket::location::Location;
use crate::bucket::request::client;

/// Asking the machine for credentials, where none are named, ends after this time.
const CREDENTIALS_TIMEOUT: Duration = Duration::from_secs(5);

/// The bucket `location` with `options`, which beat the variables. Sends nothing.
///
/// # Errors
/// [`SetupError::Setting`] for an option that is none; what making a client failed with.
pub(in crate::bucket) fn connect(location: &Location, options: &[(String, String)]) -> Result<S3, SetupError> {
    let mut builder = AmazonS3Builder::from_env().with_bucket_name(&location.bucket);
    for (name, value) in options {
        let key: Key = name.parse().map_err(|_| SetupError::Setting(format!("{name} is no setting of S3")))?;
        builder = builder.with_config(key, value);
    }
    let said = |key: Key| builder.get_config_value(&key);
    let is_on = |key: Key| said(key).is_some_and(|value| value == "true" || value == "1");
    let region = said(Key::Region).unwrap_or_else(|| "us-east-1".to_owned());
    let (signs, signs_content) = (!is_on(Key::SkipSignature), !is_on(Key::UnsignedPayload));
    let address = address(
        location,
        &region,
        said(Key::S3Endpoint).or(said(Key::Endpoint)),
        is_on(Key::VirtualHostedStyleRequest),
    )?;
    let client = client(|key| said(Key::Client(key)))?;
    let retry = RetryConfig { max_retries: 2, retry_timeout: CREDENTIALS_TIMEOUT, ..RetryConfig::default() };
    let built = builder.with_retry(retry).build().map_err(|e| SetupError::Setting(e.to_string()))?;
    let credentials = Arc::clone(built.credentials());
    Ok(S3 { client, credentials, region, address, bucket: location.bucket.clone(), signs, signs_content })
}

/// Where the bucket is: an endpoint that is named, or Amazon's.
fn address(location: &Location, region: &str, endpoint: Option<String>, is_host: bool) -> Result<String, SetupError> {
    let bucket = &location.bucket;
    let address = match (endpoint, is_host) {
        (Some(endpoint), true) => endpoint.trim_end_matches('/').to_owned(),
        (Some(endpoint), false) => format!("{}/{bucket}", endpoint.trim_end_matches('/')),
        // A certificate for *.s3.… covers no name with a dot.
        (None, _) if bucket.contains('.') => format!("https://s3.{region}.amazonaws.com/{bucket}"),
        (None, _) => format!("https://{bucket}.s3.{region}.amazonaws.com"),
    };
    match address.parse::<http::Uri>() {
        Ok(uri) if uri.host().is_some() && uri.scheme().is_some() => Ok(address),
        _ => Err(SetupError::Setting("the endpoint is no address such as https://s3.example.org".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(bucket: &str, endpoint: Option<&str>, is_host: bool) -> Result<String, SetupError> {
        let location = Location::parse(&format!("s3://{bucket}")).unwrap().unwrap();
        address(&location, "eu-west-1", endpoint.map(str::to_owned), is_host)
    }

    #[test]
    fn a_bucket_has_one_address() {
        assert_eq!(at("demo", None, false).unwrap(), "https://demo.s3.eu-west-1.amazonaws.com");
        assert_eq!(at("a.b", None, false).unwrap(), "https://s3.eu-west-1.amazonaws.com/a.b");
        assert_eq!(at("demo", Some("http://127.0.0.1:9000/"), false).unwrap(), "http://127.0.0.1:9000/demo");
        assert_eq!(at("demo", Some("https://demo.example.org"), true).unwrap(), "https://demo.example.org");
        assert!(at("demo", Some("no address"), false).is_err());
    }
}
