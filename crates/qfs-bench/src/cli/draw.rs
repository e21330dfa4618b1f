//! The command `draw`: the picture of the documentation, from results that were measured before.

use std::fs;
use std::path::Path;

use qfs_bench::BenchError;
use qfs_bench::figures::Figures;
use qfs_bench::report::{self, picture};

use super::args::{Common, DrawArgs};
use super::output::{notice, result};

/// Draws what the files hold; the picture goes to stdout where no file is named for it.
pub(crate) fn run(args: &DrawArgs, common: &Common) -> Result<bool, BenchError> {
    let mut sittings = Vec::new();
    for path in &args.results {
        let text = fs::read_to_string(path).map_err(local("read", path))?;
        let read = Figures::parse(&text).map_err(|error| local("read", path)(error.into()))?;
        sittings.extend(read);
    }
    if let Some(path) = &args.data {
        write(path, &report::json(&sittings), common)?;
    }
    let svg = picture::picture(&sittings);
    match &args.svg {
        Some(path) => write(path, &svg, common)?,
        None => result(&svg)?,
    }
    Ok(true)
}

fn write(path: &Path, text: &str, common: &Common) -> Result<(), BenchError> {
    fs::write(path, text).map_err(local("write", path))?;
    notice(common, &format!("written: {}", report::escape(&path.to_string_lossy())));
    Ok(())
}

fn local(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> BenchError {
    move |source| BenchError::Local { doing, path: path.to_owned(), source }
}
