//! TLS 1.3 for both ends: which ciphers, which protocol, and whom the client believes.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, SignatureScheme};

use super::identity::{Identity, fingerprint_of};
use crate::model::Fingerprint;
use crate::wire::ALPN;

/// Which server key a client accepts in the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// This one only; nothing else about the certificate counts.
    Pinned(Fingerprint),
    /// Any key that the server proves to hold. The caller decides by the connection's fingerprint before it sends anything.
    AnyKey,
}

/// ring with AES-128-GCM first: the fastest cipher measured here, and every processor of this decade has AES instructions.
pub(super) fn provider() -> Arc<CryptoProvider> {
    let mut provider = rustls::crypto::ring::default_provider();
    provider.cipher_suites.sort_by_key(|suite| suite.suite() != rustls::CipherSuite::TLS13_AES_128_GCM_SHA256);
    Arc::new(provider)
}

pub(super) fn server_config(identity: &Identity) -> Result<rustls::ServerConfig, rustls::Error> {
    let mut config = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(identity.chain.clone(), identity.key.clone_key())?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    // 0-RTT data can be replayed by anybody who saw it.
    config.max_early_data_size = 0;
    Ok(config)
}

pub(super) fn client_config(trust: Trust) -> Result<(rustls::ClientConfig, Arc<Verdict>), rustls::Error> {
    let verdict = Arc::new(Verdict::default());
    let provider = provider();
    let algorithms = provider.signature_verification_algorithms;
    let verifier = PinVerifier { trust, algorithms, verdict: Arc::clone(&verdict) };
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.enable_early_data = false;
    config.resumption = rustls::client::Resumption::disabled();
    Ok((config, verdict))
}

/// Why the verifier refused a server, kept for the error message: the alert that ends the handshake says less.
#[derive(Debug, Default)]
pub(super) struct Verdict(Mutex<Option<Refusal>>);

/// Why a server is not believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It holds another key.
    WrongKey { expected: Fingerprint, presented: Fingerprint },
    /// It shows a certificate whose key it does not prove to hold.
    Unproven { presented: Fingerprint },
}

impl Verdict {
    pub(super) fn refusal(&self) -> Option<Refusal> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn refuse(&self, refusal: Refusal) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(refusal);
    }
}

/// Believes a key, not a name: chain, names and dates of the certificate are ignored, the signature that proves
/// possession of the key is not.
#[derive(Debug)]
struct PinVerifier {
    trust: Trust,
    algorithms: WebPkiSupportedAlgorithms,
    verdict: Arc<Verdict>,
}

impl ServerCertVerifier for PinVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let presented = fingerprint_of(end_entity)?;
        match self.trust {
            Trust::Pinned(expected) if expected != presented => {
                self.verdict.refuse(Refusal::WrongKey { expected, presented });
                Err(CertificateError::ApplicationVerificationFailure.into())
            }
            Trust::Pinned(_) | Trust::AnyKey => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        // QUIC has TLS 1.3 only (RFC 9001 §4.2).
        Err(rustls::Error::General("TLS 1.2 in QUIC".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        // Without this, anybody who copied the public certificate could answer in the server's place.
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.algorithms).inspect_err(|_| {
            if let Ok(presented) = fingerprint_of(cert) {
                self.verdict.refuse(Refusal::Unproven { presented });
            }
        })
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
