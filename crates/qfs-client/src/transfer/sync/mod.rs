//! `pull` and `push`: both sides are listed, a plan is made of that ([`crate::plan::sync`]), and its steps are carried out.
//!
//! | module | owns |
//! |---|---|
//! | `request` | what is asked for |
//! | `here`, `there` | what the two sides hold |
//! | `digests` | finding out the digests that decide something |
//! | `prepare` | from what is asked for to a plan |
//! | `target` | what can be done on the side that is written to |
//! | `pull` | that side is a directory here; `transfer/planned_store` gives it the names and conditions of the plan, `copy` copies there |
//! | `push` | that side is the server |
//! | `phases` | in which order the steps may be carried out |
//! | `carry_out` | carrying them out |
//! | `outcome` | how each of them ended |

mod carry_out;
mod copy;
mod digests;
pub(super) mod here;
mod outcome;
mod phases;
mod prepare;
mod pull;
mod push;
mod request;
mod target;
pub(super) mod there;

pub use outcome::{StepEnd, SyncOutcome};
pub use prepare::{Prepared, SyncError, prepare};
pub use request::{Direction, SyncConfig, SyncRequest};
