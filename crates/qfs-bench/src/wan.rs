//! The emulated link of a scenario: `qfs-wan`, kept open for as long as a peer needs it.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use crate::peers::Ends;
use crate::process::{Daemon, Invocation, ProcessError, Supervisor};
use crate::scenario;

/// How long it may take to make, or to remove, a link.
const LINK_LIMIT: Duration = Duration::from_secs(15);
/// A script that says where the ends are and then waits until its input is closed. What TCP learned in one run must not
/// help the next.
const HOLD: &str =
    "for ns in $WAN_A $WAN_B; do ip netns exec $ns sh -c 'echo 1 > /proc/sys/net/ipv4/tcp_no_metrics_save'; done
echo \"ends $WAN_A $WAN_B $WAN_A_IP $WAN_B_IP\"; read -r _";

/// A running link. It is removed when dropped.
#[derive(Debug)]
pub struct Wan {
    daemon: Daemon,
    ends: Ends,
}

/// What a link did to the packets from the server to the client.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Traffic {
    /// Packets that arrived.
    pub carried: u64,
    /// Packets lost at random.
    pub lost: u64,
    /// Packets the full queue dropped.
    pub dropped: u64,
    /// Packets that were more than a millisecond late, because the machine was too busy to emulate the link.
    pub late: u64,
    /// Bytes of the packets that arrived, IP headers included.
    pub bytes: u64,
}

impl Wan {
    /// Makes the link.
    ///
    /// # Errors
    /// When `qfs-wan` cannot: it needs root, `ip` and TUN devices.
    pub fn start(
        supervisor: &Supervisor,
        program: &Path,
        link: scenario::Link,
        seed: u64,
    ) -> Result<Self, ProcessError> {
        let scenario::Link { rate, delay, loss, queue } = link;
        let invocation = Invocation::new(program)
            .args(["--rate", &rate.to_string(), "--delay", &delay.to_string(), "--loss", &loss.to_string()])
            .args(["--queue", &queue.to_string(), "--seed", &seed.to_string(), "--", "sh", "-c", HOLD]);
        let mut daemon = Daemon::start(supervisor, &invocation)?;
        let lines = daemon.lines_until(LINK_LIMIT, |line| line.starts_with("ends "))?;
        let words: Vec<&str> = lines.iter().rev().flat_map(|line| line.split(' ')).skip(1).take(4).collect();
        let [a, b, server_ip, client_ip] = words[..] else {
            let reason = "it did not say where its ends are".to_owned();
            return Err(ProcessError::NotReady { program: program.display().to_string(), reason, code: None });
        };
        let at = |namespace: &str| ["ip", "netns", "exec", namespace].map(OsString::from).to_vec();
        let ends = Ends {
            server_ip: server_ip.to_owned(),
            client_ip: client_ip.to_owned(),
            server_end: at(a),
            client_end: at(b),
        };
        Ok(Self { daemon, ends })
    }

    /// Where its ends are.
    #[must_use]
    pub fn ends(&self) -> &Ends {
        &self.ends
    }

    /// Removes the link and says what it did.
    #[must_use]
    pub fn finish(mut self) -> Option<Traffic> {
        self.daemon.finish(LINK_LIMIT);
        traffic(&self.daemon.stderr())
    }
}

/// Reads `wan: a->b carried N lost N dropped N`.
fn traffic(stderr: &str) -> Option<Traffic> {
    let line = stderr.lines().find(|line| line.contains("a->b") && line.contains("carried"))?;
    let words: Vec<&str> = line.split([' ', ',']).filter(|word| !word.is_empty()).collect();
    let behind = |key: &str| words.windows(2).find(|pair| pair[0] == key).and_then(|pair| pair[1].parse::<u64>().ok());
    Some(Traffic {
        carried: behind("carried")?,
        lost: behind("lost")?,
        dropped: behind("dropped")?,
        late: behind("late").unwrap_or_default(),
        bytes: behind("bytes").unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_of_a_link() {
        let text =
            "note\nwan: a->b carried 100 lost 2 dropped 3 late 4 bytes 5\nwan: b->a carried 9 lost 0 dropped 0\n";
        assert_eq!(traffic(text), Some(Traffic { carried: 100, lost: 2, dropped: 3, late: 4, bytes: 5 }));
        assert_eq!(traffic("wan: up\n"), None);
    }
}
