//! Who a client is, according to the certificate whose key it proved to hold.

use std::fmt;

use rustls::pki_types::CertificateDer;

use super::identity::fingerprint_of;
use qfs_core::model::{Fingerprint, escape_untrusted};

/// A client's certificate, as a log line names it: `CN=name sha256:HEX`, the name escaped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerCertificate {
    /// The fingerprint of its public key.
    pub fingerprint: Fingerprint,
    /// The subject's common name, escaped and at most [`MAX_NAME_CHARS`] characters of it; empty when it has none.
    pub common_name: String,
}

/// The most characters of a common name that are kept, before escaping: twice what X.520 allows.
pub const MAX_NAME_CHARS: usize = 128;

impl PeerCertificate {
    pub(crate) fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let fingerprint = fingerprint_of(certificate).ok()?;
        let name: String = common_name(certificate).unwrap_or_default().chars().take(MAX_NAME_CHARS).collect();
        Some(Self { fingerprint, common_name: escape_untrusted(&name) })
    }
}

impl fmt::Display for PeerCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CN={} {}", self.common_name, self.fingerprint)
    }
}

/// DER tags (X.690 §8) of what encloses a common name.
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const VERSION: u8 = 0xa0;
const OBJECT_IDENTIFIER: u8 = 0x06;
/// UTF8String, PrintableString, IA5String: the last two are ASCII.
const TEXTS: [u8; 3] = [0x0c, 0x13, 0x16];
/// id-at-commonName, 2.5.4.3.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];

/// The last common name of the subject (RFC 5280 §4.1.2.6): the most specific one.
fn common_name(certificate: &[u8]) -> Option<String> {
    let certificate = element(&mut &certificate[..], SEQUENCE)?;
    let mut fields = element(&mut &certificate[..], SEQUENCE)?;
    // The version has a default and may be absent; then serial number, signature, issuer, validity, subject.
    if fields.first() == Some(&VERSION) {
        any_element(&mut fields)?;
    }
    for _ in 0..4 {
        any_element(&mut fields)?;
    }
    let mut subject = element(&mut fields, SEQUENCE)?;
    let mut found = None;
    while !subject.is_empty() {
        let mut set = element(&mut subject, SET)?;
        while !set.is_empty() {
            let mut attribute = element(&mut set, SEQUENCE)?;
            let kind = element(&mut attribute, OBJECT_IDENTIFIER)?;
            let (tag, value) = any_element(&mut attribute)?;
            if kind == COMMON_NAME && TEXTS.contains(&tag) {
                found = std::str::from_utf8(value).ok().map(str::to_owned);
            }
        }
    }
    found
}

fn element<'a>(input: &mut &'a [u8], expected: u8) -> Option<&'a [u8]> {
    any_element(input).filter(|(tag, _)| *tag == expected).map(|(_, content)| content)
}

/// Takes one element off `input`: its tag and its content. Reads lengths of up to three bytes, which is more than a
/// certificate has.
fn any_element<'a>(input: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let (&tag, rest) = input.split_first()?;
    let (&first, mut rest) = rest.split_first()?;
    let length = match first {
        0..=0x7f => usize::from(first),
        0x81..=0x83 => {
            let (bytes, behind) = rest.split_at_checked(usize::from(first & 0x7f))?;
            rest = behind;
            bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte))
        }
        _ => return None,
    };
    let (content, behind) = rest.split_at_checked(length)?;
    *input = behind;
    Some((tag, content))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::*;

    fn certificate(names: &[(DnType, &str)]) -> CertificateDer<'static> {
        let mut parameters = CertificateParams::new(vec!["host.example".to_owned()]).unwrap();
        parameters.distinguished_name = rcgen::DistinguishedName::new();
        for (kind, name) in names {
            parameters.distinguished_name.push(kind.clone(), *name);
        }
        parameters.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    // Fails when a field of the certificate is skipped wrongly, or a name reaches the log as it is.
    #[test]
    fn the_common_name_is_found_and_escaped() {
        let name = |names: &[(DnType, &str)]| PeerCertificate::of(&certificate(names)).unwrap().common_name;
        assert_eq!(name(&[(DnType::CommonName, "laptop of é")]), "laptop of é");
        assert_eq!(name(&[(DnType::OrganizationName, "o"), (DnType::CommonName, "a\x1b[2J\nb")]), "a\\u{1b}[2J\\nb");
        assert_eq!(name(&[(DnType::OrganizationName, "o")]), "");
        assert_eq!(name(&[]), "");
        assert_eq!(name(&[(DnType::CommonName, &"x".repeat(4000))]), "x".repeat(MAX_NAME_CHARS));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(cut in 0usize..400, place in 0usize..400, byte: u8) {
            let mut der = certificate(&[(DnType::CommonName, "x")]).to_vec();
            if let Some(at) = der.get_mut(place) {
                *at = byte;
            }
            der.truncate(cut);
            let _ = common_name(&der);
        }
    }
}
