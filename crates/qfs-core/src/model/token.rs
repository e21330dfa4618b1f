//! The secret that a client shows to be let in.

use std::fmt;
use std::str::FromStr;

use super::Digest;

/// Longest token, in bytes (PROTOCOL §2.7).
pub const MAX_TOKEN_BYTES: usize = 512;

/// What a client shows with its requests (PROTOCOL §2.7): 1 to [`MAX_TOKEN_BYTES`] characters of `A-Z a-z 0-9 . _ ~ -`,
/// which need no escaping in a ticket and in JSON. It is opaque to the client.
///
/// Whoever has it is let in. To keep it from being printed by accident, there is no `Display`, and `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

/// Why a text is not a valid [`Token`]. It never quotes the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a token: expected 1 to {MAX_TOKEN_BYTES} characters of A-Z a-z 0-9 . _ ~ -")]
pub struct ParseTokenError;

impl Token {
    /// The secret itself, for the request or ticket it belongs in.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// The hash that a server keeps of it.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(self.0.as_bytes())
    }
}

impl FromStr for Token {
    type Err = ParseTokenError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'~' | b'-');
        match text.len() {
            1..=MAX_TOKEN_BYTES if text.bytes().all(legal) => Ok(Self(text.to_owned())),
            _ => Err(ParseTokenError),
        }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_token_is_made_of() {
        let longest = "x".repeat(MAX_TOKEN_BYTES);
        for text in ["a", "qfs_0123456789abcdef", "a.b-c_d~e", &longest] {
            assert_eq!(text.parse::<Token>().map(|token| token.reveal().to_owned()), Ok(text.to_owned()));
        }
        let too_long = format!("{longest}x");
        for text in ["", " ", "a b", "a\n", "a&b", "a#b", "a%20", "a=", "a+b", "a/b", "é", "a\0", &too_long] {
            assert_eq!(text.parse::<Token>(), Err(ParseTokenError), "{text:?}");
        }
    }

    // Fails when Debug is derived, or an error quotes what it refuses.
    #[test]
    fn it_does_not_show_itself() {
        let token: Token = "sesame".parse().unwrap();
        assert_eq!(format!("{token:?} {:?}", Some(&token)), "Token(hidden) Some(Token(hidden))");
        let error = "open sesame".parse::<Token>().unwrap_err();
        assert!(!format!("{error} {error:?}").contains("sesame"));
    }

    proptest! {
        #[test]
        fn what_is_read_needs_no_escape_and_reads_back(text in "\\PC{0,40}") {
            if let Ok(token) = text.parse::<Token>() {
                prop_assert_eq!(token.reveal(), &text);
                prop_assert_eq!(serde_json::to_string(token.reveal()).unwrap(), format!("\"{text}\""));
            }
        }
    }
}
