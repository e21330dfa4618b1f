//! clap's words in the shape of ours: what happened on one line, and what to do on the next.

use std::fmt;

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// What is wrong with a command line. Shown as `error: …` and, on the next line, `hint: …`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// What happened, on one line.
    pub what: String,
    /// What to do about it.
    pub hint: String,
}

impl Mistake {
    /// What `program` says of `error`; None for help and the version, which clap has rendered.
    #[must_use]
    pub fn of(error: &clap::Error, program: &str) -> Option<Self> {
        if !error.use_stderr() {
            return None;
        }
        let help = || format!("{} --help shows what can be said", command_of(error, program));
        Some(Self { what: first_paragraph(&error.to_string()), hint: tip(error).unwrap_or_else(help) })
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}\nhint: {}", self.what, self.hint)
    }
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
fn command_of(error: &clap::Error, program: &str) -> String {
    let usage = match error.get(ContextKind::Usage) {
        Some(ContextValue::StyledStr(usage)) => usage.to_string(),
        _ => String::new(),
    };
    let words = usage.trim_start_matches("Usage:").split_whitespace();
    let words: Vec<_> = words.take_while(|word| word.starts_with(|c: char| c.is_ascii_lowercase())).collect();
    match (error.kind(), words.is_empty()) {
        (ErrorKind::InvalidSubcommand, _) | (_, true) => program.to_owned(),
        _ => words.join(" "),
    }
}

#[cfg(test)]
mod tests {
    use clap::{Arg, Command, value_parser};

    use super::*;

    fn command() -> Command {
        let port = Arg::new("port").long("port").value_name("N").value_parser(value_parser!(u16).range(1..));
        let get = Command::new("get").arg(Arg::new("name").value_name("NAME").required(true).num_args(1..));
        let trust = Command::new("trust").subcommand_required(true).subcommand(Command::new("list"));
        Command::new("prog").version("1").arg(port.global(true)).subcommands([get, trust])
    }

    fn error(words: &[&str]) -> clap::Error {
        command().try_get_matches_from([&["prog"], words].concat()).unwrap_err()
    }

    #[test]
    fn one_line_and_a_hint() {
        for (words, what, hint) in [
            (&["get", "x", "--prot", "1"][..], "unexpected argument '--prot' found", "did you mean --port?"),
            (&["trsut"], "unrecognized subcommand 'trsut'", "did you mean trust?"),
            (&["get"], "the following required arguments were not provided: <NAME>...", "prog get --help shows"),
            (&["--port", "0"], "invalid value '0' for '--port <N>': ", "prog --help shows"),
            (&["trust"], "'prog trust' requires a subcommand", "prog trust --help shows"),
        ] {
            let text = Mistake::of(&error(words), "prog").unwrap().to_string();
            let lines: Vec<_> = text.lines().collect();
            assert_eq!(lines.len(), 2, "{text}");
            assert!(lines[0].starts_with(&format!("error: {what}")), "{text}");
            assert!(lines[1].starts_with("hint: ") && lines[1].contains(hint), "{text}");
        }
    }

    #[test]
    fn help_is_no_mistake() {
        for flag in ["--help", "--version"] {
            assert!(Mistake::of(&error(&[flag]), "prog").is_none());
        }
    }
}
