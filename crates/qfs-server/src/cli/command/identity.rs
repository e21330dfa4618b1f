//! `identity show|rotate|activate|withdraw`: works on the directory alone; a running server announces what it finds there.

use std::process::ExitCode;

use qfs_server::identity::{Keys, Withdrawn};
use qfs_server::{IdentityDir, IdentityDirError};
use serde_json::json;

use super::output::{notice, print};
use crate::cli::args::{Args, IdentityCommand};
use crate::cli::failure::Failure;

const NOTHING_TO_WITHDRAW: &str = "qfs-server identity show prints what there is; a key that was activated already is not pending any \
                                   more";

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
        IdentityCommand::Withdraw { json } => {
            let Withdrawn { current, withdrawn } = directory.withdraw().map_err(|e| {
                let hint = match e {
                    IdentityDirError::NothingPending => NOTHING_TO_WITHDRAW.to_owned(),
                    _ => e.hint(),
                };
                Failure::refused(format!("cannot withdraw the next identity: {e}"), hint)
            })?;
            print(&match json {
                true => format!("{}\n", json!({"current": current, "next": null, "withdrawn": withdrawn})),
                false => format!("current {current}\nwithdrawn {withdrawn}\n"),
            })?;
            notice(
                args,
                "note: a running server announces it no more, and a client that has learnt it forgets it at its next contact; \
                 until then that client would accept it, so a key that others may have read is no less dangerous to it",
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A line for each key, or one JSON object.
fn text(keys: Keys, json: bool) -> String {
    if json {
        return format!("{}\n", json!({"current": keys.current, "next": keys.next}));
    }
    let next = keys.next.map(|next| format!("next {next}\n")).unwrap_or_default();
    format!("current {}\n{next}", keys.current)
}
