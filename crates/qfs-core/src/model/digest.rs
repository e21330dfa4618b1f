//! Digests of either kind, and the running hash that computes them.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use super::text::parsed;

/// What a digest is made with (PROTOCOL §2.3).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HashKind {
    /// SHA-256 (FIPS 180-4). One chain: bytes can be hashed only in their order, on one thread.
    #[default]
    Sha256,
    /// BLAKE3, 32 bytes of it. A tree: see [`HashTree`](super::HashTree).
    Blake3,
}

/// What is no [`HashKind`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a kind of digest: expected sha256 or blake3")]
pub struct ParseHashKindError;

impl HashKind {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::Sha256, Self::Blake3];

    /// Its name on the wire and in options, which is also the key of digests of this kind.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Blake3 => "blake3",
        }
    }

    /// Whether it is the one that is meant where nothing is said.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for HashKind {
    /// The name that people know it by.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Sha256 => "SHA-256",
            Self::Blake3 => "BLAKE3",
        })
    }
}

impl FromStr for HashKind {
    type Err = ParseHashKindError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|kind| kind.name() == text).ok_or(ParseHashKindError)
    }
}

impl Serialize for HashKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for HashKind {
    /// A kind that this version does not know means the same as none: it is what an earlier version makes of any kind.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = Option::<Cow<'de, str>>::deserialize(deserializer)?;
        Ok(name.and_then(|name| name.parse().ok()).unwrap_or_default())
    }
}

/// A digest, 32 bytes of one kind; 64 lower-case hexadecimal digits in text, which do not say the kind (PROTOCOL §2.3). Digests of
/// different kinds are never equal.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest {
    kind: HashKind,
    bytes: [u8; 32],
}

/// Why a text is not a valid [`Digest`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a digest: expected 64 hexadecimal digits")]
pub struct ParseDigestError;

impl Digest {
    /// The digest of `kind` with these bytes.
    #[must_use]
    pub const fn new(kind: HashKind, bytes: [u8; 32]) -> Self {
        Self { kind, bytes }
    }

    /// The SHA-256 with these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self::new(HashKind::Sha256, bytes)
    }

    /// What it was made with.
    #[must_use]
    pub const fn kind(&self) -> HashKind {
        self.kind
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.bytes
    }

    /// The SHA-256 of `data`.
    #[must_use]
    pub fn of(data: &[u8]) -> Self {
        Self::from_bytes(Sha256::digest(data).into())
    }

    /// The digest of `kind` of `data`.
    #[must_use]
    pub fn of_kind(kind: HashKind, data: &[u8]) -> Self {
        match kind {
            HashKind::Sha256 => Self::of(data),
            HashKind::Blake3 => Self::new(kind, *blake3::hash(data).as_bytes()),
        }
    }

    /// The digest of `kind` that `text` is.
    ///
    /// # Errors
    /// [`ParseDigestError`] when it is no digest.
    pub fn parse(kind: HashKind, text: &str) -> Result<Self, ParseDigestError> {
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return Err(ParseDigestError);
        }
        let mut bytes = [0u8; 32];
        // Checked once at the end: digits come in no order that a processor could foresee, so a branch for each of them is what
        // reading them would cost.
        let mut seen = 0;
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let (high, low) = (NIBBLES[usize::from(pair[0])], NIBBLES[usize::from(pair[1])]);
            seen |= high | low;
            *byte = high << 4 | (low & 15);
        }
        if seen & NO_NIBBLE == 0 { Ok(Self { kind, bytes }) } else { Err(ParseDigestError) }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0u8; 64];
        for (pair, byte) in text.chunks_exact_mut(2).zip(self.bytes) {
            pair[0] = HEX[usize::from(byte >> 4)];
            pair[1] = HEX[usize::from(byte & 15)];
        }
        f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({} {self})", self.kind.name())
    }
}

impl FromStr for Digest {
    type Err = ParseDigestError;

    /// The SHA-256 that `text` is.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(HashKind::Sha256, text)
    }
}

/// Stands in [`NIBBLES`] for what is no digit.
const NO_NIBBLE: u8 = 0x80;

/// The value of each hexadecimal digit, by its byte.
const NIBBLES: [u8; 256] = {
    let mut values = [NO_NIBBLE; 256];
    let mut value = 0;
    while value < 16 {
        let digit = b"0123456789abcdef"[value];
        values[digit as usize] = value as u8;
        values[digit.to_ascii_uppercase() as usize] = value as u8;
        value += 1;
    }
    values
};

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    /// A SHA-256.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read(HashKind::Sha256, deserializer)
    }
}

/// Reads a digest of `kind`.
pub(super) fn read<'de, D: Deserializer<'de>>(kind: HashKind, deserializer: D) -> Result<Digest, D::Error> {
    parsed(deserializer, "a digest", |text| Digest::parse(kind, text))
}

/// A running hash over bytes in their order. By default a SHA-256.
#[derive(Clone)]
pub struct Hasher(Running);

#[derive(Clone)]
enum Running {
    Sha256(Sha256),
    // Much larger than the other.
    Blake3(Box<blake3::Hasher>),
}

impl Default for Hasher {
    fn default() -> Self {
        Self::new()
    }
}

impl Hasher {
    /// A SHA-256 to which nothing has been appended.
    #[must_use]
    pub fn new() -> Self {
        Self::of_kind(HashKind::Sha256)
    }

    /// A hash of `kind` to which nothing has been appended.
    #[must_use]
    pub fn of_kind(kind: HashKind) -> Self {
        Self(match kind {
            HashKind::Sha256 => Running::Sha256(Sha256::new()),
            HashKind::Blake3 => Running::Blake3(Box::default()),
        })
    }

    /// What it makes.
    #[must_use]
    pub fn kind(&self) -> HashKind {
        match self.0 {
            Running::Sha256(_) => HashKind::Sha256,
            Running::Blake3(_) => HashKind::Blake3,
        }
    }

    /// Appends `data`. A BLAKE3 is fast only in pieces of some hundred KiB.
    pub fn update(&mut self, data: &[u8]) {
        match &mut self.0 {
            Running::Sha256(hasher) => hasher.update(data),
            Running::Blake3(hasher) => drop(hasher.update(data)),
        }
    }

    /// Appends `count` zeros.
    pub fn update_zeros(&mut self, count: u64) {
        /// As many as are hashed at once.
        static ZEROS: [u8; 256 << 10] = [0; 256 << 10];
        let mut left = count;
        while left > 0 {
            // At most the length of the array.
            let step = left.min(ZEROS.len() as u64);
            self.update(&ZEROS[..step as usize]);
            left -= step;
        }
    }

    /// The digest of everything appended.
    #[must_use]
    pub fn finish(self) -> Digest {
        match self.0 {
            Running::Sha256(hasher) => Digest::from_bytes(hasher.finalize().into()),
            Running::Blake3(hasher) => Digest::new(HashKind::Blake3, *hasher.finalize().as_bytes()),
        }
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hasher")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn the_standard_vector_and_its_text() {
        assert_eq!(Digest::of(b"abc").to_string(), ABC);
        assert_eq!(ABC.parse(), Ok(Digest::of(b"abc")));
        assert_eq!(ABC.to_uppercase().parse(), Ok(Digest::of(b"abc")));
    }

    #[test]
    fn pieces_hash_like_the_whole() {
        for kind in HashKind::ALL {
            let mut hasher = Hasher::of_kind(kind);
            hasher.update(b"a");
            hasher.update(b"bc");
            hasher.update_zeros(300_000);
            assert_eq!(hasher.kind(), kind);
            let whole = [&b"abc"[..], &[0; 300_000]].concat();
            assert_eq!(hasher.finish(), Digest::of_kind(kind, &whole));
        }
    }

    // The vector is the first of the test vectors of BLAKE3.
    #[test]
    fn a_kind_is_part_of_a_digest() {
        const EMPTY: &str = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";
        let empty = Digest::of_kind(HashKind::Blake3, b"");
        assert_eq!((empty.to_string(), Digest::parse(HashKind::Blake3, EMPTY)), (EMPTY.to_owned(), Ok(empty)));
        assert_ne!(EMPTY.parse(), Ok(empty));
        assert_eq!(("sha256".parse(), "blake3".parse()), (Ok(HashKind::Sha256), Ok(HashKind::Blake3)));
        assert_eq!("md5".parse::<HashKind>(), Err(ParseHashKindError));
    }

    // Fails when a request for a kind that is not known yet is refused, where an earlier version would have answered it.
    #[test]
    fn a_kind_of_the_future_means_none() {
        let read = |json: &str| serde_json::from_str::<HashKind>(json).ok();
        assert_eq!(read(r#""blake3""#), Some(HashKind::Blake3));
        for json in [r#""sha256""#, r#""blake9""#, "null"] {
            assert_eq!(read(json), Some(HashKind::Sha256), "{json}");
        }
        assert_eq!((read("7"), read("{}")), (None, None));
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "ba78", &ABC[1..], &format!("{ABC}0"), &ABC.replace('b', "g")] {
            assert_eq!(text.parse::<Digest>(), Err(ParseDigestError), "{text}");
        }
        for byte in 0..=127u8 {
            for place in [0, 63] {
                let mut text = ABC.as_bytes().to_vec();
                text[place] = byte;
                let text = String::from_utf8(text).unwrap();
                assert_eq!(text.parse::<Digest>().is_ok(), byte.is_ascii_hexdigit(), "{text}");
            }
        }
    }
}
