//! Compares a directory with the listing of a server, and fetches nothing.
//!
//! ```sh
//! cargo run -p qfs-client --example verify -- 'qfs://127.0.0.1:8000#sha256:…' client_env
//! ```
//!
//! Contents are compared by SHA-256 where the server knows the digest, which it does of every file that it has sent since the
//! file was last changed. Of other files only the size is compared, and the summary says how many they were.
#![allow(clippy::print_stdout, reason = "an example prints what it shows")]

use std::collections::BTreeMap;
use std::error::Error;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use qfs_client::config::ConnectConfig;
use qfs_client::session::{Session, exchange};
use qfs_client::trust::NoRecords;
use qfs_core::model::{Digest, EntryMeta, Hasher, RemotePath, Ticket, escape_untrusted};
use qfs_core::observe::NoObserver;
use qfs_core::store::{ListQuery, Store as _, StoreError};
use qfs_store::local::LocalStore;

/// Bytes read at once.
const BLOCK: usize = 256 << 10;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(ticket), Some(directory)) = (arguments.next(), arguments.next()) else {
        return Err("usage: verify TICKET DIRECTORY".into());
    };
    let published = published(ticket.parse()?).await?;

    // The connection is closed, and nothing else goes on in this program: it may block.
    let store = LocalStore::open_root(Path::new(&directory))?;
    let mut unknown = 0;
    let mut complaints: Vec<(&str, RemotePath)> = Vec::new();
    for (name, remote) in &published {
        match digest(&store, name) {
            Err(StoreError::NotFound) => complaints.push(("missing", name.clone())),
            Err(error) => return Err(error.into()),
            Ok((size, _)) if size != remote.size => complaints.push(("differs", name.clone())),
            Ok((_, digest)) => match remote.digest {
                Some(expected) if expected != digest => complaints.push(("differs", name.clone())),
                Some(_) => {}
                None => unknown += 1,
            },
        }
    }
    store.list(&ListQuery::default(), &mut |name, _| {
        if !published.contains_key(&name) {
            complaints.push(("extra", name));
        }
        ControlFlow::Continue(())
    })?;

    for (complaint, name) in &complaints {
        println!("{complaint:<7}  {}", escape_untrusted(name.as_str()));
    }
    println!("{} files published, {unknown} compared by size only, {} complaints", published.len(), complaints.len());
    Ok(if complaints.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The listing of the server.
async fn published(ticket: Ticket) -> Result<BTreeMap<RemotePath, EntryMeta>, Box<dyn Error>> {
    let session = Session::connect(ConnectConfig::from(ticket), Arc::new(NoRecords), Arc::new(NoObserver)).await?;
    let mut rows = BTreeMap::new();
    exchange::list(&session, &mut |page| {
        rows.extend(page);
        ControlFlow::Continue(())
    })
    .await?;
    session.close().await;
    Ok(rows)
}

/// Size and digest of a file of this machine. The store resolves the name below the directory and follows no link.
fn digest(store: &LocalStore, name: &RemotePath) -> Result<(u64, Digest), StoreError> {
    let object = store.object(name)?;
    let size = object.meta().size;
    let mut hasher = Hasher::new();
    let mut offset = 0;
    while offset < size {
        // A read returns what it was asked for, or fails with `Changed`: nothing beyond the end is asked for.
        let length = BLOCK.min(usize::try_from(size - offset).unwrap_or(BLOCK));
        hasher.update(&object.read_at(offset, length)?);
        offset += length as u64;
    }
    object.ensure_unchanged()?;
    Ok((size, hasher.finish()))
}
