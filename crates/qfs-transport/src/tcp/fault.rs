//! What errors of sockets and of TLS mean, in the words of the other way.

use std::io;

use qfs_core::stream::Lost;
use rustls::AlertDescription;

use crate::error::ConnectError;
use crate::tls;

/// Why an established connection is gone.
pub(super) fn lost(error: &io::Error) -> Lost {
    if let Some(rustls::Error::AlertReceived(alert)) = tls_error(error)
        && let Some(why) = tls::certificate_alert(u8::from(*alert))
    {
        return Lost::CertificateRefused(why);
    }
    match error.kind() {
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::WriteZero
        | io::ErrorKind::UnexpectedEof => Lost::Restarted,
        io::ErrorKind::TimedOut => Lost::TimedOut,
        _ => Lost::Transport(tls_error(error).map_or_else(|| error.to_string(), tls::said::tls)),
    }
}

/// Why a connection was not made.
pub(super) fn not_made(error: &io::Error) -> ConnectError {
    match tls_error(error) {
        Some(rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol)) => ConnectError::OtherProtocol,
        // Whatever listens there does not speak TLS 1.3.
        Some(
            rustls::Error::InvalidMessage(_)
            | rustls::Error::PeerIncompatible(_)
            | rustls::Error::AlertReceived(AlertDescription::ProtocolVersion),
        ) => ConnectError::OtherProtocol,
        Some(error) => ConnectError::Handshake(tls::said::tls(error)),
        None => match error.kind() {
            io::ErrorKind::ConnectionRefused => ConnectError::Refused,
            io::ErrorKind::TimedOut => ConnectError::NoAnswer,
            _ => ConnectError::Lost(lost(error)),
        },
    }
}

fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tls(error: rustls::Error) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, error)
    }

    #[test]
    fn faults_are_told_apart() {
        let alert = |alert| tls(rustls::Error::AlertReceived(alert));
        assert!(matches!(not_made(&alert(AlertDescription::NoApplicationProtocol)), ConnectError::OtherProtocol));
        assert!(matches!(not_made(&io::ErrorKind::ConnectionRefused.into()), ConnectError::Refused));
        assert!(matches!(not_made(&io::ErrorKind::UnexpectedEof.into()), ConnectError::Lost(Lost::Restarted)));
        assert!(matches!(lost(&alert(AlertDescription::CertificateRequired)), Lost::CertificateRefused(_)));
        assert!(matches!(lost(&alert(AlertDescription::InternalError)), Lost::Transport(_)));
        assert_eq!(lost(&io::ErrorKind::ConnectionReset.into()), Lost::Restarted);
    }
}
