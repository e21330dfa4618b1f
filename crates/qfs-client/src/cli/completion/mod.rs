//! Completing names of the server in a shell: what is added to the scripts that clap makes, the line as the shell has it, and which
//! names a word may become. Pure: asking the server is the command's (`complete-names`).

mod line;
mod names;

use std::ffi::OsString;

use qfs_manual::Shell;

pub(crate) use line::{Line, parse};
pub(crate) use names::{Candidates, place};

/// Who asks for names with `complete-names`. It is no command for people, so clap knows nothing of it and shows it nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asking {
    /// bash, with the characters that break words, a NUL, and the line up to the cursor as it was typed on standard input.
    Bash,
    /// A shell that gives the words up to the cursor, quotes removed, each ended by a NUL.
    Words,
}

impl Asking {
    /// Who asks, if that is what these arguments say.
    pub(crate) fn of(args: &[OsString]) -> Option<Self> {
        let [_, command, asking] = args else { return None };
        match asking.to_str().filter(|_| command == "complete-names") {
            Some("bash") => Some(Self::Bash),
            Some("words") => Some(Self::Words),
            _ => None,
        }
    }
}

/// What every script does first. Standard input is used because everybody on the machine can read arguments.
const BASH: &str = r#"
_qfs_client_names() {
    local names
    names=$(printf '%s\0%s' "$COMP_WORDBREAKS" "${COMP_LINE:0:COMP_POINT}" | command qfs-client complete-names bash 2>/dev/null) || return 1
    compopt -o filenames +o default +o bashdefault 2>/dev/null
    COMPREPLY=()
    [[ -z $names ]] && return 0
    mapfile -t COMPREPLY <<<"$names"
    [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == */ ]] && compopt -o nospace 2>/dev/null
    return 0
}

"#;

const ZSH: &str = r#"
_qfs_client_names() {
    local answer
    local -a names
    answer=$(printf '%s\0' "${(@Q)words[1,CURRENT-1]}" "${(Q)PREFIX}" | command qfs-client complete-names words 2>/dev/null) || return 1
    names=(${(f)answer})
    compadd -S '' -- ${(M)names:#*/}
    compadd -- ${names:#*/}
    return 0
}

"#;

const FISH: &str = r#"
function __qfs_client_names
    printf '%s\0' (commandline -opc) (commandline -ct) | command qfs-client complete-names words 2>/dev/null
end
complete -c qfs-client -n "__fish_seen_subcommand_from list get cat rm" -f -a "(__qfs_client_names)"
complete -c qfs-client -n "__fish_seen_subcommand_from put" -l to -x -a "(__qfs_client_names)"
complete -c qfs-client -l server -x -a "(__qfs_client_names)"
"#;

/// The script of `shell` with the names of the server added; as it is for shells that are not taught them.
pub(crate) fn with_names(shell: Shell, script: String) -> String {
    // How clap's functions begin, and what they do first then.
    let ask_first = |script: &str, entry: &str| {
        let asking = format!("{entry}    _qfs_client_names && return 0\n");
        script.replacen(entry, &asking, 1)
    };
    match shell {
        Shell::Bash => format!("{}{}", BASH.trim_start(), ask_first(&script, "_qfs__client() {\n")),
        Shell::Zsh => {
            // The first line is what zsh finds the script by.
            let (first, rest) = script.split_once('\n').unwrap_or((&script, ""));
            format!("{first}\n{ZSH}{}", ask_first(rest, "_qfs-client() {\n"))
        }
        Shell::Fish => format!("{script}{FISH}"),
        _ => script,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::args::Args;

    #[test]
    fn the_scripts_ask_for_names_before_anything_else() {
        for shell in [Shell::Bash, Shell::Zsh] {
            let script = with_names(shell, qfs_manual::completions(Args::command(), shell));
            assert!(script.contains("client() {\n    _qfs_client_names && return 0\n"), "{shell}: {script}");
        }
        assert!(
            with_names(Shell::Zsh, qfs_manual::completions(Args::command(), Shell::Zsh))
                .starts_with("#compdef qfs-client\n")
        );
    }

    #[test]
    fn names_are_no_command_for_people() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = qfs_manual::completions(Args::command(), shell);
            assert_eq!(script.matches("complete-names").count(), 0, "{shell}");
            assert_eq!(with_names(shell, script).matches("complete-names").count(), 1, "{shell}");
        }
        let of = |args: &[&str]| Asking::of(&args.iter().map(OsString::from).collect::<Vec<_>>());
        assert_eq!(of(&["qfs-client", "complete-names", "bash"]), Some(Asking::Bash));
        assert_eq!(of(&["qfs-client", "get", "words"]), None);
    }
}
