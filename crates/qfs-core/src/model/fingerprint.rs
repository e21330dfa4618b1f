//! The name by which a server is known.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Digest;
use super::text::parsed;

/// SHA-256 of a server's public key (the DER SubjectPublicKeyInfo, RFC 5280 §4.1.2.7), written `sha256:HEX`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(Digest);

/// Why a text is not a valid [`Fingerprint`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a fingerprint: expected sha256: and 64 hexadecimal digits")]
pub struct ParseFingerprintError;

impl Fingerprint {
    /// The fingerprint of a DER-encoded SubjectPublicKeyInfo.
    #[must_use]
    pub fn of_public_key(spki_der: &[u8]) -> Self {
        Self(Digest::of(spki_der))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.0)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Fingerprint {
    type Err = ParseFingerprintError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let hex = text.strip_prefix("sha256:").ok_or(ParseFingerprintError)?;
        Ok(Self(hex.parse().map_err(|_| ParseFingerprintError)?))
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parsed(deserializer, "a fingerprint", str::parse)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips_and_the_prefix_is_required() {
        let fingerprint = Fingerprint::of_public_key(b"key");
        let text = fingerprint.to_string();
        assert_eq!(text.parse(), Ok(fingerprint));
        assert_eq!(text.trim_start_matches("sha256:").parse::<Fingerprint>(), Err(ParseFingerprintError));
        assert_eq!("sha256:abc".parse::<Fingerprint>(), Err(ParseFingerprintError));
    }
}
