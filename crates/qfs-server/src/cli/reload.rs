//! SIGHUP: the configuration file and the certificate are taken up anew.
//!
//! What needs no new socket changes at once; of the rest it is said that it needs a restart. A file that cannot be used changes
//! nothing.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use qfs_server::Controls;
use qfs_server::gate::tokens::TokenFile;
use tracing::{error, info};

use super::args::{Args, Auth};
use super::layers::Reading;
use super::renew::Renewal;

/// The options that change while the server runs.
const CHANGEABLE: [&str; 11] = [
    "allow",
    "auth",
    "drain-timeout",
    "keep-free",
    "limit",
    "limit-client",
    "max-connections",
    "max-connections-per-ip",
    "max-upload",
    "partial-age",
    "stall-timeout",
];

/// What is looked at anew, and what it changes.
pub(crate) struct Reload<'a> {
    started: &'a Reading,
    /// The options that are in force.
    current: RefCell<BTreeMap<String, String>>,
    controls: Controls,
    renewal: Renewal,
}

impl<'a> Reload<'a> {
    pub(crate) fn new(started: &'a Reading, controls: Controls, renewal: Renewal) -> Self {
        Self { started, current: RefCell::new(started.values()), controls, renewal }
    }

    /// Takes up everything anew.
    pub(crate) fn look_anew(&self) {
        if self.started.file().is_none() && !self.renewal.has_files() {
            return info!("SIGHUP: there is nothing to look at anew without a configuration file and without --cert");
        }
        self.renewal.look_anew();
        let Some(file) = self.started.file() else { return };
        let newer = match self.started.anew() {
            Ok(newer) => newer,
            Err(why) => return error!("the configuration stays as it was: {why}"),
        };
        let kept = self.apply(&newer.args);
        let mut current = self.current.borrow_mut();
        let (mut changed, mut refused) = (Vec::new(), Vec::new());
        let newer = newer.values();
        let names: BTreeSet<_> = current.keys().chain(newer.keys()).cloned().collect();
        for name in names {
            let (before, after) = (current.get(&name), newer.get(&name));
            // Why `auth` stays was said.
            if before == after || (kept.contains(&"auth") && ["auth", "allow"].contains(&name.as_str())) {
                continue;
            }
            if !CHANGEABLE.contains(&name.as_str()) || kept.contains(&name.as_str()) {
                refused.push(name);
                continue;
            }
            changed.push(format!("{name} {} -> {}", shown(before), shown(after)));
            match after.cloned() {
                Some(after) => current.insert(name, after),
                None => current.remove(&name),
            };
        }
        let what = if changed.is_empty() { "nothing has changed".to_owned() } else { changed.join(", ") };
        self.tell(&format!("{} was read anew: {what}", file.display()));
        if !refused.is_empty() {
            self.tell(&format!("after a restart only: {}", refused.join(", ")));
        }
    }

    /// Has the server go by `args`; the names of those options that stay as they were.
    fn apply(&self, args: &Args) -> Vec<&'static str> {
        let controls = &self.controls;
        controls.set_pace(args.limit.clone(), args.limit_client.clone());
        controls.set_room(args.keep_free, args.max_upload);
        controls.set_connections(args.max_connections, args.max_connections_per_ip);
        controls.set_deadlines(args.stall_timeout, args.drain_timeout, args.partial_age);
        self.let_in(args)
    }

    /// Has the server let in whom `args` say; the names of those options that stay as they were. At no time may somebody do what neither the
    /// old options nor the new ones let him: tokens are asked for before those without one may do more, and no longer afterwards.
    fn let_in(&self, args: &Args) -> Vec<&'static str> {
        let controls = &self.controls;
        let set_rights = || if controls.set_rights(args.allow) { vec![] } else { vec!["allow"] };
        if args.auth == Auth::Open {
            let kept = set_rights();
            // Nothing is read for it.
            let _ = controls.set_tokens(None);
            return kept;
        }
        // The directory of the identity is another one only after a restart.
        match controls.set_tokens(Some(TokenFile::in_directory(&self.started.args.certs))) {
            Ok(()) => set_rights(),
            Err(why) => {
                error!("auth stays as it was, and allow with it: cannot use the tokens: {why}");
                vec!["auth", "allow"]
            }
        }
    }

    #[expect(clippy::print_stderr, reason = "the command line's own output")]
    fn tell(&self, text: &str) {
        if !self.started.args.quiet {
            eprintln!("note: {text}");
        }
    }
}

fn shown(value: Option<&String>) -> &str {
    value.map_or("not set", String::as_str)
}
