//! Secrets from files, commands and variables: read, and never quoted back.
#![allow(clippy::disallowed_methods, reason = "the user's own files, named on the command line")]

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use qfs_core::model::{MAX_TOKEN_BYTES, TicketSet, Token};

use super::exit::Exit;
use super::report::Problem;

/// Largest file that is read, in bytes: a ticket with the most and longest hosts and the longest token fits.
const MAX_FILE_BYTES: u64 = (MAX_TOKEN_BYTES + TicketSet::MAX_SERVERS * 512) as u64;

/// How long a command may take that prints a token: a person may have to find a passphrase.
const COMMAND_PATIENCE: Duration = Duration::from_secs(120);

/// The variable with the token itself.
pub(crate) const TOKEN_VARIABLE: &str = "QFS_TOKEN";

/// The token in `--token-file`.
pub(crate) fn token_from(path: &Path) -> Result<Token, Problem> {
    let (text, mode) = read(path, "token")?;
    let token = text.trim_end().parse().map_err(|e| Problem::local(unusable(path, "token"), e))?;
    refuse_exposed(path, mode, "token")?;
    Ok(token)
}

/// The token that `--token-command` prints. It may ask a person, on the terminal, for so long.
pub(crate) fn token_by(command: &OsStr) -> Result<Token, Problem> {
    let failed = |why: &dyn std::fmt::Display| {
        Problem::local("the token command failed", why)
            .hint("it prints the token, and nothing else, to standard output")
    };
    let mut shell = Command::new("sh");
    let spawned = shell.arg("-c").arg(command).stdout(Stdio::piped()).spawn();
    let mut child = spawned.map_err(|e| failed(&e))?;
    let mut output = child.stdout.take();
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = output.as_mut().map_or(Ok(0), |output| output.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes));
        // Nobody waits any more after a timeout.
        let _ = sender.send(read.map(|_| bytes));
    });
    let received = receiver.recv_timeout(COMMAND_PATIENCE);
    if received.is_err() || matches!(&received, Ok(Ok(bytes)) if bytes.len() as u64 > MAX_FILE_BYTES) {
        // It may have ended by itself.
        let _ = child.kill();
    }
    let status = child.wait().map_err(|e| failed(&e))?;
    let bytes = match received {
        Ok(read) => read.map_err(|e| failed(&e))?,
        Err(_) => return Err(failed(&format!("it took longer than {} s", COMMAND_PATIENCE.as_secs()))),
    };
    if !status.success() {
        return Err(failed(&status));
    }
    // What it printed is not quoted: most of a token that is nearly right is a token.
    let text = str::from_utf8(&bytes).unwrap_or_default();
    text.trim_end().parse().map_err(|e| failed(&e))
}

/// The ticket in `--server-file`; `-` is standard input, which nobody else can read.
pub(crate) fn tickets_from(path: &Path) -> Result<TicketSet, Problem> {
    let (text, mode) = if path == Path::new("-") { (read_input()?, 0) } else { read(path, "ticket")? };
    let set: TicketSet = text.trim_end().parse().map_err(|e| {
        Problem::local(unusable(path, "ticket"), e).hint("the file holds one ticket, as qfs-server prints it")
    })?;
    // Without a token a ticket is what the server tells everybody.
    if set.tickets().iter().any(|ticket| ticket.token.is_some()) {
        refuse_exposed(path, mode, "token")?;
    }
    Ok(set)
}

/// The token in the environment, if it is set.
pub(crate) fn token_in(variable: Option<OsString>) -> Result<Option<Token>, Problem> {
    let Some(value) = variable.filter(|value| !value.is_empty()) else { return Ok(None) };
    match value.to_str().map(str::parse) {
        Some(Ok(token)) => Ok(Some(token)),
        _ => Err(Problem::new(Exit::Usage, format!("the value of {TOKEN_VARIABLE} is not a token"))
            .hint("it is the text that qfs-server token create prints")),
    }
}

/// The text of a file, and who may read it. The mode is that of what was opened, not of what has the name by now.
fn read(path: &Path, what: &str) -> Result<(String, u32), Problem> {
    let opened = (|| {
        let file = File::open(path)?;
        let mode = file.metadata()?.permissions().mode();
        let mut bytes = Vec::new();
        file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
        Ok((bytes, mode))
    })();
    let (bytes, mode) = opened.map_err(|e: io::Error| Problem::local(unusable(path, what), e))?;
    match String::from_utf8(bytes) {
        Ok(text) if text.len() as u64 <= MAX_FILE_BYTES => Ok((text, mode)),
        _ => Err(Problem::local(unusable(path, what), format!("not a {what}"))),
    }
}

fn read_input() -> Result<String, Problem> {
    let mut bytes = Vec::new();
    let read = io::stdin().lock().take(MAX_FILE_BYTES).read_to_end(&mut bytes);
    read.map_err(|e| Problem::local("cannot read the ticket from standard input", e))?;
    // What is no text is no ticket either.
    Ok(String::from_utf8(bytes).unwrap_or_default())
}

fn unusable(path: &Path, what: &str) -> String {
    format!("cannot use the {what} in {}", path.display())
}

/// A secret that others can read is none. The file is refused, as ssh does with keys: a warning would be read once.
pub(crate) fn refuse_exposed(path: &Path, mode: u32, what: &str) -> Result<(), Problem> {
    if mode & 0o077 == 0 {
        return Ok(());
    }
    let why = format!("others can read it (mode {:04o})", mode & 0o7777);
    Err(Problem::local(unusable(path, what), why).hint(format!("chmod 600 {}", path.display())))
}
