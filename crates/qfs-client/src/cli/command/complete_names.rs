//! `complete-names`: what a shell offers behind `get` and the like. In time or not at all, and never anything else: no message, no
//! question, no new trust.

use std::io::Read as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use qfs_client::config::ServerAddress;
use qfs_client::session::exchange;
use qfs_client::trust::known_servers::{Keeper, Newcomers};
use qfs_client::trust::{Known, TrustError, TrustStore};
use qfs_core::model::Fingerprint;
use qfs_core::wire::Kind;

use crate::cli::completion::{Asking, Candidates, Line, parse, place};
use crate::cli::connection::Context;
use crate::cli::exit::Exit;
use crate::cli::layers;
use crate::cli::screen::Screen;
use crate::cli::settings::{self, Settings};

/// How long a person waits for a word to be completed.
const PATIENCE: Duration = Duration::from_millis(300);

/// The longest line that is looked at.
const MAX_LINE_BYTES: u64 = 64 << 10;

/// Stands for the word being typed, so that it is seen where on the line that is.
const CURSOR: &str = "qfs-word-at-the-cursor";

/// Prints the names, as many as there are; exit code 1 where none is expected, so that the shell offers something else.
pub(crate) async fn run(asking: Asking) -> Exit {
    let read = tokio::time::timeout(PATIENCE, tokio::task::spawn_blocking(move || read_line(asking))).await;
    let Ok(Ok(Some(line))) = read else { return Exit::Mixed };
    let screen = Screen::new(true, false);
    if let Some(typed) = server_typed(&line) {
        let words = line.before.iter().map(String::as_str).chain([CURSOR]);
        let names = layers::servers(words.map(Into::into));
        let _ = screen.result(&line.completed(typed, &names));
        return Exit::Done;
    }
    if line.current.starts_with('-') {
        return Exit::Mixed;
    }
    let words = line.before.iter().map(String::as_str).chain([CURSOR]);
    let Ok((settings, Some(command))) = settings::parse(words.map(Into::into), false) else { return Exit::Mixed };
    let Some(place) = place(&command, CURSOR) else { return Exit::Mixed };
    let mut candidates = Candidates::new(place, &line);
    if tokio::time::timeout(PATIENCE, ask(settings, Arc::clone(&screen), &mut candidates)).await == Ok(Some(())) {
        let _ = screen.result(&candidates.text());
    }
    Exit::Done
}

/// What is there of the name of a server, where the line has `--server` before it.
fn server_typed(line: &Line) -> Option<&str> {
    const OPTION: &str = "--server";
    match line.before.last() {
        Some(last) if last == OPTION => Some(&line.current),
        _ => line.current.strip_prefix(OPTION)?.strip_prefix('='),
    }
}

fn read_line(asking: Asking) -> Option<Line> {
    let mut text = String::new();
    std::io::stdin().lock().take(MAX_LINE_BYTES).read_to_string(&mut text).ok()?;
    match asking {
        Asking::Words => Line::of_words(&text),
        Asking::Bash => text.split_once('\0').and_then(|(breaks, typed)| parse(typed, breaks)),
    }
}

/// Fills the candidates; None when the listing cannot be had.
async fn ask(mut settings: Settings, screen: Arc<Screen>, candidates: &mut Candidates<'_>) -> Option<()> {
    let directory = candidates.directory().ok()?;
    // Nothing is kept of a visit that nobody ordered.
    settings.connect.path_notes = None;
    let trust = Arc::new(OnRecord(Keeper::new(settings.known_servers.clone(), Newcomers::Refuse)));
    let context = Context::new(settings, screen);
    let session = context.connect_with(trust).await.ok()?;
    exchange::tree(&session, directory.as_ref(), &mut |page| {
        // Links that are not published as what they end at: nothing fetches or removes them.
        let mut published = page.into_iter().filter(|(_, row)| row.kind != Kind::Link);
        published.try_for_each(|(name, row)| candidates.take(name.as_str(), row.kind == Kind::Directory))
    })
    .await
    .ok()?;
    session.close().await;
    Some(())
}

/// Knows whom the store of known servers knows, and writes nothing into it.
struct OnRecord(Keeper);

impl TrustStore for OnRecord {
    fn lookup(&self, server: &ServerAddress) -> Result<Option<Known>, TrustError> {
        self.0.lookup(server)
    }

    fn approve(&self, server: &ServerAddress, peer: IpAddr, presented: Fingerprint) -> Result<(), TrustError> {
        self.0.approve(server, peer, presented)
    }

    fn announce(&self, _: &ServerAddress, _: Known) -> Result<bool, TrustError> {
        Ok(false)
    }

    fn promote(&self, _: &ServerAddress, _: Fingerprint, _: Fingerprint) -> Result<bool, TrustError> {
        Ok(false)
    }
}
