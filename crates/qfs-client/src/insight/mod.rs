//! What a run says about itself: where its time went, and what limited it; and what stands in the way of one.

pub mod bottleneck;
pub mod doctor;
pub(crate) mod gauge;
