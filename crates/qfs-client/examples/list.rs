//! Lists the files of a server.
//!
//! ```sh
//! cargo run -p qfs-client --example list -- 'qfs://127.0.0.1:8000#sha256:…'
//! ```
#![allow(clippy::print_stdout, reason = "an example prints what it shows")]

use std::error::Error;
use std::ops::ControlFlow;
use std::sync::Arc;

use qfs_client::config::ConnectConfig;
use qfs_client::session::{Session, exchange};
use qfs_client::trust::NoRecords;
use qfs_core::model::{EntryMeta, RemotePath, Ticket, escape_untrusted};
use qfs_core::observe::NoObserver;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let ticket: Ticket = std::env::args().nth(1).ok_or("usage: list TICKET")?.parse()?;

    // The ticket pins the server's key, so that no record of known servers is needed.
    let session = Session::connect(ConnectConfig::from(ticket), Arc::new(NoRecords), Arc::new(NoObserver)).await?;

    // Rows come in pages, in ascending order, while the server is still listing.
    let mut print = |page: Vec<(RemotePath, EntryMeta)>| {
        for (name, meta) in page {
            // Names are data from the other side: they are escaped before they reach a terminal.
            println!("{:>12}  {}", meta.size, escape_untrusted(name.as_str()));
        }
        ControlFlow::Continue(())
    };
    let count = exchange::list(&session, &mut print).await?;
    println!("{count} files");

    session.close().await;
    Ok(())
}
