//! The door for clients that speak `qfs/1` (PROTOCOL.md).
//!
//! | module | owns |
//! |---|---|
//! | `end_point` | one end point: accept, drain; the threads of several |
//! | `tcp` | the same over TLS and TCP |
//! | `connection` | one client: its streams, its deadlines |
//! | `dispatch` | one stream: request to handler, error to status |
//! | `handler` | a file for each command |

mod connection;
mod dispatch;
pub(crate) mod end_point;
mod handler;
pub(crate) mod tcp;
