//! Why a measurement did not happen. A client that fails is a result, not one of these.

use std::path::PathBuf;

use crate::process::ProcessError;

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BenchError {
    /// A program needed was not found.
    #[error("cannot find {0}: it is neither beside this program nor on PATH")]
    NoProgram(&'static str),
    /// The server could not be started for the run.
    #[error("cannot start a server for the run: {0}")]
    Server(ProcessError),
    /// The client could not list what the server has.
    #[error("cannot list the server's files: {0}")]
    List(String),
    /// There is nothing to choose from.
    #[error("nothing to download: the server lists no file")]
    NothingListed,
    /// The server lists a name that leads out of the directory it is saved in.
    #[error("refused to download: the name '{0}' leads out of its directory")]
    BadName(String),
    /// A scenario, or a peer, of this name is not known.
    #[error("unknown {kind} '{name}': the known ones are {known}")]
    Unknown {
        /// The kind of thing that was to be named.
        kind: &'static str,
        /// The name as it was written.
        name: String,
        /// The known names.
        known: String,
    },
    /// A secret is where everybody on the machine can read it.
    #[error("a ticket with a token must not stand on the command line: everybody on this machine can read it there")]
    Exposed,
    /// A data set, a directory for the copies, or a report could not be made.
    #[error("cannot {doing} {}: {source}", path.display())]
    Local {
        /// `write`, `create` …
        doing: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The bench could not run or watch a process.
    #[error(transparent)]
    Process(#[from] ProcessError),
}

impl BenchError {
    /// Makes a [`Self::Local`] out of what the system said.
    pub(crate) fn local(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| match source.kind() {
            std::io::ErrorKind::Interrupted => Self::Process(ProcessError::Interrupted),
            _ => Self::Local { doing, path, source },
        }
    }

    /// What to do about it, where there is something.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoProgram(_) => Some("build the whole workspace, or name it with --client-bin / --server-bin"),
            Self::Server(ProcessError::NotReady { .. }) => {
                Some("name the directory to publish with --root, or a running server with --ip and --port")
            }
            Self::List(_) => Some("is the server running? name it with --ip and --port, or --server TICKET"),
            Self::Exposed => Some("put it into QFS_SERVER; this token is best revoked"),
            Self::NothingListed => Some("put a file into the published directory, or name one with --root"),
            Self::Local { doing: "create", .. } => Some("choose another place with --work-dir"),
            _ => None,
        }
    }

    /// The bench's exit code: 2 for what the caller has to put right, 130 interrupted, else 1.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Process(ProcessError::Interrupted) | Self::Server(ProcessError::Interrupted) => 130,
            Self::Unknown { .. } | Self::NoProgram(_) | Self::Exposed => 2,
            Self::Server(ProcessError::NotReady { code: Some(2), .. }) => 2,
            _ => 1,
        }
    }
}
