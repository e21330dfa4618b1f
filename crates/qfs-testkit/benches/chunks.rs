//! What a chunk map costs the pass that hashes a file anyway: `cargo bench -p qfs-testkit --bench chunks`.

#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "a benchmark that panics has failed; criterion's macros document nothing"
)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use qfs_core::chunks::{ChunkMap, Chunker, Cutter, Grain, Limits, Seeds, assemble};
use qfs_core::model::{Digest, Hasher};

/// As the server reads files.
const BLOCK_BYTES: usize = 256 << 10;
/// Larger than the caches next to a core, and short enough that a busy machine leaves some rounds alone.
const FILE_BYTES: usize = 4 << 20;

fn noise(length: usize) -> Vec<u8> {
    let mut data = vec![0; length];
    fastrand::Rng::with_seed(1).fill(&mut data);
    data
}

/// The ends of chunks alone.
fn cut(data: &[u8], grain: Grain) -> usize {
    let (mut cutter, mut chunks) = (Cutter::new(grain), 0);
    for mut block in data.chunks(BLOCK_BYTES) {
        while let Some(taken) = cutter.cut(block) {
            chunks += 1;
            block = &block[taken..];
            if block.is_empty() {
                break;
            }
        }
    }
    chunks
}

fn passes(c: &mut Criterion) {
    let data = noise(FILE_BYTES);
    let mut group = c.benchmark_group("one pass");
    group.throughput(Throughput::Bytes(data.len() as u64));
    group.bench_function("SHA-256", |b| {
        b.iter(|| {
            let mut hasher = Hasher::new();
            data.chunks(BLOCK_BYTES).for_each(|block| hasher.update(block));
            hasher.finish()
        });
    });
    for exponent in [12, 13, 14, 16] {
        let grain = Grain::from_exponent(exponent).unwrap();
        let kib = grain.average() >> 10;
        let mut chunker = Chunker::new(grain);
        chunker.push(&data);
        let lengths: Vec<_> = chunker.into_chunks().iter().map(|chunk| chunk.length as usize).collect();
        group.bench_function(format!("cuts, {kib} KiB"), |b| b.iter(|| cut(black_box(&data), grain)));
        group.bench_function(format!("BLAKE3, {kib} KiB"), |b| {
            b.iter(|| {
                let mut rest = &data[..];
                for length in &lengths {
                    let (chunk, behind) = rest.split_at(*length);
                    black_box(blake3::hash(chunk));
                    rest = behind;
                }
            });
        });
        group.bench_function(format!("cuts and BLAKE3, {kib} KiB"), |b| {
            b.iter(|| {
                let mut chunker = Chunker::new(grain);
                data.chunks(BLOCK_BYTES).for_each(|block| chunker.push(block));
                chunker.into_chunks()
            });
        });
        group.bench_function(format!("cuts, BLAKE3 and SHA-256, {kib} KiB"), |b| {
            b.iter(|| {
                let (mut chunker, mut hasher) = (Chunker::new(grain), Hasher::new());
                for block in data.chunks(BLOCK_BYTES) {
                    hasher.update(block);
                    chunker.push(block);
                }
                chunker.finish(hasher.finish()).unwrap()
            });
        });
    }
}

/// A map as that of 1 GiB: as many chunks, of any lengths.
fn maps(c: &mut Criterion) {
    let grain = Grain::for_size(1 << 30).unwrap();
    let mut data = noise(64 << 20);
    let mut chunks = Vec::new();
    for turn in 0..16 {
        data[..8].copy_from_slice(&[turn; 8]);
        let mut chunker = Chunker::new(grain);
        chunker.push(&data);
        let mut part = chunker.into_chunks();
        // The last of a part may be too short to stand in the middle.
        part.pop();
        part.iter_mut().for_each(|chunk| {
            let hash = [&chunk.hash.as_bytes()[..], &[turn]].concat();
            chunk.hash = qfs_core::chunks::ChunkHash::of(&hash);
        });
        chunks.append(&mut part);
    }
    let map = ChunkMap::new(grain, Digest::of(b""), chunks).unwrap();
    let bytes = map.encode();
    let mut group = c.benchmark_group(format!("map of {} MiB, {} bytes", map.size() >> 20, bytes.len()));
    group.sample_size(20);
    group.bench_function("encode", |b| b.iter(|| map.encode()));
    group.bench_function("decode", |b| b.iter(|| ChunkMap::decode(&bytes).unwrap()));
    group.bench_function("index as a seed and assemble", |b| {
        b.iter(|| {
            let mut seeds = Seeds::new();
            seeds.add(map.chunks()).unwrap();
            assemble(&map, &seeds, &Limits::default())
        });
    });
}

criterion_group!(benches, passes, maps);
criterion_main!(benches);
