//! What the end of a connection means.

use quinn::ConnectionError;

use qfs_core::stream::Lost;
use qfs_core::wire::StatusCode;

pub(super) fn lost(error: &ConnectionError) -> Lost {
    match error {
        ConnectionError::TimedOut => Lost::TimedOut,
        ConnectionError::Reset => Lost::Restarted,
        ConnectionError::LocallyClosed => Lost::ClosedHere,
        ConnectionError::ApplicationClosed(close) => Lost::Closed(StatusCode::from_quic(close.error_code.into_inner())),
        ConnectionError::ConnectionClosed(close) => match certificate_alert(u64::from(close.error_code)) {
            Some(why) => Lost::CertificateRefused(why),
            None => Lost::Transport(error.to_string()),
        },
        other => Lost::Transport(other.to_string()),
    }
}

/// What a server's TLS alert says about the client's certificate (RFC 8446 §6.2 as a QUIC error, RFC 9001 §4.8); None
/// for other alerts. A client is told after its half of the handshake: the connection seems to be established, and then
/// ends.
fn certificate_alert(code: u64) -> Option<&'static str> {
    Some(match code.checked_sub(0x100)? {
        116 => "the server wants one, and none was shown",
        48 => "the server does not know who issued it",
        45 => "it has expired",
        44 => "it was revoked",
        42 | 43 | 46 | 49 | 51 => "the server does not accept it",
        _ => return None,
    })
}
