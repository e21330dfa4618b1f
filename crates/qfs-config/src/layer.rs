//! What a file says, laid under a command line; and where the values of options came from in the end.

use std::path::{Path, PathBuf};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{ArgMatches, Command};

use crate::error::Error;

/// One line of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setting {
    /// The subcommands that lead to the one that has the option.
    pub(crate) path: Vec<String>,
    /// clap's name of the option.
    pub(crate) id: String,
    /// The name of its flag, which is the key in the file.
    pub(crate) key: String,
    pub(crate) line: usize,
    /// The value as words on the command line.
    pub(crate) words: Vec<String>,
}

/// What a file says about the options of a program.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Layer {
    file: PathBuf,
    pub(crate) settings: Vec<Setting>,
}

impl Layer {
    pub(crate) fn new(file: &Path) -> Self {
        Self { file: file.to_owned(), settings: Vec::new() }
    }

    pub(crate) fn push(&mut self, setting: Setting) {
        self.settings.push(setting);
    }

    /// The words of the option `id` of the program itself.
    #[must_use]
    pub fn words(&self, id: &str) -> Option<&[String]> {
        self.settings.iter().find(|s| s.path.is_empty() && s.id == id).map(|s| &*s.words)
    }

    /// Without what it says about these options of the program itself.
    #[must_use]
    pub fn without(mut self, ids: &[&str]) -> Self {
        self.settings.retain(|s| !s.path.is_empty() || !ids.contains(&&*s.id));
        self
    }

    /// With what `upper`, from the same file, says about the same options in place of this.
    #[must_use]
    pub fn under(mut self, upper: Self) -> Self {
        self.settings.retain(|s| !upper.settings.iter().any(|u| u.path == s.path && u.id == s.id));
        self.settings.extend(upper.settings);
        self
    }

    /// Without what contradicts an option that was given as a flag or a variable, and is so beaten by it.
    ///
    /// # Errors
    /// When the file contradicts itself.
    pub fn beaten_by(mut self, command: &Command, given: &ArgMatches) -> Result<Self, Error> {
        let settings = std::mem::take(&mut self.settings);
        for setting in &settings {
            let (command, given) = at(command, given, &setting.path);
            let conflicts = |one: &str, other: &str| {
                let arg = command.get_arguments().find(|arg| arg.get_id() == one);
                arg.is_some_and(|arg| command.get_arg_conflicts_with(arg).iter().any(|found| found.get_id() == other))
            };
            let clash = |other: &str| conflicts(&setting.id, other) || conflicts(other, &setting.id);
            let is_on = |s: &Setting| s.words != ["false"];
            let twin =
                settings.iter().find(|s| s.path == setting.path && s.line < setting.line && is_on(s) && clash(&s.id));
            if let Some(twin) = twin.filter(|_| is_on(setting)) {
                let what = format!("{} contradicts {} in line {}", setting.key, twin.key, twin.line);
                return Err(Error::new(&self.file, Some(setting.line), what, "remove one of them"));
            }
            let is_given = |id: &str| {
                given.is_some_and(|given| {
                    matches!(given.value_source(id), Some(ValueSource::CommandLine | ValueSource::EnvVariable))
                })
            };
            let is_beaten =
                command.get_arguments().any(|arg| is_given(arg.get_id().as_str()) && clash(arg.get_id().as_str()));
            if !is_beaten {
                self.settings.push(setting.clone());
            }
        }
        Ok(self)
    }

    /// The command with these values in the place of its defaults.
    #[must_use]
    pub fn defaults_of(&self, command: Command) -> Command {
        self.settings.iter().fold(command, |command, setting| set(command, &setting.path, setting))
    }

    /// What clap says of a value that came from the file, in the file's words. Call it for an error that comes up only with the file.
    #[must_use]
    pub fn explain(&self, error: &clap::Error) -> Option<Error> {
        if !matches!(error.kind(), ErrorKind::ValueValidation | ErrorKind::InvalidValue) {
            return None;
        }
        let text = error.to_string();
        let shown = match error.get(ContextKind::InvalidArg) {
            Some(ContextValue::String(shown)) => shown.clone(),
            // An error of a parser of the program's own; it names the option as clap does.
            _ => text.split(['\'', ' ']).find(|word| word.starts_with("--"))?.to_owned(),
        };
        // Behind the name stands what it takes, or the dots of an option that may be said again.
        let long = shown.trim_start_matches('-').split([' ', '=', '[', '<', '.']).next()?;
        let setting = self.settings.iter().find(|s| s.key == long)?;
        let lines = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
        let what = lines.trim_start_matches("error: ").replace(&shown, long);
        Some(Error::new(&self.file, Some(setting.line), what, format!("--help says what --{long} takes")))
    }

    /// Where the value came from of the option `id` of the program itself, in `matches` that were read with [`Self::defaults_of`].
    #[must_use]
    pub fn origin(&self, matches: &ArgMatches, id: &str) -> Origin {
        self.origin_below(&[], matches, id)
    }

    /// The same for an option of the subcommand that `path` leads to, whose matches these are.
    pub(crate) fn origin_below(&self, path: &[String], matches: &ArgMatches, id: &str) -> Origin {
        match matches.value_source(id) {
            Some(ValueSource::CommandLine) => Origin::Flag,
            Some(ValueSource::EnvVariable) => Origin::Variable,
            _ => self
                .settings
                .iter()
                .find(|s| s.path == path && s.id == id)
                .map_or(Origin::Default, |s| Origin::File(s.line)),
        }
    }

    /// That the value of the option `id` of the program itself cannot be used.
    #[must_use]
    pub fn refuse(&self, id: &str, what: &str, hint: &str) -> Error {
        let line = self.settings.iter().find(|s| s.path.is_empty() && s.id == id).map(|s| s.line);
        Error::new(&self.file, line, what, hint)
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }
}

/// Where a value comes from, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// The program's own.
    Default,
    /// This line of the file.
    File(usize),
    /// The option's variable.
    Variable,
    /// The command line.
    Flag,
}

fn at<'a>(command: &'a Command, given: &'a ArgMatches, path: &[String]) -> (&'a Command, Option<&'a ArgMatches>) {
    path.iter().fold((command, Some(given)), |(command, given), name| {
        (command.find_subcommand(name).unwrap_or(command), given.and_then(|given| given.subcommand_matches(name)))
    })
}

fn set(command: Command, path: &[String], setting: &Setting) -> Command {
    match path.split_first() {
        None => command.mut_arg(&setting.id, |arg| arg.default_values(setting.words.iter().cloned())),
        Some((first, rest)) => command.mut_subcommand(first, |sub| set(sub, rest, setting)),
    }
}
