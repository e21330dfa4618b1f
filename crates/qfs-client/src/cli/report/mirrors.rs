//! What is said of one of several servers.

use std::time::Duration;

use qfs_client::mirrors::report::MirrorReport;
use qfs_core::observe::MirrorNews;

use super::problem::Problem;
use crate::cli::exit::Exit;

/// How it is said.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Notice(String),
    Problem(Problem),
}

/// What is said of `news` about `server`.
pub(crate) fn told(server: &str, news: MirrorNews<'_>) -> Told {
    let notice = |text: &str| Told::Notice(format!("note: mirror {server} {text}"));
    match news {
        MirrorNews::Unreachable(why) => notice(&format!("could not be reached ({why}); going on without it")),
        MirrorNews::Lost(why) => notice(&format!("was lost ({why}); the others go on, and it is sought again")),
        MirrorNews::Back => notice("is back"),
        MirrorNews::Dropped(why) => notice(&format!("was not found again ({why}); going on without it")),
        MirrorNews::Differs(name) => notice(&format!("has another version of {name}, which is not used")),
        MirrorNews::Lied(what) => {
            let problem = Problem::new(Exit::Integrity, format!("mirror {server} lied: {what}"));
            Told::Problem(problem.hint("nothing more is asked of it; what the others send is proved too"))
        }
        // News of a later library than this program was written for.
        _ => notice("is not as it was"),
    }
}

/// A line for each server, at the end.
pub(crate) fn summary(report: &MirrorReport) -> String {
    let MirrorReport { server, bytes, busy, state } = report;
    let reason = state.reason().map(|why| format!(", {why}")).unwrap_or_default();
    let busy: &Duration = busy;
    format!("mirror {server}: {bytes} bytes in {:.3} s, {}{reason}", busy.as_secs_f64(), state.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_liar_is_an_error_and_all_else_is_not() {
        let Told::Problem(problem) = told("h:1", MirrorNews::Lied("it sent wrong bytes of f")) else { panic!() };
        let text = problem.to_string();
        assert!(text.starts_with("error: mirror h:1 lied: it sent wrong bytes of f\nhint: "), "{text}");
        let news = [
            MirrorNews::Unreachable("x"),
            MirrorNews::Lost("x"),
            MirrorNews::Back,
            MirrorNews::Dropped("x"),
            MirrorNews::Differs("x"),
        ];
        for news in news {
            assert!(matches!(told("h:1", news), Told::Notice(text) if text.starts_with("note: mirror h:1 ")));
        }
    }
}
