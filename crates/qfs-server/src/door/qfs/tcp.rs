//! One client whose network carries no UDP: served over TLS and TCP as any other (PROTOCOL §9).

use std::net::SocketAddr;
use std::sync::Arc;

use qfs_core::store::WriteStore;
use qfs_core::wire::StatusCode;
use qfs_transport::{Connection, ServerTuning, TlsStream};
use tokio::sync::watch;
use tokio::time::Instant;

use super::connection;
use crate::gate::admission::Admitted;
use crate::service::Service;

/// Serves the client at the other end of `stream`, whose handshake is done, until it is gone or `cut` says that the server does not
/// wait for it any longer. It owes its first request until `deadline`.
pub(crate) async fn serve_tls_stream<S: WriteStore>(
    service: &Arc<Service<S>>,
    stream: TlsStream,
    peer: SocketAddr,
    tuning: &ServerTuning,
    deadline: Instant,
    _admitted: Admitted,
    mut cut: watch::Receiver<bool>,
) {
    let connection = Connection::over_tls(stream, peer, tuning);
    tokio::select! {
        () = connection::serve_connection(service, connection.clone(), deadline) => {}
        () = async { drop(cut.wait_for(|cut| *cut).await) } => {
            connection.close(StatusCode::SHUTTING_DOWN);
            connection.told().await;
        }
    }
}
