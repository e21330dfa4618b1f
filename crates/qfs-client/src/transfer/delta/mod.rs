//! Fetching what changed alone: what an older version or other files have in common with a version is copied from there, and the
//! rest is asked for as ranges.
//!
//! | module | owns |
//! |---|---|
//! | [`library`] | the files that `--seed` names, cut once for all who need them |
//! | `means` | what all files of a run share for it |
//! | `prepare` | asks for the map, cuts what is here, and decides what is copied from where |
//! | `copying` | copies what is here |
//! | `rest` | what is copied, and what has to be asked for |
//! | `receive` | asks for ranges until nothing is missing |
//! | `together` | the order of all that |
//!
//! Nothing here decides whether a file is right: a map may lie, and a seed may change. What was put together is compared with the
//! digest of the whole, as any download is, and fetched whole where it differs ([`crate::transfer::download`]).

mod copying;
pub mod library;
mod means;
mod prepare;
mod receive;
mod rest;
mod together;

pub(crate) use means::Means;
pub(crate) use prepare::prepare;
pub(crate) use rest::Rest;
pub(crate) use together::{PlannedSeeds, put_together};
