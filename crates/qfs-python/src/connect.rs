//! Making a client: what is asked for becomes the library's configuration.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use pyo3::prelude::*;
use qfs_client::config::{ConnectConfig, Transport, Vouching};
use qfs_client::session::{PATHS_FILE_NAME, Session, WAYS_FILE_NAME};
use qfs_client::trust::known_servers::{Keeper, KnownServers, Newcomers, store_path};
use qfs_core::model::Ticket;
use qfs_core::observe::NoObserver;
use qfs_transport::{Identity, Way};

use crate::call::Call;
use crate::client::Client;
use crate::counters::Counters;
use crate::engine::Engine;
use crate::fault::Fault;

/// Connects to the server of `url`, a ticket; results in a `Client`.
#[pyfunction]
#[pyo3(signature = (url, *, token, fingerprint, accept_new, known_servers, tls, identity, transport, hash, timeout, retry_timeout))]
#[allow(clippy::too_many_arguments, reason = "what a keyword each is in Python")]
pub(crate) fn connect(
    url: &str,
    token: Option<&str>,
    fingerprint: Option<&str>,
    accept_new: bool,
    known_servers: Option<PathBuf>,
    tls: &str,
    identity: Option<(PathBuf, PathBuf)>,
    transport: &str,
    hash: &str,
    timeout: f64,
    retry_timeout: f64,
) -> PyResult<Call> {
    let ticket: Ticket = url.parse().map_err(usage("url"))?;
    let mut config = ConnectConfig::from(ticket);
    if let Some(fingerprint) = fingerprint {
        config.pin = Some(fingerprint.parse().map_err(usage("fingerprint"))?);
    }
    if let Some(token) = token {
        config.token = Some(token.parse().map_err(usage("token"))?);
    }
    config.vouching = match tls {
        "pin" => Vouching::Key,
        "system" => Vouching::Certificate,
        other => return Err(unknown("tls", other, "pin or system")),
    };
    config.transport = match transport {
        "auto" => Transport::Auto,
        "udp" => Transport::Only(Way::Udp),
        "tcp" => Transport::Only(Way::Tcp),
        other => return Err(unknown("transport", other, "auto, udp or tcp")),
    };
    config.hash = hash.parse().map_err(usage("hash"))?;
    config.patience = Duration::try_from_secs_f64(timeout).map_err(usage("timeout"))?;
    config.retry_timeout = Duration::try_from_secs_f64(retry_timeout).map_err(usage("retry_timeout"))?;
    let store = known_servers.or_else(|| store_path(|name| std::env::var_os(name)));
    let beside = |name| store.as_deref().map(|store: &Path| store.with_file_name(name));
    (config.without_udp, config.path_notes) = (beside(WAYS_FILE_NAME), beside(PATHS_FILE_NAME));
    let newcomers = if accept_new { Newcomers::Accept } else { Newcomers::Refuse };
    let keeper = Keeper::new(KnownServers::at(store), newcomers);
    let engine = Arc::new(Engine::start().map_err(|error| Fault::Local("local", error.to_string()))?);
    let work = async move {
        if let Some((certificate, key)) = identity {
            let reading = move || Identity::from_files(&certificate, &key).map_err(|error| error.to_string());
            let read = tokio::task::spawn_blocking(reading).await.unwrap_or_else(|error| Err(error.to_string()));
            config.identity = Some(Arc::new(read.map_err(|why| Fault::Local("local", why))?));
        }
        Session::connect(config, Arc::new(keeper), Arc::new(NoObserver)).await.map_err(Fault::Session)
    };
    let kept = Arc::clone(&engine);
    Call::begin(&engine, Arc::<Counters>::default(), work, move |py, session| {
        Ok(Py::new(py, Client::new(kept, session))?.into_any())
    })
}

fn usage<E: std::fmt::Display>(what: &'static str) -> impl Fn(E) -> PyErr {
    move |error| Fault::Usage(format!("{what}: {error}")).into()
}

fn unknown(what: &str, value: &str, expected: &str) -> PyErr {
    Fault::Usage(format!("{what} is {value:?}, and may be {expected}")).into()
}
