//! nginx: the server behind curl, aria2c and rclone over HTTPS, and behind zsync over HTTP.

use std::path::PathBuf;

use super::{PeerError, Place};
use crate::process::{Daemon, Invocation};

/// A running nginx, with a certificate made for it.
#[derive(Debug)]
pub(super) struct Nginx {
    /// The process.
    pub(super) daemon: Daemon,
    /// The certificate clients have to trust.
    pub(super) certificate: PathBuf,
    /// `https://HOST:PORT`, or with `http`.
    pub(super) url: String,
}

impl Nginx {
    /// The directory of a peer's place that is published beside the data set, where there is no encryption.
    pub(super) const BESIDE: &str = "beside";

    /// Starts one that serves the data set.
    pub(super) fn start(place: &Place<'_>) -> Result<Self, PeerError> {
        Self::start_on(place, "https", "ssl http2")
    }

    /// Starts one that serves the data set without encryption.
    pub(super) fn start_plain(place: &Place<'_>) -> Result<Self, PeerError> {
        Self::start_on(place, "http", "")
    }

    fn start_on(place: &Place<'_>, scheme: &str, how: &str) -> Result<Self, PeerError> {
        let program = place.program("nginx")?;
        let port = place.port()?;
        let address = format!("{}:{port}", place.ends.server_ip);
        let (certificate, _) = place.certificate()?;
        let conf = place.write("nginx.conf", &configuration(place, &format!("{address} {how}")))?;
        let log = place.home.join("error.log");
        let invocation = Invocation::new(program).arg("-e").arg(&log).arg("-p").arg(&place.home).arg("-c").arg(conf);
        let daemon = place.serve(invocation, port)?;
        Ok(Self { daemon, certificate, url: format!("{scheme}://{address}") })
    }
}

/// The configuration that the manual recommends for static files: sendfile, one worker per core, and keep-alive that
/// practically never ends.
fn configuration(place: &Place<'_>, listen: &str) -> String {
    let user = if Place::is_root() { "user root;\n" } else { "" };
    let home = place.home.display();
    let root = place.data.root.display();
    let beside = Nginx::BESIDE;
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("  {kind}_temp_path \"{home}/{kind}\";\n"))
        .collect();
    format!(
        "{user}daemon off;
worker_processes auto;
pid \"{home}/nginx.pid\";
error_log \"{home}/error.log\";
events {{ worker_connections 4096; }}
http {{
{temporary}  access_log off;
  default_type application/octet-stream;
  sendfile on;
  tcp_nopush on;
  keepalive_requests 1000000;
  open_file_cache max=20000;
  ssl_certificate \"{home}/cert.pem\";
  ssl_certificate_key \"{home}/key.pem\";
  ssl_protocols TLSv1.3;
  server {{
    listen {listen};
    root \"{root}\";
    autoindex on;
    location /{beside}/ {{ alias \"{home}/{beside}/\"; }}
  }}
}}
"
    )
}
