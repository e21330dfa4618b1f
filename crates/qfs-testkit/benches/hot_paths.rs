//! The paths that every byte or every file takes: `cargo bench -p qfs-core`.

#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "a benchmark that panics has failed; criterion's macros document nothing"
)]

use std::collections::VecDeque;
use std::hint::black_box;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use qfs_core::body::{Answer, Assembly, open, pump, send};
use qfs_core::model::{Digest, EntryMeta, RemotePath};
use qfs_core::store::{StageSpec, Versions, WriteStore};
use qfs_core::stream::{ByteSink, Chunk, ChunkSource, Order, StreamError};
use qfs_core::wire::{DownloadRequest, FRAME_PREFIX_BYTES, ListPage, PageBuilder, Request, StatusCode, frame};
use qfs_store::mem::MemStore;

const BODY_BYTES: usize = 16 << 20;
const PACKET_BYTES: usize = 1400;

fn codec(c: &mut Criterion) {
    let request = Request::Download(DownloadRequest { filename: "models/part-00017.bin".into(), ..Default::default() });
    c.bench_function("request: encode and decode", |b| {
        b.iter(|| Request::decode(&black_box(&request).encode().unwrap()[FRAME_PREFIX_BYTES..]).unwrap());
    });
}

fn listing(c: &mut Criterion) {
    let meta = EntryMeta {
        size: 4096,
        modified: "2026-01-01T00:00:00Z".parse().unwrap(),
        digest: Some(Digest::of(b"")),
        executable: false,
    };
    let names: Vec<_> =
        (0..100_000).map(|i| RemotePath::parse(&format!("d{:03}/f{i:06}", i / 1000)).unwrap()).collect();
    let pages = || {
        let mut builder = PageBuilder::new();
        let mut frames: Vec<_> = names.iter().filter_map(|name| builder.push(name, &meta).unwrap()).collect();
        frames.push(builder.finish().unwrap());
        frames
    };
    let mut group = c.benchmark_group("listing of 100,000 names");
    group.sample_size(10);
    group.bench_function("encode", |b| b.iter(pages));
    let frames = pages();
    group.bench_function("decode", |b| {
        b.iter(|| {
            frames
                .iter()
                .map(|f| <ListPage>::decode(&f[FRAME_PREFIX_BYTES..], None).unwrap().files.len())
                .sum::<usize>()
        });
    });
}

fn hashing(c: &mut Criterion) {
    let data = vec![7; 1 << 20];
    let mut group = c.benchmark_group("SHA-256");
    group.throughput(Throughput::Bytes(data.len() as u64));
    group.bench_function("1 MiB", |b| b.iter(|| Digest::of(black_box(&data))));
}

struct Packets(VecDeque<Chunk>);

impl ChunkSource for Packets {
    fn poll_chunk(&mut self, _: &mut Context<'_>, _: usize, _: Order) -> Poll<Result<Option<Chunk>, StreamError>> {
        Poll::Ready(Ok(self.0.pop_front()))
    }

    fn stop(&mut self, _: StatusCode) {}
}

struct Nowhere;

impl ByteSink for Nowhere {
    async fn send(&mut self, bytes: Bytes) -> Result<(), StreamError> {
        black_box(bytes);
        Ok(())
    }

    fn finish(&mut self) {}

    fn reset(&mut self, _: StatusCode) {}

    fn set_priority(&mut self, _: i32) {}

    async fn stopped(&mut self) {
        std::future::pending().await
    }
}

fn pumps(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let path = RemotePath::parse("x").unwrap();
    let mut group = c.benchmark_group("pump of 16 MiB");
    group.throughput(Throughput::Bytes(BODY_BYTES as u64));
    group.sample_size(20);

    let stream = [vec![3; BODY_BYTES], frame(b"{}").unwrap().to_vec()].concat();
    let chunks: VecDeque<_> = stream
        .chunks(PACKET_BYTES)
        .enumerate()
        .map(|(i, piece)| Chunk { offset: (i * PACKET_BYTES) as u64, bytes: Bytes::copy_from_slice(piece) })
        .collect();
    group.bench_function("receive, hash and stage", |b| {
        b.iter_batched(
            || {
                let spec = StageSpec { size: Some(BODY_BYTES as u64), etag: "v".parse().unwrap() };
                let stage = MemStore::new().stage(&path, &spec).unwrap();
                (
                    Packets(chunks.clone()),
                    Arc::new(Assembly::new(stage, BODY_BYTES as u64, qfs_store::blocking_threads()).unwrap()),
                )
            },
            |(packets, assembly)| {
                let mut body = Answer::new(packets).into_body(BODY_BYTES as u64);
                runtime.block_on(pump(&mut body, &assembly, 0, 512 << 10, |_| {})).unwrap();
                assembly.digest().unwrap()
            },
            BatchSize::PerIteration,
        );
    });

    let store = MemStore::new();
    store.insert(&path, vec![3; BODY_BYTES]);
    let versions = Arc::new(Versions::new(store, Arc::default(), qfs_store::blocking_threads()));
    group.bench_function("read and send, digest known", |b| {
        b.iter(|| {
            runtime.block_on(async {
                let opened = open(&versions, path.clone()).await.unwrap();
                send(&mut Nowhere, &opened.version, 0..BODY_BYTES as u64).await.unwrap();
                opened.version.known_digest()
            })
        });
    });
}

criterion_group!(benches, codec, listing, hashing, pumps);
criterion_main!(benches);
