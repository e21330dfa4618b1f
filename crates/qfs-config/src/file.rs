//! A file, read and checked against the definitions of a command line.
#![allow(clippy::disallowed_methods, reason = "the user's configuration is no published or downloaded file")]

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use clap::{Arg, Command};
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use crate::error::Error;
use crate::layer::{Layer, Setting};
use crate::value::words;

/// Largest file that is read, in bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// What to do about a file that is none.
const HINT: &str = "see --config and --print-config";

/// Options that a file cannot say: those about files, and those that make the program do something else.
const NOT_IN_FILES: [&str; 4] = ["config", "print-config", "help", "version"];

/// The names of two options, or of two sections, are called similar from here on (Jaro, as clap has it).
const SIMILAR: f64 = 0.7;

/// The text of a configuration file, and where it was.
#[derive(Debug, Clone)]
pub struct ConfigFile {
    path: PathBuf,
    text: String,
    mode: u32,
}

impl ConfigFile {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// When it cannot be read, is longer than 1 MiB, or is no TOML.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let opened = (|| {
            let file = File::open(path)?;
            let mode = file.metadata()?.permissions().mode();
            let mut bytes = Vec::new();
            file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
            Ok((bytes, mode))
        })();
        let unusable = |why: io::Error| Error::new(path, None, format!("cannot read the configuration: {why}"), HINT);
        let (bytes, mode) = opened.map_err(unusable)?;
        Self::parse(path, bytes, mode)
    }

    /// What [`Self::read`] makes of the first bytes of the file at `path`, one more than the longest has.
    pub(crate) fn parse(path: &Path, bytes: Vec<u8>, mode: u32) -> Result<Self, Error> {
        let unusable = |why: String| Error::new(path, None, why, HINT);
        if bytes.len() as u64 > MAX_FILE_BYTES {
            return Err(unusable(format!("no configuration is longer than {MAX_FILE_BYTES} bytes")));
        }
        let text = String::from_utf8(bytes).map_err(|_| unusable("the configuration is not UTF-8".to_owned()))?;
        let file = Self { path: path.to_owned(), text, mode };
        file.table()?;
        Ok(file)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The permission bits of what was read.
    #[must_use]
    pub fn mode(&self) -> u32 {
        self.mode
    }

    /// What the file says about the options of `command` and, in tables of their names, of its subcommands. The tables named in
    /// `sections` are left to [`Self::section`].
    ///
    /// # Errors
    /// A key that is no option, or a value of another type.
    pub fn layer(&self, command: &Command, sections: &[&str]) -> Result<Layer, Error> {
        let mut layer = Layer::new(&self.path);
        self.collect(command, self.table()?.get_ref(), &mut Vec::new(), sections, &mut layer)?;
        Ok(layer)
    }

    /// The names of the tables `[section.NAME]`.
    ///
    /// # Errors
    /// When `section` is something else than a table of tables.
    pub fn names(&self, section: &str) -> Result<Vec<String>, Error> {
        Ok(self.members(section)?.into_iter().map(|(name, _, _)| name).collect())
    }

    /// The line in which the table `[section.name]` begins.
    #[must_use]
    pub fn line_of(&self, section: &str, name: &str) -> Option<usize> {
        self.members(section).ok()?.into_iter().find(|(other, _, _)| other == name).map(|(_, line, _)| line)
    }

    /// What the table `[section.name]` says about the options of `command` itself but for those in `except`; None without such a
    /// table.
    ///
    /// # Errors
    /// As [`Self::layer`].
    pub fn section(
        &self,
        command: &Command,
        section: &str,
        name: &str,
        except: &[&str],
    ) -> Result<Option<Layer>, Error> {
        let Some((_, line, value)) = self.members(section)?.into_iter().find(|(other, _, _)| other == name) else {
            return Ok(None);
        };
        let DeValue::Table(table) = &value else {
            let what = format!("{section}.{name} is a table");
            return Err(Error::new(&self.path, Some(line), what, format!("begin it with a line [{section}.{name}]")));
        };
        let mut layer = Layer::new(&self.path);
        for (key, value) in table {
            let arg = self.option(command, key, except)?;
            layer.push(self.setting(&[], arg, key, value)?);
        }
        Ok(Some(layer))
    }

    fn members(&self, section: &str) -> Result<Vec<(String, usize, DeValue<'_>)>, Error> {
        let table = self.table()?.into_inner();
        let Some((key, value)) = table.into_iter().find(|(key, _)| key.get_ref() == section) else {
            return Ok(Vec::new());
        };
        let DeValue::Table(members) = value.into_inner() else {
            let line = self.line(key.span().start);
            let what = format!("{section} is a table");
            return Err(Error::new(&self.path, Some(line), what, format!("begin it with a line [{section}.NAME]")));
        };
        let named = members
            .into_iter()
            .map(|(name, value)| (name.get_ref().to_string(), self.line(name.span().start), value.into_inner()));
        Ok(named.collect())
    }

    fn collect(
        &self,
        command: &Command,
        table: &DeTable<'_>,
        path: &mut Vec<String>,
        sections: &[&str],
        layer: &mut Layer,
    ) -> Result<(), Error> {
        for (key, value) in table {
            let name = key.get_ref();
            if path.is_empty() && sections.contains(&name.as_ref()) {
                continue;
            }
            match (command.find_subcommand(name.as_ref()), value.get_ref()) {
                (Some(sub), DeValue::Table(inner)) => {
                    path.push(name.clone().into_owned());
                    self.collect(sub, inner, path, &[], layer)?;
                    path.pop();
                }
                _ => {
                    let arg = self.option(command, key, &[])?;
                    layer.push(self.setting(path, arg, key, value)?);
                }
            }
        }
        Ok(())
    }

    fn setting(
        &self,
        path: &[String],
        arg: &Arg,
        key: &Spanned<DeString<'_>>,
        value: &Spanned<DeValue<'_>>,
    ) -> Result<Setting, Error> {
        let line = self.line(key.span().start);
        let words = words(key.get_ref(), arg, value.get_ref())
            .map_err(|(what, hint)| Error::new(&self.path, Some(line), what, hint))?;
        Ok(Setting { path: path.to_vec(), id: arg.get_id().to_string(), key: key.get_ref().to_string(), line, words })
    }

    /// The option that `key` names.
    fn option<'a>(&self, command: &'a Command, key: &Spanned<DeString<'_>>, except: &[&str]) -> Result<&'a Arg, Error> {
        let name = key.get_ref().as_ref();
        let may = |long: &str| !NOT_IN_FILES.contains(&long) && !except.contains(&long);
        let options =
            || command.get_arguments().filter_map(|arg| arg.get_long().filter(|long| may(long)).map(|l| (l, arg)));
        if let Some((_, arg)) = options().find(|(long, _)| *long == name) {
            return Ok(arg);
        }
        let tables = command.get_subcommands().map(Command::get_name);
        let close = options().map(|(long, _)| long).chain(tables).map(|other| (strsim::jaro(name, other), other));
        let close = close.filter(|(likeness, _)| *likeness > SIMILAR).max_by(|a, b| a.0.total_cmp(&b.0));
        let hint = match close {
            Some((_, other)) => format!("did you mean {other}?"),
            None if except.contains(&name) || NOT_IN_FILES.contains(&name) => "it cannot stand here".to_owned(),
            None => {
                "keys are the names of the flags; those for every command stand at the top, before the first [table]"
                    .to_owned()
            }
        };
        Err(Error::new(&self.path, Some(self.line(key.span().start)), format!("unknown key {name}"), hint))
    }

    fn table(&self) -> Result<Spanned<DeTable<'_>>, Error> {
        DeTable::parse(&self.text).map_err(|error| {
            let line = error.span().map(|span| self.line(span.start));
            let what = error.message().lines().collect::<Vec<_>>().join(" ");
            Error::new(&self.path, line, what, "the file is TOML: lines such as port = 8000 or save-dir = \"files\"")
        })
    }

    /// The line of the byte at `offset`, from 1.
    fn line(&self, offset: usize) -> usize {
        1 + self.text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
    }
}
