//! Files in a bucket: the store against an S3 in memory with faults, and the programs against that one or, with
//! `QFS_TEST_S3=http://127.0.0.1:PORT`, against a real engine that has a bucket `demo` (scripts/bucket.sh); with
//! `QFS_TEST_BUCKET=az://demo`, against one that variables say how to reach, by hand.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a test, which acts behind the store's back")]

mod conformance;
mod disk;
mod programs;
mod requests;
mod versions;
