//! What is to be done, decided from what is known. Everything here is pure: no file and no network is touched.

mod decide;
pub(crate) mod nesting;
pub mod selection;
pub(crate) mod sieve;
pub(crate) mod stripes;
pub mod sync;

pub use decide::{RemoteMeta, Step, lacks_bit, next_step, on_difference};
