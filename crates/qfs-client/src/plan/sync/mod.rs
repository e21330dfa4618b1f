//! The plan of `pull` and `push`: what makes one side like the other. Pure: no file, no network and no clock is touched.
//!
//! [`plan()`] takes what both sides hold ([`Listing`]) and what is asked for ([`Options`]), and gives [`Step`]s in a safe order or an
//! error before anything is done. `--dry-run` prints exactly these steps. Which side is here and which is the server makes no
//! difference.
//!
//! What holds for every plan, and is tested as such:
//!
//! - A step names what it expects on the target, and whoever carries it out checks that in the same step.
//! - Removals come after everything that does not wait for them. There are none without `delete`, none while anything is in doubt (a
//!   listing that is not complete, a name that cannot be brought over, an empty source), and no more than `max_delete` allows.
//! - A name that takes no part (excluded, hidden, a partial file, a link that is not carried) is neither written nor removed, and a
//!   directory with such a name in it is not removed either.
//! - After any first few steps a new plan leads to the same end; after all of them a new plan is empty.
//!
//! | module | owns |
//! |---|---|
//! | `listing` | what a side holds |
//! | `options` | what is asked for |
//! | `filter` | which names take part |
//! | `links` | where a symbolic link leads |
//! | `side` | a listing, sorted out |
//! | `names` | names that the target cannot carry |
//! | `compare` | whether two files are the same |
//! | `clearing` | what is removed, and what is in the way |
//! | `draft` | the steps and their order |
//! | `undecided` | which digests would help |

mod clearing;
mod compare;
mod draft;
mod error;
mod filter;
mod links;
mod listing;
mod names;
mod options;
mod plan;
mod side;
mod step;
mod summary;
#[cfg(test)]
mod tests;
mod undecided;

pub use error::{Obstacle, PlanError, Problem, Skipped, Withheld};
pub use filter::{FilterError, FilterRules, Filters};
pub use links::LinkFault;
pub use listing::{Directory, Entry, File, Kind, Link, Listing};
pub use names::{BadName, NameFault};
pub use options::{MaxDelete, Options, ParseMaxDeleteError, TargetNames};
pub use plan::{Plan, plan};
pub use step::{Condition, Seen, Step, Why};
pub use summary::Summary;
pub use undecided::{RENAME_WORTH_BYTES, Undecided, undecided};
