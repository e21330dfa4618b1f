//! Errors as they are shown: what happened, why, and what to do about it.

use std::fmt;

use qfs_client::error::{Failure, FailureClass, SessionError};
use qfs_client::trust::TrustError;
use qfs_client::trust::known_servers::KnownServersError;
use qfs_core::model::escape_untrusted;
use qfs_core::stream::Lost;
use qfs_core::wire::StatusCode;
use qfs_transport::{CertificateFault, ConnectError};

use crate::cli::exit::Exit;
use crate::cli::sanitize::inert;

/// An error that ends a command, with the exit code that goes with it. Displays as one line, and one for the hint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) exit: Exit,
    pub(crate) what: String,
    pub(crate) hint: Option<String>,
    /// The word for it in machine output.
    pub(crate) code: &'static str,
}

impl Problem {
    pub(crate) fn new(exit: Exit, what: impl Into<String>) -> Self {
        Self { exit, what: what.into(), hint: None, code: word(exit) }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Something local that cannot be done.
    pub(crate) fn local(what: impl fmt::Display, why: impl fmt::Display) -> Self {
        Self::new(Exit::Local, format!("{what}: {why}"))
    }

    pub(crate) fn interrupted() -> Self {
        Self::new(Exit::Interrupted, "interrupted: what has arrived is kept")
            .hint("run the same command again to continue")
    }
}

/// The word in machine output for what has no failure of the library behind it.
fn word(exit: Exit) -> &'static str {
    match exit {
        Exit::Done | Exit::Mixed => "failed",
        Exit::Usage => "usage",
        Exit::Connection => "cannot_connect",
        Exit::Trust => "untrusted",
        Exit::Refused => "refused",
        Exit::Integrity => "integrity",
        Exit::Local => "local",
        Exit::TooManyRemovals => "too_many_removals",
        Exit::Vanished => "vanished",
        Exit::Interrupted => "interrupted",
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "error: {}", inert(&self.what))?;
        match &self.hint {
            Some(hint) => writeln!(f, "hint: {}", inert(hint)),
            None => Ok(()),
        }
    }
}

/// A file that was not had.
pub(crate) fn of_file(name: &str, failure: &Failure) -> Problem {
    let what = format!("{}: {failure}", escape_untrusted(name));
    Problem { exit: failure.class().into(), what, hint: hint_for(failure).map(str::to_owned), code: failure.code() }
}

/// A step of a plan that failed.
pub(crate) fn of_step(name: &str, failure: &Failure) -> Problem {
    let problem = of_file(name, failure);
    match failure {
        // Flags of other commands do not help here.
        Failure::NotRegular | Failure::NoSpace(_) | Failure::Changed | Failure::Exists => {
            Problem { hint: None, ..problem }
        }
        _ => problem,
    }
}

/// A listing, or a whole run, that was not had.
pub(crate) fn of_run(what: &str, failure: &Failure) -> Problem {
    let what = format!("{what}: {failure}");
    Problem { exit: failure.class().into(), what, hint: hint_for(failure).map(str::to_owned), code: failure.code() }
}

/// A listing of the server that lacks something that is there.
pub(crate) fn of_partial_listing() -> Problem {
    let what = "the server could not list everything that it has there, or the listing was cut off";
    Problem::new(Exit::Refused, what).hint("run the same command again; the server's log says more")
}

fn hint_for(failure: &Failure) -> Option<&'static str> {
    match failure {
        Failure::Exists => Some("--overwrite replaces it"),
        Failure::NotRegular => Some("move it away, or choose another place with --save-dir"),
        Failure::BelowFile(_) => Some("name one of the two, or fetch them into different places with --save-dir"),
        Failure::NoSpace(_) => Some("make room, or choose another place with --save-dir"),
        Failure::CertificateRefused(_) => Some(WANTS_CERTIFICATE),
        Failure::NoMatch | Failure::InvalidName(_) => Some(SEE_LISTING),
        Failure::Refused(error) if error.code == StatusCode::NOT_FOUND => Some(SEE_LISTING),
        Failure::Refused(error) if error.code == StatusCode::DENIED && error.message.contains("delete is not") => {
            Some(ASK_FOR_DELETE)
        }
        Failure::Refused(error) if error.code == StatusCode::DENIED && error.message.contains("not allowed") => {
            Some(ASK_FOR_RIGHT)
        }
        Failure::DirectoryThere => {
            Some("put --to DIR puts something into it, and rm --recursive removes it with all that is below it")
        }
        Failure::UnreadableThere => Some("the server's log says more; whoever runs it can let it read the file"),
        Failure::Refused(error) if error.code == StatusCode::DENIED => Some(SHOW_TOKEN),
        Failure::Refused(error) if error.code == StatusCode::UNKNOWN_COMMAND => {
            Some("the server is older than this program, or another one, and does not know what was asked")
        }
        Failure::SourceChanged => Some("it is being written here; run the same command again"),
        Failure::Refused(error) if error.code.is_transient() => Some("run the same command again later"),
        Failure::Changed => Some(
            "it is being written on the server; --live fetches one that is only appended to, as long as it is when it is opened",
        ),
        Failure::TargetChanged => Some("run the same command again: it looks at what is there now"),
        Failure::Vanished => Some("run the same command again if it should have been there"),
        Failure::LiveUnknown => Some("run the same command again when nobody writes to it, or with a newer server"),
        Failure::ChangedInside => Some("run the same command again when nobody writes to it"),
        Failure::DigestMismatch { .. } => {
            Some("run the same command again; if it stays, the server's disk or memory may be damaged")
        }
        Failure::ConnectionLost(_) | Failure::Interrupted => Some("run the same command again to continue"),
        Failure::Untrusted(_) => Some("ask whoever runs the server whether its key has changed, before anything else"),
        Failure::Protocol(_) => Some("is this the right port, and a qfs-server that speaks this version?"),
        _ => None,
    }
}

const ASK_FOR_RIGHT: &str =
    "whoever runs the server allows it: qfs-server --allow read,write, or token create --can read,write";
const ASK_FOR_DELETE: &str =
    "whoever runs the server allows it: qfs-server --allow read,write,delete, or token create --can read,write,delete";
const SHOW_TOKEN: &str = "show a valid token with --token-file FILE or QFS_TOKEN; whoever runs the server makes one: qfs-server token create";
const WANTS_CERTIFICATE: &str =
    "name a certificate that the server's authority has signed with --client-cert FILE --client-key FILE";

const SEE_LISTING: &str = "qfs-client list shows what the server has";

/// A connection that was not made.
pub(crate) fn of_session(error: &SessionError) -> Problem {
    let exit = Exit::from(error.class());
    match error {
        SessionError::Resolve { .. } => Problem::new(exit, error.to_string()).hint("check the name after --ip"),
        SessionError::Connect { server, source } => {
            Problem::new(exit, error.to_string()).hint(connect_hint(&server.to_string(), server.port, source))
        }
        SessionError::WrongKey { server, expected, presented, from_store: true } => {
            let what = format!("the key of {server} has changed: known {expected}, presented {presented}");
            Problem::new(exit, what).hint(format!(
                "somebody may be in between; if whoever runs the server confirms the new key: \
                 qfs-client trust replace {server} {presented}"
            ))
        }
        SessionError::WrongKey { expected, presented, .. } => {
            Problem::new(exit, format!("{error}: expected {expected}, presented {presented}"))
                .hint("ask whoever runs the server for its ticket or fingerprint")
        }
        SessionError::Impostor { .. } => Problem::new(exit, error.to_string())
            .hint("somebody may be in between: check the address, and do not go on"),
        SessionError::Certificate { source, .. } => {
            Problem::new(exit, error.to_string()).hint(certificate_hint(source))
        }
        SessionError::Roots(_) => {
            Problem::new(exit, error.to_string()).hint("install the system's certificates, or set SSL_CERT_FILE")
        }
        SessionError::Trust(error) => of_trust(error),
        other => Problem::new(exit, other.to_string()),
    }
}

fn certificate_hint(fault: &CertificateFault) -> &'static str {
    match fault {
        CertificateFault::Expired | CertificateFault::NotYetValid => {
            "is this machine's clock right? otherwise whoever runs the server has to renew its certificate"
        }
        CertificateFault::UnknownIssuer => {
            "a server with a certificate of its own making is trusted by its key: --tls=pin; SSL_CERT_FILE adds an authority"
        }
        CertificateFault::OfAnAuthority => {
            "a server with a certificate of its own making is trusted by its key: --tls=pin"
        }
        CertificateFault::WrongName(_) => "use the host name that the certificate is for",
        _ => "ask whoever runs the server",
    }
}

fn connect_hint(server: &str, port: u16, error: &ConnectError) -> String {
    match error {
        ConnectError::NoAnswer => {
            format!("is qfs-server running there, and does a firewall let port {port} through, of UDP or of TCP?")
        }
        ConnectError::Refused => "is qfs-server running, and are --ip and --port right?".to_owned(),
        ConnectError::OtherProtocol => format!("is {server} a qfs-server, of this version?"),
        ConnectError::Turned(_) => "the server is at a limit or shutting down; try again later".to_owned(),
        ConnectError::Handshake(_) => "if the address is right, somebody may be in between".to_owned(),
        ConnectError::Lost(Lost::CertificateRefused(_)) => WANTS_CERTIFICATE.to_owned(),
        ConnectError::Local(_) => "check this machine's network".to_owned(),
        _ => "try again; -v shows more".to_owned(),
    }
}

fn of_trust(error: &TrustError) -> Problem {
    let problem = Problem::new(FailureClass::Trust.into(), error.to_string());
    match error {
        TrustError::Unknown { server, presented } => problem.hint(format!(
            "compare with the fingerprint that the server prints; if it is the same: qfs-client trust add {server} \
             {presented}, or run again with --accept-new"
        )),
        TrustError::Store(_) => problem.hint("mend the file, or choose another place with QFS_CONFIG_DIR"),
        _ => problem,
    }
}

/// A store of known servers that cannot be used or does not agree.
pub(crate) fn of_known_servers(error: &KnownServersError) -> Problem {
    let exit = match error {
        KnownServersError::NoPlace | KnownServersError::Io { .. } | KnownServersError::Locked { .. } => Exit::Local,
        _ => Exit::Trust,
    };
    let problem = Problem::new(exit, error.to_string());
    match error {
        KnownServersError::NoPlace => problem.hint("set QFS_CONFIG_DIR to a directory of your own"),
        KnownServersError::Format { .. } => problem.hint("mend or remove that line"),
        KnownServersError::Exposed { path } => problem.hint(format!("chmod 600 {}", path.display())),
        KnownServersError::OtherKey { server, .. } => {
            problem.hint(format!("if the change is meant: qfs-client trust replace {server} sha256:HEX"))
        }
        KnownServersError::NotKnown { server } => problem
            .hint(format!("qfs-client trust list shows the known ones; qfs-client trust add {server} sha256:HEX")),
        _ => problem,
    }
}

#[cfg(test)]
mod tests {
    use qfs_core::model::Fingerprint;

    use super::*;

    #[test]
    fn an_error_is_one_line_whatever_it_quotes() {
        let problem = of_file("a\nb\x1b[2J", &Failure::Local("x\r\ny".to_owned())).to_string();
        assert_eq!(problem, "error: a\\nb\\u{1b}[2J: x\\r\\ny\n");
    }

    #[test]
    fn a_changed_key_shows_both_and_how_to_replace_it() {
        let (old, new) = (Fingerprint::of_public_key(b"old"), Fingerprint::of_public_key(b"new"));
        let server = qfs_client::config::ServerAddress { host: "::1".to_owned(), port: 8000 };
        let problem = of_session(&SessionError::WrongKey { server, expected: old, presented: new, from_store: true });
        assert_eq!(problem.exit, Exit::Trust);
        assert!(problem.what.contains(&old.to_string()) && problem.what.contains(&new.to_string()));
        assert!(problem.hint.unwrap().ends_with(&format!("qfs-client trust replace [::1]:8000 {new}")));
    }
}
