//! One command line, as data.

use std::ffi::{OsStr, OsString};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A program, its arguments and its environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocation {
    program: PathBuf,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    without: Vec<OsString>,
    dir: Option<PathBuf>,
}

impl Invocation {
    /// `program` without arguments, in the directory and with the environment of the bench.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self { program: program.into(), args: Vec::new(), env: Vec::new(), without: Vec::new(), dir: None }
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Sets a variable.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Takes variables of the bench itself away from the child.
    #[must_use]
    pub fn without_env<S: AsRef<OsStr>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.without.extend(names.into_iter().map(|name| name.as_ref().to_owned()));
        self
    }

    /// Runs it in `dir`.
    #[must_use]
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dir = Some(dir.into());
        self
    }

    /// The same command, run by `wrapper` (such as `ip netns exec NAME`), whose last argument it becomes.
    #[must_use]
    pub fn wrapped<S: AsRef<OsStr>>(mut self, wrapper: &[S]) -> Self {
        if let Some((program, before)) = wrapper.split_first() {
            let mut args: Vec<OsString> = before.iter().map(|arg| arg.as_ref().to_owned()).collect();
            args.push(self.program.into_os_string());
            args.append(&mut self.args);
            self.program = PathBuf::from(program.as_ref());
            self.args = args;
        }
        self
    }

    /// The program.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// The arguments.
    #[must_use]
    pub fn arguments(&self) -> &[OsString] {
        &self.args
    }

    /// As a command for `std`. It gets its own process group, so that whatever it starts can be ended with it.
    #[must_use]
    pub(crate) fn command(&self) -> Command {
        use std::os::unix::process::CommandExt as _;
        let mut command = Command::new(&self.program);
        command.args(&self.args).process_group(0);
        for name in &self.without {
            command.env_remove(name);
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        if let Some(dir) = &self.dir {
            command.current_dir(dir);
        }
        command
    }
}

impl std::fmt::Display for Invocation {
    /// The command as one would type it, with arguments quoted where necessary.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", quoted(self.program.as_os_str()))?;
        for arg in &self.args {
            write!(f, " {}", quoted(arg))?;
        }
        Ok(())
    }
}

fn quoted(word: &OsStr) -> String {
    let text = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@,+%#[]".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.into_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// Finds `name` beside the bench's own executable, or on `PATH`.
#[must_use]
pub fn find_program(name: &str) -> Option<PathBuf> {
    let beside = std::env::current_exe().ok().and_then(|exe| exe.parent().map(|dir| dir.join(name)));
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Daemons are in directories that are not on an ordinary user's PATH.
    let system = ["/usr/sbin", "/usr/local/sbin", "/sbin"].map(PathBuf::from);
    beside.into_iter().chain(std::env::split_paths(&path).chain(system).map(|dir| dir.join(name))).find(|candidate| {
        candidate.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_as_one_would_type_it() {
        let invocation = Invocation::new("cp").arg("-r").arg("a b").arg("it's").arg("");
        assert_eq!(invocation.to_string(), r"cp -r 'a b' 'it'\''s' ''");
    }

    #[test]
    fn a_wrapper_goes_in_front() {
        let invocation = Invocation::new("curl").arg("-s").wrapped(&["ip", "netns", "exec", "x"]);
        assert_eq!(invocation.to_string(), "ip netns exec x curl -s");
    }

    #[test]
    fn programs_are_found() {
        assert!(find_program("sh").is_some());
        assert!(find_program("no-program-has-this-name").is_none());
    }
}
