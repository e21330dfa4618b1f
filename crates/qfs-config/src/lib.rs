//! Configuration files for a command line that is made with clap.
//!
//! The keys of a file are the names of the flags, so that a program defines its options once. What a file says becomes the defaults of
//! a second reading of the command line: a flag beats its variable, and the variable beats the file. [`Layer::origin`] tells afterwards
//! where each value came from.
//!
//! ```no_run
//! # fn command() -> clap::Command { clap::Command::new("x").arg(clap::Arg::new("port").long("port")) }
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let file = qfs_config::ConfigFile::read("x.toml".as_ref())?;
//! let layer = file.layer(&command(), &[])?;
//! let given = command().get_matches();
//! let layer = layer.beaten_by(&command(), &given)?;
//! let matches = layer.defaults_of(command()).get_matches();
//! let origin = layer.origin(&matches, "port");
//! # Ok(()) }
//! ```
//!
//! Owns the files, where they are, and what may stand in them. Must not know what an option means.

mod error;
mod file;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod layer;
mod place;
mod show;
mod value;

pub use error::Error;
pub use file::ConfigFile;
pub use layer::{Layer, Origin};
pub use place::{Place, without_empty_variables};
pub use show::{quote, show, values};
