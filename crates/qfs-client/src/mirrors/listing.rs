//! What there is, from the first server that can say it to the end.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use qfs_core::model::{EntryMeta, RemotePath};
use qfs_core::stream::Lost;

use super::fleet::Fleet;
use crate::error::Failure;
use crate::session::exchange;
use crate::sync::lock;

/// How long a page is waited for where another server could be asked instead.
const PAGE_PATIENCE: Duration = Duration::from_secs(2);

/// How often it is looked whether one has come.
const TICK: Duration = Duration::from_millis(250);

/// Lists the files of the first server, as [`exchange::list`]. Where it fails or falls silent, the next one goes on behind the last
/// row that was given out. Whether whoever came to its end could not read everything.
pub(crate) async fn list(
    fleet: &Arc<Fleet>,
    on_page: &mut (dyn FnMut(Vec<(RemotePath, EntryMeta)>) -> ControlFlow<()> + Send),
) -> Result<bool, Failure> {
    let mut last: Option<RemotePath> = None;
    let mut failure = Failure::ConnectionLost("no server is left".to_owned());
    for mirror in fleet.mirrors() {
        let Some(session) = mirror.session() else { continue };
        let heard = std::sync::Mutex::new(Instant::now());
        let mut new_rows = |mut page: Vec<(RemotePath, EntryMeta)>| {
            *lock(&heard) = Instant::now();
            page.retain(|(name, _)| last.as_ref().is_none_or(|last| name > last));
            if let Some((name, _)) = page.last() {
                last = Some(name.clone());
            }
            on_page(page)
        };
        let is_last = fleet.usable().all(|(other, _)| other.number <= mirror.number);
        let listing = exchange::list_telling(&session, &mut new_rows);
        tokio::pin!(listing);
        let listed = loop {
            tokio::select! {
                listed = &mut listing => break listed,
                () = tokio::time::sleep(TICK) => if !is_last && lock(&heard).elapsed() > PAGE_PATIENCE {
                    mirror.lost(session.lease(), Lost::TimedOut);
                    break Err(Failure::ConnectionLost("nothing comes of the listing".to_owned()));
                }
            }
        };
        match listed {
            Ok(listed) => return Ok(listed.is_partial),
            Err(error) => {
                if let Failure::Protocol(why) = &error {
                    mirror.lied(&format!("its listing is not valid: {why}"));
                } else {
                    tracing::info!("a mirror did not list its files: {error}");
                }
                failure = error;
            }
        }
    }
    Err(failure)
}
