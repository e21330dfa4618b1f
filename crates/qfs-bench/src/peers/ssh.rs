//! rsync and scp over ssh, and the login of qcp, with a private sshd: keys, configuration and known hosts of its own.

use std::path::PathBuf;

use super::place::AtClient;
use super::{Job, Peer, PeerError, Place, Started, rsync};
use crate::process::{Daemon, Invocation};
use crate::scenario::{Scenario, Task};

/// The name under which the client's configuration knows the server.
pub(super) const ALIAS: &str = "bench";

#[derive(Debug)]
struct Ssh {
    daemon: Daemon,
    client: AtClient,
    source: String,
    is_rsync: bool,
    tcp: String,
}

pub(super) fn can_scp(scenario: &Scenario) -> bool {
    scenario.task == Task::Fetch
}

pub(super) fn start_rsync(place: &Place<'_>) -> Started {
    let rsync = place.program("rsync")?;
    let ssh = place.program("ssh")?;
    let (daemon, config) = start_sshd(place)?;
    let shell = format!("{} -F {}", ssh.display(), config.display());
    let source = format!("{ALIAS}:{}/", place.data.root.display());
    let client = place.at_client(Invocation::new(rsync).args(["-e", &shell]));
    Ok(Box::new(Ssh { daemon, client, source, is_rsync: true, tcp: place.tcp_note() }))
}

pub(super) fn start_scp(place: &Place<'_>) -> Started {
    let scp = place.program("scp")?;
    let (daemon, config) = start_sshd(place)?;
    let source = format!("{ALIAS}:{}", place.data.root.display());
    let client = place.at_client(Invocation::new(scp).args(["-q", "-r", "-F"]).arg(config));
    Ok(Box::new(Ssh { daemon, client, source, is_rsync: false, tcp: place.tcp_note() }))
}

/// Starts an sshd that lets this user in with a key made for it; returns it and the client's configuration.
pub(super) fn start_sshd(place: &Place<'_>) -> Result<(Daemon, PathBuf), PeerError> {
    // When root runs it, it needs this directory, which the system makes only when it starts its own sshd.
    if Place::is_root() {
        std::fs::create_dir_all("/run/sshd")?;
    }
    // It re-executes itself, so it has to be called by its full path.
    let sshd = place.program("sshd")?;
    let keygen = place.program("ssh-keygen")?;
    for name in ["host_key", "user_key"] {
        let path = place.home.join(name);
        place.finish(Invocation::new(&keygen).args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&path))?;
    }
    let (port, ip, home) = (place.port()?, &place.ends.server_ip, place.home.display());
    let host_key = std::fs::read_to_string(place.home.join("host_key.pub"))?;
    place.write("known_hosts", &format!("{ALIAS} {host_key}"))?;
    let server = format!(
        "Port {port}\nListenAddress {ip}\nHostKey \"{home}/host_key\"\nAuthorizedKeysFile \"{home}/user_key.pub\"\n\
         StrictModes no\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
         PermitRootLogin prohibit-password\nPidFile none\nMaxStartups 1000\nUseDNS no\nPrintMotd no\n\
         Subsystem sftp internal-sftp\n"
    );
    let server = place.write("sshd_config", &server)?;
    let client = format!(
        "Host {ALIAS}\nHostName {ip}\nPort {port}\nHostKeyAlias {ALIAS}\nUserKnownHostsFile \"{home}/known_hosts\"\n\
         GlobalKnownHostsFile /dev/null\nStrictHostKeyChecking yes\nIdentityFile \"{home}/user_key\"\nIdentitiesOnly yes\n\
         IdentityAgent none\nBatchMode yes\nUpdateHostKeys no\nLogLevel ERROR\n"
    );
    let client = place.write("ssh_config", &client)?;
    let daemon = place.serve(Invocation::new(sshd).args(["-D", "-e", "-f"]).arg(server), port)?;
    Ok((daemon, client))
}

impl Peer for Ssh {
    fn about(&self) -> String {
        let what = if self.is_rsync { "rsync over ssh" } else { "scp (sftp over ssh)" };
        format!("{what}{}", self.tcp)
    }

    fn command(&self, job: &Job<'_>) -> Invocation {
        if self.is_rsync {
            return rsync::complete(&self.client, job, &self.source);
        }
        match job.only_name() {
            Some(name) => self.client.with(job.dest, [format!("{}/{name}", self.source), ".".to_owned()]),
            None => self.client.with(job.dest, [format!("{}/.", self.source), ".".to_owned()]),
        }
    }

    fn daemon(&self) -> Option<&Daemon> {
        Some(&self.daemon)
    }
}
