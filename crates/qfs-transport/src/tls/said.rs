//! What errors of TLS, of certificates and of PEM mean, in words. Most of them display as names of Rust, which tell people nothing.

use rustls::{AlertDescription, CertificateError, Error};

use rustls::pki_types::pem;

/// What went wrong, in words that follow a colon.
pub(crate) fn tls(error: &Error) -> String {
    match error {
        Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } => {
            "the other side sent a message of TLS out of turn".to_owned()
        }
        Error::InvalidMessage(_) => "the other side sent something that is no message of TLS".to_owned(),
        Error::PeerIncompatible(why) => {
            format!("the two sides have too little in common ({})", words(&format!("{why:?}")))
        }
        Error::PeerMisbehaved(why) => format!("the other side violates TLS ({})", words(&format!("{why:?}"))),
        Error::AlertReceived(alert) => format!("the other side ended it ({})", words(&format!("{alert:?}"))),
        Error::InvalidCertificate(error) => certificate(error),
        Error::InconsistentKeys(_) => "the certificate is for another key".to_owned(),
        Error::InvalidCertRevocationList(why) => format!("unusable revocation list ({})", words(&format!("{why:?}"))),
        Error::InvalidEncryptedClientHello(why) => format!("no encrypted hello ({})", words(&format!("{why:?}"))),
        // The others display as words.
        other => other.to_string(),
    }
}

/// What a TLS alert says (RFC 8446 §6).
pub(crate) fn alert(code: u8) -> String {
    words(&format!("{:?}", AlertDescription::from(code)))
}

/// What is wrong with a certificate, in words that follow a colon.
pub(super) fn certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::BadEncoding => "it is malformed".to_owned(),
        CertificateError::BadSignature => "it is not signed by the authority that it names".to_owned(),
        CertificateError::Revoked => "it was revoked".to_owned(),
        CertificateError::UnhandledCriticalExtension => "it has a critical extension that is not known here".to_owned(),
        CertificateError::UnknownIssuer => "nobody who is trusted has issued it".to_owned(),
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "it is signed with an algorithm that is not known here".to_owned()
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "it is for another purpose, according to its extended key usage".to_owned()
        }
        other => match reason(other).as_deref() {
            Some(OF_AN_AUTHORITY) => "it is one of an authority".to_owned(),
            Some("UnsupportedCertVersion") => "it is not of version 3 of X.509".to_owned(),
            Some(reason) => words(reason),
            None => words(&format!("{other:?}")),
        },
    }
}

/// Whether it is the certificate of an authority, where one of a server is wanted: `openssl req -x509` makes such certificates.
pub(super) fn is_of_an_authority(error: &CertificateError) -> bool {
    reason(error).as_deref() == Some(OF_AN_AUTHORITY)
}

/// How webpki calls it.
const OF_AN_AUTHORITY: &str = "CaUsedAsEndEntity";

/// The name of webpki's error, which rustls hands through for what it has no name of its own for.
fn reason(error: &CertificateError) -> Option<String> {
    match error {
        CertificateError::Other(other) => Some(other.0.to_string()),
        _ => None,
    }
}

/// A name that a certificate is for, without the kind of name around it, which webpki puts there: `DnsName("a.example.org")`.
pub(super) fn name(presented: &str) -> &str {
    let inner = presented.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).unwrap_or(presented);
    inner.strip_prefix('"').and_then(|inner| inner.strip_suffix('"')).unwrap_or(inner)
}

/// What is wrong with a PEM file.
pub(super) fn pem(error: &pem::Error) -> String {
    match error {
        pem::Error::MissingSectionEnd { .. } => "a section in it has no end".to_owned(),
        pem::Error::IllegalSectionStart { .. } => "the first line of a section in it is malformed".to_owned(),
        // The others display as words.
        other => other.to_string(),
    }
}

/// A name of Rust as words, without what it holds: `BadSignature(…)` → `bad signature`.
fn words(name: &str) -> String {
    let mut words = String::new();
    for letter in name.chars().take_while(char::is_ascii_alphanumeric) {
        if letter.is_ascii_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.push(letter.to_ascii_lowercase());
    }
    words
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::{
        CertRevocationListError, InconsistentKeys, InvalidMessage, OtherError, PeerIncompatible, PeerMisbehaved,
    };

    use super::*;

    /// An error of another crate that displays as its name.
    #[derive(Debug)]
    struct Foreign(&'static str);

    impl std::fmt::Display for Foreign {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str(self.0)
        }
    }

    impl std::error::Error for Foreign {}

    fn other(name: &'static str) -> CertificateError {
        CertificateError::Other(OtherError(Arc::new(Foreign(name))))
    }

    // Fails when the name of a variant, or what it holds, is shown as Rust has it.
    #[test]
    fn no_error_is_shown_as_rust_names_it() {
        let certificates = [
            CertificateError::BadSignature,
            CertificateError::InvalidOcspResponse,
            CertificateError::UnhandledCriticalExtension,
            CertificateError::UnsupportedSignatureAlgorithmContext {
                signature_algorithm_id: vec![1, 2],
                supported_algorithms: Vec::new(),
            },
            other("CaUsedAsEndEntity"),
            other("UnsupportedCertVersion"),
            other("PathLenConstraintViolated"),
            other("TrailingData(Certificate)"),
        ];
        let more = [
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch),
            Error::InvalidMessage(InvalidMessage::InvalidCcs),
            Error::PeerIncompatible(PeerIncompatible::Tls13RequiredForQuic),
            Error::PeerMisbehaved(PeerMisbehaved::TooMuchEarlyDataReceived),
            Error::AlertReceived(AlertDescription::HandshakeFailure),
            Error::InvalidCertRevocationList(CertRevocationListError::BadSignature),
            Error::DecryptError,
        ];
        for error in certificates.into_iter().map(Error::InvalidCertificate).chain(more) {
            let said = tls(&error);
            let is_name =
                |word: &str| word.chars().skip(1).any(char::is_uppercase) && word.chars().any(char::is_lowercase);
            assert!(!said.is_empty() && !said.split_whitespace().any(is_name), "{said}");
            assert!(!said.contains(['"', '[', '{', ':']), "{said}");
        }
        assert_eq!(alert(40), "handshake failure");
        assert_eq!(certificate(&other("PathLenConstraintViolated")), "path len constraint violated");
    }

    #[test]
    fn names_are_shown_bare() {
        assert_eq!(name(r#"DnsName("data.example.org")"#), "data.example.org");
        assert_eq!(name("IpAddress(192.0.2.7)"), "192.0.2.7");
        assert_eq!(name(r#"UniformResourceIdentifier("spiffe://a/b(c)")"#), "spiffe://a/b(c)");
        assert_eq!(name("DirectoryName"), "DirectoryName");
    }
}
