//! TLS 1.3 for both ends: which ciphers, which protocol, and whom the client believes.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{CertificateError, DigitallySignedStruct, SignatureScheme};

use super::identity::{Identity, fingerprint_of};
use super::provider::provider;
use super::roots::Roots;
use super::said;
use qfs_core::model::Fingerprint;
use qfs_core::wire::ALPN;

/// Which server key a client accepts in the handshake.
#[derive(Debug, Clone)]
pub enum Trust {
    /// Only this key; nothing else about the certificate counts.
    Pinned(Fingerprint),
    /// The known key, or the one that it has announced as its successor.
    Renewing {
        /// The known key.
        current: Fingerprint,
        /// The one announced.
        next: Fingerprint,
    },
    /// Any key that the server proves to hold. The caller decides by the connection's fingerprint before it sends anything.
    AnyKey,
    /// A certificate for the host's name that one of these authorities vouches for, as in the web (RFC 5280, RFC 6125).
    Certified {
        /// The authorities that this client believes.
        roots: Roots,
        /// The key that it must have in addition.
        pin: Option<Fingerprint>,
    },
}

/// What is wrong with a certificate, where names, dates and issuers count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateFault {
    /// It has expired.
    #[error("its certificate has expired")]
    Expired,
    /// It is not valid yet.
    #[error("its certificate is not valid yet")]
    NotYetValid,
    /// No trusted authority has issued it.
    #[error("its certificate was issued by nobody whom this machine trusts")]
    UnknownIssuer,
    /// It is the certificate of an authority, and not one that an authority gives to a server.
    #[error(
        "its certificate is one of an authority, as servers make for themselves, and none that vouches for a server"
    )]
    OfAnAuthority,
    /// It is for other names.
    #[error("its certificate is for {}, not for this host", listed(.0))]
    WrongName(
        /// The names that it is for, as the stranger wrote them.
        Vec<String>,
    ),
    /// It is invalid for another reason.
    #[error("its certificate is not valid: {0}")]
    Other(String),
}

fn listed(names: &[String]) -> String {
    if names.is_empty() { "nobody".to_owned() } else { names.join(", ") }
}

impl From<&CertificateError> for CertificateFault {
    fn from(error: &CertificateError) -> Self {
        match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Self::NotYetValid,
            // A wrong signature: an authority with the issuer's name is trusted, and has another key.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => Self::UnknownIssuer,
            CertificateError::NotValidForName => Self::WrongName(Vec::new()),
            CertificateError::NotValidForNameContext { presented, .. } => {
                Self::WrongName(presented.iter().map(|name| said::name(name).to_owned()).collect())
            }
            error if said::is_of_an_authority(error) => Self::OfAnAuthority,
            other => Self::Other(said::certificate(other)),
        }
    }
}

/// With `clients`, only those with a certificate that one of these authorities vouches for get in. `protocols`: what is offered,
/// the best first (RFC 7301).
pub(crate) fn server_config(
    identity: &Identity,
    clients: Option<&Roots>,
    protocols: &[&[u8]],
) -> Result<rustls::ServerConfig, rustls::Error> {
    let provider = provider();
    let verifier = match clients {
        None => WebPkiClientVerifier::no_client_auth(),
        Some(roots) => WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots.0), Arc::clone(&provider))
            .build()
            .map_err(|e| rustls::Error::General(e.to_string()))?,
    };
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(identity.resolver());
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    // 0-RTT data can be replayed by anybody who saw it.
    config.max_early_data_size = 0;
    Ok(config)
}

/// With `identity`, the client shows its certificate to a server that asks for one.
pub(crate) fn client_config(
    trust: Trust,
    identity: Option<&Identity>,
) -> Result<(rustls::ClientConfig, Arc<Verdict>), rustls::Error> {
    let verdict = Arc::new(Verdict::default());
    let provider = provider();
    let algorithms = provider.signature_verification_algorithms;
    let web = match &trust {
        Trust::Certified { roots, .. } => Some(
            WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots.0), Arc::clone(&provider))
                .build()
                .map_err(|e| rustls::Error::General(e.to_string()))?,
        ),
        Trust::Pinned(_) | Trust::Renewing { .. } | Trust::AnyKey => None,
    };
    let verifier = Verifier { trust, web, algorithms, verdict: Arc::clone(&verdict) };
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match identity {
        Some(identity) => config.with_client_auth_cert(identity.chain.clone(), identity.key.clone_key())?,
        None => config.with_no_client_auth(),
    };
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.enable_early_data = false;
    config.resumption = rustls::client::Resumption::disabled();
    Ok((config, verdict))
}

/// What a server's alert (RFC 8446 §6.2) says of the client's certificate; None for others. A client is told after its half of the
/// handshake: the connection seems made, and ends.
pub(crate) fn certificate_alert(alert: u8) -> Option<&'static str> {
    Some(match alert {
        116 => "the server wants one, and none was shown",
        48 => "the server does not know who issued it",
        45 => "it has expired",
        44 => "it was revoked",
        42 | 43 | 46 | 49 | 51 => "the server does not accept it",
        _ => return None,
    })
}

/// Why the verifier refused a server, kept for the error message: the alert that ends the handshake says less.
#[derive(Debug, Default)]
pub(crate) struct Verdict(Mutex<Option<Refusal>>);

/// Why a server is not believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It holds another key.
    WrongKey { expected: Fingerprint, presented: Fingerprint },
    /// It shows a certificate whose key it does not prove to hold.
    Unproven { presented: Fingerprint },
    /// Its certificate is not valid.
    Certificate(CertificateFault),
}

impl Verdict {
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn refuse(&self, refusal: Refusal) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(refusal);
    }

    fn refuse_certificate(&self, error: &rustls::Error) {
        self.refuse(Refusal::Certificate(match error {
            rustls::Error::InvalidCertificate(error) => error.into(),
            other => CertificateFault::Other(said::tls(other)),
        }));
    }
}

/// Verifies a key and not a name: it ignores the chain, names and dates of the certificate, but verifies the signature
/// that proves possession of the key. For [`Trust::Certified`], `web` checks chain, names and dates.
#[derive(Debug)]
struct Verifier {
    trust: Trust,
    web: Option<Arc<WebPkiServerVerifier>>,
    algorithms: WebPkiSupportedAlgorithms,
    verdict: Arc<Verdict>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let presented = fingerprint_of(end_entity).inspect_err(|error| self.verdict.refuse_certificate(error))?;
        let pin = match &self.trust {
            Trust::Pinned(pin) => Some(*pin),
            Trust::Renewing { next, .. } if *next == presented => None,
            Trust::Renewing { current, .. } => Some(*current),
            Trust::Certified { pin, .. } => *pin,
            Trust::AnyKey => None,
        };
        if let Some(expected) = pin.filter(|pin| *pin != presented) {
            self.verdict.refuse(Refusal::WrongKey { expected, presented });
            return Err(CertificateError::ApplicationVerificationFailure.into());
        }
        let Some(web) = &self.web else { return Ok(ServerCertVerified::assertion()) };
        web.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            .inspect_err(|error| self.verdict.refuse_certificate(error))
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        // Only TLS 1.3 is offered, on either way (RFC 9001 §4.2, PROTOCOL §9.1).
        Err(rustls::Error::General("TLS 1.2 was not offered".to_owned()))
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
