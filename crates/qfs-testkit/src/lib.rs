//! What the tests of the workspace share. Never a part of a program.

pub mod binaries;
pub mod certificates;
pub mod conformance;
pub mod fault_store;
pub mod gullible;
pub mod hostile_server;
pub mod impostor;
pub mod s3_engine;
pub mod tcp_proxy;
pub mod tree;
pub mod udp_proxy;
