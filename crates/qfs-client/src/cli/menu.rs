//! The interactive menu: a dialogue on stdin and stdout, with a person or with a pipe.

use std::io::{self, IsTerminal as _};

use super::command::{get, list};
use super::connection::Context;
use super::exit::Exit;
use super::report::Problem;
use super::{input, sanitize};

const MENU: &str = "\n1) list the files on the server\n2) download files\n3) exit\n";

/// What was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Choice {
    List,
    Download,
    Exit,
}

/// Shows the menu until the user leaves or the input ends.
pub(crate) async fn run(context: &Context) -> Result<Exit, Problem> {
    loop {
        if context.screen.result(MENU).is_break() {
            return Ok(Exit::Done);
        }
        let Some(answer) = ask(context, "choice: ").await? else { return Ok(Exit::Done) };
        let done = match choice(&answer) {
            Some(Choice::List) => list::run(context, &[]).await.map(drop),
            Some(Choice::Download) => match ask(context, "names, separated by commas: ").await? {
                None => return Ok(Exit::Done),
                Some(names) => download(context, &names).await,
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

async fn download(context: &Context, names: &str) -> Result<(), Problem> {
    let names: Vec<_> = names.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
    if names.is_empty() {
        return Err(Problem::new(Exit::Usage, "no name was given").hint("1 lists what the server has"));
    }
    // What failed has been told, file by file.
    get::download(context, list::parse(&names)?).await.map(drop)
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
