//! The real program through its command line: every line of the contract's client part, a module for each of its sections.

#![allow(clippy::disallowed_methods, reason = "tests make and read the files that the programs exchange")]
#![allow(clippy::unwrap_used, reason = "a test that panics has failed, which is its job")]

mod certificates;
mod common;
mod completions;
mod config;
mod delta;
mod delta_put;
mod discover;
mod doctor;
mod emulator;
mod exit_codes;
mod fake;
mod get;
mod hash;
mod hostile;
mod lanes;
mod limits;
mod list;
mod live;
mod menu;
mod mirrors;
mod pacing;
mod packets;
mod path_notes;
mod perms;
mod pin_matrix;
mod pty;
mod renewal;
mod resume;
mod sparse;
mod support;
mod syncing;
mod terminal;
mod tokens;
mod transport;
mod trust;
mod unreadable;
mod writing;
mod writing_odd;
