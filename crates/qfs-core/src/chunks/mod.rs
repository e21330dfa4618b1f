//! Chunk maps: what a version consists of, so that only what changed is moved. Pure: no I/O, no threads, no clock.
//!
//! Both ends cut a file where its content says so, not at fixed offsets: an insertion shifts the cuts behind it and changes no
//! chunk but its own. Whoever has the [`ChunkMap`] of a version and cuts what it holds already in the same way ([`Seeds`]) knows
//! which ranges it lacks ([`assemble`]). PROTOCOL Appendix C is the definition of the cuts and of the map's bytes.
//!
//! | item | owns |
//! |---|---|
//! | [`Grain`] | how long chunks are, for a file of so many bytes |
//! | [`Cutter`] | where chunks end |
//! | [`Chunker`] | the chunks of a byte stream, block by block |
//! | [`ChunkMap`] | the map and its bytes |
//! | [`Seeds`], [`assemble`], [`Recipe`] | where each part of a version comes from |
//!
//! **A map is a hint and never a proof.** Hashes of chunks are cut to 16 bytes, a peer may lie, and a seed may change after it was
//! cut: what was assembled counts only once the SHA-256 of the whole agrees. Where it does not, the version is fetched whole,
//! once, without seeds; so neither a lie nor a collision makes a loop.

mod chunk;
mod chunker;
mod cutter;
mod grain;
mod map;
mod recipe;
mod seeds;
#[cfg(test)]
mod tests;

pub use chunk::{Chunk, ChunkHash};
pub use chunker::Chunker;
pub use cutter::Cutter;
pub use grain::{Grain, MAX_CHUNKS, MAX_GRAIN, MIN_GRAIN};
pub use map::{ChunkMap, MAX_MAP_BYTES, MapError};
pub use recipe::{Limits, Recipe, Source, Step, assemble};
pub use seeds::{MAX_SEED_CHUNKS, Seeds, SeedsFull};
