//! TLS 1.3 for both ends and every way: identities on disk, pins and authorities, and whom the client believes.
//!
//! It must not know whether packets or a byte stream carry the handshake.

mod handshake;
mod identity;
mod identity_files;
mod peer_certificate;
mod provider;
mod roots;
pub(crate) mod said;

pub use handshake::{CertificateFault, Trust};
pub use identity::{Identity, IdentityError, IdentityPem, ShownIdentity};
pub use identity_files::IdentityFileError;
pub use peer_certificate::{MAX_NAME_CHARS, PeerCertificate};
pub use roots::{Roots, RootsError};

pub(crate) use handshake::{Refusal, certificate_alert, client_config, server_config};
pub(crate) use identity::fingerprint_of;
