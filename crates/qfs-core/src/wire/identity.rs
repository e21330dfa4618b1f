//! `get_identity`: which key the server has, and which it will have next (PROTOCOL §4.4).

use serde::{Deserialize, Serialize};

use super::StatusCode;
use super::codec::DecodeError;
use crate::model::Fingerprint;

/// Parameters of `get_identity`: none in version 1.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityRequest {}

/// The whole answer to `get_identity`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityHead {
    /// [`StatusCode::OK`].
    pub code: StatusCode,
    /// The key of the connection that this arrives on.
    pub current: Fingerprint,
    /// The key that the server will have; absent when no change is planned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Fingerprint>,
}

impl IdentityHead {
    /// The key that is announced on a connection whose server proved to hold `presented`.
    ///
    /// # Errors
    /// [`DecodeError::Malformed`] when the answer is about another key, or announces the current one.
    pub fn announced(&self, presented: Fingerprint) -> Result<Option<Fingerprint>, DecodeError> {
        if self.current != presented {
            return Err(DecodeError::Malformed("the answer is about another key than the connection's".to_owned()));
        }
        if self.next == Some(presented) {
            return Err(DecodeError::Malformed("the next key is the current one".to_owned()));
        }
        Ok(self.next)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Request, decode_response, encode};
    use super::*;

    fn key(seed: &str) -> Fingerprint {
        Fingerprint::of_public_key(seed.as_bytes())
    }

    // The byte examples of PROTOCOL §4.4.
    #[test]
    fn golden_exchange() {
        let request = Request::GetIdentity(IdentityRequest {});
        let json = r#"{"command":"get_identity"}"#;
        let bytes = request.encode().unwrap();
        assert_eq!((&bytes[..4], &bytes[4..]), (&[0, 0, 0, 0x1a][..], json.as_bytes()));
        assert_eq!(Request::decode(json.as_bytes()).unwrap(), request);

        let settled = IdentityHead { code: StatusCode::OK, current: key("a"), next: None };
        let json = concat!(
            r#"{"code":0,"current":"sha256:"#,
            r#"ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"}"#
        );
        let bytes = encode(&settled).unwrap();
        assert_eq!((&bytes[..4], &bytes[4..]), (&[0, 0, 0, 0x5e][..], json.as_bytes()));
        assert_eq!(decode_response(json.as_bytes()).unwrap(), Ok(settled));

        let changing = IdentityHead { next: Some(key("b")), ..settled };
        let json = concat!(
            r#"{"code":0,"current":"sha256:"#,
            r#"ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb","next":"sha256:"#,
            r#"3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d"}"#
        );
        let bytes = encode(&changing).unwrap();
        assert_eq!((&bytes[..4], &bytes[4..]), (&[0, 0, 0, 0xaf][..], json.as_bytes()));
        assert_eq!(decode_response(json.as_bytes()).unwrap(), Ok(changing));
    }

    // Fails when an answer is believed that is not about the key that the connection proved.
    #[test]
    fn only_the_key_of_the_connection_announces() {
        let head = |current, next| IdentityHead { code: StatusCode::OK, current: key(current), next };
        assert_eq!(head("a", None).announced(key("a")).unwrap(), None);
        assert_eq!(head("a", Some(key("b"))).announced(key("a")).unwrap(), Some(key("b")));
        assert!(head("b", Some(key("c"))).announced(key("a")).is_err());
        assert!(head("a", Some(key("a"))).announced(key("a")).is_err());
    }
}
