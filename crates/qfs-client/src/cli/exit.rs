//! Exit codes: what scripts may rely on.

use std::process::ExitCode;

use qfs_client::error::FailureClass;
use qfs_client::transfer::outcome::RunOutcome;

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// All done.
    Done = 0,
    /// Several files failed, for different reasons.
    Mixed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// Cannot connect, or the connection was lost and retries ran out.
    Connection = 3,
    /// The server's identity is not trusted.
    Trust = 4,
    /// The server refused.
    Refused = 5,
    /// Wrong or changing content.
    Integrity = 6,
    /// Local files.
    Local = 7,
    /// More would have been removed than may be.
    TooManyRemovals = 8,
    /// A file vanished between listing and reading; all others are done.
    Vanished = 9,
    /// SIGINT or SIGTERM: 128 + 2, as shells have it.
    Interrupted = 130,
}

impl Exit {
    /// What a run of downloads ends with: the class of its failures when they are of one, else [`Exit::Mixed`].
    pub(crate) fn of_run(outcome: &RunOutcome) -> Self {
        let partial = outcome.server_is_partial.then_some(FailureClass::Refused);
        Self::of_classes(outcome.failures().map(|(_, failure)| failure.class()).chain(partial))
    }

    pub(crate) fn of_classes(classes: impl Iterator<Item = FailureClass>) -> Self {
        let mut exit = Self::Done;
        for class in classes.map(Self::from) {
            exit = match (exit, class) {
                (Self::Interrupted, _) | (_, Self::Interrupted) => Self::Interrupted,
                (Self::Done, class) => class,
                (exit, class) if exit == class => exit,
                _ => Self::Mixed,
            };
        }
        exit
    }
}

impl From<FailureClass> for Exit {
    fn from(class: FailureClass) -> Self {
        match class {
            FailureClass::Connection => Self::Connection,
            FailureClass::Trust => Self::Trust,
            FailureClass::Refused => Self::Refused,
            FailureClass::Integrity => Self::Integrity,
            FailureClass::Local => Self::Local,
            FailureClass::Vanished => Self::Vanished,
            FailureClass::Interrupted => Self::Interrupted,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [(FailureClass, u8); 7] = [
        (FailureClass::Vanished, 9),
        (FailureClass::Connection, 3),
        (FailureClass::Trust, 4),
        (FailureClass::Refused, 5),
        (FailureClass::Integrity, 6),
        (FailureClass::Local, 7),
        (FailureClass::Interrupted, 130),
    ];

    #[test]
    fn the_whole_matrix() {
        assert_eq!(Exit::of_classes([].into_iter()), Exit::Done);
        for (a, code) in ALL {
            assert_eq!(Exit::from(a) as u8, code);
            assert_eq!(Exit::of_classes([a].into_iter()) as u8, code);
            for (b, other) in ALL {
                let expected = match (code, other) {
                    (130, _) | (_, 130) => 130,
                    _ if code == other => code,
                    _ => 1,
                };
                assert_eq!(Exit::of_classes([a, b, a].into_iter()) as u8, expected, "{a:?} {b:?}");
            }
        }
    }
}
