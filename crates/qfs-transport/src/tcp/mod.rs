//! TLS 1.3 over TCP, on the port of the same number as QUIC's: for clients whose network carries no UDP, and for other doors.
//!
//! | module | owns |
//! |---|---|
//! | `listener` | the server's sockets and handshakes, whatever is spoken inside |
//! | `connect` | the client's |
//! | `connection`, `streams` | a connection that speaks `qfs/1` and its streams, as those above see them |
//! | `driver` | bytes between a socket and the streams, time-outs, the end |
//! | `mux`, `halves` | streams and windows, without I/O |
//! | `frame`, `batch` | the frames of PROTOCOL §9 and their bytes |
//! | `fault` | what errors mean |
//! | `exercise` | the streams fed by a stranger, for the fuzzer |

mod batch;
mod connect;
mod connection;
mod driver;
mod exercise;
mod fault;
mod frame;
mod grants;
mod halves;
mod handle;
mod listener;
mod mux;
mod read_ahead;
mod streams;
mod vitals;

pub use connect::connect_tcp;
pub use exercise::exercise;
pub use listener::{BoundTcp, TcpAcceptor, TlsStream};

pub(crate) use connection::Connection;
pub(crate) use grants::Grants;
pub(crate) use streams::{TcpSink, TcpSource};

/// Bytes that the kernel takes from a connection before the network has (TCP_NOTSENT_LOWAT, tcp(7)). Little, so that what is urgent
/// does not queue behind what is not, and a client that takes nothing holds little; enough to keep the network busy until this
/// program is scheduled again.
const UNSENT_BYTES: u32 = 256 << 10;
