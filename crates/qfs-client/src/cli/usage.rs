//! clap's words in the shape of ours: `error: …` on one line, `hint: …` on the next.

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::exit::Exit;
use super::report::Problem;

/// What to print for `error`, when it is one; None for help and version, which clap has rendered.
pub(crate) fn problem(error: &clap::Error) -> Option<Problem> {
    if !error.use_stderr() {
        return None;
    }
    let rendered = error.to_string();
    let what = first_paragraph(&rendered);
    let help = format!("{} --help shows what can be said", command_of(error));
    Some(Problem::new(Exit::Usage, what).hint(tip(error).unwrap_or(help)))
}

/// The lines up to the first empty one, as one.
fn first_paragraph(rendered: &str) -> String {
    let lines = rendered.lines().map(str::trim).take_while(|line| !line.is_empty());
    let text = lines.collect::<Vec<_>>().join(" ");
    text.strip_prefix("error: ").unwrap_or(&text).to_owned()
}

/// What clap proposes instead, if it does.
fn tip(error: &clap::Error) -> Option<String> {
    let similar = [ContextKind::SuggestedSubcommand, ContextKind::SuggestedArg, ContextKind::SuggestedValue]
        .into_iter()
        .find_map(|kind| error.get(kind))?;
    let similar = match similar {
        ContextValue::String(one) => one.clone(),
        ContextValue::Strings(many) if !many.is_empty() => many.join(" or "),
        _ => return None,
    };
    Some(format!("did you mean {similar}?"))
}

/// The program with the command that was understood before the error.
fn command_of(error: &clap::Error) -> String {
    let usage = match error.get(ContextKind::Usage) {
        Some(ContextValue::StyledStr(usage)) => usage.to_string(),
        _ => String::new(),
    };
    let words = usage.trim_start_matches("Usage:").split_whitespace();
    let words: Vec<_> = words.take_while(|word| word.starts_with(|c: char| c.is_ascii_lowercase())).collect();
    match (error.kind(), words.is_empty()) {
        (ErrorKind::InvalidSubcommand, _) | (_, true) => "qfs-client".to_owned(),
        _ => words.join(" "),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::super::args::Args;
    use super::*;

    fn shown(args: &[&str]) -> String {
        let error = Args::try_parse_from(["qfs-client"].iter().chain(args)).unwrap_err();
        problem(&error).unwrap().to_string()
    }

    #[test]
    fn one_line_and_a_hint() {
        for (args, what, hint) in [
            (&["list", "--prot", "1"][..], "unexpected argument '--prot' found", "did you mean --port?"),
            (&["lsit"], "unrecognized subcommand 'lsit'", "did you mean list?"),
            (&["get"], "the following required arguments were not provided: <NAME>...", "qfs-client get --help shows"),
            (&["--port", "0", "list"], "invalid value '0' for '--port <N>': ", "--help shows"),
            (&["trust"], "'qfs-client trust' requires a subcommand", "qfs-client trust --help shows"),
        ] {
            let text = shown(args);
            let lines: Vec<_> = text.lines().collect();
            assert_eq!(lines.len(), 2, "{text}");
            assert!(lines[0].starts_with(&format!("error: {what}")), "{text}");
            assert!(lines[1].starts_with("hint: ") && lines[1].contains(hint), "{text}");
        }
    }

    #[test]
    fn help_is_no_error() {
        for flag in ["--help", "--version"] {
            assert!(problem(&Args::try_parse_from(["qfs-client", flag]).unwrap_err()).is_none());
        }
    }
}
