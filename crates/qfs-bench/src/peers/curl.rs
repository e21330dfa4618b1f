//! curl from nginx, from dufs, and from the HTTP door of qfs, with one file over HTTP/1.1 and many in parallel over HTTP/2.

use std::ffi::OsString;

use super::nginx::Nginx;
use super::place::AtClient;
use super::{Job, Peer, PeerError, Place, Started, ours};
use crate::process::{Daemon, Invocation};
use crate::qfs;
use crate::scenario::{Scenario, Task};

#[derive(Debug)]
struct Curl {
    server: Server,
    client: AtClient,
    checked: Option<&'static str>,
    tcp: String,
}

/// What it fetches from.
#[derive(Debug)]
enum Server {
    Nginx(Nginx),
    Dufs(Daemon),
    Ours(qfs::Server),
}

impl Server {
    fn daemon(&self) -> &Daemon {
        match self {
            Self::Nginx(nginx) => &nginx.daemon,
            Self::Dufs(daemon) => daemon,
            Self::Ours(server) => server.daemon(),
        }
    }
}

pub(super) fn can(scenario: &Scenario) -> bool {
    match scenario.task {
        Task::Fetch => true,
        Task::Resume => scenario.shape.files == 1,
        Task::Again | Task::Update(_) | Task::Known | Task::List | Task::Pull(_) | Task::Push(_) | Task::Put => false,
    }
}

/// From the HTTP door.
pub(super) fn can_fetch(scenario: &Scenario) -> bool {
    scenario.task == Task::Fetch && scenario.link.is_none()
}

/// Computes the digest afterwards, which is the closest to qfs that curl can do.
pub(super) fn can_check(scenario: &Scenario) -> bool {
    scenario.task == Task::Fetch && scenario.processes == 1 && scenario.link.is_none()
}

pub(super) fn start(place: &Place<'_>) -> Started {
    Ok(Box::new(Curl::start(place, None)?))
}

pub(super) fn start_sha256sum(place: &Place<'_>) -> Started {
    start_checked(place, "sha256sum")
}

pub(super) fn start_b3sum(place: &Place<'_>) -> Started {
    start_checked(place, "b3sum")
}

fn start_checked(place: &Place<'_>, program: &'static str) -> Started {
    place.program(program)?;
    Ok(Box::new(Curl::start(place, Some(program))?))
}

pub(super) fn start_bbr(place: &Place<'_>) -> Started {
    let place = Place { home: place.home.clone(), tcp: "bbr", ..*place };
    Ok(Box::new(Curl::start(&place, None)?))
}

/// From dufs.
pub(super) fn start_from_dufs(place: &Place<'_>) -> Started {
    let dufs = place.program("dufs")?;
    place.program("curl")?;
    let port = place.port()?;
    let (certificate, key) = place.certificate()?;
    let ip = &place.ends.server_ip;
    let dufs = Invocation::new(dufs).args(["--bind", ip, "--port", &port.to_string(), "--tls-cert"]).arg(&certificate);
    let daemon = place.serve(dufs.arg("--tls-key").arg(key).arg(&place.data.root), port)?;
    let trust = ["--cacert".into(), certificate.into_os_string()];
    Ok(Box::new(Curl::of(place, Server::Dufs(daemon), &format!("https://{ip}:{port}"), &trust, None)?))
}

/// From the HTTP door of qfs.
pub(super) fn start_from_ours(place: &Place<'_>) -> Started {
    let server = ours::serve(place, place.ours, &[])?;
    let url = server.https().ok_or_else(|| PeerError::Setup("its server printed no ticket".to_owned()))?;
    Ok(Box::new(Curl::of(place, Server::Ours(server), &url, &["--insecure".into()], None)?))
}

impl Curl {
    fn start(place: &Place<'_>, checked: Option<&'static str>) -> Result<Self, PeerError> {
        place.program("curl")?;
        let nginx = Nginx::start(place)?;
        let (url, trust) = (nginx.url.clone(), ["--cacert".into(), nginx.certificate.clone().into_os_string()]);
        Self::of(place, Server::Nginx(nginx), &url, &trust, checked)
    }

    /// `checked` is the program that computes digests afterwards.
    fn of(
        place: &Place<'_>,
        server: Server,
        url: &str,
        trust: &[OsString],
        checked: Option<&'static str>,
    ) -> Result<Self, PeerError> {
        // The user's own configuration must not be used, for which -q has to come first.
        let flags = ["-q", "--silent", "--show-error", "--fail"];
        let curl = Invocation::new(place.program("curl")?).args(flags).args(trust);
        let curl = if place.data.shape.files == 1 {
            let name = place.data.shape.name(0);
            curl.args(["--http1.1", "--output", &name, &format!("{url}/{name}")])
        } else {
            let list: String =
                place.data.names().map(|name| format!("url = \"{url}/{name}\"\noutput = \"{name}\"\n")).collect();
            curl.args(["--http2", "--parallel", "--create-dirs", "--config"]).arg(place.write("curl.list", &list)?)
        };
        let curl = match checked {
            Some(program) => then_checked(curl, program),
            None => curl,
        };
        Ok(Self { client: place.at_client(curl), server, checked, tcp: place.tcp_note() })
    }
}

/// Runs `command`, and then computes with `program` the digest of every file below the directory in which it ran.
fn then_checked(command: Invocation, program: &str) -> Invocation {
    let script = format!("\"$@\" && find . -type f -exec {program} {{}} +");
    command.wrapped(&["sh", "-c", &script, "sh"])
}

impl Peer for Curl {
    fn about(&self) -> String {
        let more = self.checked.map_or(", no checksum".to_owned(), |program| format!(", then {program}"));
        let whose = match self.server {
            Server::Nginx(_) => "nginx",
            Server::Dufs(_) => "dufs",
            Server::Ours(_) => "qfs-server",
        };
        format!("curl from {whose} over HTTPS{more}{}", self.tcp)
    }

    fn command(&self, job: &Job<'_>) -> Invocation {
        let more: &[&str] = if job.task == Task::Resume { &["--continue-at", "-"] } else { &[] };
        self.client.with(job.dest, more)
    }

    fn daemon(&self) -> Option<&Daemon> {
        Some(self.server.daemon())
    }
}
