//! `cat`: a file to standard output.

use std::io::Write as _;

use bytes::Bytes;
use qfs_client::error::FailureClass;
use qfs_client::transfer::cat::{self, Part};
use qfs_core::model::ByteRange;
use tokio::sync::mpsc;

use crate::cli::connection::Context;
use crate::cli::exit::Exit;
use crate::cli::report::{Problem, problem};
use crate::cli::verbs::{CatArgs, Part as Said};

/// Pieces that wait for whoever reads standard output: 2 MiB.
const PIECES_AHEAD: usize = 8;

pub(crate) async fn run(context: &Context, args: &CatArgs) -> Result<Exit, Problem> {
    let live = context.settings.fetch.live;
    if live && args.range.is_some() {
        let what = "--live and --range cannot be used together: a file that grows has no versions to take ranges of";
        return Err(Problem::new(Exit::Usage, what).hint("give one of them"));
    }
    let part = match args.range {
        None if live => Part::Live,
        None => Part::Range(ByteRange { start: 0, end: None }),
        Some(Said::From(range)) => Part::Range(range),
        Some(Said::Last(bytes)) => Part::Last(bytes),
    };
    let session = context.session().await?;
    let (out, mut pieces) = mpsc::channel::<Bytes>(PIECES_AHEAD);
    // A slow reader of standard output must not hold the network's thread.
    let writing = tokio::task::spawn_blocking(move || {
        let mut stdout = std::io::stdout().lock();
        while let Some(piece) = pieces.blocking_recv() {
            stdout.write_all(&piece)?;
        }
        stdout.flush()
    });
    let poured = cat::cat(&session, &args.name, part, &out).await;
    drop(out);
    match writing.await {
        Ok(Ok(())) => {}
        // Whoever reads has had enough.
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(Exit::Done),
        Ok(Err(error)) => return Err(Problem::local("cannot write the output", error)),
        Err(error) => return Err(Problem::local("cannot write the output", error)),
    }
    match poured {
        Ok(_) => Ok(Exit::Done),
        Err(failure) => {
            if failure.class() == FailureClass::Connection {
                context.drop_session();
            }
            Err(problem::of_file(&args.name, &failure))
        }
    }
}
