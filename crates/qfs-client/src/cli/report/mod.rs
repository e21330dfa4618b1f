//! What a person or a program is told: texts and JSON, made from the library's outcomes. Writes nothing itself.

pub(crate) mod human;
pub(crate) mod json;
pub(crate) mod mirrors;
pub(crate) mod problem;
pub(crate) mod sync;

pub(crate) use problem::Problem;
