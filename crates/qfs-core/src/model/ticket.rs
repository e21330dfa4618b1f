//! One line that says where a server is and which key it has.

use std::fmt;
use std::str::FromStr;

use super::{Fingerprint, Token};

/// The port used when none is named.
pub const DEFAULT_PORT: u16 = 8000;

/// `qfs://HOST:PORT[#sha256:HEX[&token=TOKEN]]`: all that a client needs to reach and recognise a server, and to be let
/// in.
///
/// A token follows a fingerprint only, so that it cannot be shown to a server that was not recognised. [`fmt::Display`]
/// leaves it out, and `Debug` hides it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// IPv4 or IPv6 address, or host name; an IPv6 address without its brackets.
    pub host: String,
    /// UDP port.
    pub port: u16,
    /// The key the server must have.
    pub fingerprint: Option<Fingerprint>,
    /// The token to show in order to be let in.
    pub token: Option<Token>,
}

/// Why a text is not a valid [`Ticket`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseTicketError {
    /// Does not start with `qfs://`.
    #[error("a ticket starts with qfs://")]
    Scheme,
    /// The host is missing or holds a character that no address or host name has.
    #[error("the host is missing or malformed")]
    Host,
    /// The port is not a number from 1 to 65535.
    #[error("the port is not a number from 1 to 65535")]
    Port,
    /// What follows `#` is not a fingerprint.
    #[error("what follows # is not sha256: and 64 hexadecimal digits")]
    Fingerprint,
    /// What follows the fingerprint is not `&token=` and a token. The text is not quoted.
    #[error("what follows the fingerprint is not &token= and a token")]
    Token,
    /// More servers than a set may have.
    #[error("more servers than a set may have")]
    TooMany,
}

impl FromStr for Ticket {
    type Err = ParseTicketError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rest = text.strip_prefix("qfs://").ok_or(ParseTicketError::Scheme)?;
        let (authority, fragment) = match rest.split_once('#') {
            Some((authority, fragment)) => (authority, Some(fragment)),
            None => (rest, None),
        };
        let (fingerprint, token) = fragment.map(split_fragment).transpose()?.unzip();
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        let (host, port) = split_authority(authority)?;
        let port = match port {
            None => DEFAULT_PORT,
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => match digits.parse() {
                Ok(port) if port != 0 => port,
                _ => return Err(ParseTicketError::Port),
            },
            Some(_) => return Err(ParseTicketError::Port),
        };
        Ok(Self { host: host.to_owned(), port, fingerprint, token: token.flatten() })
    }
}

/// Splits `sha256:HEX[&token=TOKEN]`.
fn split_fragment(fragment: &str) -> Result<(Fingerprint, Option<Token>), ParseTicketError> {
    let (pin, token) = match fragment.split_once('&') {
        Some((pin, rest)) => (pin, Some(rest.strip_prefix("token=").ok_or(ParseTicketError::Token)?)),
        None => (fragment, None),
    };
    let pin = pin.parse().map_err(|_| ParseTicketError::Fingerprint)?;
    let token = token.map(|text| text.parse().map_err(|_| ParseTicketError::Token)).transpose()?;
    Ok((pin, token))
}

/// Splits `HOST[:PORT]`, where an IPv6 address stands in brackets.
fn split_authority(authority: &str) -> Result<(&str, Option<&str>), ParseTicketError> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or(ParseTicketError::Host)?;
        if host.parse::<std::net::Ipv6Addr>().is_err() {
            return Err(ParseTicketError::Host);
        }
        return match rest {
            "" => Ok((host, None)),
            _ => Ok((host, Some(rest.strip_prefix(':').ok_or(ParseTicketError::Host)?))),
        };
    }
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    };
    let legal = |b: u8| b.is_ascii_alphanumeric() || b == b'.' || b == b'-' || b == b'_';
    if host.is_empty() || host.len() > 253 || !host.bytes().all(legal) {
        return Err(ParseTicketError::Host);
    }
    Ok((host, port))
}

impl Ticket {
    /// The whole text, including the token.
    #[must_use]
    pub fn reveal(&self) -> String {
        match &self.token {
            Some(token) => format!("{self}&token={}", token.reveal()),
            None => self.to_string(),
        }
    }
}

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "qfs://[{}]:{}", self.host, self.port)?;
        } else {
            write!(f, "qfs://{}:{}", self.host, self.port)?;
        }
        match self.fingerprint {
            Some(fingerprint) => write!(f, "#{fingerprint}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tickets_read_back() {
        let pin = Fingerprint::of_public_key(b"k");
        for text in [
            "qfs://127.0.0.1:8000".to_owned(),
            format!("qfs://[::1]:9#{pin}"),
            format!("qfs://data.example.org:65535#{pin}"),
        ] {
            assert_eq!(text.parse::<Ticket>().map(|t| t.to_string()), Ok(text));
        }
        assert_eq!("qfs://host/".parse::<Ticket>().map(|t| t.port), Ok(DEFAULT_PORT));
        assert_eq!("qfs://[::1]".parse::<Ticket>().map(|t| t.host), Ok("::1".to_owned()));
    }

    #[test]
    fn malformed_tickets_say_what_is_wrong() {
        for (text, error) in [
            ("127.0.0.1:8000", ParseTicketError::Scheme),
            ("QFS://h:1", ParseTicketError::Scheme),
            ("qfs://", ParseTicketError::Host),
            ("qfs://:8000", ParseTicketError::Host),
            ("qfs://a b:1", ParseTicketError::Host),
            ("qfs://user@h:1", ParseTicketError::Host),
            ("qfs://[::1", ParseTicketError::Host),
            ("qfs://[x]:1", ParseTicketError::Host),
            ("qfs://h:0", ParseTicketError::Port),
            ("qfs://h:+1", ParseTicketError::Port),
            ("qfs://h:65536", ParseTicketError::Port),
            ("qfs://h:", ParseTicketError::Port),
            ("qfs://h:1#", ParseTicketError::Fingerprint),
            ("qfs://h:1#sha256:00", ParseTicketError::Fingerprint),
            ("qfs://h:1#&token=x", ParseTicketError::Fingerprint),
            ("qfs://h:1&token=x", ParseTicketError::Port),
            ("qfs://h&token=x", ParseTicketError::Host),
            ("qfs://h:1?token=x", ParseTicketError::Port),
        ] {
            assert_eq!(text.parse::<Ticket>(), Err(error), "{text}");
        }
    }

    // Fails when a ticket with a token is printed whole by accident, or an error quotes it.
    #[test]
    fn a_token_stands_behind_the_fingerprint_and_is_not_shown() {
        let pin = Fingerprint::of_public_key(b"k");
        let text = format!("qfs://h:1#{pin}&token=sesame");
        let ticket: Ticket = text.parse().unwrap();
        assert_eq!(ticket.token.as_ref().map(Token::reveal), Some("sesame"));
        assert_eq!((ticket.reveal(), ticket.to_string()), (text, format!("qfs://h:1#{pin}")));
        assert!(!format!("{ticket:?}").contains("sesame"));
        for rest in
            ["&", "&token", "&token=", "&token=ses ame", "&token=sesame&token=sesame", "&Token=sesame", "&sesame"]
        {
            let error = format!("qfs://h:1#{pin}{rest}").parse::<Ticket>().unwrap_err();
            assert_eq!(error, ParseTicketError::Token, "{rest}");
            assert!(!format!("{error} {error:?}").contains("sesame"));
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_read_is_written_alike(text in "qfs://[a-z.]{1,5}(:[0-9]{1,5})?(#sha256:[0-9a-f]{64}(&(token|toke)=[ -~]{0,3})?)?") {
            if let Ok(ticket) = text.parse::<Ticket>() {
                proptest::prop_assert_eq!(ticket.reveal().parse::<Ticket>(), Ok(ticket));
            }
        }
    }
}
