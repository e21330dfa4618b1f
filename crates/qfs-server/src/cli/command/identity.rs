//! `identity show|rotate|activate`: works on the directory alone; a running server announces what it finds there.

use std::process::ExitCode;

use qfs_server::identity::Keys;
use qfs_server::{IdentityDir, IdentityDirError};

use super::{notice, print};
use crate::cli::args::{Args, IdentityCommand};
use crate::cli::failure::Failure;

pub(crate) fn run(args: &Args, verb: &IdentityCommand) -> Result<ExitCode, Failure> {
    if args.cert.is_some() || args.key.is_some() {
        return Err(Failure::refused(
            "cannot renew a key of your own: --cert and --key name one".to_owned(),
            "only a key in --certs is renewed here; clients of another one are told the new fingerprint by hand",
        ));
    }
    let directory = IdentityDir::new(&args.certs);
    let refused = |what: &'static str| move |e: IdentityDirError| Failure::refused(format!("{what}: {e}"), e.hint());
    match verb {
        IdentityCommand::Show { json } => {
            print(&text(directory.keys().map_err(refused("cannot show the identity"))?, *json))?
        }
        IdentityCommand::Rotate { replace, json } => {
            let keys = directory.rotate(*replace).map_err(refused("cannot make a next identity"))?;
            print(&text(keys, *json))?;
            notice(
                args,
                "note: a running server announces it from now on; when the clients that matter have been here: qfs-server \
                 identity activate, and restart the server",
            );
        }
        IdentityCommand::Activate { json } => {
            let current = directory.activate().map_err(refused("cannot activate the next identity"))?;
            print(&text(Keys { current, next: None }, *json))?;
            notice(args, "note: a server that is running uses it after its next start; tickets have to be made anew");
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A line for each key, or one JSON object.
fn text(keys: Keys, json: bool) -> String {
    if json {
        return format!("{}\n", serde_json::json!({"current": keys.current, "next": keys.next}));
    }
    let next = keys.next.map(|next| format!("next {next}\n")).unwrap_or_default();
    format!("current {}\n{next}", keys.current)
}
