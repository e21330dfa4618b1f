//! All options with their values, and where each came from, as a file that would say the same.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::layer::{Layer, Origin};

/// Columns before the note where a value came from.
const COLUMN: usize = 40;

/// Options that say what is done once, not how.
const NOT_SHOWN: [&str; 4] = ["config", "print-config", "help", "version"];

/// What `matches`, read with [`Layer::defaults_of`], came to, as TOML with notes. `shown` is given each word with the name of its flag,
/// and returns what may be seen of it.
#[must_use]
pub fn show(command: &Command, matches: &ArgMatches, layer: &Layer, shown: &dyn Fn(&str, &str) -> String) -> String {
    let mut text = match layer.file() {
        file if file.as_os_str().is_empty() => "# no configuration file\n".to_owned(),
        file => format!("# the configuration file is {}\n", file.display()),
    };
    let (mut command, mut matches, mut path) = (command, matches, Vec::new());
    loop {
        for arg in command.get_arguments() {
            let Some(long) = arg.get_long().filter(|long| !NOT_SHOWN.contains(long)) else { continue };
            line(
                &mut text,
                arg,
                long,
                &|id| (matches.value_source(id).is_some(), layer.origin_below(&path, matches, id)),
                matches,
                layer,
                shown,
            );
        }
        let below = matches.subcommand().and_then(|(name, below)| Some((command.find_subcommand(name)?, below)));
        let Some((sub, below)) = below else { return text };
        path.push(sub.get_name().to_owned());
        if sub.get_arguments().any(|arg| arg.get_long().is_some_and(|long| !NOT_SHOWN.contains(&long))) {
            let _ = writeln!(text, "\n[{}]", path.join("."));
        }
        (command, matches) = (sub, below);
    }
}

fn line(
    text: &mut String,
    arg: &Arg,
    long: &str,
    source: &dyn Fn(&str) -> (bool, Origin),
    matches: &ArgMatches,
    layer: &Layer,
    shown: &dyn Fn(&str, &str) -> String,
) {
    let (is_set, origin) = source(arg.get_id().as_str());
    if !is_set {
        let _ = writeln!(text, "# {long} is not set");
        return;
    }
    let from = match origin {
        Origin::Default => "default".to_owned(),
        Origin::File(line) => format!("{}:{line}", layer.file().display()),
        Origin::Variable => format!("variable {}", arg.get_env().unwrap_or_default().to_string_lossy()),
        Origin::Flag => format!("flag --{long}"),
    };
    let said = format!("{long} = {}", value(arg, matches, &|word| shown(long, word)));
    let _ = writeln!(text, "{said:COLUMN$} # {from}");
}

/// The values of the options of the program itself, by the names of their flags, as a file would have them; those that are not set are
/// left out.
#[must_use]
pub fn values(command: &Command, matches: &ArgMatches) -> BTreeMap<String, String> {
    let options = command.get_arguments().filter_map(|arg| Some((arg, arg.get_long()?)));
    let set = options
        .filter(|(arg, long)| !NOT_SHOWN.contains(long) && matches.value_source(arg.get_id().as_str()).is_some());
    set.map(|(arg, long)| (long.to_owned(), value(arg, matches, &str::to_owned))).collect()
}

/// The value of an option that is set.
fn value(arg: &Arg, matches: &ArgMatches, shown: &dyn Fn(&str) -> String) -> String {
    let id = arg.get_id().as_str();
    let quoted = |word: &str| match word.parse::<u64>() {
        Ok(number) if number.to_string() == word => word.to_owned(),
        _ => quote(&shown(word)),
    };
    let words = matches.get_raw(id).into_iter().flatten().map(|word| quoted(&word.to_string_lossy()));
    match arg.get_action() {
        ArgAction::SetTrue => matches.get_flag(id).to_string(),
        ArgAction::Count => matches.get_count(id).to_string(),
        ArgAction::Append => format!("[{}]", words.collect::<Vec<_>>().join(", ")),
        _ => words.take(1).collect(),
    }
}

/// A basic string of TOML.
#[must_use]
pub fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
