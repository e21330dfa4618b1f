//! Symbolic links in the published directory: where they end, before the sandbox closes, and which are not published, for people.

use std::fmt::Write as _;

use qfs_core::model::escape_untrusted;
use qfs_store::local::{LeftOut, LinkSurvey, LocalStore, Tally};
use tracing::warn;

use super::args::{Args, FollowLinks};
use super::failure::Failure;
use super::sandbox::Sandbox;

/// Looks at every link of `store` where the sandbox depends on it: with `--follow-links any`.
///
/// # Errors
/// When the published directory cannot be listed.
pub(crate) fn survey(args: &Args, store: &LocalStore) -> Result<Option<LinkSurvey>, Failure> {
    if args.follow_links != FollowLinks::Any {
        return Ok(None);
    }
    let refused = |error| Failure::refused(format!("cannot look for symbolic links: {error}"), "see --follow-links");
    store.survey_links().map(Some).map_err(refused)
}

/// Says which links are not published. Where nobody has looked yet that is done beside the serving, in its own time.
pub(crate) fn tell(args: &Args, store: LocalStore, survey: Option<LinkSurvey>) {
    if args.quiet {
        return;
    }
    let (follow, has_sandbox) = (args.follow_links, args.sandbox() != Sandbox::Off);
    match survey {
        Some(survey) => print(&notes(&survey, follow, has_sandbox)),
        None => drop(tokio::task::spawn_blocking(move || match store.survey_links() {
            Ok(survey) => print(&notes(&survey, follow, has_sandbox)),
            Err(error) => warn!(%error, "cannot look for symbolic links"),
        })),
    }
}

#[expect(clippy::print_stderr, reason = "the command line's own output")]
fn print(notes: &[String]) {
    notes.iter().for_each(|note| eprintln!("note: {note}"));
}

fn notes(survey: &LinkSurvey, follow: FollowLinks, has_sandbox: bool) -> Vec<String> {
    let mut notes: Vec<_> = survey.left_out.iter().map(|(why, tally)| left_out(*why, tally)).collect();
    let is_open_for_each = follow == FollowLinks::Any && has_sandbox;
    if let Some(tally) = survey.too_many.as_ref().filter(|_| is_open_for_each) {
        notes.push(format!(
            "{}: the sandbox has no room for more places outside; link directories rather than files, or --sandbox=off",
            head(tally)
        ));
    }
    if !survey.is_complete {
        let mut note = "the directory has too many names to look for all symbolic links in it".to_owned();
        if is_open_for_each {
            let _ = write!(note, "; those not found end outside the sandbox and are not published (see --sandbox)");
        }
        notes.push(note);
    }
    notes
}

fn left_out(why: LeftOut, tally: &Tally) -> String {
    let one = tally.count == 1;
    let (end, lead, them) = if one { ("it ends", "it leads", "it") } else { ("they end", "they lead", "them") };
    let reason = match why {
        LeftOut::NotFollowed => {
            "; --follow-links inside publishes those that end within the directory, any publishes all".to_owned()
        }
        LeftOut::Outside => format!(": {end} outside the directory; --follow-links any publishes {them}"),
        LeftOut::Nowhere => format!(": {lead} nowhere"),
        LeftOut::Circle => format!(": {lead} to a directory above, or in a circle"),
        LeftOut::Hidden => format!(": {end} at a name that begins with a dot; --hidden publishes {them}"),
        LeftOut::Special => format!(": {end} at neither a file nor a directory"),
        LeftOut::Never => format!(": {end} at the server's own files"),
        _ => format!(": what {end} at cannot be read"),
    };
    format!("{}{reason}", head(tally))
}

fn head(tally: &Tally) -> String {
    let first = escape_untrusted(&tally.first);
    match tally.count {
        1 => format!("1 symbolic link is not published (\"{first}\")"),
        count => format!("{count} symbolic links are not published (first: \"{first}\")"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(count: u64, first: &str) -> Tally {
        Tally { count, first: first.to_owned() }
    }

    #[test]
    fn what_is_left_out_is_a_sentence() {
        let one = left_out(LeftOut::Outside, &tally(1, "a\nb"));
        assert_eq!(
            one,
            "1 symbolic link is not published (\"a\\nb\"): it ends outside the directory; --follow-links any publishes it"
        );
        let three = left_out(LeftOut::NotFollowed, &tally(3, "a/b"));
        assert_eq!(
            three,
            "3 symbolic links are not published (first: \"a/b\"); --follow-links inside publishes those that end within \
             the directory, any publishes all"
        );
    }

    #[test]
    fn what_the_sandbox_keeps_out_is_told_only_where_there_is_one() {
        let mut survey = LinkSurvey { too_many: Some(tally(2, "x")), ..LinkSurvey::default() };
        assert_eq!(notes(&survey, FollowLinks::Any, true).len(), 2);
        assert_eq!(notes(&survey, FollowLinks::Any, false).len(), 1);
        survey.is_complete = true;
        assert!(notes(&survey, FollowLinks::Any, false).is_empty());
    }
}
