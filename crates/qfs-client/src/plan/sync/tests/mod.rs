//! Plans carried out on a model of the target: single cases, and what holds for all of them.

mod cases;
mod guards;
mod model;
mod properties;
