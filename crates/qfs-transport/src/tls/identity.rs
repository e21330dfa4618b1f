//! A server's key and self-signed certificate.

use std::sync::{Arc, PoisonError, RwLock};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use qfs_core::model::Fingerprint;

use super::said;

/// A private key with its certificate chain, ready to serve.
#[derive(Debug)]
pub struct Identity {
    pub(crate) key: PrivateKeyDer<'static>,
    pub(crate) chain: Vec<CertificateDer<'static>>,
    fingerprint: Fingerprint,
    shown: Arc<Shown>,
}

/// What the servers of an identity show in handshakes, on every way. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ShownIdentity(Arc<Shown>);

impl ShownIdentity {
    /// Has `identity` shown from the next handshake on. Connections that exist are not touched.
    pub fn replace(&self, identity: &Identity) {
        self.0.set(identity.shown.current());
    }
}

/// The certificate of the moment, which rustls asks for at each handshake.
#[derive(Debug)]
pub(crate) struct Shown(RwLock<Arc<CertifiedKey>>);

impl Shown {
    fn current(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn set(&self, key: Arc<CertifiedKey>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = key;
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

/// A new identity as it is stored.
#[derive(Clone)]
pub struct IdentityPem {
    /// PKCS #8 private key, PEM. Secret.
    pub key: String,
    /// X.509 certificate, PEM.
    pub certificate: String,
}

/// Why a key and certificate cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// No new key or certificate could be made.
    #[error("cannot make an identity: {0}")]
    Generate(String),
    /// The key file holds no PEM private key.
    #[error("the key is not a PEM private key: {0}")]
    Key(String),
    /// The certificate file holds no PEM certificate.
    #[error("the certificate is not a PEM certificate: {0}")]
    Certificate(String),
    /// The certificate file is PEM, and its certificate cannot be used.
    #[error("the certificate cannot be used: {0}")]
    Unusable(String),
    /// Both can be read and do not belong together.
    #[error("the key and the certificate do not belong together: {0}")]
    Mismatch(String),
}

impl IdentityPem {
    /// Makes a fresh ECDSA P-256 key and a certificate for it, signed by itself.
    ///
    /// The certificate only carries the key, because clients pin the key. It is valid until the end of year 9999 (RFC
    /// 5280 §4.1.2.5), so that a wrong clock never locks anybody out.
    ///
    /// # Errors
    /// [`IdentityError::Generate`] when the system has no randomness.
    pub fn generate() -> Result<Self, IdentityError> {
        let failed = |e: rcgen::Error| IdentityError::Generate(e.to_string());
        let key = rcgen::KeyPair::generate().map_err(failed)?;
        let mut parameters = rcgen::CertificateParams::new(vec!["qfs".to_owned()]).map_err(failed)?;
        parameters.distinguished_name.push(rcgen::DnType::CommonName, "qfs");
        parameters.not_before = rcgen::date_time_ymd(2020, 1, 1);
        parameters.not_after = rcgen::date_time_ymd(9999, 12, 31);
        let certificate = parameters.self_signed(&key).map_err(failed)?;
        Ok(Self { key: key.serialize_pem(), certificate: certificate.pem() })
    }
}

impl Identity {
    /// Reads a PEM private key and a PEM certificate chain, the server's own certificate first.
    ///
    /// # Errors
    /// [`IdentityError`] says which of the two is at fault.
    pub fn from_pem(key: &[u8], certificates: &[u8]) -> Result<Self, IdentityError> {
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|e| IdentityError::Key(said::pem(&e)))?;
        let (chain, fingerprint) = read_chain(certificates)?;
        // Rejects a key that does not match the certificate now, and not at the first handshake.
        let provider = super::provider::provider();
        let signer =
            provider.key_provider.load_private_key(key.clone_key()).map_err(|e| IdentityError::Key(said::tls(&e)))?;
        let certified = CertifiedKey::new(chain.clone(), signer);
        certified.keys_match().map_err(|e| IdentityError::Mismatch(said::tls(&e)))?;
        Ok(Self { key, chain, fingerprint, shown: Arc::new(Shown(RwLock::new(Arc::new(certified)))) })
    }

    /// Where another identity can be put in this one's place, for every server that was bound with this one.
    #[must_use]
    pub fn shown(&self) -> ShownIdentity {
        ShownIdentity(Arc::clone(&self.shown))
    }

    pub(crate) fn resolver(&self) -> Arc<Shown> {
        Arc::clone(&self.shown)
    }

    /// The name by which clients know this identity.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// The name by which clients know the first of these PEM certificates. The private key is not needed.
    ///
    /// # Errors
    /// [`IdentityError::Certificate`], [`IdentityError::Unusable`].
    pub fn fingerprint_of_pem(certificates: &[u8]) -> Result<Fingerprint, IdentityError> {
        read_chain(certificates).map(|(_, fingerprint)| fingerprint)
    }
}

/// A PEM chain, and the fingerprint of its first certificate.
fn read_chain(certificates: &[u8]) -> Result<(Vec<CertificateDer<'static>>, Fingerprint), IdentityError> {
    let chain = CertificateDer::pem_slice_iter(certificates)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| IdentityError::Certificate(said::pem(&e)))?;
    let Some(own) = chain.first() else {
        return Err(IdentityError::Certificate("none found".to_owned()));
    };
    let fingerprint = fingerprint_of(own).map_err(|e| IdentityError::Unusable(said::tls(&e)))?;
    Ok((chain, fingerprint))
}

/// The fingerprint of a certificate's public key.
pub(crate) fn fingerprint_of(certificate: &CertificateDer<'_>) -> Result<Fingerprint, rustls::Error> {
    let parsed = ParsedCertificate::try_from(certificate)?;
    Ok(Fingerprint::of_public_key(&parsed.subject_public_key_info()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_identity_reads_back_with_a_stable_fingerprint() {
        let pem = IdentityPem::generate().unwrap();
        let read = || Identity::from_pem(pem.key.as_bytes(), pem.certificate.as_bytes()).unwrap().fingerprint();
        assert_eq!(read(), read());
        let key = rcgen::KeyPair::from_pem(&pem.key).unwrap();
        assert_eq!(read(), Fingerprint::of_public_key(&rcgen::PublicKeyData::subject_public_key_info(&key)));
    }

    /// Of version 1 of X.509, as `openssl x509 -req` makes one without extensions.
    const OLD: &str = "-----BEGIN CERTIFICATE-----\n\
        MIIBFjCBvQIUNM+bJIAGJxb/hLx/l3uKI2MZ2p4wCgYIKoZIzj0EAwIwDTELMAkG\n\
        A1UEAwwCdjEwIBcNMjYxMTI4MDM1NjE3WhgPMjEyNjExMDQwMzU2MTdaMA0xCzAJ\n\
        BgNVBAMMAnYxMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAERE1ADLoqMgMxKKSS\n\
        QBoXtsRA16nhSo1aPey4c4mlXYPSR9EvOC5EKUYNu9iaFBcLwQa6VYK7vmCWxlA3\n\
        OQpjHjAKBggqhkjOPQQDAgNIADBFAiBApoMaPGZ9JltGobS7jDMUW7gESKOKpOGc\n\
        JsGs+qg7IgIhAM8feiM4xA4RacQbTmx7py7C2WGVZveKkHNelEoVrFfp\n\
        -----END CERTIFICATE-----\n";

    #[test]
    fn what_is_wrong_is_named() {
        let (a, b) = (IdentityPem::generate().unwrap(), IdentityPem::generate().unwrap());
        let read = |key: &str, cert: &str| Identity::from_pem(key.as_bytes(), cert.as_bytes()).unwrap_err();
        assert!(matches!(read("nonsense", &a.certificate), IdentityError::Key(_)));
        assert!(matches!(read(&a.key, ""), IdentityError::Certificate(_)));
        let mismatch = "the key and the certificate do not belong together: the certificate is for another key";
        assert_eq!(read(&a.key, &b.certificate).to_string(), mismatch);
        let unusable = "the certificate cannot be used: it is not of version 3 of X.509";
        assert_eq!(read(&a.key, OLD).to_string(), unusable);
        let cut = a.certificate.replace("-----END", "");
        assert_eq!(
            read(&a.key, &cut).to_string(),
            "the certificate is not a PEM certificate: a section in it has no end"
        );
    }
}
