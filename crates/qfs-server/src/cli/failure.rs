//! Why the program ends, as a person reads it: `error: what happened: why`, and where there is one `hint: what to do`.

use std::io;
use std::process::ExitCode;

use qfs_server::ServeError;

/// A refusal to start.
const EXIT_REFUSED: u8 = 2;
/// A failure while serving.
const EXIT_FAILED: u8 = 1;

/// Why the program ends.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    hint: Option<String>,
    code: u8,
}

impl Failure {
    /// The server does not start.
    pub(crate) fn refused(message: String, hint: impl Into<String>) -> Self {
        Self { message, hint: Some(hint.into()), code: EXIT_REFUSED }
    }

    /// The runtime cannot be set up.
    #[expect(clippy::needless_pass_by_value, reason = "used with map_err")]
    pub(crate) fn runtime(error: io::Error) -> Self {
        Self { message: format!("cannot start: {error}"), hint: None, code: EXIT_FAILED }
    }

    /// Standard output cannot be written.
    #[expect(clippy::needless_pass_by_value, reason = "used with map_err")]
    pub(crate) fn output(error: io::Error) -> Self {
        Self { message: format!("cannot write to standard output: {error}"), hint: None, code: EXIT_FAILED }
    }

    /// The server stopped by itself.
    #[expect(clippy::needless_pass_by_value, reason = "used with map_err")]
    pub(crate) fn serve(error: ServeError) -> Self {
        Self {
            message: format!("the server stopped: {error}"),
            hint: Some("start it again".to_owned()),
            code: EXIT_FAILED,
        }
    }

    /// Prints both lines to stderr; the exit code.
    #[expect(clippy::print_stderr, reason = "the command line's own output")]
    pub(crate) fn report(&self) -> ExitCode {
        eprintln!("error: {}", self.message);
        if let Some(hint) = &self.hint {
            eprintln!("hint: {hint}");
        }
        self.code.into()
    }
}
