//! What is read of configuration files, for the fuzzers: a target takes any bytes and must neither panic nor break what it asserts.
//! Compiled for them and for tests alone.

use std::path::Path;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, Command};

use crate::file::ConfigFile;
use crate::layer::{Layer, Origin};

/// A program with options of every kind.
fn command() -> Command {
    let option = |name: &'static str| Arg::new(name).long(name);
    Command::new("x")
        .arg(option("text"))
        .arg(option("port").value_parser(clap::value_parser!(u16)))
        .arg(option("color").value_parser(PossibleValuesParser::new(["auto", "never"])).conflicts_with("quiet"))
        .arg(option("quiet").action(ArgAction::SetTrue))
        .arg(option("verbose").action(ArgAction::Count))
        .arg(option("exclude").action(ArgAction::Append))
        .arg(option("config"))
        .subcommand(Command::new("get").arg(option("to")).arg(option("all").action(ArgAction::SetTrue)))
}

/// A configuration file. An error names a line that is there. What the file says is about options that it may say, each from the line that
/// names it; a command line that lies above it beats it, and below nothing it is what counts, as it stands in the file.
pub fn config(data: &[u8]) {
    let path = Path::new("x.toml");
    let file = match ConfigFile::parse(path, data.to_vec(), 0o600) {
        Ok(file) => file,
        Err(error) => return names_a_line(&error.to_string(), data),
    };
    let definitions = command();
    match file.names("server") {
        Ok(names) => {
            for name in names {
                match file.section(&definitions, "server", &name, &["exclude"]) {
                    Ok(section) => assert!(section.expect("it was named").words("exclude").is_none()),
                    Err(error) => names_a_line(&error.to_string(), data),
                }
            }
        }
        Err(error) => names_a_line(&error.to_string(), data),
    }
    let layer = match file.layer(&definitions, &["server"]) {
        Ok(layer) => layer,
        Err(error) => return names_a_line(&error.to_string(), data),
    };
    for setting in &layer.settings {
        assert!((1..=lines(data)).contains(&setting.line), "{setting:?}");
        assert_ne!(setting.key, "config");
    }
    let given = command().try_get_matches_from(["x"]).expect("nothing is needed");
    let layer = match layer.beaten_by(&definitions, &given) {
        Ok(layer) => layer,
        Err(error) => return names_a_line(&error.to_string(), data),
    };
    counts(&layer, data);
}

/// Reads nothing above `layer`, and one option.
fn counts(layer: &Layer, data: &[u8]) {
    match layer.defaults_of(command()).try_get_matches_from(["x"]) {
        Ok(matches) => {
            let text = layer.words("text").map(|words| words.concat());
            assert_eq!(matches.get_one::<String>("text"), text.as_ref());
            let excluded: Vec<_> = matches.get_many::<String>("exclude").into_iter().flatten().cloned().collect();
            assert_eq!(excluded, layer.words("exclude").unwrap_or_default());
        }
        Err(error) => {
            names_a_line(&layer.explain(&error).expect("the file is wrong, and nothing else").to_string(), data)
        }
    }
    // Only one option can be wrong now.
    if let Ok(matches) = layer.defaults_of(command()).try_get_matches_from(["x", "--text", "above"]) {
        assert_eq!(matches.get_one::<String>("text").map(String::as_str), Some("above"));
        assert_eq!(layer.origin(&matches, "text"), Origin::Flag);
    }
}

fn lines(data: &[u8]) -> usize {
    1 + data.iter().filter(|byte| **byte == b'\n').count()
}

fn names_a_line(error: &str, data: &[u8]) {
    let rest = error.strip_prefix("x.toml").unwrap_or_else(|| panic!("{error}"));
    let number = rest.strip_prefix(':').and_then(|rest| rest.split_once(": ")).and_then(|(line, _)| line.parse().ok());
    assert!(number.is_none_or(|line: usize| (1..=lines(data)).contains(&line)), "{error}");
}

#[cfg(test)]
#[path = "../../../fuzz/src/corpus.rs"]
mod corpus;

/// Fails when an input of the corpus breaks what [`config`] asserts.
#[cfg(test)]
#[test]
fn no_input_that_was_ever_found_breaks_a_decoder() {
    corpus::run(&[("config", config)]);
}
