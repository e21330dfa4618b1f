//! What the end of a connection means.

use quinn::ConnectionError;

use crate::tls;
use qfs_core::stream::Lost;
use qfs_core::wire::StatusCode;

pub(super) fn lost(error: &ConnectionError) -> Lost {
    match error {
        ConnectionError::TimedOut => Lost::TimedOut,
        ConnectionError::Reset => Lost::Restarted,
        ConnectionError::LocallyClosed => Lost::ClosedHere,
        ConnectionError::ApplicationClosed(close) => Lost::Closed(StatusCode::from_quic(close.error_code.into_inner())),
        ConnectionError::ConnectionClosed(close) => match certificate_alert(close.error_code) {
            Some(why) => Lost::CertificateRefused(why),
            None => Lost::Transport(error.to_string()),
        },
        other => Lost::Transport(other.to_string()),
    }
}

fn certificate_alert(code: quinn::TransportErrorCode) -> Option<&'static str> {
    tls::certificate_alert(tls_alert(u64::from(code))?)
}

/// The alert in a QUIC error (RFC 9001 §4.8).
pub(super) fn tls_alert(code: u64) -> Option<u8> {
    u8::try_from(code.checked_sub(0x100)?).ok()
}
