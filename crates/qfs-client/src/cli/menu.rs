//! The interactive menu: a dialogue on stdin and stdout, with a person or with a pipe.

use std::collections::HashSet;
use std::io::{self, IsTerminal as _};
use std::ops::ControlFlow;

use qfs_client::plan::selection::Selection;
use qfs_core::model::RemotePath;

use super::command::{get, list};
use super::connection::Context;
use super::exit::Exit;
use super::report::Problem;
use super::{input, names, sanitize};

const MENU: &str = "\n1) list the files on the server\n2) download files\n3) exit\n";

const NAMES: &str = "names, or numbers of the list, separated by commas (a comma in a name: \"a,b\" or a\\,b): ";

/// What was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Choice {
    List,
    Download,
    Exit,
}

/// Shows the menu until the user leaves or the input ends.
pub(crate) async fn run(context: &Context) -> Result<Exit, Problem> {
    // The list that was shown last.
    let mut numbered = Vec::new();
    loop {
        if context.screen.result(MENU).is_break() {
            return Ok(Exit::Done);
        }
        let Some(answer) = ask(context, "choice: ").await? else { return Ok(Exit::Done) };
        let done = match choice(&answer) {
            Some(Choice::List) => list::run_numbered(context, &mut numbered).await.map(drop),
            Some(Choice::Download) => match ask(context, NAMES).await? {
                None => return Ok(Exit::Done),
                Some(line) => download(context, &line, &numbered).await,
            },
            Some(Choice::Exit) => return Ok(Exit::Done),
            None => {
                let what = format!("no such choice: {}", sanitize::inert(answer.trim()));
                Err(Problem::new(Exit::Usage, what).hint("type 1, 2 or 3"))
            }
        };
        // Here an error ends nothing: the menu is shown again.
        if let Err(problem) = done {
            context.screen.problem(&problem);
        }
    }
}

async fn download(context: &Context, line: &str, numbered: &[RemotePath]) -> Result<(), Problem> {
    let existing = if names::is_ambiguous(line) { existing_in(context, line).await? } else { HashSet::new() };
    let names = names::split(line, &existing, numbered);
    if names.is_empty() {
        return Err(Problem::new(Exit::Usage, "no name was given").hint("1 lists what the server has"));
    }
    // What failed has been told, file by file.
    get::download(context, Selection::of(names).map_err(|e| list::malformed(&e))?).await.map(drop)
}

/// The files and directories whose names stand in `line`.
async fn existing_in(context: &Context, line: &str) -> Result<HashSet<String>, Problem> {
    let mut existing = HashSet::new();
    let mut on_page = |page: Vec<(RemotePath, _)>| {
        for (path, _) in page {
            let path = path.as_str();
            let directories = path.match_indices('/').map(|(slash, _)| &path[..slash]);
            existing.extend(directories.chain([path]).filter(|name| line.contains(name)).map(str::to_owned));
        }
        ControlFlow::Continue(())
    };
    list::each_page(context, &mut on_page).await?;
    Ok(existing)
}

/// Asks for a line. What comes through a pipe is shown, so that the transcript reads as it would on a terminal.
async fn ask(context: &Context, prompt: &str) -> Result<Option<String>, Problem> {
    // A reader that has gone away is noticed at the next menu.
    let _ = context.screen.result(prompt);
    let line = input::next_line().await.map_err(|e| Problem::local("cannot read the answer", e))?;
    if line.is_none() || !io::stdin().is_terminal() {
        let shown = line.as_deref().map(sanitize::inert).unwrap_or_default();
        let _ = context.screen.result(&format!("{shown}\n"));
    }
    Ok(line)
}

fn choice(answer: &str) -> Option<Choice> {
    match answer.trim().to_ascii_lowercase().as_str() {
        "1" | "list" => Some(Choice::List),
        "2" | "download" | "get" => Some(Choice::Download),
        "3" | "exit" | "quit" => Some(Choice::Exit),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_by_number_and_word() {
        for (answer, expected) in
            [("1", Choice::List), (" 2 ", Choice::Download), ("3", Choice::Exit), ("Exit", Choice::Exit)]
        {
            assert_eq!(choice(answer), Some(expected));
        }
        for answer in ["", "4", "1 2", "11"] {
            assert_eq!(choice(answer), None);
        }
    }
}
