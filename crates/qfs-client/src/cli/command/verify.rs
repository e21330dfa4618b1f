//! `verify`: what is not the same on both sides, one line each.

use std::path::Path;

use qfs_client::error::{Failure, FailureClass};
use qfs_client::transfer::put::open_tree;
use qfs_client::transfer::verify::{Differences, verify};
use qfs_core::model::RemotePath;

use super::sync::each_told;
use crate::cli::connection::Context;
use crate::cli::exit::Exit;
use crate::cli::report::{Problem, json, problem};
use crate::cli::verbs::VerifyArgs;

pub(crate) async fn run(context: &Context, args: &VerifyArgs) -> Result<Exit, Problem> {
    let done = attempt(context, args).await;
    if let Err(problem) = &done
        && context.settings.json
    {
        let error = serde_json::json!({"error": {"code": problem.code, "message": problem.what}});
        let _ = context.screen.result(&format!("{}\n", json::text(&error)));
    }
    done
}

async fn attempt(context: &Context, args: &VerifyArgs) -> Result<Exit, Problem> {
    let (prefix, directory) = match &args.places[..] {
        [prefix, directory] => (Some(super::directory(prefix)?), directory),
        [directory] => (None, directory),
        _ => return Err(Problem::new(Exit::Usage, "one or two places are needed")),
    };
    let prefix = prefix.flatten();
    let filters = args.filter.filters()?;
    let tree = open_tree(Path::new(directory)).map_err(|error| {
        Problem::local(format!("cannot read {directory}"), error).hint("name a directory that is there")
    })?;
    let session = context.session().await?;
    let compared = verify(&session, prefix.as_ref(), &tree, &filters).await;
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
    let troubles = tell_troubles(context, &found);
    Ok(if found.is_empty() { Exit::of_classes(troubles.into_iter()) } else { Exit::Integrity })
}

/// Tells what could not be compared, and of which class that is.
fn tell_troubles(context: &Context, found: &Differences) -> Vec<FailureClass> {
    let mut classes = Vec::new();
    let mut tell = |names: Vec<&str>, why: Failure| {
        let problem = |name: &str| context.screen.problem(&problem::of_step(name, &why));
        each_told(&names, |name| problem(name), |more| problem(&format!("{more} more names")));
        classes.extend((!names.is_empty()).then_some(why.class()));
    };
    tell(found.unreadable.iter().map(String::as_str).collect(), Failure::Local("it cannot be read".to_owned()));
    let why = "no published file can have this name".to_owned();
    tell(found.unnameable.iter().map(String::as_str).collect(), Failure::Local(why));
    tell(found.unreadable_there.iter().map(RemotePath::as_str).collect(), Failure::UnreadableThere);
    if found.server_is_partial {
        context.screen.problem(&problem::of_partial_listing());
        classes.push(FailureClass::Refused);
    }
    classes
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
    let unreadable: Vec<_> = found.unreadable.iter().chain(&found.unnameable).cloned().collect();
    for (key, names) in [("unreadable", unreadable), ("unreadable_on_server", names(&found.unreadable_there))] {
        if !names.is_empty() {
            value[key] = names.into();
        }
    }
    format!("{}\n", json::text(&value))
}
