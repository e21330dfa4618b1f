//! The torture suite: the real programs, killed, starved, lied to and cut off, and what must be true afterwards.
//!
//! CI runs the short form. `scripts/torture.sh` runs the same code with the counts of `docs/RELIABILITY.md`:
//! `QFS_TORTURE_<NAME>` sets one count, `QFS_TORTURE_SCALE` multiplies all of them, `QFS_TORTURE_SEED` decides what is
//! random, `QFS_TORTURE_BIN` is a directory with the programs to run.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "tests, which act behind the programs' backs and report as they go"
)]

mod alike;
mod crowd;
mod disk;
mod drain;
mod endpoints;
mod http;
mod http_uploads;
mod incoming;
mod kills;
mod lab;
mod lies;
mod malicious_batches;
mod malicious_client;
mod malicious_maps;
mod malicious_server;
mod mirrors;
mod networks;
mod paths;
mod power;
mod raw;
mod restarts;
mod resume;
mod shortage;
mod soak;
mod spoofed;
mod stalled;
mod tally;
mod twins;
mod versions;
mod victim;
mod ways;
