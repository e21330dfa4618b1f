//! SIGHUP: the configuration file and the certificate are taken up anew.
//!
//! What needs no new socket changes at once; of the rest it is said that it needs a restart. A file that cannot be used changes
//! nothing.

use std::cell::RefCell;

use qfs_server::Controls;
use tracing::{error, info};

use super::args::Args;
use super::layers::Reading;
use super::renew::Renewal;

/// The options that change while the server runs.
const CHANGEABLE: [&str; 10] = [
    "allow",
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
    /// What holds now of the options that change.
    current: RefCell<Option<Reading>>,
    controls: Controls,
    renewal: Renewal,
}

impl<'a> Reload<'a> {
    pub(crate) fn new(started: &'a Reading, controls: Controls, renewal: Renewal) -> Self {
        Self { started, current: RefCell::new(None), controls, renewal }
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
        let mut current = self.current.borrow_mut();
        let before = current.as_ref().unwrap_or(self.started);
        let mut changes = before.changes(&newer);
        let mut refused = Vec::new();
        changes.retain(|(name, _)| CHANGEABLE.contains(&name.as_str()));
        if !self.apply(&newer.args) {
            refused.push("allow".to_owned());
            changes.retain(|(name, _)| name != "allow");
        }
        let fixed = self.started.changes(&newer).into_iter().map(|(name, _)| name);
        refused.extend(fixed.filter(|name| !CHANGEABLE.contains(&name.as_str())));
        let changed: Vec<_> = changes.into_iter().map(|(name, how)| format!("{name} {how}")).collect();
        let what = if changed.is_empty() { "nothing has changed".to_owned() } else { changed.join(", ") };
        self.tell(&format!("{} was read anew: {what}", file.display()));
        if !refused.is_empty() {
            self.tell(&format!("after a restart only: {}", refused.join(", ")));
        }
        *current = Some(newer);
    }

    /// Has the server go by `args`; false where it cannot do what `--allow` says.
    fn apply(&self, args: &Args) -> bool {
        let controls = &self.controls;
        controls.set_pace(args.limit.clone(), args.limit_client.clone());
        controls.set_room(args.keep_free, args.max_upload);
        controls.set_connections(args.max_connections, args.max_connections_per_ip);
        controls.set_deadlines(args.stall_timeout, args.drain_timeout, args.partial_age);
        controls.set_rights(args.allow)
    }

    #[expect(clippy::print_stderr, reason = "the command line's own output")]
    fn tell(&self, text: &str) {
        if !self.started.args.quiet {
            eprintln!("note: {text}");
        }
    }
}
