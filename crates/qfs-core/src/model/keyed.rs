//! Digests in messages: the key says the kind (PROTOCOL §2.3.1).
//!
//! A message that has one is written with a flattened field, and read with two optional fields, `sha256` and `blake3`, which [`either`]
//! makes one of: reading a flattened field costs a copy of the whole message.

use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serializer};

use super::digest::{self, Digest, HashKind};

/// Writes a digest under the key of its kind, into a flattened field.
pub(crate) fn write<S: Serializer>(digest: &Digest, serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(1))?;
    map.serialize_entry(digest.kind().name(), digest)?;
    map.end()
}

/// As [`write()`], or nothing.
pub(crate) fn write_known<S: Serializer>(digest: &Option<Digest>, serializer: S) -> Result<S::Ok, S::Error> {
    match digest {
        Some(digest) => write(digest, serializer),
        None => serializer.serialize_map(Some(0))?.end(),
    }
}

/// As [`write()`], or `null` under the key of SHA-256: a row of a listing always says whether there is a digest.
pub(crate) fn write_or_null<S: Serializer>(digest: &Option<Digest>, serializer: S) -> Result<S::Ok, S::Error> {
    let Some(digest) = digest else {
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(HashKind::Sha256.name(), &None::<Digest>)?;
        return map.end();
    };
    write(digest, serializer)
}

/// Reads the value of the key `blake3`.
pub(crate) fn blake3<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Digest>, D::Error> {
    struct Blake3(Digest);
    impl<'de> Deserialize<'de> for Blake3 {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            digest::read(HashKind::Blake3, deserializer).map(Self)
        }
    }
    Ok(Option::<Blake3>::deserialize(deserializer)?.map(|Blake3(digest)| digest))
}

/// The digest of a message with these fields. Where it has both, the one that somebody asked for.
pub(crate) fn either(sha256: Option<Digest>, blake3: Option<Digest>) -> Option<Digest> {
    blake3.or(sha256)
}

/// As [`either`], of a message that must have one.
pub(crate) fn one(sha256: Option<Digest>, blake3: Option<Digest>) -> Result<Digest, NoDigest> {
    either(sha256, blake3).ok_or(NoDigest)
}

/// A message has no digest.
#[derive(Debug, thiserror::Error)]
#[error("missing field `sha256`")]
pub(crate) struct NoDigest;
