//! `verify`: what is not the same on both sides, one line each.

use std::path::Path;

use qfs_client::transfer::put::open_tree;
use qfs_client::transfer::verify::{Differences, verify};
use qfs_core::model::RemotePath;

use crate::cli::connection::Context;
use crate::cli::exit::Exit;
use crate::cli::report::{Problem, json, problem};
use crate::cli::verbs::VerifyArgs;

pub(crate) async fn run(context: &Context, args: &VerifyArgs) -> Result<Exit, Problem> {
    let (prefix, directory) = match &args.places[..] {
        [prefix, directory] => (Some(super::directory(prefix)?), directory),
        [directory] => (None, directory),
        _ => return Err(Problem::new(Exit::Usage, "one or two places are needed")),
    };
    let prefix = prefix.flatten();
    let tree = open_tree(Path::new(directory)).map_err(|error| {
        Problem::local(format!("cannot read {directory}"), error).hint("name a directory that is there")
    })?;
    let session = context.session().await?;
    let compared = verify(&session, prefix.as_ref(), &tree).await;
    let found = compared.map_err(|failure| problem::of_run("cannot compare", &failure))?;
    let text = if context.settings.json { machine(&found) } else { lines(&found) };
    let _ = context.screen.result(&text);
    context.screen.summary(&format!(
        "{} the same, {} missing, {} differ, {} extra",
        found.same,
        found.missing.len(),
        found.differs.len(),
        found.extra.len()
    ));
    if found.server_is_partial {
        context.screen.problem(&problem::of_partial_listing());
    }
    Ok(match (found.is_empty(), found.server_is_partial) {
        (false, _) => Exit::Integrity,
        (true, true) => Exit::Refused,
        (true, false) => Exit::Done,
    })
}

/// Names are shown escaped.
fn lines(found: &Differences) -> String {
    let mut rows: Vec<_> = [("missing", &found.missing), ("differs", &found.differs), ("extra", &found.extra)]
        .into_iter()
        .flat_map(|(word, names)| names.iter().map(move |name| (name, word)))
        .collect();
    rows.sort();
    rows.into_iter().map(|(name, word)| format!("{word} {name}\n")).collect()
}

fn machine(found: &Differences) -> String {
    let names = |names: &[RemotePath]| names.iter().map(|name| name.as_str().to_owned()).collect::<Vec<_>>();
    let mut value = serde_json::json!({
        "same": found.same,
        "missing": names(&found.missing),
        "differs": names(&found.differs),
        "extra": names(&found.extra),
    });
    if found.server_is_partial {
        value["partial"] = true.into();
    }
    format!("{}\n", json::text(&value))
}
