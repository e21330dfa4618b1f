//! What a run says about itself: where its time went, and what limited it.

pub mod bottleneck;
pub(crate) mod gauge;
