//! Where a program's file is.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Command;
use clap::builder::Resettable;

/// Where the file of one program is, when none is named.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// The name of the file in the user's configuration directory, such as `client.toml`.
    pub name: &'static str,
    /// The file that is read when the user has none.
    pub system: Option<&'static str>,
}

impl Place {
    /// The first of these that exists: the file of this name in `$QFS_CONFIG_DIR` and nothing else if that is set; in
    /// `$XDG_CONFIG_HOME/qfs`, else in `$HOME/.config/qfs`; the system's file.
    #[must_use]
    pub fn find(self, variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
        self.candidates(variable).into_iter().find(|path| path.exists())
    }

    /// Where a user would put the file, if there is a place for it.
    #[must_use]
    pub fn usual(self, variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
        self.candidates(variable).into_iter().next()
    }

    fn candidates(self, variable: impl Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
        let set = |name| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        if let Some(directory) = set("QFS_CONFIG_DIR") {
            return vec![directory.join(self.name)];
        }
        // A relative path in this variable is to be ignored (XDG Base Directory Specification).
        let users = set("XDG_CONFIG_HOME")
            .filter(|path| path.is_absolute())
            .map(|path| path.join("qfs"))
            .or_else(|| set("HOME").map(|home| home.join(".config").join("qfs")));
        users.map(|directory| directory.join(self.name)).into_iter().chain(self.system.map(PathBuf::from)).collect()
    }
}

/// The command as if variables that are set to nothing were not set.
#[must_use]
pub fn without_empty_variables(command: Command) -> Command {
    let empty: Vec<OsString> =
        std::env::vars_os().filter(|(_, value)| value.is_empty()).map(|(name, _)| name).collect();
    // Every start pays for making all arguments anew.
    if empty.is_empty() { command } else { without_variables(command, &empty) }
}

fn without_variables(command: Command, names: &[OsString]) -> Command {
    command
        .mut_args(|arg| {
            let is_one = |name| names.iter().any(|known| known.as_os_str() == name);
            if arg.get_env().is_some_and(is_one) { arg.env(Resettable::Reset) } else { arg }
        })
        .mut_subcommands(|command| without_variables(command, names))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_users_file_comes_before_the_systems() {
        let place = Place { name: "server.toml", system: Some("/etc/qfs/server.toml") };
        let with = |set: &[(&str, &str)]| {
            let set: Vec<_> = set.iter().map(|(name, value)| ((*name).to_owned(), OsString::from(value))).collect();
            let found = place.candidates(|name| set.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone()));
            found.iter().map(|path| path.display().to_string()).collect::<Vec<_>>()
        };
        assert_eq!(with(&[("HOME", "/h")]), ["/h/.config/qfs/server.toml", "/etc/qfs/server.toml"]);
        let both = [("XDG_CONFIG_HOME", "/x"), ("HOME", "/h")];
        assert_eq!(with(&both), ["/x/qfs/server.toml", "/etc/qfs/server.toml"]);
        assert_eq!(with(&[("XDG_CONFIG_HOME", "x"), ("HOME", "/h")])[0], "/h/.config/qfs/server.toml");
        assert_eq!(with(&[("QFS_CONFIG_DIR", "/q"), ("HOME", "/h")]), ["/q/server.toml"]);
        assert_eq!(with(&[("QFS_CONFIG_DIR", "")]), ["/etc/qfs/server.toml"]);
    }
}
