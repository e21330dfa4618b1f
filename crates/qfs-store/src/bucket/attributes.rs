//! What qfs stores beside an object, as its user metadata, and what it makes of an object's description.

use jiff::Timestamp;
use qfs_core::model::{Digest, ETag, HashKind};
use qfs_core::store::ObjectMeta;

/// Names of qfs's own metadata, without the provider's `x-amz-meta-` and the like.
const MODIFIED: &str = "qfs-modified";
const EXECUTABLE: &str = "qfs-executable";
const VERSION: &str = "qfs-version";
const SHA256: &str = "qfs-sha256";
const BLAKE3: &str = "qfs-blake3";

/// Metadata of others that is kept when ours changes: as many entries, of as many bytes together (S3 allows 2 KiB).
pub(super) const MAX_OTHERS: usize = 64;

/// What is stored beside an object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Attributes {
    /// The modification time of the file.
    pub(super) modified: Option<Timestamp>,
    pub(super) executable: bool,
    /// Another one for each time that qfs writes: an ETag of S3 is the same for the same content.
    pub(super) nonce: Option<String>,
    pub(super) sha256: Option<Digest>,
    pub(super) blake3: Option<Digest>,
    /// What others store, kept as it is: user metadata.
    pub(super) others: Vec<(String, String)>,
    /// Fields such as Content-Type, kept as they are.
    pub(super) fields: Vec<(String, String)>,
}

impl Attributes {
    /// Those of a version that is about to be written.
    pub(super) fn fresh(modified: Timestamp, executable: bool) -> Self {
        Self { modified: Some(modified), executable, nonce: Some(nonce()), ..Self::default() }
    }

    /// The same with the digest of the content.
    pub(super) fn with_digest(mut self, digest: Option<Digest>) -> Self {
        match digest {
            Some(digest) if digest.kind() == HashKind::Blake3 => self.blake3 = Some(digest),
            Some(digest) => self.sha256 = Some(digest),
            None => {}
        }
        self
    }

    /// Takes up one entry of user metadata, whoever wrote it: what makes no sense is nothing.
    pub(super) fn take(&mut self, name: &str, value: &str) {
        match name {
            MODIFIED => self.modified = value.parse().ok(),
            EXECUTABLE => self.executable = value == "1",
            VERSION => self.nonce = (value.len() <= 64).then(|| value.to_owned()),
            SHA256 => self.sha256 = Digest::parse(HashKind::Sha256, value).ok(),
            BLAKE3 => self.blake3 = Digest::parse(HashKind::Blake3, value).ok(),
            _ if self.others.len() < MAX_OTHERS => self.others.push((name.to_owned(), value.to_owned())),
            _ => {}
        }
    }

    /// The user metadata to be stored.
    pub(super) fn metadata(&self) -> Vec<(String, String)> {
        let own = [
            (MODIFIED, self.modified.map(|modified| modified.to_string())),
            (EXECUTABLE, self.executable.then(|| "1".to_owned())),
            (VERSION, self.nonce.clone()),
            (SHA256, self.sha256.map(|digest| digest.to_string())),
            (BLAKE3, self.blake3.map(|digest| digest.to_string())),
        ];
        let own = own.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        own.chain(self.others.iter().cloned()).collect()
    }
}

/// What is known of an object.
#[derive(Debug, Clone)]
pub(super) struct Info {
    pub(super) size: u64,
    /// Its ETag, with its quotes, as it is shown back to the bucket.
    pub(super) tag: Option<String>,
    /// When the bucket got it, in seconds since 1970.
    pub(super) changed: i64,
    /// What was stored beside it; None where nobody has asked for it, as in a listing.
    pub(super) attributes: Option<Attributes>,
}

/// 128 bits that nobody else chooses.
fn nonce() -> String {
    format!("{:032x}", fastrand::u128(..))
}

/// The version that an object is, as qfs names it: 32 hexadecimal digits.
///
/// What qfs wrote is named by its nonce, which is another one for each time, and by its ETag: S3 gives the same content the same ETag,
/// and other programs give new content the metadata of the old. Of other objects the ETag and the second of the last change count.
pub(super) fn etag(key: &str, info: &Info) -> ETag {
    let nonce = info.attributes.as_ref().and_then(|attributes| attributes.nonce.as_deref());
    // Documents and headers do not always quote alike.
    let tag = info.tag.as_deref().unwrap_or_default().trim_matches('"');
    let size = info.size;
    short(&match nonce {
        Some(nonce) => format!("n\0{key}\0{size}\0{nonce}\0{tag}"),
        None => format!("t\0{key}\0{size}\0{tag}\0{}", info.changed),
    })
}

/// What names a description in a listing, where attributes are not told.
pub(super) fn listed_identity(key: &str, info: &Info) -> u128 {
    let text = format!("l\0{key}\0{}\0{}\0{}", info.size, info.tag.as_deref().unwrap_or(""), info.changed);
    identity(&short(&text))
}

/// The bits of one of our etags.
pub(super) fn identity(etag: &ETag) -> u128 {
    u128::from_str_radix(etag.as_str(), 16).unwrap_or_default()
}

fn short(text: &str) -> ETag {
    let digest = Digest::of(text.as_bytes()).to_string();
    // Hexadecimal digits are an etag.
    digest.get(..32).and_then(|short| short.parse().ok()).unwrap_or_else(|| Digest::of(text.as_bytes()).into())
}

/// The description of an object in qfs's terms.
pub(super) fn meta(key: &str, info: &Info) -> ObjectMeta {
    let attributes = info.attributes.as_ref();
    let changed = Timestamp::from_second(info.changed).unwrap_or(Timestamp::UNIX_EPOCH);
    ObjectMeta {
        size: info.size,
        modified: attributes.and_then(|attributes| attributes.modified).unwrap_or(changed),
        etag: etag(key, info),
        unsettled: false,
        executable: attributes.is_some_and(|attributes| attributes.executable),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_is_read_back() {
        let modified = Timestamp::new(1_600_000_000, 120_000_000).unwrap();
        let mut stored = Attributes::fresh(modified, true).with_digest(Some(Digest::of(b"x")));
        stored.others.push(("owner".to_owned(), "ann".to_owned()));
        let mut read = Attributes::default();
        stored.metadata().iter().for_each(|(name, value)| read.take(name, value));
        assert_eq!(read, stored);
    }

    #[test]
    fn nonsense_of_others_is_nothing() {
        let mut read = Attributes::default();
        for (name, value) in [(MODIFIED, "yesterday"), (SHA256, "00"), (VERSION, &"x".repeat(100)), (EXECUTABLE, "yes")]
        {
            read.take(name, value);
        }
        assert_eq!(read, Attributes::default());
    }

    #[test]
    fn each_writing_is_a_version_and_so_is_each_object() {
        let info = |attributes| Info { size: 1, tag: Some("\"t\"".to_owned()), changed: 7, attributes };
        let ours = || info(Some(Attributes::fresh(Timestamp::UNIX_EPOCH, false)));
        assert_ne!(etag("a", &ours()), etag("a", &ours()));
        assert_eq!(etag("a", &info(None)), etag("a", &info(Some(Attributes::default()))));
        assert_ne!(etag("a", &info(None)), etag("b", &info(None)));
        let written = ours();
        let tagged = |tag: &str| etag("a", &Info { tag: Some(tag.to_owned()), ..written.clone() });
        assert_ne!(tagged("\"t\""), tagged("\"u\""));
        assert_eq!(tagged("\"t\""), tagged("t"));
    }
}
