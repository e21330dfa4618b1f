//! The command line, read on top of the configuration file.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _};
use qfs_config::{ConfigFile, Error, Layer, Origin, Place, without_empty_variables};
use qfs_manual::Mistake;

use super::args::Args;
use super::failure::Failure;

const PLACE: Place = Place { name: "server.toml", system: Some("/etc/qfs/server.toml") };

/// The command line, read.
pub(crate) struct Reading {
    pub(crate) args: Args,
    arguments: Vec<OsString>,
    matches: ArgMatches,
    layer: Layer,
    file: Option<PathBuf>,
}

/// Why there is no [`Reading`].
pub(crate) enum Unread {
    /// clap's: an error, or a request for help or the version.
    Clap(Box<clap::Error>),
    /// The file cannot be used.
    File(Error),
}

impl From<clap::Error> for Unread {
    fn from(error: clap::Error) -> Self {
        Self::Clap(Box::new(error))
    }
}

impl From<Error> for Unread {
    fn from(error: Error) -> Self {
        Self::File(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::refused(error.to_string(), error.hint())
    }
}

/// Reads `arguments`, the environment, and the file that they name or that is in its usual place.
pub(crate) fn read(arguments: Vec<OsString>) -> Result<Reading, Unread> {
    read_with(arguments, None)
}

/// The same with this file, if there is one.
fn read_with(arguments: Vec<OsString>, file: Option<PathBuf>) -> Result<Reading, Unread> {
    let command = || without_empty_variables(Args::command());
    let given = command().try_get_matches_from(&arguments)?;
    let file = file.or_else(|| given.get_one("config").cloned());
    let file: Option<PathBuf> = file.or_else(|| PLACE.find(|name| std::env::var_os(name)));
    let (layer, matches) = match &file {
        // Nothing lies below the command line.
        None => (Layer::default(), given),
        Some(path) => {
            let layer = ConfigFile::read(path)?.layer(&Args::command(), &[])?.beaten_by(&Args::command(), &given)?;
            match layer.defaults_of(command()).try_get_matches_from(&arguments) {
                Ok(matches) => (layer, matches),
                Err(error) => return Err(layer.explain(&error).map_or_else(|| error.into(), Unread::from)),
            }
        }
    };
    Ok(Reading { args: Args::from_arg_matches(&matches)?, arguments, matches, layer, file })
}

impl Reading {
    /// The file, if there is one.
    pub(crate) fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// The same, with the file as it is now.
    ///
    /// # Errors
    /// A sentence about what is wrong with it.
    pub(crate) fn anew(&self) -> Result<Self, String> {
        read_with(self.arguments.clone(), self.file.clone()).map_err(|unread| match unread {
            Unread::Clap(error) => Mistake::of(&error, "qfs-server").map_or_else(String::new, |mistake| mistake.what),
            Unread::File(error) => error.to_string(),
        })
    }

    /// The options that are set, with their values.
    pub(crate) fn values(&self) -> BTreeMap<String, String> {
        qfs_config::values(&Args::command(), &self.matches)
    }

    /// Where the value of an option came from.
    pub(crate) fn origin(&self, id: &str) -> Origin {
        self.layer.origin(&self.matches, id)
    }

    /// All options, as `--print-config` shows them.
    pub(crate) fn show(&self) -> String {
        qfs_config::show(&Args::command(), &self.matches, &self.layer, &|_, word| word.to_owned())
    }
}
