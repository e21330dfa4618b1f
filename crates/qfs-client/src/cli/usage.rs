//! clap's words in the shape of ours: `error: …` on one line, `hint: …` on the next.

use qfs_manual::Mistake;

use super::exit::Exit;
use super::report::Problem;

/// What to print for `error`, when it is one; None for help and version, which clap has rendered.
pub(crate) fn problem(error: &clap::Error) -> Option<Problem> {
    let Mistake { what, hint } = Mistake::of(error, "qfs-client")?;
    Some(Problem::new(Exit::Usage, what).hint(hint))
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
