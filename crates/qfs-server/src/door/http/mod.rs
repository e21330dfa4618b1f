//! The door for browsers, curl and scripts: HTTP/1.1 and 2 over TLS, HTTP/3 beside `qfs/1` (docs/HTTP.md).
//!
//! | module | owns |
//! |---|---|
//! | `connection` | one client over TCP: deadlines, drain |
//! | `flow` | what a TCP client has taken |
//! | `h3` | one client over QUIC |
//! | `client` | what the requests of one connection share |
//! | `ask` | a request, as those who answer it see it |
//! | `exchange` | one request: who asks, whose turn it is, what is written down |
//! | `reply` | the answer to one request as it goes out, whatever carries it |
//! | `target`, `range`, `condition` | what is asked; pure |
//! | `credential` | tokens, the cookie, and requests that another site made a browser send; pure |
//! | `kind` | what a file is by its name; pure |
//! | `file` | `GET` of a file |
//! | `change` | `PUT`, `DELETE` and their like |
//! | `upload` | takes a file in |
//! | `resumable` | uploads in several requests, after the IETF draft |
//! | `fields` | header fields of digests and uploads; pure |
//! | `directory` | `GET` of a directory: JSON, page |
//! | `rows` | the rows of a directory's page and their order; pure |
//! | `archive` | `?tar` |
//! | `walk` | walks for answers longer than memory should hold |
//! | `own` | what this door brings itself |
//! | `page` | HTML |
//! | `error` | what fails, as HTTP has it |
//! | `fuzzing` | what is read of strangers here, for the fuzzers |

mod archive;
mod ask;
mod change;
mod client;
mod condition;
mod connection;
mod credential;
mod directory;
mod error;
mod exchange;
mod fields;
mod file;
mod flow;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod h3;
mod kind;
mod own;
mod page;
mod range;
mod reply;
mod resumable;
mod rows;
mod target;
mod upload;
mod walk;

pub(crate) use connection::{refuse_plain, serve_h1, serve_h2};
pub(crate) use h3::serve as serve_h3;

/// HTTP/2 by its name in the handshake (RFC 9113 §3.1).
pub(crate) const H2: &[u8] = b"h2";

/// HTTP/1.1 by its name in the handshake (RFC 7301 §6).
pub(crate) const HTTP_1_1: &[u8] = b"http/1.1";

/// HTTP/3 by its name in the handshake (RFC 9114 §3.1).
pub(crate) const H3: &[u8] = b"h3";
