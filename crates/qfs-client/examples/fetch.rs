//! Fetches files into a directory, in parallel, and reports progress. Everything is fetched when no name is given.
//!
//! ```sh
//! cargo run -p qfs-client --example fetch -- 'qfs://127.0.0.1:8000#sha256:…' client_env 'models/**'
//! ```
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example prints what it shows")]

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use qfs_client::config::{ConnectConfig, DEFAULT_PARALLEL, FetchConfig};
use qfs_client::plan::selection::Selection;
use qfs_client::session::Session;
use qfs_client::transfer::outcome::FileOutcome;
use qfs_client::transfer::run;
use qfs_client::trust::NoRecords;
use qfs_core::model::{Ticket, escape_untrusted};
use qfs_core::observe::{Event, Observer};
use qfs_store::local::LocalStore;

/// Prints a line whenever another tenth of the bytes has arrived.
#[derive(Default)]
struct Progress {
    planned: AtomicU64,
    received: AtomicU64,
}

impl Observer for Progress {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::Planned { bytes, .. } => self.planned.store(bytes, Ordering::Relaxed),
            Event::Started { resumed_from, .. } => self.advance(resumed_from),
            Event::Received { bytes, .. } => self.advance(bytes),
            Event::Reconnecting { reason, .. } => eprintln!("connecting again: {}", escape_untrusted(reason)),
            _ => {}
        }
    }
}

impl Progress {
    fn advance(&self, bytes: u64) {
        let planned = self.planned.load(Ordering::Relaxed).max(1);
        let before = self.received.fetch_add(bytes, Ordering::Relaxed);
        let tenths = |received: u64| received.saturating_mul(10) / planned;
        let reached = tenths(before + bytes);
        if reached > tenths(before) {
            eprintln!("{:>3} %", (reached * 10).min(100));
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(ticket), Some(directory)) = (arguments.next(), arguments.next()) else {
        return Err("usage: fetch TICKET DIRECTORY [NAME]...".into());
    };
    let names: Vec<String> = arguments.collect();
    let selection = if names.is_empty() { Selection::all() } else { Selection::parse(&names)? };
    let store = Arc::new(LocalStore::create_root(Path::new(&directory))?);
    let config = FetchConfig { parallel: Some(DEFAULT_PARALLEL), ..FetchConfig::default() };

    let progress = Arc::new(Progress::default());
    let ticket: Ticket = ticket.parse()?;
    let session =
        Session::connect(ConnectConfig::from(ticket), Arc::new(NoRecords), Arc::clone(&progress) as _).await?;

    // A file is told of once it stands verified under its final name, or has failed.
    let mut ended = |files: &[&FileOutcome]| {
        for file in files {
            println!("{:<10}  {}", file.status.name(), escape_untrusted(&file.name));
        }
    };
    let outcome = run::fetch(&session, store, selection, config, progress, &mut ended).await?;
    session.close().await;

    for (file, failure) in outcome.failures() {
        eprintln!("{}: {failure}", escape_untrusted(&file.name));
    }
    if outcome.failures().next().is_some() { Err("some files failed".into()) } else { Ok(()) }
}
