//! Trusted certificate authorities: those of this machine, or those of a file.

use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::said;

/// Certificate authorities; cheap to clone.
#[derive(Debug, Clone)]
pub struct Roots(pub(crate) Arc<RootCertStore>);

/// Why there are no authorities.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RootsError {
    /// Something in it is not a certificate.
    #[error("not a PEM certificate: {0}")]
    Certificate(String),
    /// A certificate in it is none that can vouch for others.
    #[error("a certificate in it cannot be used: {0}")]
    Unusable(String),
    /// None was found.
    #[error("no certificate authority is found{0}")]
    Nobody(String),
}

impl Roots {
    /// The authorities that this machine trusts: those of the operating system, or those of `SSL_CERT_FILE` or
    /// `SSL_CERT_DIR` where one is set. Reads files, so it blocks. Malformed certificates are skipped, as everywhere
    /// else on the machine.
    ///
    /// # Errors
    /// [`RootsError::Nobody`], with the reason where there is one.
    pub fn of_this_machine() -> Result<Self, RootsError> {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            let why = found.errors.first().map(|error| format!(": {error}")).unwrap_or_default();
            return Err(RootsError::Nobody(why));
        }
        Ok(Self(Arc::new(roots)))
    }

    /// The authorities of a PEM file. It fails closed: one certificate that cannot be read makes the whole file
    /// unusable.
    ///
    /// # Errors
    /// [`RootsError`].
    pub fn from_pem(pem: &[u8]) -> Result<Self, RootsError> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|e| RootsError::Certificate(said::pem(&e)))?;
            roots.add(certificate).map_err(|e| RootsError::Unusable(said::tls(&e)))?;
        }
        if roots.is_empty() { Err(RootsError::Nobody(String::new())) } else { Ok(Self(Arc::new(roots))) }
    }
}
