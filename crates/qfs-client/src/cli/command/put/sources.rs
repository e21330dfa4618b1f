//! The files that the command line of `put` means.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use qfs_client::error::Failure;
use qfs_client::transfer::outcome::FileOutcome;
use qfs_client::transfer::put::{self, Omitted, Source, SourceError};
use qfs_core::model::{RemotePath, escape_untrusted};
use qfs_core::observe::FileId;

use crate::cli::connection::Context;
use crate::cli::exit::Exit;
use crate::cli::report::{Problem, problem};
use crate::cli::verbs::PutArgs;

/// What is to be uploaded.
pub(super) struct Gathered {
    pub(super) sources: Vec<Source>,
    /// Where each name on the server comes from.
    pub(super) paths: HashMap<String, PathBuf>,
    /// What was asked for and cannot be read here; it has been told of.
    pub(super) failed: Vec<FileOutcome>,
}

/// The files that `args` mean. What cannot be read does not stop the others.
pub(super) fn gather(context: &Context, args: &PutArgs) -> Result<Gathered, Problem> {
    if args.name.is_some() && args.paths.len() > 1 {
        return Err(Problem::new(Exit::Usage, "--as names one file or directory, and several were given")
            .hint("put several into a directory with --to DIR"));
    }
    let to = args.to.as_deref().map(super::super::directory).transpose()?.flatten();
    let mut gathered = Gathered { sources: Vec::new(), paths: HashMap::new(), failed: Vec::new() };
    let mut notes = Notes::default();
    for path in &args.paths {
        let remote = remote_name(path, to.as_ref(), args.name.as_deref())?;
        let is_directory = path.is_dir();
        let Gathered { sources, paths, failed } = &mut gathered;
        let mut twice = None;
        let found = put::sources(path, &remote, &mut |tree, local, remote, meta| {
            let here = if is_directory { path.join(local.as_str()) } else { path.clone() };
            if paths.insert(remote.as_str().to_owned(), here).is_some() {
                twice.get_or_insert(remote.clone());
            }
            sources.push(Source { id: FileId(sources.len()), tree, local, remote, meta });
        });
        if let Some(name) = twice {
            return Err(Problem::new(Exit::Usage, format!("two of the files would be {name} on the server"))
                .hint("upload them into different directories with --to DIR"));
        }
        match found {
            Ok(omitted) => {
                for Omitted { local, why } in omitted {
                    if !why.is_loss() {
                        notes.add(why.to_string(), path.join(&local));
                        continue;
                    }
                    let name = format!("{}/{local}", remote.as_str());
                    paths.entry(name.clone()).or_insert_with(|| path.join(&local));
                    failed.push(fail(context, path.join(local), &name, why.to_string(), UNREADABLE));
                }
            }
            Err(error) => {
                let hint = match error {
                    SourceError::NotRegular => "to send what comes out of a pipe: qfs-client put - --as NAME",
                    SourceError::Name => "to send it under another name: qfs-client put - --as NAME < FILE",
                    _ => UNREADABLE,
                };
                paths.entry(remote.as_str().to_owned()).or_insert_with(|| path.clone());
                failed.push(fail(context, path.clone(), remote.as_str(), error.to_string(), hint));
            }
        }
    }
    notes.tell(context);
    Ok(gathered)
}

const UNREADABLE: &str = "name files and directories that are there and can be read";

/// Tells that `path` cannot be uploaded as `name`.
fn fail(context: &Context, path: PathBuf, name: &str, why: String, hint: &str) -> FileOutcome {
    let failure = Failure::Local(why);
    context.screen.problem(&problem::of_file(&path.to_string_lossy(), &failure).hint(hint));
    FileOutcome::failed(name, failure)
}

/// What is left out and no failure, by the reason: how many, and the first.
#[derive(Default)]
struct Notes(BTreeMap<String, (u64, PathBuf)>);

impl Notes {
    fn add(&mut self, why: String, path: PathBuf) {
        self.0.entry(why).or_insert((0, path)).0 += 1;
    }

    fn tell(&self, context: &Context) {
        for (why, (count, first)) in &self.0 {
            let first = escape_untrusted(&first.to_string_lossy()).to_string();
            let line = match count {
                1 => format!("note: left out: {first}: {why}"),
                _ => format!("note: left out: {first} and {} more: each {why}", count - 1),
            };
            context.screen.notice(&line);
        }
    }
}

/// The name that `path` gets on the server.
pub(super) fn remote_name(path: &Path, to: Option<&RemotePath>, name: Option<&str>) -> Result<RemotePath, Problem> {
    let wrong = |why: &dyn std::fmt::Display| {
        Problem::new(Exit::Usage, format!("{}: {why}", path.display())).hint("give it another name with --as NAME")
    };
    let text = match name {
        Some(name) => name.trim_end_matches('/').to_owned(),
        None => {
            // `.` and `..` have a name too.
            let canonical;
            let own = match path.file_name() {
                Some(own) => Some(own),
                None => {
                    canonical = std::fs::canonicalize(path).map_err(|error| wrong(&error))?;
                    canonical.file_name()
                }
            };
            let own = own.and_then(|own| own.to_str());
            own.ok_or_else(|| {
                wrong(&"its name is not UTF-8")
                    .hint("give what is in it another name: qfs-client put - --as NAME < FILE")
            })?
            .to_owned()
        }
    };
    let text = to.map_or(text.clone(), |to| format!("{}/{text}", to.as_str()));
    RemotePath::parse(&text).map_err(|error| wrong(&error))
}
