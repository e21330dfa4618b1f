//! zsync from nginx, unencrypted, which is all that it can do: one file, of which another version is there.

use super::nginx::Nginx;
use super::place::AtClient;
use super::{Job, Peer, PeerError, Place, Started};
use crate::process::{Daemon, Invocation};
use crate::scenario::{Scenario, Task};

#[derive(Debug)]
struct Zsync {
    nginx: Nginx,
    client: AtClient,
    tcp: String,
}

pub(super) fn can(scenario: &Scenario) -> bool {
    matches!(scenario.task, Task::Update(_))
}

/// Makes the control file, too, which takes no part in what is measured: whoever publishes a file makes it once.
pub(super) fn start(place: &Place<'_>) -> Started {
    let (program, maker) = (place.program("zsync")?, place.program("zsyncmake")?);
    let nginx = Nginx::start_plain(place)?;
    let name = place.data.shape.name(0);
    let control = place.home.join(Nginx::BESIDE);
    std::fs::create_dir(&control)?;
    let made = std::process::Command::new(maker)
        .args(["-e", "-u", &format!("{}/{name}", nginx.url), "-o"])
        .arg(control.join("control.zsync"))
        .arg(place.data.root.join(&name))
        .output()?;
    if !made.status.success() {
        return Err(PeerError::Setup(String::from_utf8_lossy(&made.stderr).into_owned()));
    }
    let url = format!("{}/{}/control.zsync", nginx.url, Nginx::BESIDE);
    // It keeps the older version under a name of its own, which the others do not.
    let script = r#""$0" -q -o "$1" "$2" && rm -- "$1.zs-old""#;
    let zsync = Invocation::new("sh").args(["-c", script]).arg(program).args([&name, &url]);
    Ok(Box::new(Zsync { client: place.at_client(zsync), nginx, tcp: place.tcp_note() }))
}

impl Peer for Zsync {
    fn about(&self) -> String {
        format!("zsync from nginx over HTTP, not encrypted, SHA-1 of the whole{}", self.tcp)
    }

    fn command(&self, job: &Job<'_>) -> Invocation {
        self.client.with(job.dest, std::iter::empty::<&str>())
    }

    fn daemon(&self) -> Option<&Daemon> {
        Some(&self.nginx.daemon)
    }
}
