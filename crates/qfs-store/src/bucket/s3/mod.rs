//! S3 and what speaks its protocol: requests signed by `object_store`, sent by its client, retried by `bucket::request`.
//!
//! | module | owns |
//! |---|---|
//! | `settings` | variables and options, and what is made of them |
//! | `service` | where requests go, how they are signed, what refusals mean |
//! | `operations` | what the store asks, as requests |
//! | `xml` | the few documents there are |
//!
//! `object_store`'s own operations for S3 do not fit: they know no condition on completing an upload or on deleting, no new
//! metadata for what is there, and end a listing at a key that is no path to them.

pub(super) mod operations;
mod service;
mod settings;
pub(super) mod xml;

use object_store::aws::AwsCredentialProvider;
use object_store::client::HttpClient;

pub(super) use settings::connect;
pub(super) use xml::{error_code, visit};

/// A bucket of S3.
pub(super) struct S3 {
    client: HttpClient,
    credentials: AwsCredentialProvider,
    region: String,
    /// The bucket's address, without a slash at its end.
    address: String,
    bucket: String,
    signs: bool,
    signs_content: bool,
}
