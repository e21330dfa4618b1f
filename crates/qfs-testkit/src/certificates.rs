//! Certificates as others make them: an authority, what it signs, and what has run out.
//!
//! Knows X.509 only; who believes what, the tests know.

use std::io;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

/// A certificate with its key, both as PEM.
#[derive(Debug, Clone)]
pub struct Pem {
    /// The chain, the own certificate first.
    pub certificate: String,
    /// PKCS #8.
    pub key: String,
}

/// What a certificate says.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// Its common name.
    pub common_name: &'a str,
    /// Host names and addresses.
    pub names: &'a [&'a str],
    /// Whether its time is over.
    pub expired: bool,
}

impl<'a> Subject<'a> {
    /// Valid now, with this common name and these host names.
    #[must_use]
    pub fn new(common_name: &'a str, names: &'a [&'a str]) -> Self {
        Self { common_name, names, expired: false }
    }

    fn parameters(&self) -> io::Result<CertificateParams> {
        let names: Vec<_> = self.names.iter().map(|name| (*name).to_owned()).collect();
        let mut parameters = CertificateParams::new(names).map_err(io::Error::other)?;
        parameters.distinguished_name.push(DnType::CommonName, self.common_name);
        parameters.not_before = rcgen::date_time_ymd(2020, 1, 1);
        parameters.not_after = rcgen::date_time_ymd(if self.expired { 2021 } else { 9999 }, 12, 31);
        Ok(parameters)
    }
}

/// A certificate that vouches for itself.
///
/// # Errors
/// When a name is none, or there is no randomness.
pub fn self_signed(subject: Subject<'_>) -> io::Result<Pem> {
    let key = KeyPair::generate().map_err(io::Error::other)?;
    let certificate = subject.parameters()?.self_signed(&key).map_err(io::Error::other)?;
    Ok(Pem { certificate: certificate.pem(), key: key.serialize_pem() })
}

/// A certificate authority.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
}

impl Authority {
    /// Makes one.
    ///
    /// # Errors
    /// As [`self_signed`].
    pub fn new(common_name: &str) -> io::Result<Self> {
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let mut parameters = Subject::new(common_name, &[]).parameters()?;
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = parameters.self_signed(&key).map_err(io::Error::other)?.pem();
        Ok(Self { issuer: Issuer::new(parameters, key), certificate })
    }

    /// Its certificate, PEM.
    #[must_use]
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Its certificate with its key, as a server may show them.
    #[must_use]
    pub fn pem(&self) -> Pem {
        Pem { certificate: self.certificate.clone(), key: self.issuer.key().serialize_pem() }
    }

    /// A certificate for a new key, signed by this authority.
    ///
    /// # Errors
    /// As [`self_signed`].
    pub fn sign(&self, subject: Subject<'_>) -> io::Result<Pem> {
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let certificate = subject.parameters()?.signed_by(&key, &self.issuer).map_err(io::Error::other)?;
        Ok(Pem { certificate: certificate.pem(), key: key.serialize_pem() })
    }
}
