//! Files against a command line: what is taken, what beats it, and what is refused, with its place.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may panic, and makes the files it reads")]

use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command};
use qfs_config::{ConfigFile, Error, Layer, Origin};

fn command() -> Command {
    let flag = |name: &'static str| Arg::new(name).long(name);
    Command::new("x")
        .arg(flag("port").default_value("8000").value_parser(clap::value_parser!(u16)).global(true))
        .arg(flag("save-dir").default_value("files"))
        .arg(flag("seed").action(ArgAction::Append))
        .arg(flag("quiet").short('q').action(ArgAction::SetTrue).conflicts_with("verbose"))
        .arg(flag("verbose").short('v').action(ArgAction::Count))
        .arg(flag("config"))
        .subcommand(Command::new("pull").arg(flag("delete").action(ArgAction::SetTrue)))
}

struct File {
    _place: tempfile::TempDir,
    path: PathBuf,
}

fn file(text: &str) -> File {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("x.toml");
    std::fs::write(&path, text).unwrap();
    File { _place: place, path }
}

fn layer(text: &str) -> Result<Layer, Error> {
    ConfigFile::read(&file(text).path)?.layer(&command(), &["servers"])
}

fn read(text: &str, args: &[&str]) -> Result<(ArgMatches, Layer), String> {
    let args = || ["x"].iter().chain(args);
    let given = command().try_get_matches_from(args()).map_err(|e| e.to_string())?;
    let layer = layer(text).and_then(|layer| layer.beaten_by(&command(), &given)).map_err(|e| e.to_string())?;
    let read = layer.defaults_of(command()).try_get_matches_from(args());
    let matches = read.map_err(|e| layer.explain(&e).map_or_else(|| e.to_string(), |e| e.to_string()))?;
    Ok((matches, layer))
}

#[test]
fn a_flag_beats_the_file_and_the_file_the_default() {
    let (matches, layer) = read("port = 9\nverbose = 2\nseed = ['a', 'b']\n[pull]\ndelete = true", &["pull"]).unwrap();
    assert_eq!((matches.get_one::<u16>("port"), layer.origin(&matches, "port")), (Some(&9), Origin::File(1)));
    assert_eq!(matches.get_count("verbose"), 2);
    assert_eq!(matches.get_many::<String>("seed").unwrap().collect::<Vec<_>>(), ["a", "b"]);
    assert!(matches.subcommand_matches("pull").unwrap().get_flag("delete"));
    assert_eq!(layer.origin(&matches, "save-dir"), Origin::Default);

    let (matches, layer) = read("port = 9\nseed = 'a'", &["pull", "--port", "7"]).unwrap();
    assert_eq!((matches.get_one::<u16>("port"), layer.origin(&matches, "port")), (Some(&7), Origin::Flag));
    assert!(Origin::Flag > Origin::Variable && Origin::Variable > Origin::File(9) && Origin::File(1) > Origin::Default);
}

#[test]
fn a_flag_beats_what_contradicts_it_in_the_file() {
    let (matches, _) = read("quiet = true", &["-v"]).unwrap();
    assert!(!matches.get_flag("quiet"));
    let (matches, _) = read("verbose = 1", &["-q"]).unwrap();
    assert_eq!(matches.get_count("verbose"), 0);
    assert!(
        read("verbose = 1\nquiet = true", &[]).unwrap_err().contains("x.toml:2: quiet contradicts verbose in line 1")
    );
}

#[test]
fn mistakes_are_named_with_their_place() {
    for (text, what, hint) in [
        ("\nprot = 1", "x.toml:2: unknown key prot", "did you mean port?"),
        ("save_dir = 'x'", "x.toml:1: unknown key save_dir", "did you mean save-dir?"),
        ("config = 'x'", ":1: unknown key config", ""),
        ("quiet = 1", ":1: quiet is a switch, and this is a whole number", "quiet = true"),
        ("verbose = true", ":1: verbose is a number, and this is true or false", "verbose = 1"),
        ("port = true", ":1: port is a text or a whole number, and this is true or false", "port ="),
        ("port = 1.5", ":1: port is a text or a whole number", "port ="),
        ("seed = [1.5]", ":1: seed is a text or a list of texts, and this is a list", "seed = ["),
        ("[port]\nx = 1", ":1: port is a text or a whole number, and this is a table", ""),
        ("[pull]\nport = 1", ":2: unknown key port", "at the top"),
        ("[pull]\n\ndelte = true", ":3: unknown key delte", "did you mean delete?"),
        ("port = ", ":1: ", "TOML"),
        ("port = 1\nport = 2", ":2: duplicate key", "TOML"),
    ] {
        let error = layer(text).unwrap_err();
        assert!(error.to_string().contains(what) && error.hint().contains(hint), "{text}: {error} ({})", error.hint());
    }
    let said = read("\nport = 70000", &[]).unwrap_err();
    assert!(said.contains("x.toml:2: invalid value '70000' for 'port'"), "{said}");
    // What clap shows as `--verbose...`, because it may be said again.
    let said = read("verbose = 610", &[]).unwrap_err();
    assert!(said.contains("x.toml:1: invalid value '610' for 'verbose'"), "{said}");
    assert!(read("port = 70000", &["--port", "7"]).is_ok(), "beaten by the flag");
    let missing = ConfigFile::read(Path::new("/nonexistent/x.toml")).unwrap_err();
    assert!(missing.to_string().starts_with("/nonexistent/x.toml: cannot read the configuration"), "{missing}");
}

#[test]
fn sections_are_tables_of_options() {
    let written = file("port = 1\n[servers.lab]\nport = 2\nsave-dir = 'lab'\n[servers.x]\n");
    let config = ConfigFile::read(&written.path).unwrap();
    assert_eq!(config.names("servers").unwrap(), ["lab", "x"]);
    let section = |name: &str| config.section(&command(), "servers", name, &["seed"]);
    assert_eq!(section("y").unwrap(), None);
    let merged = config.layer(&command(), &["servers"]).unwrap().under(section("lab").unwrap().unwrap());
    assert_eq!(merged.words("port").unwrap(), ["2"]);
    assert_eq!(merged.words("save-dir").unwrap(), ["lab"]);
    assert_eq!(merged.without(&["port"]).words("port"), None);

    let written = file("[servers.lab]\nseed = 'x'");
    let config = ConfigFile::read(&written.path).unwrap();
    let error = config.section(&command(), "servers", "lab", &["seed"]).unwrap_err();
    assert!(error.to_string().ends_with(":2: unknown key seed"), "{error}");
    assert!(ConfigFile::read(&file("servers = 1").path).unwrap().names("servers").is_err());
}

#[test]
fn what_is_printed_can_be_read_and_says_where_it_came_from() {
    let (matches, layer) = read("save-dir = 'a \"b\" \\c'\nseed = ['s']", &["--port", "7", "pull"]).unwrap();
    let shown = qfs_config::show(&command(), &matches, &layer, &|_, word| word.to_owned());
    let line = |start: &str| shown.lines().find(|line| line.starts_with(start)).unwrap_or_default().to_owned();
    assert!(line("port = 7 ").ends_with("# flag --port"), "{shown}");
    assert!(line("save-dir = \"a \\\"b\\\" \\\\c\" ").ends_with("x.toml:1"), "{shown}");
    assert!(line("quiet = false ").ends_with("# default"), "{shown}");
    assert!(line("[pull]") == "[pull]" && line("delete = false").ends_with("# default"), "{shown}");
    let again = read(&shown, &["pull"]).unwrap().0;
    assert_eq!(again.get_one::<u16>("port"), Some(&7));
    assert_eq!(again.get_one::<String>("save-dir").unwrap(), "a \"b\" \\c");
}
